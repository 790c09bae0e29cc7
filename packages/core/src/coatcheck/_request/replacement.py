"""Decide what it means that something else is in the session's place.

``scope["session"]`` belongs to many. A framework or an application puts something there to replace
the session. Another session middleware puts its own session there, which we must leave alone.
docs/decisions/2026-11-30-replacements.md has the reasons.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .._session.session_core import SessionCore
from .._session.session_dict import core_of
from ..errors import ConfigurationError
from ..options import Request
from ..session import Session

if TYPE_CHECKING:
    from .session_manager import SessionManager

#: Nothing has replaced the session.
_NOTHING: Final = object()
_LITESTAR_SESSIONS: Final = "litestar.middleware.session"

_LEFT_ALONE: Final = (
    "something else is in the session's place; %s has put it there, and it is left to it: "
    "`session_of(request)` finds the session of this middleware; `session.clear()` and "
    "`session.update(...)` replace its data, and `session.destroy()` ends it"
)


class Place:
    """Keep the place in a request where frameworks look for the session, or put something else.

    :param request: the request.
    :param key: under which it has the session.
    :param manager: what all requests of the middleware share.
    :ivar is_ours: whether no other session was put there, as far as we know.
    :ivar replaced_by: what has replaced the session.
    """

    __slots__ = ("_displaced", "_key", "_manager", "_request", "is_ours", "replaced_by")

    def __init__(self, request: Request, key: str, manager: SessionManager) -> None:
        self._request: Any = request
        self._key = key
        self._manager = manager
        #: Sessions of ours that this one took the place of, by their keys in the request.
        self._displaced: dict[str, Session] = {}
        self.is_ours = True
        self.replaced_by: object = _NOTHING

    def take(self, session: Session, own_key: str, opens_again: bool = False) -> None:
        """Put the session where the application finds it.

        What another middleware has put there stays: that one looks for it when the response goes
        out. A session of ours that is in use comes back at the end of this one's request.

        The same middleware may serve a request again: after it failed, or inside itself, where
        an application calls its own stack for a part of a request.

        :param own_key: where the request has the session in any case.
        :param opens_again: a framework may open the session of a request several times, as for each
            event of a WebSocket that shares one environ. Then the newest one is found, and the
            others can be saved, too.
        :raises ConfigurationError: another middleware of the same name serves the request.
        """
        request, name = self._request, self._manager.options.name
        named: Session | None = request.get(own_key)
        is_own = named is not None and core_of(named).backend.manager is self._manager
        if is_own and opens_again:
            request[own_key] = request[self._key] = session
            return
        if named is not None and not core_of(named).phase.is_over:
            if not is_own:
                raise ConfigurationError(
                    f"two session middlewares of the name {name!r} serve this request: remove one "
                    "of them, or give it another `name` "
                    '(`session_of(request, name="...")` finds each)'
                )
            self._displaced[own_key] = named
        request[own_key] = session
        outer = request.get(self._key)
        if outer is None or isinstance(outer, Session):
            if outer is not None and not core_of(outer).phase.is_over:
                self._displaced[self._key] = outer
                core_of(outer).backend.place.leave(request, True)
            request[self._key] = session
        else:
            self.has_replacement(outer)  # it warns
            self.is_ours = False

    def give_back(self, session: dict[str, Any]) -> None:
        """Put back the sessions that this one took the place of.

        :param session: this one.
        """
        request = self._request
        for key, displaced in self._displaced.items():
            current = request.get(key)
            # A replacement was meant for this session: the one outside never sees it.
            if current is session or is_replacement(request, current):
                request[key] = displaced
        outer = self._displaced.get(self._key)
        if outer is not None:
            core_of(outer).backend.place.leave(request, False)
        self._displaced = {}

    def leave(self, request: object, leaves: bool) -> None:
        """Leave what is put here to a session inside, or no more.

        :param request: whose place it is. A copy of ours has a place of its own.
        """
        if request is self._request:
            self.is_ours = not leaves

    def means_no_save(self, current: object) -> bool:
        """Tell whether a replacement means that the session is neither saved nor touched.

        None means that with ``unset="keep"``. With ``unset="destroy"`` it ends the session.
        """
        return current is None and self._manager.options.unset == "keep"

    def replace(self, session: SessionCore, current: object) -> None:
        """Do to a session what a replacement means: another dict is its data, no dict ends it.

        :raises TypeError: nothing that a session can be replaced by.
        """
        session.use()
        if isinstance(current, Mapping):
            session.replace_data(current)
        elif is_cleared(current):
            session.destroy()
        else:
            raise TypeError(
                f"the session was replaced by a {type(current).__name__}; it takes a dict"
            )
        self.replaced_by = current

    def has_replacement(self, current: object) -> bool:
        """Tell whether the object in the session's place replaces it; warn if it does not.

        Of several sessions it replaces the one that was put there last.
        """
        if isinstance(current, Session) or not self.is_ours:
            return False
        if is_replacement(self._request, current):
            return True
        self._manager.notices.give(_LEFT_ALONE, author(self._request, current))
        return False

    def is_news(self, current: object, session: SessionCore) -> bool:
        """Tell whether what is in the session's place is not what has replaced it before."""
        if self.means_no_save(current):
            return False
        if not self.has_replacement(current):
            return False
        if current is not self.replaced_by:
            # Replacing an empty session with an empty dict changes nothing.
            is_empty = isinstance(current, Mapping) and not current
            is_known = session.is_loaded or session.has_no_cookie
            has_none = is_known and session.identity.snapshot is None
            return not (is_empty and has_none)
        return isinstance(current, Mapping) and current != session.data


def is_replacement(request: Mapping[str, Any], current: object) -> bool:
    """Tell whether the object in the session's place replaces the session.

    None does, and the objects that Litestar's ``set_session()`` and ``clear_session()`` put there,
    unless Litestar has a session middleware of its own. A dict that anybody else put there does
    not: it may be the session of another middleware.
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
    """Tell whether what is in the session's place is what ``clear_session()`` put there."""
    empty = sys.modules.get("litestar.types.empty")
    return current is None or (empty is not None and current is empty.Empty)


def author(request: Mapping[str, Any], current: object) -> str:
    """Return the name of the middleware that put something in the session's place."""
    middlewares = [*_litestar_sessions(request), *_starlette_sessions(request)]
    kind = type(current) if not middlewares else middlewares[0]
    if kind is dict:
        return "something inside it"
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
