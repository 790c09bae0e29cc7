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
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from .codec import Codec, SessionState
from .errors import ConflictError, CorruptRecord
from .events import Announcer
from .merging import merge
from .operations import Destroy, Get, Lock, Set, Sleep, Steps, Touch
from .store import ABSENT, PRESENT, Condition, Record, Unchanged
from .succession import Succession

Concurrency: TypeAlias = Literal["merge", "error", "last-write-wins"]

#: Seconds of conflicts after which a write is given up.
CONFLICT_SECONDS: Final = 5.0
_CREATE_ATTEMPTS: Final = 3
_BACKOFF_BASE: Final = 0.004
_BACKOFF_CAP: Final = 0.1


@dataclass(slots=True)
class Snapshot:
    """What the store holds of a session, as last read or written.

    :ivar key: the store's key.
    :ivar record: the stored record.
    :ivar content: ``codec.dumps`` of the stored state; None until it is needed.
    """

    key: str = field(repr=False)
    record: Record
    content: bytes | None = field(default=None, repr=False)


class Attempts:
    """Writes of one session whose fate is unknown: the store failed, or the call was cancelled.

    :ivar unknown: what may be stored by now, and for each the stored form of what the session
        showed at that time, which differs where the write was a merge.
    """

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown: dict[bytes, bytes] = {}

    def note(self, snapshot: Snapshot, shown: bytes | None) -> None:
        """Note a write that failed or was cancelled.

        It may have been applied all the same: a later attempt must know its own writing.
        """
        data = snapshot.record.data
        self.unknown[data] = data if shown is None else shown


class KeyTaken(Exception):
    """Another session has the key. Only a poor id generator makes this happen."""


