"""End the records that a request has to end: those of its session, and those whose cookie came."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from .._records.lifecycle import Lifecycle
from .._records.operations import Operations
from .._session.session_core import SessionCore

if TYPE_CHECKING:
    from .session_manager import SessionManager
    from .set_cookie import SetCookie


class Ending:
    """End records for one request.

    :param manager: what all requests share.
    :param cookie: that of the request.
    :ivar other_key: where else in the store the session may be, which ends with it; or None.
    """

    __slots__ = ("_cookie", "_key_of", "_lifecycle", "_session", "other_key")

    def __init__(
        self,
        manager: SessionManager,
        lifecycle: Lifecycle,
        session: SessionCore,
        cookie: SetCookie,
    ) -> None:
        self._key_of = manager.key_of
        self._lifecycle = lifecycle
        self._session = session
        self._cookie = cookie
        self.other_key: str | None = None

    def end_pending(self) -> Operations[None]:
        """Carry out what the application asked to end."""
        session = self._session
        keys = session.identity.keys_to_end(self._key_of)
        for key in keys:
            yield from self._lifecycle.end(key)
        if session.identity.ends_presented:
            yield from self.end_presented(keys)
        elif session.identity.old is not None:
            yield from self.end_elsewhere()
        session.all_ended()

    def end_presented(self, ended: Collection[str]) -> Operations[None]:
        """End each session whose cookie came, the one in use among them.

        A browser sends several cookies of one name after a change of the cookie's domain, or where
        somebody planted one. And where the load failed nobody knows which session is alive.

        :param ended: keys of sessions that were ended already.
        """
        seen = set(ended)
        for token in self._cookie.tokens():
            for key in (self._key_of(token.id), token.other_key):
                if key is not None and key not in seen:
                    seen.add(key)
                    yield from self._lifecycle.end(key, token.accepts)
        self._cookie.forget_tokens()
        self.other_key = None

    def end_elsewhere(self) -> Operations[None]:
        """Remove what may be left of the ended session under another key."""
        if self.other_key is not None:
            yield from self._lifecycle.end(self.other_key)
            self.other_key = None
