"""Read, encode and merge the records of sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..codec import Codec, SessionState
from ..errors import CorruptRecord
from ..events import Emitter
from ..store import Record
from .merging import PLAIN, MergeRule, merge, without_undone
from .operations import Get, Operations


@dataclass(slots=True)
class Snapshot:
    """Hold the record of a session as it was last read or written.

    :ivar key: the store's key.
    :ivar record: the stored record.
    :ivar content: ``codec.dumps`` of the stored state; None until it is needed.
    """

    key: str = field(repr=False)
    record: Record
    content: bytes | None = field(default=None, repr=False)

    def settled(self) -> Snapshot:
        """Return what was stored before the transactions that the session was saved in."""
        return self


class Attempts:
    """Hold the writes of a session whose outcome is unknown.

    The outcome is unknown if the store failed or the call was cancelled.

    :ivar unknown: by the bytes that may be stored by now, the stored form of what the session
        showed at that time. The two differ if the write was a merge.
    :ivar needless: whether the last write was left out, because the same was stored already.
    """

    __slots__ = ("needless", "unknown")

    def __init__(self) -> None:
        self.unknown: dict[bytes, bytes] = {}
        self.needless: bool = False

    def note(self, snapshot: Snapshot, shown: bytes | None) -> None:
        """Note a write that failed or was cancelled.

        The store may have carried it out nevertheless, so a later attempt must recognize its own
        writing.

        :param shown: the stored form of what the session showed, if it differs from the snapshot.
        """
        data = snapshot.record.data
        self.unknown[data] = data if shown is None else shown


class Records:
    """Read, encode and merge the records of sessions.

    :param codec: turns states into bytes.
    :param clock: returns POSIX seconds.
    :param absolute_timeout: seconds from creation after which a session is over, or None.
    :param emit: is told of each event.
    :param owner: derives the owner from the data, or None where it is a value of its own.
    :param rules: by key, the function that merges values which both sides have changed.
    """

    def __init__(
        self,
        codec: Codec,
        clock: Callable[[], float],
        absolute_timeout: float | None,
        emit: Emitter,
        owner: Callable[[Mapping[str, Any]], str | None] | None,
        rules: Mapping[str, MergeRule],
    ) -> None:
        self.codec = codec
        self._clock = clock
        self._absolute_timeout = absolute_timeout
        self._emit = emit
        self._owner = owner
        self._rules = {key: self._safe(key, rule) for key, rule in rules.items()}

    def read(self, key: str) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Read what is stored under a key, or None if there is no live, readable record."""
        record: Record | None = yield Get(key)
        return None if record is None else self.open(key, record)

    def open(self, key: str, record: Record) -> tuple[Snapshot, SessionState] | None:
        """Return a record as a session, or None if it is over or cannot be read."""
        if record.expires_at <= self._clock():
            self._emit("expired", key)
            return None
        try:
            state = self.decode(key, record)
        except CorruptRecord as error:
            self._emit("corrupt", key, error)
            return None
        limit = self._absolute_timeout
        if limit is not None and state.created_at + limit <= self._clock():
            self._emit("expired", key)
            return None
        return Snapshot(key, record), state

    def decode(self, key: str, record: Record) -> SessionState:
        """Return the state in a record.

        :raises CorruptRecord: the codec cannot read it.
        """
        state = self.codec.loads(record.data, key)
        if state.owner is None:
            # Not every layout has a place for the owner. Then the store knows it.
            state.owner = record.owner
        return state

    def encode(
        self, key: str, state: SessionState, expires_at: float, content: bytes | None = None
    ) -> Snapshot:
        """Return the record of a state, as it would be stored.

        :param content: ``codec.dumps(state)``, where the caller has it.
        """
        if content is None:
            content = self.codec.dumps(state)
        data = self.codec.pack(content, state, expires_at, key)
        return Snapshot(key, Record(data, expires_at, state.owner), content)

    def content(self, snapshot: Snapshot) -> bytes:
        """Return ``codec.dumps`` of a stored state."""
        if self.codec.canonical:
            return snapshot.record.data
        if snapshot.content is None:
            snapshot.content = self.codec.dumps(self.decode(snapshot.key, snapshot.record))
        return snapshot.content

    def merge(
        self, base: Snapshot | SessionState, mine: SessionState, theirs: SessionState
    ) -> SessionState:
        """Merge the changes of both sides since ``base``, by the rules of their keys."""
        if isinstance(base, Snapshot):
            snapshot, settled = base, base.settled()
            base = self.decode(snapshot.key, snapshot.record)
            if settled is not snapshot:
                base = self.without_undone(base, settled, mine, theirs)
        return self.with_owner(merge(base, mine, theirs, self._encode_value, self._rules))

    def without_undone(
        self, base: SessionState, settled: Snapshot, mine: SessionState, theirs: SessionState
    ) -> SessionState:
        """Return the base of a merge without what I changed and a rollback may have undone.

        Otherwise the rollback of a new key would count as its deletion by another request.

        :param base: what a transaction had.
        :param settled: what was stored before.
        """
        before = self.decode(settled.key, settled.record)
        return without_undone(base, before, mine, theirs, self._encode_value)

    def shown(self, mine: SessionState, stored: Snapshot) -> SessionState:
        """Return the stored state, with the objects of ``mine`` where the values are the same."""
        theirs = self.decode(stored.key, stored.record)
        return merge(mine, mine, theirs, self._encode_value)

    def with_owner(self, state: SessionState) -> SessionState:
        """Derive the owner of a state again, if it follows from the data."""
        if self._owner is not None:
            state.owner = self._owner(state.data)
        return state

    def _safe(self, key: str, rule: MergeRule) -> MergeRule:
        """Wrap a rule so that it gets copies, and its result is a value that can be stored.

        Changes of other requests may be merged along, and a failure of the rule must not affect
        them.
        """

        def merged(base: Any, mine: Any, theirs: Any) -> Any:
            if not all(type(value) in PLAIN for value in (base, mine, theirs)):
                copies = self._stored_form({"base": base, "mine": mine, "theirs": theirs})
                base, mine, theirs = copies["base"], copies["mine"], copies["theirs"]
            try:
                value = rule(base, mine, theirs)
            except Exception as error:
                error.add_note(f"raised by the merge rule of the session's key {key!r}")
                raise
            return self._stored_form({key: value})[key]

        return merged

    def _stored_form(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of data as it would be read again.

        :raises SerializationError: a value cannot be stored.
        """
        encoded = self.encode("", SessionState(data, created_at=0), 0.0)
        return self.decode("", encoded.record).data

    def _encode_value(self, value: Any) -> bytes:
        return self.codec.dumps(SessionState({"value": value}, created_at=0))
