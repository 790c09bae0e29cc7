"""Server-side HTTP sessions: the browser holds a ticket, the server holds the coat.

The middlewares are :class:`coatcheck.asgi.SessionMiddleware` and
:class:`coatcheck.wsgi.SessionMiddleware`; the errors are in :mod:`coatcheck.errors`.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .codec import JSONCodec as JSONCodec
from .codec import SessionState as SessionState
from .cookie import CookieOptions as CookieOptions
from .events import SessionEvent as SessionEvent
from .hookspecs import StoreSpec as StoreSpec
from .hookspecs import hookimpl as hookimpl
from .memory import MemoryStore as MemoryStore
from .options import SessionOptions as SessionOptions
from .registry import open_async_store as open_async_store
from .registry import open_store as open_store
from .session import AsyncSession as AsyncSession
from .session import Session as Session
from .session import SyncSession as SyncSession
from .sessions import Sessions as Sessions
from .store import ABSENT as ABSENT
from .store import ALWAYS as ALWAYS
from .store import CONTRACT_VERSION as CONTRACT_VERSION
from .store import PRESENT as PRESENT
from .store import AsyncStore as AsyncStore
from .store import Capabilities as Capabilities
from .store import Condition as Condition
from .store import Record as Record
from .store import Store as Store
from .store import Unchanged as Unchanged

if _TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":  # reading metadata takes longer than the import
            from importlib.metadata import version

            return version("coatcheck")
        raise AttributeError(f"module 'coatcheck' has no attribute {name!r}")
