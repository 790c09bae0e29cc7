"""Mutants of the PRUNE clauses."""

from __future__ import annotations

import sys

from mutation import mutant
from references import NativeStore, SharedHarness, SharedMemoryStore

from coatcheck import MemoryStore


def _is_called_by_set() -> bool:
    return sys._getframe(2).f_code.co_name == "set"


@mutant("PRUNE-1")
class CountsOneTooMany(MemoryStore):
    """`prune` also counts the record that it checked last."""

    def prune(self, limit: int | None = None) -> int:
        removed = super().prune(limit)
        return removed + 1 if removed else 0


@mutant("PRUNE-1")
class PrunesNothing(MemoryStore):
    """`prune` leaves everything to `set`."""

    def prune(self, limit: int | None = None) -> int:
        self._check_open()
        return 0


@mutant("PRUNE-2")
class PrunesByTheFirstExpiry(MemoryStore):
    """`prune` uses an index of expiries that `touch` and `set` do not update."""

    def prune(self, limit: int | None = None) -> int:
        with self._lock:
            self._check_open()
            now, keys = self._clock(), list(self._slots)
            gone = [key for key in keys if self._slots[key].scheduled <= now]
            for key in gone[:limit]:
                self._discard(key)
            return len(gone[:limit])


@mutant("PRUNE-2", seeds=5)
class LooksAndThenRemoves(MemoryStore):
    """Other calls can write between the check and the removal of a record."""

    def prune(self, limit: int | None = None) -> int:
        with self._lock:
            self._check_open()
            keys = list(self._slots)
            now = self._clock()
            gone = [key for key in keys if self._slots[key].record.expires_at <= now][:limit]
        removed = 0
        for key in gone:
            self._clock()  # something that takes time
            with self._lock:
                if key in self._slots:
                    self._discard(key)
                    removed += 1
        return removed


@mutant("PRUNE-3")
class IgnoresTheLimit(MemoryStore):
    """`prune` ignores its limit."""

    def prune(self, limit: int | None = None) -> int:
        return super().prune()


@mutant("PRUNE-3")
class ZeroIsNoLimit(MemoryStore):
    """A limit of 0 is taken for none."""

    def prune(self, limit: int | None = None) -> int:
        return super().prune(limit or None)


@mutant("PRUNE-4")
class OneBatchAtATime(MemoryStore):
    """Without a limit it removes a hundred."""

    def prune(self, limit: int | None = None) -> int:
        return super().prune(100 if limit is None else limit)


@mutant("PRUNE-5")
class BeginsAtTheSamePlace(MemoryStore):
    """Each call examines the oldest records, whether or not they are live."""

    def prune(self, limit: int | None = None) -> int:
        if limit is None:
            return super().prune()
        with self._lock:
            self._check_open()
            now, keys = self._clock(), list(self._slots)[:limit]
            gone = [key for key in keys if self._slots[key].record.expires_at <= now]
            for key in gone:
                self._discard(key)
            return len(gone)


@mutant("PRUNE-6", seeds=5)
class CountsWhatItFound(MemoryStore):
    """It counts the expired records that it found, and not those that it removed."""

    def prune(self, limit: int | None = None) -> int:
        if limit is not None:
            return super().prune(limit)
        with self._lock:
            self._check_open()
            now = self._clock()
            count = sum(slot.record.expires_at <= now for slot in self._slots.values())
        self._clock()  # something that takes time
        super().prune()
        return count


@mutant("PRUNE-7")
class WritesDoNotPrune(MemoryStore):
    """Only a nightly job removes expired records."""

    def _remove_expired(self, limit: int) -> int:
        return 0 if _is_called_by_set() else super()._remove_expired(limit)


@mutant("PRUNE-7")
class OneWritePrunesAll(MemoryStore):
    """The first write after the night removes everything."""

    def _remove_expired(self, limit: int) -> int:
        return super()._remove_expired(10**6 if _is_called_by_set() else limit)


@mutant("PRUNE-8")
class NativeAndNothingToPrune(NativeStore):
    """Its backend removes expired records, and `prune` returns 0."""

    def prune(self, limit: int | None = None) -> int:
        self._check_open()
        return 0


@mutant("PRUNE-9", harness=SharedHarness)
class PrunesAllNamespaces(SharedMemoryStore):
    """`prune` removes by a prefix that other namespaces share."""

    def prune(self, limit: int | None = None) -> int:
        removed = super().prune(limit)
        for store in self.like_named() if limit is None else ():
            if store is not self and not store._closed:
                MemoryStore.prune(store)
        return removed


@mutant("PRUNE-2")
class MakesRoom(MemoryStore):
    """`prune` makes room: it removes one of a hundred records, even a live one."""

    def prune(self, limit: int | None = None) -> int:
        removed = super().prune(limit)
        if removed == 0 and limit and self.length() > 100:
            key, _ = min(self.all(), key=lambda item: item[1].expires_at)
            removed += self.destroy(key)
        return removed
