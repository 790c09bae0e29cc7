"""Mutants of the CLEAR clauses."""

from __future__ import annotations

from mutation import mutant
from references import IndexTrustingStore, PlainStore, SharedHarness, SharedMemoryStore

from coatcheck import MemoryStore


@mutant("CLEAR-1")
class ClearsOnePage(MemoryStore):
    """`clear` removes the first 25 records that it finds."""

    def clear(self) -> None:
        for key in [key for key, _ in self.all()][:25]:
            self.destroy(key)


@mutant("CLEAR-1")
class ClearsWhatIsOwned(MemoryStore):
    """`clear` goes through the owners, and misses records without an owner."""

    def clear(self) -> None:
        self._check_open()
        with self._lock:
            owned = [self._owned[owner] for owner in self._owned]
        for keys in owned:
            for key in [keys] if isinstance(keys, str) else list(keys):
                self.destroy(key)


@mutant("CLEAR-2", harness=SharedHarness)
class ClearsByPrefix(SharedMemoryStore):
    """`clear` removes every key that begins with the namespace's name."""

    def clear(self) -> None:
        for store in self.like_named():
            MemoryStore.clear(store)


@mutant("CLEAR-3")
class RefusesToClearNothing(MemoryStore):
    """`clear` of an empty store sends a request that the backend does not understand."""

    def clear(self) -> None:
        keys = [key for key, _ in self.all()]
        keys[0]
        super().clear()


@mutant("CLEAR-4")
class LeavesTheOwnerIndex(IndexTrustingStore):
    """`clear` removes the records, and leaves the index of owners."""

    def clear(self) -> None:
        self._check_open()
        with self._lock:
            self._slots.clear()
            self._expiries.clear()


@mutant("CLEAR-4")
class LeavesTheCounter(MemoryStore):
    """`clear` leaves a counter as it was."""

    cleared = 0

    def length(self) -> int:
        return super().length() + self.cleared

    def clear(self) -> None:
        self.cleared += super().length()
        super().clear()


@mutant("CLEAR-5")
class ClearsNothing(PlainStore):
    """`clear` that is not declared does nothing."""

    def clear(self) -> None:
        self._check_open()
