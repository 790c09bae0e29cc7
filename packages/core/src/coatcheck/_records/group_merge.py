"""Merge the changes of a group into what is stored, without writing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..codec import SessionState
from .change import Change, conflict, unknown_outcome
from .change_group import ChangeGroup
from .operations import Operations, Sleep
from .records import Records, Snapshot
from .transactions import is_own

#: Seconds after which other tasks of the event loop get their turn while changes are merged.
_LONG: Final = 0.005


class GroupMerge:
    """Merge the changes of a group.

    :param records: decodes, encodes and merges what is stored.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param merges: whether changes may be merged at all. If not, only those of functions are
        applied to what others wrote.
    :param monotonic: measures how long merging takes, in seconds.
    """

    def __init__(
        self,
        records: Records,
        expiry: Callable[[SessionState], float],
        *,
        merges: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._records = records
        self._expiry = expiry
        self._merges = merges
        self._monotonic = monotonic

    def merged(self, group: ChangeGroup, stored: Snapshot) -> Operations[tuple[Snapshot, int]]:
        """Return what is stored with the changes of all, and the batch for telling the others.

        A change of others that fails leaves the group, and its request is told the error. The
        batch is the number of requests that are told before other tasks get their turn.

        :raises Exception: the leader's own change cannot be merged.
        """
        newest = _Newest(self._records, self._expiry, stored)
        known: dict[bytes, SessionState] = {}
        size = len(group.others) + 1
        began, seconds = self._monotonic(), 0.0
        for each in group:
            try:
                if each.deadline < began:
                    raise conflict()
                self._merge_into(newest, each, stored, known)
            except Exception as error:
                # The application's own functions may fail, for one request alone.
                if each is group.leader:
                    raise
                group.drop(each, error)
            elapsed = self._monotonic() - began
            if elapsed > _LONG:
                seconds += elapsed
                yield Sleep(0)
                began = self._monotonic()
        merged = newest.encoded()
        seconds += self._monotonic() - began
        # A request has about as much to do with the result as merging its change has taken.
        return merged, max(1, int(_LONG * size / seconds)) if seconds else size

    def _merge_into(
        self,
        newest: _Newest,
        change: Change,
        stored: Snapshot,
        known: dict[bytes, SessionState],
    ) -> None:
        """Merge a change into the newest state, which stays as it was if that fails.

        :param known: the decoded bases of changes. Those that meet often have one base.
        """
        records, key = self._records, stored.key
        base, earlier = change.base, change.attempts.unknown.get(stored.record.data)
        others_wrote = stored.record.data != base.record.data
        if not self._merges and others_wrote and not is_own(base, stored):
            # A function may be applied again to what others wrote. Other changes may not.
            if earlier is not None:
                raise unknown_outcome()
            if records.content(change.mine) != records.content(base):
                raise conflict()
        if change.recall(stored):
            return
        if earlier is not None:
            base = Snapshot(key, replace(stored.record, data=earlier))
        before = known.get(base.record.data)
        if before is None:
            before = known[base.record.data] = records.decode(key, base.record)
        mine, settled = records.decode(key, change.mine.record), change.base.settled()
        if settled is not change.base:
            before = records.without_undone(before, settled, mine, newest.state())
        if change.function is None:
            newest.take(records.merge(before, mine, newest.state()), change.extend)
            return
        state = records.merge(before, mine, newest.copy())
        change.apply(state)
        newest.take(records.with_owner(state), change.extend, encode=True)


class _Newest:
    """Hold what is stored, with one change after the other merged into it.

    A function gets a copy, and its result is encoded at once. So nothing remains of a function that
    failed, a result that cannot be stored is an error of its own request alone, and each function
    sees what it would have seen in a write of its own.

    :param stored: what is stored.
    """

    def __init__(
        self, records: Records, expiry: Callable[[SessionState], float], stored: Snapshot
    ) -> None:
        self._records = records
        self._expiry = expiry
        self._stored = stored
        self._extends = False
        # One of the two may be missing, and is made from the other.
        self._state: SessionState | None = None
        self._encoded: Snapshot | None = stored

    def state(self) -> SessionState:
        """Return the state. Its values may become part of the next one."""
        if self._state is None:
            self._state = self.copy()
        return self._state

    def copy(self) -> SessionState:
        """Return a copy of the state whose values may be changed."""
        encoded = self.encoded()
        return self._records.decode(encoded.key, encoded.record)

    def encoded(self) -> Snapshot:
        """Return what would be stored."""
        if self._encoded is None:
            assert self._state is not None, "one of the two is there"
            self._encoded = self._encode(self._state, self._extends)
        return self._encoded

    def take(self, state: SessionState, extends: bool, *, encode: bool = False) -> None:
        """Go on from a state with one more change.

        :param extends: whether the change moves the expiry.
        :param encode: encode it now, because the application may still have its values.
        """
        extends = extends or self._extends
        self._encoded = self._encode(state, extends) if encode else None
        self._state = None if encode else state
        self._extends = extends

    def _encode(self, state: SessionState, extends: bool) -> Snapshot:
        expires_at = self._expiry(state) if extends else self._stored.record.expires_at
        return self._records.encode(self._stored.key, state, expires_at)
