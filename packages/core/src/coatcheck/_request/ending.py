"""End the records that a request has to end: those of its session, and those whose cookie came."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from .._records.operations import Destroy, Operations
from .._records.transactions import check_ended
from ..errors import StoreError
from ..store import Unchanged
from .set_cookie import HeaderChanges

if TYPE_CHECKING:
    from .._records.takeover_records import TakeoverRecord
    from ..cookie import CookieOptions
    from .request_context import RequestContext
    from .takeover import Presented


class Ending:
    """End records for one request.

    :param context: the request.
    :ivar other_key: where else in the store the session may be, which ends with it; or None.
    :ivar taken_over: the old session with whose data this one began, until a response is made.
    """

    __slots__ = (
        "_cookie",
        "_key_of",
        "_lifecycle",
        "_removals",
        "_request",
        "_session",
        "_takeover",
        "other_key",
        "taken_over",
    )

    def __init__(self, context: RequestContext) -> None:
        self._key_of = context.manager.key_of
        self._takeover = context.manager.takeover
        self._request = context.request
        self._lifecycle = context.policy.lifecycle
        self._session = context.session
        self._cookie = context.cookie
        self.other_key: str | None = None
        self.taken_over: tuple[Presented, TakeoverRecord] | None = None
        #: The old cookies that the browser has to remove: by name, their attributes.
        self._removals: dict[str, CookieOptions] = {}

    def end_pending(self) -> Operations[None]:
        """Carry out what the application asked to end."""
        session = self._session
        keys = session.identity.keys_to_end(self._key_of)
        if keys:
            check_ended(session.identity.old or session.identity.snapshot)
        for key in keys:
            yield from self._lifecycle.end(key)
        if session.identity.ends_presented:
            yield from self.end_presented(keys)
        elif session.identity.old is not None:
            yield from self.end_elsewhere()
        session.all_ended()

    def end_unchanged(self) -> Operations[None]:
        """End the session, unless another request has changed its record since it was loaded.

        It goes on where other cookies came along, whose sessions would end as well: the application
        did not ask for a logout.
        """
        session = self._session
        snapshot, takeover = session.identity.snapshot, self._takeover
        if len(self._cookie.tokens()) > 1 or (takeover and takeover.came(self._request)):
            return
        if snapshot is None or not session.identity.cookie_was_sent:
            return
        try:
            ended: bool = yield Destroy(snapshot.key, Unchanged(snapshot.record.data))
        except StoreError:
            return  # saving the changes finds out what has become of the record
        if ended and session.identity.snapshot is snapshot:
            session.destroy()

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
        if self._takeover is not None:
            for session_id in (yield from self._takeover.end(self._request, self)):
                if (key := self._key_of(session_id)) not in seen:
                    yield from self._lifecycle.end(key)
            self._takeover = None  # they have all ended
        self._cookie.forget_tokens()
        self.other_key = None

    def finish_takeover(self, changes: HeaderChanges) -> Operations[HeaderChanges]:
        """Note that the response has the new cookie, and let it remove the old ones.

        :param changes: what the response has of the session.
        """
        if self._takeover is not None and self.taken_over is not None and changes.set_cookie:
            yield from self._takeover.finish(self)
        if not self._removals:
            return changes
        return HeaderChanges(changes.set_cookie, True, self._removal_lines(changes.set_cookie))

    def remove_cookies(self, names: Iterable[str], options: CookieOptions) -> None:
        """Let the response remove old cookies.

        :param options: their attributes.
        """
        self._removals.update(dict.fromkeys(names, options))

    def _removal_lines(self, set_cookie: str | None) -> tuple[str, ...]:
        lines = (
            self._cookie.removal_of(name, options, set_cookie is not None)
            for name, options in self._removals.items()
        )
        return tuple(line for line in lines if line is not None)

    def end_elsewhere(self) -> Operations[None]:
        """Remove what may be left of the ended session under another key."""
        if self.other_key is not None:
            yield from self._lifecycle.end(self.other_key)
            self.other_key = None
