"""Write changes of one session, one after the other or several at once.

Writers of one process take turns (:mod:`coatcheck._records.writers`). The one whose turn it is
reads what is stored, merges its own change and those of all that wait into it, and writes once.
Each of them learns what became of its change before its response goes out.

No change is acknowledged that is not stored. If the write fails, all of them get the error. If it
is interrupted, its outcome is unknown. All of them note that, and those that go on write again.

A write goes through these steps::

    first write of what was loaded, without waiting (not for functions)
      ├─ written ──────────────────────────────────────────────▶ done
      └─ refused, or another writer leads
           └─ wait in line
                ├─ this writer leads ─▶ read, merge, write ────▶ done
                ├─ another writer has written the change ──────▶ its outcome
                └─ the time is up ─────────────────────────────▶ ConflictError

docs/decisions/2026-11-30-group-commit.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ..codec import SessionState
from ..errors import ConfigurationError, RecordTooLarge, StoreError, StoreTimeout
from ..events import Emitter
from ..store import Unchanged
from .change import Change, conflict
from .change_group import ChangeGroup
from .group_merge import GroupMerge
from .operations import Operations, Set, Sleep, ToTheEnd, Turn
from .records import Records, Snapshot
from .transactions import is_own

#: Seconds that a store call may take, so that a change which another writer has is settled by then.
_LONGEST_CALL: Final = 30.0
_BACKOFF_BASE: Final = 0.004
_BACKOFF_CAP: Final = 0.1


class _FirstWrite(Enum):
    """Name the outcome of a first write, which replaces the loaded record without reading again."""

    #: It was not sent, because another writer leads or the change has a function. Or it was sent,
    #: and its outcome is unknown.
    NO_REPLY = auto()
    #: The change is stored.
    WRITTEN = auto()
    #: The stored record is not the loaded one.
    REFUSED = auto()


# Attributes of an enumeration take longer to look up, and each write needs these.
_NO_REPLY: Final = _FirstWrite.NO_REPLY
_WRITTEN: Final = _FirstWrite.WRITTEN
_REFUSED: Final = _FirstWrite.REFUSED


class _Again(Enum):
    """Name why a change must be merged again, with the record that is stored then."""

    #: Another writer was faster.
    REFUSED = auto()
    #: There is nothing to write, but something else may be stored than the base of the change.
    UNREAD = auto()


class GroupCommit:
    """Write changes of stored sessions.

    :param records: reads, encodes and merges what is stored.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param emit: is told of each event.
    :param merges: whether changes may be merged at all. If not, only those of functions are
        applied to what others wrote.
    :param timeout: seconds of conflicts after which a change is given up.
    :param monotonic: measures how long conflicts last, in seconds.
    :param jitter: returns a number from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        records: Records,
        expiry: Callable[[SessionState], float],
        emit: Emitter,
        *,
        merges: bool,
        timeout: float,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._records = records
        self._emit = emit
        self._timeout = timeout
        self._monotonic = monotonic
        self._jitter = jitter
        self._merge = GroupMerge(records, expiry, merges=merges, monotonic=monotonic)

    def write(
        self, change: Change, *, read_first: bool = False
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Write a change, by itself or through another writer.

        :param read_first: whether to read what is stored before the first attempt.
        :returns: what is stored now; None if the session is gone, and nothing was written.
        :raises ConflictError: others wrote first, for as long as the timeout.
        """
        base, mine = change.base, change.mine
        change.deadline = self._monotonic() + self._timeout
        call = None
        if not (read_first or change.function is not None):
            # Nearly always nobody else writes the session, so what was loaded is stored.
            call = Set(base.key, mine.record, Unchanged(base.record.data))
        turn = Turn(base.key, change, self._timeout, call)
        first = _NO_REPLY
        try:
            answer = yield turn
            if answer is not None:
                first = _WRITTEN if answer else _REFUSED
            if first is _WRITTEN:
                self._emit("updated", base.key)
                return mine, change.state
            if not change.leads:
                yield from self._wait(change)
            if change.leads:
                return (yield from self._lead(change, first is _REFUSED, read_first))
        except BaseException as error:
            may_be_stored = turn.is_called and first is not _REFUSED
            if may_be_stored and not isinstance(error, RecordTooLarge):
                change.note(mine)
            change.leave()
            if change.stored is not None:
                change.note(change.stored)
            raise
        finally:
            change.leave()
        return self._outcome(change)

    def back_off(self, attempt: int, elapsed: float = 0.0) -> Operations[None]:
        """Wait for a random time before the next attempt.

        :param elapsed: seconds that the last attempt took. A writer that always lost by a little
            would lose again if the pause was shorter than an attempt of the other.
        """
        longest = min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 8))
        yield Sleep(max(longest, elapsed) * self._jitter())

    def _wait(self, change: Change) -> Operations[None]:
        """Wait until a writer leads, another one has settled its change, or the time is up.

        :raises StoreTimeout: another writer has the change, and its call does not end.
        """
        if not change.in_line:  # a store that answers at once is first called without a line
            yield Turn(change.base.key, change, self._timeout)
        if change.leads or change.is_settled or change.step_out():
            return
        # The time is up, but another writer has taken the change: its call decides.
        yield Turn(change.base.key, change, _LONGEST_CALL)
        if not (change.leads or change.is_settled):
            raise StoreTimeout("another request that writes this session does not end")

    def _outcome(self, change: Change) -> tuple[Snapshot, SessionState] | None:
        """Return what another writer has made of a change."""
        if change.error is not None:
            raise change.error
        if not change.is_settled:
            raise conflict()
        if change.stored is None:
            self._emit("gone", change.base.key)
            return None
        self._emit("merged", change.base.key)
        return change.stored, self._records.shown(change.state, change.stored)

    def _lead(
        self, change: Change, was_refused: bool, read_first: bool
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Write a change, and those of others that wait, over what is stored.

        :param was_refused: whether the first write was refused.
        :param read_first: whether to read what is stored before the first attempt.
        """
        group = ChangeGroup(change)
        stored = None
        if change.function is not None and change.signal is None and not read_first:
            stored = change.base  # it did not wait for others, so this is probably stored
        attempt = 0
        while True:
            began = self._monotonic()
            stored = stored or (yield from self._read(group, was_refused))
            if stored is None:
                return None
            if began > change.deadline:
                raise conflict()
            group.fill()
            settled = yield from self._attempt(group, stored)
            if settled is not _Again.UNREAD and settled is not _Again.REFUSED:
                return settled
            stored = None
            if settled is _Again.UNREAD:
                continue
            was_refused = True
            yield from self.back_off(attempt, self._monotonic() - began)
            attempt += 1

    def _read(self, group: ChangeGroup, was_refused: bool) -> Operations[Snapshot | None]:
        """Return what is stored. If nothing is, or the store fails, the others learn it, too.

        :param was_refused: whether a write was refused before.
        """
        key = group.leader.base.key
        try:
            found = yield from self._records.read(key)
        except (StoreError, ConfigurationError) as error:
            group.fail(error)
            raise
        if found is None:
            group.settle(None)
            self._emit("gone", key)
            return None
        leader, data = group.leader, found[0].record.data
        if was_refused and not (data in leader.attempts.unknown or is_own(leader.base, found[0])):
            self._emit("conflict", key)
        return found[0]

    def _attempt(
        self, group: ChangeGroup, stored: Snapshot
    ) -> Operations[tuple[Snapshot, SessionState] | _Again]:
        """Write the changes of a group over what is stored."""
        merged, batch = yield from self._merge.merged(group, stored)
        if self._records.content(merged) == self._records.content(stored):
            if stored is group.leader.base:
                return _Again.UNREAD
            group.note_needless()
            return (yield from self._done(group, stored, stored, batch))
        try:
            written = yield from self._set(group, merged, stored)
        except RecordTooLarge:
            if not group.others:
                raise
            # Nobody knows whose change is too large: each is written by itself.
            group.disband()
            return (yield from self._attempt(group, stored))
        if not written:
            return _Again.REFUSED
        return (yield from self._done(group, stored, merged, batch))

    def _set(self, group: ChangeGroup, merged: Snapshot, over: Snapshot) -> Operations[bool]:
        """Write a group. All that have a change in it note a write of unknown outcome."""
        call = Set(merged.key, merged.record, Unchanged(over.record.data))
        try:
            # The end of one request must not leave the others without an answer.
            written: bool = yield (ToTheEnd(call) if group.others else call)
        except RecordTooLarge:
            raise
        except BaseException as error:
            group.note(merged)
            if isinstance(error, StoreError | ConfigurationError):
                group.fail(error)
            raise
        return written

    def _done(
        self, group: ChangeGroup, before: Snapshot, stored: Snapshot, batch: int
    ) -> Operations[tuple[Snapshot, SessionState]]:
        """Tell the others what is stored, and return it.

        :param before: what was stored before.
        :param batch: the number of requests that are told before other tasks get their turn.
        """
        change = group.leader
        met = before.record.data != change.base.record.data
        if group.others:
            met = True
            yield from group.settle_in_turn(stored, batch)
        if met:
            self._emit("merged", stored.key)
        elif stored is not before:
            self._emit("updated", stored.key)
        return stored, self._records.shown(change.state, stored)
