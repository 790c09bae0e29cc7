"""Keep HTTP sessions on the server: the browser has a signed id in a cookie, nothing else.

The middlewares are :class:`coatcheck.asgi.SessionMiddleware` and
:class:`coatcheck.wsgi.SessionMiddleware`; :func:`session_of` finds the session of a request; the
errors are in :mod:`coatcheck.errors`.
"""

from typing import TYPE_CHECKING, Any

from ._stores.registry import open_async_store, open_store
from .codec import JSONCodec, SessionState
from .cookie import CookieOptions
from .events import SessionEvent
from .hookspecs import StoreSpec, hookimpl
from .memory import MemoryStore
from .options import SessionOptions
from .session import AsyncSession, Session, SyncSession
from .store import (
    ABSENT,
    ALWAYS,
    CONTRACT_VERSION,
    PRESENT,
    AsyncStore,
    Capabilities,
    Condition,
    Record,
    Store,
    Unchanged,
)

__all__ = [
    "ABSENT",
    "ALWAYS",
    "CONTRACT_VERSION",
    "PRESENT",
    "AsyncSession",
    "AsyncStore",
    "Capabilities",
    "Condition",
    "CookieOptions",
    "JSONCodec",
    "MemoryStore",
    "Record",
    "Session",
    "SessionEvent",
    "SessionOptions",
    "SessionState",
    "Sessions",
    "Store",
    "StoreSpec",
    "SyncSession",
    "Unchanged",
    "hookimpl",
    "open_async_store",
    "open_store",
    "session_of",
]

if TYPE_CHECKING:
    from ._request.finding import session_of as session_of
    from .sessions import Sessions as Sessions

    __version__: str
else:
    # What most processes do not need is imported when somebody asks for it.

    def __getattr__(name: str) -> Any:
        if name == "session_of":
            from ._request.finding import session_of

            globals()[name] = session_of
            return session_of
        if name == "Sessions":
            from .sessions import Sessions

            globals()[name] = Sessions
            return Sessions
        if name == "__version__":  # reading metadata takes longer than the import
            from importlib.metadata import version

            return version("coatcheck")
        raise AttributeError(f"module 'coatcheck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
