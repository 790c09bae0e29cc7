"""Keep the sessions of aiohttp-session on any store of coatcheck.

For applications that call ``aiohttp_session.get_session(request)``::

    coatcheck.aiohttp.setup(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")
    aiohttp_session.setup(app, CoatcheckStorage())

The session of aiohttp-session and ``session_of(request)`` are one. Cookie, lifetime and store are
those of :func:`coatcheck.aiohttp.setup`. This module needs aiohttp-session.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp_session import AbstractStorage, Session, SessionData

from .aiohttp import SESSION
from .errors import SessionUnavailable
from .session import AsyncSession

__all__ = ["CoatcheckStorage"]


def __dir__() -> list[str]:
    return __all__


class CoatcheckStorage(AbstractStorage):
    """A storage of aiohttp-session that has the session of the middleware.

    A session of aiohttp-session whose ``max_age`` is set keeps it: the cookie and the stored
    session end by it. An empty session is ended, and ``new_session()`` gets a new id.
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
        if ours.is_new:
            return await self.new_session()
        data: SessionData = {"created": int(ours.created_at), "session": dict(ours)}
        return Session(ours.stored_key, data=data, new=False)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Take over what has changed. It is stored before the headers go out."""
        ours = _session_of(request)
        if session.new and not ours.is_new:
            ours.regenerate()
        if session.empty:
            ours.destroy()
            return
        for key in ours.keys() - session.keys():
            del ours[key]
        ours.update(session)
        if session.max_age is not None:
            ours.cookie.max_age = session.max_age


def _session_of(request: web.Request) -> AsyncSession:
    session: AsyncSession | None = request.get(SESSION)
    if session is None:
        raise SessionUnavailable(
            "this storage needs the middleware: call `coatcheck.aiohttp.setup(app, ...)`"
        )
    return session
