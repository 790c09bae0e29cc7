"""Mutants of the OWNER clauses."""

from __future__ import annotations

import dataclasses
import itertools
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Self

from mutation import mutant
from references import (
    FolderHarness,
    IndexTrustingStore,
    PlainStore,
    SharedHarness,
    SharedMemoryStore,
)

from coatcheck import ABSENT, ALWAYS, Capabilities, Condition, MemoryStore, Record
from coatcheck.errors import StoreError
from coatcheck.memory import _index, _unindex
from coatcheck.storekit import check_owner
from coatcheck_file import FileStore
from coatcheck_file._content import modification_time, pack
from coatcheck_file._files import replace
from coatcheck_file._layout import Layout


@mutant("OWNER-1")
class ForgetsOwnersOfTheNew(MemoryStore):
    """`set` with `ABSENT` does not write the index."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if done and only_if is ABSENT:
            with self._lock:
                _unindex(self._owned, key, record.owner)
        return done


@mutant("OWNER-2")
class ListsExpiredOwned(MemoryStore):
    """`owned_by` lists the records of the index without a check of their expiry."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        keys = self._owned_keys(owner)
        with self._lock:
            found = [(key, self._slots[key].record) for key in keys if key in self._slots]
        return iter(found)


@mutant("OWNER-2")
class EndingLeavesTheIndex(IndexTrustingStore):
    """Index entries outlive their records, so the next record under the key is listed."""

    def _discard(self, key: str) -> None:
        self._slots.pop(key)
        self._bound_heap()


@mutant("OWNER-3")
class ListedOncePerWrite(MemoryStore):
    """The index is a list, to which a write by the same owner appends."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._doubled: set[str] = set()

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        before = self.get(key)
        done = super().set(key, record, only_if)
        if done and before is not None and before.owner == record.owner:
            self._doubled.add(key)
        return done

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        for item in super().owned_by(owner):
            yield item
            if item[0] in self._doubled:
                yield item


@mutant("OWNER-4")
class NoIndexYet(MemoryStore):
    """Before the first record with an owner the index does not exist, and that is an error."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._is_indexed = False

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        self._is_indexed = self._is_indexed or (done and record.owner is not None)
        return done

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        found = super().owned_by(owner)
        if not self._is_indexed:
            raise StoreError("there is no such index")
        return found


@mutant("OWNER-5")
class FormerOwnersKeep(IndexTrustingStore):
    """A record that changes its owner is found by the former one as well."""

    def _replace(self, key: str, slot: Any, record: Record) -> None:
        former = slot.record.owner
        super()._replace(key, slot, record)
        if former is not None and former != record.owner:
            _index(self._owned, key, former)


@mutant("OWNER-6")
class IndexIsNotTouched(MemoryStore):
    """An index entry expires when the record would have without a `touch`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._until: dict[str, float] = {}

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if done:
            self._until[key] = record.expires_at
        return done

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        found = super().owned_by(owner)
        return (item for item in found if self._until[item[0]] > self._clock())


class _FoldedOwners(MemoryStore):
    """It takes some owners for one another."""

    @abstractmethod
    def folded(self, owner: str) -> str:
        """Return the owner that it is taken for."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        wanted = self.folded(check_owner(owner))
        owners = [other for other in list(self._owned) if self.folded(other) == wanted]
        return chain(*map(super().owned_by, owners or [owner]))


@mutant("OWNER-7")
class FoldsCaseOfOwners(_FoldedOwners):
    """Owners that differ in case are one."""

    def folded(self, owner: str) -> str:
        return owner.lower()


@mutant("OWNER-7")
class StripsOwners(_FoldedOwners):
    """White space around an owner is cut off."""

    def folded(self, owner: str) -> str:
        return owner.strip()


@mutant("OWNER-7")
class OwnersUpToAColon(_FoldedOwners):
    """An owner ends at the character that separates it from the key."""

    def folded(self, owner: str) -> str:
        return owner.partition(":")[0]


