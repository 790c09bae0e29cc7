"""The life of a session in a store: keys and states, no HTTP, no I/O.

Each method is a generator of :mod:`operations <coatcheck.operations>`, which a runner of
:mod:`coatcheck.runners` executes. Together they keep two promises: a session that was ended
stays ended, because nothing but :meth:`Lifecycle.create` ever creates a record; and of parallel
changes none is lost, because each write names the bytes that it replaces.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from .codec import Codec, SessionState
from .errors import ConflictError
from .events import Announcer
from .group_commit import Change, ChangeFunction, GroupCommit, apply, conflict, unknown_outcome
from .merging import MergeRule
from .operations import Destroy, Get, Operations, Set, Touch
from .records import Attempts, Records, Snapshot
from .store import ABSENT, PRESENT, Condition, Record, Unchanged
from .succession import Succession

Concurrency: TypeAlias = Literal["merge", "error", "last-write-wins"]

#: Seconds of conflicts after which a write is given up, unless configured.
CONFLICT_SECONDS: Final = 5.0
_CREATE_ATTEMPTS: Final = 3
_MOVE_ATTEMPTS: Final = 3


class KeyTaken(Exception):
    """Another session has the key. Only a poor id generator makes this happen."""


class Lifecycle:
    """Load, create, update, touch, end and rotate sessions.

    :param codec: turns states into bytes.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param clock: returns POSIX seconds.
    :param absolute_timeout: seconds from creation after which a session is over, or None.
    :param concurrency: what to do when somebody else wrote first.
    :param rules: by key, how values are merged that both sides have changed.
    :param conflict_timeout: seconds of conflicts after which a write is given up.
    :param announce: told of each event.
    :param owner: derives the owner from the data, or None where it is a value of its own.
    :param monotonic: measures how long conflicts last, in seconds.
    :param jitter: returns a number from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        expiry: Callable[[SessionState], float],
        clock: Callable[[], float],
        absolute_timeout: float | None,
        concurrency: Concurrency,
        announce: Announcer,
        owner: Callable[[Mapping[str, Any]], str | None] | None = None,
        rules: Mapping[str, MergeRule] | None = None,
        conflict_timeout: float = CONFLICT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.expiry = expiry
        self._clock = clock
        self._concurrency = concurrency
        self._announce = announce
        self._monotonic = monotonic
        self._conflict_timeout = conflict_timeout
        self._records = Records(codec, clock, absolute_timeout, announce, owner, rules or {})
        self._group = GroupCommit(
            self._records,
            expiry,
            announce,
            merges=concurrency != "error",
            timeout=conflict_timeout,
            monotonic=monotonic,
            jitter=jitter,
        )
        self._succession = Succession(codec, clock)

    def load(
        self,
        key: str,
        other_key: str | None = None,
        migrate: bool = False,
        accepts: Callable[[str, bytes], bool] | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Return what is stored under a key, or None if there is no live, readable record.

        :param other_key: where the session is looked for if it is not there.
        :param migrate: whether a session that is found there moves to the key.
        :param accepts: tells for a key and the data under it whether that can be the session.
        """
        record: Record | None = yield Get(key)
        if record is not None and accepts is not None and not accepts(key, record.data):
            record = None
        if record is not None:
            found = self._records.open(key, record)
        elif other_key is not None:
            other = yield from self._get(other_key, accepts)
            found = None if other is None else self._records.open(other_key, other)
            if migrate:
                found = yield from self._move(found, key)
        else:
            found = None
        if found is not None:
            self._announce("loaded", found[0].key)
        elif record is None:
            self._announce("unknown", key)
        return found

    def _get(
        self, key: str, accepts: Callable[[str, bytes], bool] | None
    ) -> Operations[Record | None]:
        record: Record | None = yield Get(key)
        if record is None or accepts is None or accepts(key, record.data):
            return record
        return None

    def _move(
        self, found: tuple[Snapshot, SessionState] | None, key: str
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Move a session to another key, as :meth:`rotate` does, while others may do the same.

        :param found: the session under its old key, if it is still there.
        """
        if found is not None:
            old, state = found
            mine = self._records.encode(key, state, old.record.expires_at)
            written: bool = yield Set(key, mine.record, ABSENT)
            if written:
                return (yield from self._finish_move(old, mine, state))
        # Another request moved it between two looks of this one.
        return (yield from self._records.read(key))

    def _finish_move(
        self, old: Snapshot, new: Snapshot, state: SessionState
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """End the record that was moved. If others write under both keys, take theirs along."""
        moved = new, state
        for _ in range(_MOVE_ATTEMPTS):
            try:
                return (yield from self._end_old(old, moved, Attempts(), True))
            except ConflictError:
                # A conflict is no error of a request that only reads the session.
                found = yield from self._records.read(new.key)
                if found is None:
                    return (yield from self._records.read(old.key))
                moved = found
        return moved

    def create(
        self, key: str, state: SessionState, attempts: Attempts, content: bytes | None = None
    ) -> Operations[tuple[Snapshot, SessionState]]:
        """Store a new session.

        :param attempts: what earlier calls may have stored under this key.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :raises KeyTaken: another session has the key.
        """
        snapshot = self._records.encode(key, state, self.expiry(state), content)
        content = None  # so that error reports with local variables do not show it
        vanished = 0
        while True:
            try:
                written: bool = yield Set(key, snapshot.record, ABSENT)
            except BaseException:
                attempts.note(snapshot, None)
                raise
            if written:
                break
            found: Record | None = yield Get(key)
            if found is None:
                # It came and went, or the store has something there that it cannot read.
                vanished += 1
                if vanished == _CREATE_ATTEMPTS:
                    raise KeyTaken
                continue
            # Only this session knows its key, so its own bytes are its own writing.
            shown = attempts.unknown.get(found.data)
            if shown is None:
                raise KeyTaken
            earlier = Snapshot(key, replace(found, data=shown))
            if shown == found.data:
                settled = yield from self.update(earlier, state, True, attempts)
            else:
                change = Change(earlier, snapshot, state, True, attempts)
                settled = yield from self._group.write(change, look=True)
            if settled is not None:
                return settled
        self._announce("created", key)
        return snapshot, state

    def update(
        self,
        snapshot: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        content: bytes | None = None,
        shown: bytes | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a changed session over what was loaded, merging with what others wrote.

        Parameters, result and errors are those of :meth:`change_of` and :meth:`write`.
        """
        return self.write(self.change_of(snapshot, state, extend, attempts, content, shown))

    def change_of(
        self,
        snapshot: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        content: bytes | None = None,
        shown: bytes | None = None,
        function: ChangeFunction | None = None,
    ) -> Change:
        """Return a change of a stored session, for :meth:`write`.

        :param snapshot: what was loaded.
        :param state: the session with the change.
        :param extend: whether the write moves the expiry.
        :param attempts: what earlier calls may have stored already.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :param shown: the stored form of what the session shows, where the state has been merged.
        :param function: changes the data in place, those of ``state`` or what others wrote.
        """
        expires_at = self.expiry(state) if extend else snapshot.record.expires_at
        mine = self._records.encode(snapshot.key, state, expires_at, content)
        content = None  # so that error reports with local variables do not show it
        return Change(snapshot, mine, state, extend, attempts, shown, function)

    def write(self, change: Change) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a change.

        A function is applied to what is stored, again and again until nobody was faster, under
        each ``concurrency``. Other changes of the session are written along, and are a conflict
        with ``"error"`` if somebody else wrote first.

        :returns: what is stored now; None if the session is gone, and nothing was written.
        :raises ConflictError: others wrote first, and may not or could not be merged with.
        """
        if self._concurrency == "merge" or change.function is not None:
            return self._group.write(change)
        return self._write_alone(change)

    def _write_alone(self, change: Change) -> Operations[tuple[Snapshot, SessionState] | None]:
        base, mine = change.base, change.mine
        condition = self._condition(base)
        if (yield from self._set(mine, condition, change.attempts)):
            self._announce("updated", base.key)
            return mine, change.state
        return (yield from self._refused(base, mine, change.state, change.attempts))

    def applied(self, state: SessionState, function: ChangeFunction) -> tuple[SessionState, Any]:
        """Apply a function to a session that nobody else knows; a failure leaves it as it was.

        :returns: the new state, and what the function returned.
        """
        copy = self._records.encode("", state, self.expiry(state))
        changed = self._records.decode("", copy.record)
        value = apply(function, changed)
        new = self._records.encode("", self._records.with_owner(changed), copy.record.expires_at)
        return self._records.shown(state, new), value

    def touch(self, snapshot: Snapshot, expires_at: float) -> Operations[Snapshot | None]:
        """Move the expiry. Returns None if the session is gone."""
        touched = yield Touch(snapshot.key, expires_at, snapshot.record.owner)
        if not touched:
            self._announce("gone", snapshot.key)
            return None
        self._announce("touched", snapshot.key)
        record = replace(snapshot.record, expires_at=expires_at)
        return replace(snapshot, record=record)

    def end(
        self, key: str, accepts: Callable[[str, bytes], bool] | None = None
    ) -> Operations[None]:
        """Remove a session for good, under whatever key it goes on.

        :param accepts: as for :meth:`load`: what it refuses stays.
        """
        if accepts is not None and (yield from self._get(key, accepts)) is None:
            return
        yield from self._succession.end(key)
        self._announce("destroyed", key)

    def rotate(
        self,
        old: Snapshot,
        new_key: str,
        state: SessionState,
        keep: bool,
        attempts: Attempts,
        content: bytes | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Move a session to a new key: the new record first, then the old one's end.

        :param keep: the new session continues the old one, so what others wrote to the old one
            is merged, and if it was ended the new one ends too. A succession record leads from
            one to the other.
        :returns: what is stored now; None if the session is gone.
        :raises KeyTaken: another session has the new key.
        :raises ConflictError: as :meth:`update`; the old session stays as it was.
        """
        if new_key == old.key:
            raise KeyTaken
        creation = self.create(new_key, state, attempts, content)
        content = None  # as in `update`
        if keep:
            yield from self._succession.add(old.key, new_key, state.owner)
        stored = yield from creation
        attempts.unknown[stored[0].record.data] = stored[0].record.data
        if not keep:
            yield from self._succession.end(old.key)
        else:
            merges = self._concurrency != "error"
            ended = yield from self._end_old(old, stored, attempts, merges)
            if ended is None:
                return None
            stored = ended
        self._announce("regenerated", old.key)
        return stored

    def _end_old(
        self,
        old: Snapshot,
        stored: tuple[Snapshot, SessionState],
        attempts: Attempts,
        merges: bool,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """End the record that a new one continues, taking over what others write to it.

        :param stored: the new one.
        :param merges: False: what others wrote is a conflict.
        :returns: what is stored now; None if the session is gone.
        """
        new_key, shown = stored[0].key, stored[0].record.data
        deadline = self._monotonic() + self._conflict_timeout
        attempt = 0
        while not (yield Destroy(old.key, self._condition(old))):
            current = yield from self._records.read(old.key)
            refused = not merges or self._monotonic() > deadline
            if current is None or refused:
                yield Destroy(new_key)
                if current is not None:
                    raise conflict()
                self._announce("gone", old.key)
                return None
            merged = self._records.merge(old, stored[1], current[1])
            updated = yield from self.update(stored[0], merged, True, attempts, shown=shown)
            if updated is None:
                # Somebody ended the new session already; the old one was to end anyway.
                yield Destroy(old.key)
                return None
            stored, old = updated, current[0]
            attempts.unknown[stored[0].record.data] = shown
            yield from self._group.back_off(attempt)
            attempt += 1
        return stored

    def open(self, key: str, record: Record) -> tuple[Snapshot, SessionState] | None:
        """Return a record that was read as a session, or None if it is over or unreadable."""
        return self._records.open(key, record)

    def content(self, snapshot: Snapshot) -> bytes:
        """Return ``codec.dumps`` of what is stored."""
        return self._records.content(snapshot)

    def rebase(
        self, sent: SessionState, content: bytes, mine: SessionState, stored: Snapshot
    ) -> SessionState:
        """Return what is stored together with what changed since a write began.

        :param sent: what the write began with, its values possibly changed since.
        :param content: ``codec.dumps(sent)`` at that time.
        :param mine: the session as it is now.
        :param stored: what the write stored, merged with the changes of others.
        """
        base = self._records.encode(stored.key, sent, stored.record.expires_at, content)
        theirs = self._records.decode(stored.key, stored.record)
        return self._records.merge(base, mine, theirs)

    def _condition(self, snapshot: Snapshot) -> Condition:
        if self._concurrency == "last-write-wins":
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
        if found is not None and self._concurrency == "error":
            # Equal bytes may be this session's own after an attempt of unknown outcome. Another
            # request may have written them just as well.
            known = found[0].record.data in attempts.unknown
            self._announce("conflict", base.key)
            raise unknown_outcome() if known else conflict()
        # It may have been created again between two commands, as when it moves from Express.
        if found is not None and (yield from self._set(mine, PRESENT, attempts)):
            self._announce("updated", base.key)
            return mine, state
        self._announce("gone", base.key)
        return None
