"""Decide when the expiry of a session's record moves, and by how much.

docs/decisions/2026-11-30-expiry.md has the reasons.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .._records.operations import Get, Operations
from .._records.records import Snapshot
from .._records.transactions import check_ended
from .._session.phase import OPEN
from ..errors import ConfigurationError, StoreError
from ..events import logger
from ..store import Record

if TYPE_CHECKING:
    from .request_context import RequestContext

#: Seconds by which a store may round an expiry.
ROUNDING: Final = 1.0


class KeepAlive:
    """Move the expiry of one request's session.

    :param context: the request.
    :ivar expiry_before: when the session would have expired, had loading it not moved that; None
        where it did not.
    :ivar extends_at_load: whether loading it may move that.
    """

    __slots__ = (
        "_cookie",
        "_manager",
        "_policy",
        "_request",
        "_session",
        "expiry_before",
        "extends_at_load",
    )

    def __init__(self, context: RequestContext) -> None:
        self._manager = context.manager
        self._request = context.request
        self._policy = context.policy
        self._session = context.session
        self._cookie = context.cookie
        self.expiry_before: float | None = None
        self.extends_at_load = True

    # Rules

    def applies(self) -> bool:
        """Tell whether this request keeps the session alive."""
        asked = self._session.keeps_alive
        if asked is not None:
            return asked
        rule = self._manager.options.keeps_alive
        if rule is None:
            return True
        said: object = rule(self._request)
        if not isinstance(said, bool):
            raise ConfigurationError(
                f"`keeps_alive` must return True or False, not {type(said).__name__}"
            )
        return said

    def cookie_follows(self) -> bool:
        """Tell whether the cookie goes out again when the expiry moves: it ends by itself."""
        options = self._session.contents.cookie_options
        return options.max_age is not None and not self._manager.whole_cookie

    def is_due(self, snapshot: Snapshot) -> bool:
        """Tell whether the expiry has to move far enough to be worth a touch."""
        stored, forced = snapshot.record.expires_at, self._session.keeps_alive
        return self._policy.touch_is_due(self._next_expiry(), stored, forced)

    def due_expiry(self, snapshot: Snapshot) -> float | None:
        """Return the expiry to touch the record of an unwritten session with; None: no touch.

        It is the stored one where the expiry stays, but the touch has to tell whether the session
        still lives.
        """
        # A cookie that is going out needs a session behind it: the touch asks for it.
        sends_cookie = self._cookie.is_outdated or self._manager.options.rolling
        if not self.applies():
            stored = snapshot.record.expires_at
            return stored if sends_cookie or self.expiry_before is not None else None
        if sends_cookie or self.is_due(snapshot):
            return self._next_expiry()
        return None

    def of_write(self, loaded: Snapshot, changed: bool) -> tuple[Snapshot, bool, bool]:
        """Decide what a write does to the expiry.

        :param loaded: what is written over.
        :param changed: whether there is a change.
        :returns: the record with the expiry that stays if the write moves none; whether it moves
            it; and whether a cookie that has a lifetime goes out again.
        """
        extends = self.applies()
        if self.expiry_before is not None and not extends:
            record = replace(loaded.record, expires_at=self.expiry_before)
            return replace(loaded, record=record), False, changed
        if extends and self.cookie_follows():
            # The expiry moves where the cookie can go along.
            if self._session.phase is not OPEN:
                return loaded, False, changed
            if not changed:
                extends = self.is_due(loaded)
                return loaded, extends, extends
        return loaded, extends, changed

    # When they apply

    def at_load(self, snapshot: Snapshot) -> Operations[None]:
        """Move the expiry of a session that was loaded, where little is left.

        Otherwise a request that takes longer than that would find its session expired, and lose
        its changes. Where the cookie has to follow, the expiry stops one touch interval short:
        the first response moves both, and that may be another request's.
        """
        if not (self.extends_at_load and self.applies()):
            return
        expires_at = self._next_expiry()
        if self.cookie_follows():
            expires_at -= self._policy.short_of(expires_at)
        try:
            moved = yield from self._move(snapshot, expires_at)
        except StoreError as error:
            self.failed(snapshot, error)
            return
        if moved:
            self.expiry_before = snapshot.record.expires_at
            self._follow()

    def with_response(self) -> Operations[None]:
        """Move the expiry of a session that was not written, where that is due."""
        snapshot = self._session.identity.snapshot
        if snapshot is None:
            return
        expires_at = self.due_expiry(snapshot)
        if expires_at is None:
            return
        try:
            if self.expiry_before is not None and not self.applies():
                yield from self._move_back(snapshot, self.expiry_before)
            else:
                moved = yield from self._move(snapshot, expires_at)
                if moved and expires_at != snapshot.record.expires_at:
                    self._follow()
        except StoreError as error:
            self.failed(snapshot, error)

    def after_save(self, wrote: bool) -> Operations[None]:
        """Move the expiry after a save, where the save did not and the application asked for it.

        After the headers no cookie can go along. There the expiry of a session whose cookie has a
        lifetime stops one touch interval short, so the next response moves both.

        :param wrote: whether the save has stored something.
        """
        session = self._session
        snapshot, asked = session.identity.snapshot, session.keeps_alive
        follows = self.cookie_follows()
        if session.keeps_alive:
            session.keeps_alive = None
        is_late = session.phase is not OPEN
        may_move = (is_late and follows) if wrote else asked
        if snapshot is None or not may_move or not (asked is True or self.applies()):
            return
        expires_at, stored = self._next_expiry(), snapshot.record.expires_at
        if follows and is_late:
            expires_at -= self._policy.touch_interval(expires_at)
            if expires_at <= stored:
                return
        if not self._policy.touch_is_due(expires_at, stored, asked):
            return
        if (yield from self._move(snapshot, expires_at)) and session.phase is OPEN:
            self._follow()

    def failed(self, snapshot: Snapshot, error: StoreError) -> None:
        """Say that the expiry could not be moved. The request goes on."""
        self._manager.emit("store_error", snapshot.key, error)
        logger.warning("a session's expiry could not be moved: %s", type(error).__name__)

    def _follow(self) -> None:
        if self.cookie_follows():
            self._cookie.follows_expiry = True

    def _next_expiry(self) -> float:
        contents = self._session.contents
        return self._policy.expires_at(contents.cookie, contents.began_at())

    def _move(self, snapshot: Snapshot, expires_at: float) -> Operations[bool]:
        """Touch the record. Returns whether the session is still the one that was touched."""
        session = self._session
        check_ended(snapshot)
        touched = yield from self._policy.lifecycle.touch(snapshot, expires_at)
        if touched is not None:
            return session.touched(snapshot, touched)
        if session.identity.snapshot is snapshot:
            session.record_deleted()
        return False

    def _move_back(self, snapshot: Snapshot, expires_at: float) -> Operations[None]:
        """Move the expiry back to where it was when the session was loaded.

        The application said only then that this request does not keep the session alive; the
        option `keeps_alive` says so before. Changes that other requests have stored meanwhile stay.
        """
        self.expiry_before, self._cookie.follows_expiry = None, False
        mine = snapshot.record
        record: Record | None = yield Get(snapshot.key)
        if record is None:
            if self._session.identity.snapshot is snapshot:
                self._session.record_deleted()
        elif record.data == mine.data and abs(record.expires_at - mine.expires_at) <= ROUNDING:
            yield from self._move(snapshot, expires_at)