class Lifecycle:
    """Load, create, update, touch, end and rotate sessions.

    :param codec: turns states into bytes.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param clock: returns POSIX seconds.
    :param absolute_timeout: seconds from creation after which a session is over, or None.
    :param concurrency: what to do when somebody else wrote first.
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
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.codec = codec
        self.expiry = expiry
        self._clock = clock
        self._absolute_timeout = absolute_timeout
        self._concurrency = concurrency
        self._announce = announce
        self._owner = owner
        self._monotonic = monotonic
        self._jitter = jitter
        self._succession = Succession(codec, clock)

    def load(
        self,
        key: str,
        other_key: str | None = None,
        move: bool = False,
        accepts: Callable[[str, bytes], bool] | None = None,
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
        """Return what is stored under a key, or None if there is no live, readable record.

        :param other_key: where the session is looked for if it is not there.
        :param move: the session is to move from there to the key.
        :param accepts: tells for a key and the data under it whether that can be the session.
        """
        record = yield from self._get(key, accepts)
        if record is not None:
            found = self._open(key, record)
        elif other_key is not None:
            other = yield from self._get(other_key, accepts)
            found = None if other is None else self._open(other_key, other)
            if move:
                found = yield from self._move(found, key)
        else:
            found = None
        if found is not None:
            self._announce("loaded", found[0].key)
        elif record is None:
            self._announce("unknown", key)
        return found

    def _get(self, key: str, accepts: Callable[[str, bytes], bool] | None) -> Steps[Record | None]:
        record: Record | None = yield Get(key)
        if record is None or accepts is None or accepts(key, record.data):
            return record
        return None

    def _move(
        self, found: tuple[Snapshot, SessionState] | None, key: str
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
        """Move a session to another key, as :meth:`rotate` does, while others may do the same.

        :param found: the session under its old key, if it is still there.
        """
        if found is not None:
            old, state = found
            mine = self._encode(key, state, old.record.expires_at)
            written: bool = yield Set(key, mine.record, ABSENT)
            if written:
                return (yield from self._end_old(old, (mine, state), Attempts(), True))
        # Another request moved it between two looks of this one.
        return (yield from self._reload(key))

    def create(
        self, key: str, state: SessionState, attempts: Attempts, content: bytes | None = None
    ) -> Steps[tuple[Snapshot, SessionState]]:
        """Store a new session.

        :param attempts: what earlier calls may have stored under this key.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :raises KeyTaken: another session has the key.
        """
        snapshot = self._encode(key, state, self.expiry(state), content)
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
                settled = yield from self._resolve(earlier, snapshot, state, True, attempts)
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
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
        """Store a changed session over what was loaded, merging with what others wrote.

        :param snapshot: what was loaded.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :param shown: the stored form of what the session shows, where the state has been merged.
        :param extend: whether the write moves the expiry.
        :param attempts: what earlier calls may have stored already.
        :returns: what is stored now; None if the session is gone, and nothing was written.
        :raises ConflictError: others wrote first, and may not or could not be merged with.
        """
        expires_at = self._expires_at(snapshot, state, extend)
        mine = self._encode(snapshot.key, state, expires_at, content)
        if (yield from self._set(mine, self._condition(snapshot), attempts, shown)):
            self._announce("updated", snapshot.key)
            return mine, state
        return (yield from self._resolve(snapshot, mine, state, extend, attempts))

    def touch(self, snapshot: Snapshot, expires_at: float) -> Steps[Snapshot | None]:
        """Move the expiry. Returns None if the session is gone."""
        touched = yield Touch(snapshot.key, expires_at, snapshot.record.owner)
        if not touched:
            self._announce("gone", snapshot.key)
            return None
        self._announce("touched", snapshot.key)
        record = replace(snapshot.record, expires_at=expires_at)
        return replace(snapshot, record=record)

    def end(self, key: str, accepts: Callable[[str, bytes], bool] | None = None) -> Steps[None]:
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
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
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
        if keep:
            yield from self._succession.add(old.key, new_key, state.owner)
        stored = yield from self.create(new_key, state, attempts, content)
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
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
        """End the record that a new one continues, taking over what others write to it.

        :param stored: the new one.
        :param merges: False: what others wrote is a conflict.
        :returns: what is stored now; None if the session is gone.
        """
        new_key, shown = stored[0].key, stored[0].record.data
        deadline = self._monotonic() + CONFLICT_SECONDS
        attempt = 0
        while not (yield Destroy(old.key, self._condition(old))):
            current = yield from self._reload(old.key)
            refused = not merges or self._monotonic() > deadline
            if current is None or refused:
                yield Destroy(new_key)
                if current is not None:
                    raise _conflict()
                self._announce("gone", old.key)
                return None
            merged = self._merge(old, stored[1], current[1])
            updated = yield from self.update(stored[0], merged, True, attempts, shown=shown)
            if updated is None:
                # Somebody ended the new session already; the old one was to end anyway.
                yield Destroy(old.key)
                return None
            stored, old = updated, current[0]
            attempts.unknown[stored[0].record.data] = shown
            yield from self._back_off(attempt)
            attempt += 1
        return stored

    def content(self, snapshot: Snapshot) -> bytes:
        """Return ``codec.dumps`` of what is stored."""
        if self.codec.canonical:
            return snapshot.record.data
        if snapshot.content is None:
            snapshot.content = self.codec.dumps(self._decode(snapshot.key, snapshot.record))
        return snapshot.content

    def rebase(
        self, sent: SessionState, content: bytes, mine: SessionState, stored: Snapshot
    ) -> SessionState:
        """Return what is stored together with what changed since a write began.

        :param sent: what the write began with, its values possibly changed since.
        :param content: ``codec.dumps(sent)`` at that time.
        :param mine: the session as it is now.
        :param stored: what the write stored, merged with the changes of others.
        """
        base = self._encode(stored.key, sent, stored.record.expires_at, content)
        theirs = self._decode(stored.key, stored.record)
        return self._merge(base, mine, theirs)

    def _open(self, key: str, record: Record) -> tuple[Snapshot, SessionState] | None:
        if record.expires_at <= self._clock():
            self._announce("expired", key)
            return None
        try:
            state = self._decode(key, record)
        except CorruptRecord as error:
            self._announce("corrupt", key, error)
            return None
        limit = self._absolute_timeout
        if limit is not None and state.created_at + limit <= self._clock():
            self._announce("expired", key)
            return None
        return Snapshot(key, record), state

    def _decode(self, key: str, record: Record) -> SessionState:
        state = self.codec.loads(record.data, key)
        if state.owner is None:
            # Not every layout has a place for it: then the store's own is the only one.
            state.owner = record.owner
        return state

    def _reload(self, key: str) -> Steps[tuple[Snapshot, SessionState] | None]:
        record: Record | None = yield Get(key)
        return None if record is None else self._open(key, record)

    def _encode(
        self, key: str, state: SessionState, expires_at: float, content: bytes | None = None
    ) -> Snapshot:
        if content is None:
            content = self.codec.dumps(state)
        data = self.codec.pack(content, state, expires_at, key)
        return Snapshot(key, Record(data, expires_at, state.owner), content)

    def _expires_at(self, snapshot: Snapshot, state: SessionState, extend: bool) -> float:
        return self.expiry(state) if extend else snapshot.record.expires_at

    def _condition(self, snapshot: Snapshot) -> Condition:
        if self._concurrency == "last-write-wins":
            return PRESENT
        return Unchanged(snapshot.record.data)

    def _set(
        self,
        snapshot: Snapshot,
        only_if: Condition,
        attempts: Attempts,
        shown: bytes | None = None,
    ) -> Steps[bool]:
        try:
            written: bool = yield Set(snapshot.key, snapshot.record, only_if)
        except BaseException:
            attempts.note(snapshot, shown)
            raise
        return written

    def _resolve(
        self,
        base: Snapshot,
        mine: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
    ) -> Steps[tuple[Snapshot, SessionState] | None]:
        """Find out why a conditional write did not happen, and settle it."""
        deadline = self._monotonic() + CONFLICT_SECONDS
        shown = mine.record.data
        if self._concurrency == "merge":
            # In one process writers take turns from here on, instead of colliding again.
            yield Lock(base.key, CONFLICT_SECONDS)
        attempt = 0
        while True:
            current = yield from self._reload(base.key)
            if current is None:
                self._announce("gone", base.key)
                return None
            stored, theirs = current
            # A refused write has not been done. Equal bytes are this session's own only after an
            # attempt of unknown outcome, and even then another request may have written them:
            # a merge comes to the same, but with "error" nothing is acknowledged.
            earlier = attempts.unknown.get(stored.record.data)
            if self._concurrency == "error":
                self._announce("conflict", base.key)
                raise _conflict() if earlier is None else _unknown_outcome()
            if earlier is not None:
                base = Snapshot(base.key, replace(stored.record, data=earlier))
            else:
                self._announce("conflict", base.key)
            if self._monotonic() > deadline:
                raise _conflict()
            state = self._merge(base, state, theirs)
            mine = self._encode(base.key, state, self._expires_at(stored, state, extend))
            unchanged = mine.content == self.content(stored)
            condition = self._condition(stored)
            if unchanged or (yield from self._set(mine, condition, attempts, shown)):
                self._announce("merged", base.key)
                return (stored if unchanged else mine), state
            base = stored
            yield from self._back_off(attempt)
            attempt += 1

    def _back_off(self, attempt: int) -> Steps[None]:
        longest = min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 8))
        yield Sleep(longest * self._jitter())

    def _merge(self, base: Snapshot, mine: SessionState, theirs: SessionState) -> SessionState:
        before = self._decode(base.key, base.record)
        merged = merge(before, mine, theirs, self._encode_value)
        if self._owner is not None:
            merged.owner = self._owner(merged.data)
        return merged

    def _encode_value(self, value: Any) -> bytes:
        return self.codec.dumps(SessionState({"value": value}, created_at=0))


def _conflict() -> ConflictError:
    return ConflictError(
        "the session was changed by other requests at the same time, and this change was not saved"
    )


def _unknown_outcome() -> ConflictError:
    return ConflictError(
        "an earlier attempt to save the session ended without an answer; what is stored now may be "
        "this one's or another request's change, so this change is not acknowledged"
    )
