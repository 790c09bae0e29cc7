"""Mutants of the ENUM clauses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mutation import mutant
from references import FolderHarness, PlainStore, SharedHarness, SharedMemoryStore

from coatcheck import MemoryStore, Record, Store
from coatcheck.errors import StoreError
from coatcheck_file import FileStore
from coatcheck_file._content import Damaged


@mutant("ENUM-1")
class YieldsTwice(MemoryStore):
    """`all` begins again with the first record, as a cursor may."""

    def all(self) -> Iterator[tuple[str, Record]]:
        found = list(super().all())
        return iter([*found, *found[:1]])


@mutant("ENUM-1")
class YieldsNoOwner(MemoryStore):
    """`all` does not read the owner."""

    def all(self) -> Iterator[tuple[str, Record]]:
        return ((key, replace(record, owner=None)) for key, record in super().all())


@mutant("ENUM-1")
class YieldsOnePage(MemoryStore):
    """`all` ends after 25 records."""

    def all(self) -> Iterator[tuple[str, Record]]:
        return iter(list(super().all())[:25])


@mutant("ENUM-2")
class YieldsExpired(MemoryStore):
    """`all` yields expired records that still take up space."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return iter([(key, slot.record) for key, slot in list(self._slots.items())])


@mutant("ENUM-3")
class CountsExpired(MemoryStore):
    """`length` counts expired records that still take up space."""

    def length(self) -> int:
        self._check_open()
        return len(self._slots)


@mutant("ENUM-3")
class CountsWrites(MemoryStore):
    """`length` is a counter that goes up with each record that is written."""

    count = 0

    def set(self, key: str, record: Record, *args: Any, **kwargs: Any) -> bool:
        written = super().set(key, record, *args, **kwargs)
        self.count += written
        return written

    def length(self) -> int:
        self._check_open()
        return self.count if self._slots else 0


@mutant("ENUM-4", harness=SharedHarness)
class CountsEverything(SharedMemoryStore):
    """`length` counts every key that begins with the namespace's name."""

    def length(self) -> int:
        return sum(MemoryStore.length(store) for store in self.like_named())


@mutant("ENUM-4", harness=SharedHarness)
class YieldsEverything(SharedMemoryStore):
    """`all` yields records of namespaces whose names begin with this one's."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return (item for store in self.like_named() for item in MemoryStore.all(store))


@mutant("ENUM-5", "OWNER-2", harness=FolderHarness)
class EndsAtDamage(FileStore):
    """`all` raises at the first malformed record."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_soundly = self._records.read
        self._records.read = self._read  # type: ignore[method-assign]  # the fault

    def _read(self, key_digest: str, name: bytes | None) -> tuple[bytes, Record] | None:
        if name is None:  # it is a listing that asks
            try:
                self._records.open(key_digest, None)
            except FileNotFoundError:
                return None
            except Damaged as damage:
                raise StoreError("a record is none") from damage
        return self._read_soundly(key_digest, name)


@mutant("ENUM-6")
class IteratesOverTheLiving(MemoryStore):
    """`all` iterates over the dictionary itself."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        now = self._clock()
        return (
            (key, slot.record) for key, slot in self._slots.items() if slot.record.expires_at > now
        )


@mutant("ENUM-6")
class PagesByNumber(MemoryStore):
    """`all` addresses its pages by the number of records before them."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return self._numbered()

    def _numbered(self) -> Iterator[tuple[str, Record]]:
        number = 0
        while number < len(found := list(super().all())):
            yield found[number]
            number += 1


@mutant("ENUM-7")
class OneCursorAtATime(MemoryStore):
    """A second `all` is refused until the first has come to its end."""

    _is_listing = False

    def all(self) -> Iterator[tuple[str, Record]]:
        if self._is_listing:
            raise StoreError("the cursor is in use")
        return self._listed(super().all())

    def _listed(self, records: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
        for item in records:
            self._is_listing = True
            yield item
        self._is_listing = False


@mutant("ENUM-8")
class RaisesAtTheFirstItem(PlainStore):
    """`all` that is not declared is a generator, and raises when it is asked for an item."""

    def all(self) -> Iterator[tuple[str, Record]]:
        yield from Store.all(self)


@mutant("ENUM-8", "PARITY-3")
class YieldsNothing(PlainStore):
    """`all` that is not declared is empty."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return iter(())


@mutant("ENUM-8")
class CountsNothing(PlainStore):
    """`length` that is not declared is 0."""

    def length(self) -> int:
        self._check_open()
        return 0


@mutant("ENUM-1")
class YieldsOneMegabyte(MemoryStore):
    """`all` ends with the page that has reached a megabyte."""

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return self._page(super().all())

    def _page(self, records: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
        size = 0
        for key, record in records:
            yield key, record
            size += len(record.data)
            if size > 1_000_000:
                return
