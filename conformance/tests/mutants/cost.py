"""Mutants of the COST clauses."""

from __future__ import annotations

from collections.abc import Iterator

from mutation import mutant
from references import FolderHarness

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.storekit import check_key
from coatcheck_file import FileStore


@mutant("COST-1")
class SearchesForTheKey(MemoryStore):
    """`get` compares the key with that of each record."""

    def get(self, key: str) -> Record | None:
        check_key(key)
        with self._lock:
            self._check_open()
            names = [name for name in self._slots if name == key]
        return super().get(names[0]) if names else None


@mutant("COST-1")
class CountsAtEachWrite(MemoryStore):
    """`set` counts the live records to see whether there is room."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.length()
        return super().set(key, record, only_if)


@mutant("COST-7")
class SearchesForTheOwner(MemoryStore):
    """`owned_by` looks at each record."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        super().owned_by(owner)  # checks the argument
        return (item for item in self.all() if item[1].owner == owner)


@mutant("COST-8", harness=FolderHarness)
class ListsAtOnce(FileStore):
    """`all` makes a list of everything, and iterates over it."""

    def all(self) -> Iterator[tuple[str, Record]]:
        return iter(list(super().all()))
