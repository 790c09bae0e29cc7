"""What it means that something else stands in the session's place.

``scope["session"]`` belongs to many. A framework or an application puts something there to replace
the session; another session middleware puts its own session there, which is not ours to keep.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .session import Session

_LITESTAR_SESSIONS: Final = "litestar.middleware.session"

LEFT_ALONE: Final = (
    "what stands in the session's place was put there by %s and is left to it: "
    "`session_of(request)` finds the session of this middleware; `session.clear()` and "
    "`session.update(...)` replace its data, and `session.destroy()` ends it"
)


def is_order(request: Mapping[str, Any], current: object) -> bool:
    """Tell whether what stands in the session's place replaces the session.

    None does, and what Litestar's ``set_session()`` and ``clear_session()`` put there, unless
    Litestar has a session middleware of its own.
    """
    if current is None:
        return True
    litestar = request.get("litestar_app")
    # A Starlette application that is mounted in Litestar says that it is the application now.
    if litestar is None or request.get("app") is not litestar:
        return False
    own = type(current).__module__.startswith("starlette.") or isinstance(current, Session)
    return not own and not any(_litestar_sessions(request))


def is_cleared(current: object) -> bool:
    """Tell whether what stands in the session's place is what ``clear_session()`` put there."""
    empty = sys.modules.get("litestar.types.empty")
    return current is None or (empty is not None and current is empty.Empty)


def author(request: Mapping[str, Any], current: object) -> str:
    """Return the name of the middleware that put something in the session's place."""
    middlewares = [*_litestar_sessions(request), *_starlette_sessions(request)]
    kind = type(current) if not middlewares else middlewares[0]
    if kind is dict:
        return "something inside of it"
    return f"{kind.__module__}.{kind.__qualname__}"


def _litestar_sessions(request: Mapping[str, Any]) -> Iterator[type]:
    """Yield Litestar's own session middlewares that serve a request."""
    handler = request.get("route_handler")
    for each in handler.resolve_middleware() if handler is not None else ():
        kind = getattr(each, "middleware", each)
        if isinstance(kind, type) and kind.__module__.startswith(_LITESTAR_SESSIONS):
            yield kind


def _starlette_sessions(request: Mapping[str, Any]) -> Iterator[type]:
    """Yield the session middlewares of the innermost Starlette application."""
    for each in getattr(request.get("app"), "user_middleware", ()):
        kind = getattr(each, "cls", None)
        is_ours = getattr(kind, "__module__", "").startswith("coatcheck.")
        if isinstance(kind, type) and "Session" in kind.__name__ and not is_ours:
            yield kind
