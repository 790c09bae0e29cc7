"""Keep the sessions of aiohttp-session on any store of coatcheck.

For applications that call ``aiohttp_session.get_session(request)``::

    coatcheck.aiohttp.setup(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")
    aiohttp_session.setup(app, CoatcheckStorage())

The session of aiohttp-session and ``session_of(request)`` are one. Cookie, lifetime and store are
those of :func:`coatcheck.aiohttp.setup`. This module needs aiohttp-session.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from aiohttp import web
from aiohttp_session import AbstractStorage, Session

from .aiohttp import SESSION
from .errors import SessionUnavailable
from .integration import configured_cookie, end_unchanged, watch_end
from .session import AsyncSession

__all__ = ["CoatcheckStorage"]


def __dir__() -> list[str]:
    return __all__


_MISSING: Final = object()


class CoatcheckStorage(AbstractStorage):
    """A storage of aiohttp-session that has the session of the middleware.

    A session of aiohttp-session whose ``max_age`` is set keeps it: the cookie and the stored
    session end by it. None goes back to that of the middleware, and 0 ends the session. An empty
    session is ended. If its last key was removed, without ``invalidate()`` and ``clear()``, it goes
    on where another request has changed it, or where several session cookies came.
    ``new_session()`` gets a new id and drops the data.

    Only what has changed is taken over. So ``session_of(request)`` can be used in the same request:
    a session that was ended there stays ended, and a key that was changed there stays as it is.
    """

    def __init__(self) -> None:
        super().__init__()

    async def load_session(self, request: web.Request) -> Session:
        """Return the session of a request.

        :raises SessionUnavailable: ``coatcheck.aiohttp.setup`` was not called.
        :raises StoreError: the store failed.
        """
        ours = _session_of(request)
        await ours.load()
        return _LoadedSession(ours)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Take over what has changed. It is stored before the headers go out."""
        ours = _session_of(request)
        former: dict[str, Any] = {}
        former_max_age = None
        if isinstance(session, _LoadedSession):
            if session.has_ended():
                return
            former, former_max_age = session.former, session.former_max_age
        elif not ours.is_new:
            ours.regenerate()
        else:
            ours.clear()
        _take_over(ours, former, session)
        if session.max_age is not None and session.max_age <= 0:
            ours.destroy()
        elif session.empty:
            # What was added through `session_of` goes on, but not under the old id.
            if ours:
                ours.regenerate(keep_data=True)
            elif isinstance(session, _LoadedSession) and not session.was_cleared:
                await end_unchanged(ours)
            else:
                ours.destroy()
        elif session.max_age != former_max_age:
            default = configured_cookie(ours).max_age
            ours.cookie.max_age = default if session.max_age is None else session.max_age


class _LoadedSession(Session):
    """A session that shows that of the middleware, and knows what that was before.

    :ivar former: a copy of the data.
    :ivar former_max_age: the lifetime of the cookie in seconds, or None.
    :ivar has_ended: tells whether the session has ended through ``session_of``.
    :ivar was_cleared: whether the application removed all data at once, which is a logout.
    """

    was_cleared = False

    def __init__(self, ours: AsyncSession) -> None:
        data = dict(ours)
        created = int(ours.created_at)
        super().__init__(
            ours.stored_key, data={"created": created, "session": data}, new=ours.is_new
        )
        seconds = ours.cookie.max_age
        self.max_age = self.former_max_age = None if seconds is None else int(seconds)
        self.former: dict[str, Any] = deepcopy(data)
        self.has_ended = watch_end(ours)

    def invalidate(self) -> None:
        """Remove all data."""
        super().invalidate()
        self.was_cleared = True

    def clear(self) -> None:
        """Remove all data."""
        super().clear()
        self.was_cleared = True


def _take_over(ours: AsyncSession, former: dict[str, Any], session: Session) -> None:
    """Change the session of the middleware as that of aiohttp-session was changed."""
    for key in former.keys() - session.keys():
        ours.pop(key, None)
    for key, value in session.items():
        before = former.get(key, _MISSING)
        if value != before and ours.get(key, _MISSING) == before:
            ours[key] = value


def _session_of(request: web.Request) -> AsyncSession:
    session: AsyncSession | None = request.get(SESSION)
    if session is None:
        raise SessionUnavailable(
            "this storage needs the middleware: call `coatcheck.aiohttp.setup(app, ...)`"
        )
    return session
