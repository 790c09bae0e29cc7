"""Load, store, touch, end and rotate sessions, without HTTP and without I/O.

Methods that need the store are generators of :mod:`operations <coatcheck._records.operations>`. A
runner of :mod:`coatcheck._stores.runners` executes them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..codec import Codec, SessionState
from ..events import Emitter
from ..store import Record
from .change import ChangeFunction, apply
from .merging import MergeRule
from .operations import Get, Operations, Touch
from .records import Records, Snapshot
from .rotation import Rotation
from .session_writer import CONFLICT_SECONDS, Concurrency, SessionWriter
from .succession import Succession


class Lifecycle:
    """Load, create, change, touch, end and rotate sessions.

    :ivar create: :meth:`SessionWriter.create
        <coatcheck._records.session_writer.SessionWriter.create>`.
    :ivar change_of: :meth:`~coatcheck._records.session_writer.SessionWriter.change_of`.
    :ivar write: :meth:`~coatcheck._records.session_writer.SessionWriter.write`.
    :ivar write_in_transaction: :meth:`TransactionWriter.write
        <coatcheck._records.transactions.TransactionWriter.write>`.
    :ivar update: :meth:`~coatcheck._records.session_writer.SessionWriter.update`.
    :ivar rotate: :meth:`Rotation.rotate <coatcheck._records.rotation.Rotation.rotate>`.
    :param codec: turns states into bytes.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param clock: returns POSIX seconds.
    :param absolute_timeout: seconds from creation after which a session is over, or None.
    :param concurrency: what to do when another request wrote first.
    :param rules: by key, the function that merges values which both sides have changed.
    :param conflict_timeout: seconds of conflicts after which a write is given up.
    :param emit: is told of each event.
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
        emit: Emitter,
        owner: Callable[[Mapping[str, Any]], str | None] | None = None,
        rules: Mapping[str, MergeRule] | None = None,
        conflict_timeout: float = CONFLICT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.expiry = expiry
        self._emit = emit
        self._records = Records(codec, clock, absolute_timeout, emit, owner, rules or {})
        self._succession = Succession(codec, clock)
        writer = SessionWriter(
            self._records,
            expiry,
            emit,
            concurrency=concurrency,
            conflict_timeout=conflict_timeout,
            monotonic=monotonic,
            jitter=jitter,
        )
        self._rotation = Rotation(self._records, writer, self._succession, emit)
        # Attributes and not methods, because a method would be one more call of each write.
        self.create = writer.create
        self.change_of = writer.change_of
        self.write = writer.write
        self.write_in_transaction = writer.write_in_transaction
        self.update = writer.update
        self.rotate = self._rotation.rotate
        self.open = self._records.open
        self.content = self._records.content

    def load(
        self,
        key: str,
        other_key: str | None = None,
        migrate: bool = False,
        accepts: Callable[[str, bytes], bool] | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Return what is stored under a key, or None if there is no live, readable record.

        :param other_key: another key, where the session may be if it is not under the first one.
        :param migrate: whether a session that is found under the other key moves to the first one.
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
                found = yield from self._rotation.move(found, key)
        else:
            found = None
        if found is not None:
            self._emit("loaded", found[0].key)
        elif record is None:
            self._emit("unknown", key)
        return found

    def _get(
        self, key: str, accepts: Callable[[str, bytes], bool] | None
    ) -> Operations[Record | None]:
        record: Record | None = yield Get(key)
        if record is None or accepts is None or accepts(key, record.data):
            return record
        return None

    def applied(self, state: SessionState, function: ChangeFunction) -> tuple[SessionState, Any]:
        """Apply a function to a session that no other request knows.

        If the function fails, the session stays as it was.

        :returns: the new state, and the function's value.
        """
        copy = self._records.encode("", state, self.expiry(state))
        changed = self._records.decode("", copy.record)
        value = apply(function, changed)
        new = self._records.encode("", self._records.with_owner(changed), copy.record.expires_at)
        return self._records.shown(state, new), value

    def touch(self, snapshot: Snapshot, expires_at: float) -> Operations[Snapshot | None]:
        """Move the expiry.

        :param expires_at: POSIX seconds.
        :returns: what is stored now; None if the session is gone.
        """
        touched = yield Touch(snapshot.key, expires_at, snapshot.record.owner)
        if not touched:
            self._emit("gone", snapshot.key)
            return None
        self._emit("touched", snapshot.key)
        record = replace(snapshot.record, expires_at=expires_at)
        return replace(snapshot, record=record)

    def end(
        self, key: str, accepts: Callable[[str, bytes], bool] | None = None
    ) -> Operations[None]:
        """Remove a session for good, under its key or the key that it has moved to.

        :param accepts: as for :meth:`load`. A record that it refuses is not removed.
        """
        if accepts is not None and (yield from self._get(key, accepts)) is None:
            return
        yield from self._succession.end(key)
        self._emit("destroyed", key)

    def rebase(
        self, sent: SessionState, content: bytes, mine: SessionState, stored: Snapshot
    ) -> SessionState:
        """Merge what a write has stored with what the application changed since it began.

        :param sent: the state that the write began with. Its values may have changed since.
        :param content: ``codec.dumps(sent)`` at that time.
        :param mine: the session as it is now.
        :param stored: what the write stored, merged with the changes of others.
        """
        base = self._records.encode(stored.key, sent, stored.record.expires_at, content)
        theirs = self._records.decode(stored.key, stored.record)
        return self._records.merge(base, mine, theirs)
