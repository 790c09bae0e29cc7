"""Write a session in a transaction of the application's.

Nobody tells the session whether the transaction was committed. So what was written is one of two
records that may be stored, and a later write finds out which of them is. Neither of them counts as
the change of another request.

docs/decisions/2026-11-30-sql-store.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..codec import SessionState
from ..errors import TransactionOpen
from ..events import Emitter
from ..store import Transaction, Unchanged
from .change import Change, conflict, unknown_outcome
from .operations import Operations, Set
from .records import Records, Snapshot


@dataclass(slots=True, kw_only=True)
class TransactionSnapshot(Snapshot):
    """Hold the record of a session as a transaction has it, which may be rolled back.

    :ivar before: what is stored if it is rolled back.
    :ivar transaction: the transaction.
    """

    before: Snapshot
    transaction: Transaction

    def found_as(self, data: bytes) -> Snapshot | None:
        """Return the one of the records that may be stored which has these data, or None."""
        found: Snapshot = self
        while found.record.data != data:
            if not isinstance(found, TransactionSnapshot):
                return None
            found = found.before
        return found

    def settled(self) -> Snapshot:
        """See :meth:`.records.Snapshot.settled`."""
        found: Snapshot = self
        while isinstance(found, TransactionSnapshot):
            found = found.before
        return found


def is_own(base: Snapshot, stored: Snapshot | None) -> bool:
    """Tell whether what is stored is a record that a transaction may have left.

    :param base: what a change was made to.
    :param stored: what is stored; None if nothing is.
    """
    if stored is None or not isinstance(base, TransactionSnapshot):
        return False
    return base.found_as(stored.record.data) is not None


def check_ended(snapshot: Snapshot | None) -> None:
    """Check that no open transaction has the record: its row is locked, so a write would wait.

    :raises TransactionOpen: one has it.
    """
    if isinstance(snapshot, TransactionSnapshot) and snapshot.transaction.is_open:
        raise TransactionOpen(
            "the session was saved in a transaction that is still open: commit or roll back "
            "before the session is changed, reloaded or saved again, and before the response"
        )


class TransactionWriter:
    """Write changes of stored sessions, in a store whose calls are part of a transaction.

    :param records: reads, encodes and merges what is stored.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param emit: is told of each event.
    :param concurrency: what to do when another request wrote first.
    """

    def __init__(
        self,
        records: Records,
        expiry: Callable[[SessionState], float],
        emit: Emitter,
        concurrency: str,
    ) -> None:
        self._records = records
        self._expiry = expiry
        self._emit = emit
        self._concurrency = concurrency

    def write(self, change: Change) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Write a change. A read in a transaction locks the record, so one repetition is enough.

        :returns: what the transaction has now; None if the session is gone.
        :raises ConflictError: another request wrote first, and its changes may not be merged.
        """
        base, mine, records = change.base, change.mine, self._records
        # The last transaction may have been rolled back. Then its changes are written again.
        in_doubt = isinstance(base, TransactionSnapshot)
        if not in_doubt or records.content(mine) != records.content(base):
            written: bool = yield Set(base.key, mine.record, Unchanged(base.record.data))
            if written:
                self._emit("updated", base.key)
                return mine, change.state
        found = yield from records.read(base.key)
        if found is None:
            self._emit("gone", base.key)
            return None
        stored = found[0]
        merged = self._merged(change, *found)
        if records.content(merged) == records.content(stored):
            return stored, records.shown(change.state, stored)
        written = yield Set(stored.key, merged.record, Unchanged(stored.record.data))
        if not written:
            self._emit("conflict", base.key)
            raise conflict()
        self._emit("updated" if is_own(base, stored) else "merged", base.key)
        return merged, records.shown(change.state, merged)

    def _merged(self, change: Change, stored: Snapshot, theirs: SessionState) -> Snapshot:
        records, base, data = self._records, change.base, stored.record.data
        mine = records.decode(stored.key, change.mine.record)
        origin: Snapshot | None
        if isinstance(base, TransactionSnapshot):
            origin = base.found_as(data)
            base = base.settled()
        else:
            origin = base if base.record.data == data else None
        earlier = change.attempts.unknown.get(data)
        if origin is None and self._concurrency == "error":
            self._emit("conflict", stored.key)
            raise conflict() if earlier is None else unknown_outcome()
        if earlier is not None:
            base = replace(stored, record=replace(stored.record, data=earlier), content=None)
        if origin is None and self._concurrency != "last-write-wins":
            mine = records.merge(base, mine, theirs)
        expires_at = self._expiry(mine) if change.extend else stored.record.expires_at
        return records.encode(stored.key, mine, expires_at)
