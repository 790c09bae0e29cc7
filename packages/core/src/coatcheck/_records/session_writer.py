"""Store new sessions, and changes of stored ones.

A session that was ended stays ended, because a change never creates a record: only the creation of
a session does, and its move to another key. No parallel change is lost, because each write names
the bytes that it replaces.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from ..codec import SessionState
from ..errors import ConfigurationError
from ..events import Emitter
from ..store import ABSENT, PRESENT, Condition, Record, Unchanged
from .change import Change, ChangeFunction, conflict, unknown_outcome
from .group_commit import GroupCommit
from .operations import Get, Operations, Set
from .records import Attempts, Records, Snapshot
from .transactions import TransactionSnapshot, TransactionWriter

Concurrency: TypeAlias = Literal["merge", "error", "last-write-wins"]

#: Seconds of conflicts after which a write is given up, unless configured.
CONFLICT_SECONDS: Final = 5.0
_CREATE_ATTEMPTS: Final = 3


#: How many ids are tried for one session.
ID_ATTEMPTS: Final = 3


class KeyTaken(Exception):
    """Another session has the key. Only a poor id generator makes this happen."""


def ids_taken() -> ConfigurationError:
    """Return the error for ids that are all taken."""
    return ConfigurationError(
        f"`generate_id` returned ids of other sessions {ID_ATTEMPTS} times in a row"
    )


class SessionWriter:
    """Store new sessions, and changes of stored ones.

    :param records: reads, encodes and merges what is stored.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param emit: is told of each event.
    :param concurrency: what to do when another request wrote first.
    :param conflict_timeout: seconds of conflicts after which a write is given up.
    :param monotonic: measures how long conflicts last, in seconds.
    :param jitter: returns a number from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        records: Records,
        expiry: Callable[[SessionState], float],
        emit: Emitter,
        *,
        concurrency: Concurrency,
        conflict_timeout: float = CONFLICT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.concurrency = concurrency
        self.conflict_timeout = conflict_timeout
        self.monotonic = monotonic
        self._expiry = expiry
        self._emit = emit
        self._records = records
        self._group = GroupCommit(
            records,
            expiry,
            emit,
            merges=concurrency != "error",
            timeout=conflict_timeout,
            monotonic=monotonic,
            jitter=jitter,
        )
        #: Waits before another attempt; see :meth:`GroupCommit.back_off`.
        self.back_off = self._group.back_off
        #: Writes a change in a transaction; see :meth:`TransactionWriter.write`.
        self.write_in_transaction = TransactionWriter(records, expiry, emit, concurrency).write

    def create(
        self, key: str, state: SessionState, attempts: Attempts, content: bytes | None = None
    ) -> Operations[tuple[Snapshot, SessionState]]:
        """Store a new session.

        :param attempts: what earlier calls may have stored under this key.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :raises KeyTaken: another session has the key.
        """
        snapshot = self._records.encode(key, state, self._expiry(state), content)
        content = None  # so that error reports with local variables do not show it
        vanished = 0
        while True:
            try:
                written: bool = yield Set(key, snapshot.record, ABSENT)
            except BaseException:
                attempts.note(snapshot, None)
                raise
            if written:
                self._emit("created", key)
                return snapshot, state
            found: Record | None = yield Get(key)
            if found is not None:
                settled = yield from self._create_over(found, snapshot, state, attempts)
                if settled is not None:
                    return settled
                continue
            # A record came and went, or the store has one there that it cannot read.
            vanished += 1
            if vanished == _CREATE_ATTEMPTS:
                raise KeyTaken

    def _create_over(
        self, found: Record, snapshot: Snapshot, state: SessionState, attempts: Attempts
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a session over the record of an earlier attempt to store the same session.

        :param found: the record that is stored under the key.
        :returns: what is stored now; None if the record is gone again.
        :raises KeyTaken: the record is another session's.
        """
        # Only this session knows its key, so bytes that it may have stored are its own.
        shown = attempts.unknown.get(found.data)
        if shown is None:
            raise KeyTaken
        earlier = Snapshot(snapshot.key, replace(found, data=shown))
        if shown == found.data:
            return (yield from self.update(earlier, state, True, attempts))
        change = Change(earlier, snapshot, state, True, attempts)
        return (yield from self._group.write(change, read_first=True))

    def update(
        self,
        snapshot: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        content: bytes | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a changed session over the loaded record, and merge it with what others wrote.

        Parameters, result and errors are those of :meth:`change_of` and :meth:`write`.
        """
        return self.write(self.change_of(snapshot, state, extend, attempts, content))

    def change_of(
        self,
        snapshot: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        content: bytes | None = None,
        function: ChangeFunction | None = None,
    ) -> Change:
        """Return a change of a stored session, for :meth:`write`.

        :param snapshot: the record as it was loaded.
        :param state: the session with the change.
        :param extend: whether the write moves the expiry.
        :param attempts: what earlier calls may have stored already.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :param function: changes data in place: those of ``state``, or those that others wrote.
        """
        expires_at = self._expiry(state) if extend else snapshot.record.expires_at
        mine = self._records.encode(snapshot.key, state, expires_at, content)
        content = None  # so that error reports with local variables do not show it
        return Change(snapshot, mine, state, extend, attempts, function)

    def write(self, change: Change) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a change.

        Under each ``concurrency``, a function is applied to what is stored. If another request
        writes first, it is applied again to what is stored then. Other changes of the same request
        are written along. With ``"error"`` they are a conflict if another request wrote first.
        Changes after a write in a transaction are always merged, because nobody else knows whether
        it was committed.

        :returns: what is stored now; None if the session is gone, and nothing was written.
        :raises ConflictError: others wrote first, and their changes may not or could not be merged.
        """
        if (
            self.concurrency == "merge"
            or change.function is not None
            or isinstance(change.base, TransactionSnapshot)
        ):
            return self._group.write(change)
        return self._write_alone(change)

    def _write_alone(self, change: Change) -> Operations[tuple[Snapshot, SessionState] | None]:
        base, mine = change.base, change.mine
        condition = self.condition(base)
        if (yield from self._set(mine, condition, change.attempts)):
            self._emit("updated", base.key)
            return mine, change.state
        return (yield from self._refused(base, mine, change.state, change.attempts))

    def condition(self, snapshot: Snapshot) -> Condition:
        """Return the condition for replacing or removing a record that was loaded."""
        in_doubt = isinstance(snapshot, TransactionSnapshot)
        if self.concurrency == "last-write-wins" and not in_doubt:
            return PRESENT
        return Unchanged(snapshot.record.data)

    def _set(self, snapshot: Snapshot, only_if: Condition, attempts: Attempts) -> Operations[bool]:
        try:
            written: bool = yield Set(snapshot.key, snapshot.record, only_if)
        except BaseException:
            attempts.note(snapshot, None)
            raise
        return written

    def _refused(
        self, base: Snapshot, mine: Snapshot, state: SessionState, attempts: Attempts
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Settle a write that was refused, where nothing is merged."""
        found = yield from self._records.read(base.key)
        if found is not None and self.concurrency == "error":
            # Equal bytes may be this session's own after an attempt of unknown outcome. Another
            # request may have written them just as well.
            known = found[0].record.data in attempts.unknown
            self._emit("conflict", base.key)
            raise unknown_outcome() if known else conflict()
        # The record may have been created again between two commands, as in a migration from
        # Express.
        if found is not None and (yield from self._set(mine, PRESENT, attempts)):
            self._emit("updated", base.key)
            return mine, state
        self._emit("gone", base.key)
        return None