@mutant("OWNER-7")
class OwnersBeginAlike(MemoryStore):
    """`owned_by` lists every owner that begins with the given one."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        begin = check_owner(owner)[:200]
        owners = [other for other in list(self._owned) if other.startswith(begin)]
        return chain(*map(super().owned_by, owners or [owner]))


class OpenedInAnotherProcess(FolderHarness):
    """Lets other processes open the mutant, too."""

    def __init__(self, store_class: Any) -> None:
        super().__init__(store_class)
        self.opener = f"{store_class.__module__}:{store_class.__qualname__}.from_url"


@mutant("OWNER-8", harness=OpenedInAnotherProcess)
class RecordBeforeIndex(FileStore):
    """The record is written first, and its index entry some time afterwards."""

    _delay = 0.0

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        store = super().from_url(url, clock=clock)
        store._delay = 0.02
        return store

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._set_soundly = self._records.set
        self._records.set = self._set  # type: ignore[method-assign]  # the fault

    def _set(self, key_digest: str, name: bytes, record: Record, only_if: Condition) -> bool:
        if self._delay and record.owner is not None:
            modified = modification_time(record.expires_at)
            path = Layout(self.folder).record(key_digest)
            replace(path, pack(name, record), modified, durable=False)
            time.sleep(self._delay)  # the other system's answer
            self._records.owners.add(record.owner, key_digest)
            return True
        return self._set_soundly(key_digest, name, record, only_if)


@mutant("OWNER-9", harness=FolderHarness)
class IndexWithACache(FileStore):
    """It keeps an owner's records until this handle writes, whatever others write."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cache: dict[str, list[tuple[str, Record]]] = {}

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._cache.clear()
        return super().set(key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        self._cache.clear()
        return super().destroy(key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        self._cache.clear()
        return super().touch(key, expires_at, owner)

    def clear(self) -> None:
        self._cache.clear()
        super().clear()

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        self._check_open()
        found = self._cache.get(owner)
        if found is None:
            found = list(super().owned_by(owner))
            if found:
                self._cache[owner] = found
        now = self._records.clock()
        return iter([item for item in found if item[1].expires_at > now])


@mutant("OWNER-10", harness=SharedHarness)
class OwnersOfAllNamespaces(SharedMemoryStore):
    """The index has the owner's name alone."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        self._check_open()
        stores = [store for store in self.like_named() if not store._closed]
        return chain(*(MemoryStore.owned_by(store, owner) for store in stores))


@mutant("OWNER-11")
class UndoesTheIndex(MemoryStore):
    """A `set` that is refused undoes an index entry that was there before."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        with self._lock:
            slot = self._slots.get(key)
            if not done and slot is not None and slot.record.owner == record.owner:
                _unindex(self._owned, key, record.owner)
        return done


@mutant("OWNER-12", "PARITY-3")
class NobodyOwnsAnything(PlainStore):
    """`owned_by` is not declared, and yields nothing."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return iter(())


@mutant("OWNER-12")
class RefusesAtTheFirstItem(PlainStore):
    """`owned_by` is not declared, and raises when its first item is asked for."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        yield from super().owned_by(owner)


@mutant("OWNER-13")
class RefusesALaterOwner(PlainStore):
    """A record that has lost its owner cannot get another one."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._had: set[str] = set()
        self._lost: set[str] = set()

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if record.owner is not None and key in self._lost and only_if is ALWAYS:
            raise StoreError("this store has no owners")
        done = super().set(key, record, only_if)
        if done and record.owner is not None:
            self._had.add(key)
        elif done and key in self._had:
            self._lost.add(key)
        return done


@mutant("OWNER-14")
class DelayOfNothing(PlainStore):
    """It declares a lag of an index that it does not have."""

    capabilities = Capabilities(owner_lag=1.0)


@mutant("OWNER-1")
class FirstBatchOfAnOwner(MemoryStore):
    """`owned_by` reads the 101 records of a client's first page, and asks for no more."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return itertools.islice(super().owned_by(owner), 101)


@mutant("OWNER-15")
class OwnersAreQueries(MemoryStore):
    """A dictionary instead of an owner finds the records of everybody."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return self.all() if isinstance(owner, dict) else super().owned_by(owner)


@mutant("OWNER-15")
class AnEmptyOwnerIsNobody(MemoryStore):
    """A record whose owner is an empty string is stored without one."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return super().set(key, dataclasses.replace(record, owner=record.owner or None), only_if)
