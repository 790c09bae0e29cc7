"""Mutants of the GET clauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mutation import mutant
from references import FolderHarness

from coatcheck import ALWAYS, Capabilities, Condition, MemoryStore, Record, Store
from coatcheck.errors import StoreError
from coatcheck_file import FileStore
from coatcheck_file._content import Damaged, encode_key
from coatcheck_file._layout import digest


@mutant("GET-1")
class ShowsWhatItReadFirst(MemoryStore):
    """`get` returns the first value that it read, even after later writes."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._seen: dict[str, bytes] = {}

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None:
            return None
        return replace(found, data=self._seen.setdefault(key, found.data))


@mutant("GET-1", harness=FolderHarness)
class HandlesWithACache(FileStore):
    """A handle returns values that it read or wrote itself, and misses other handles' writes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cache: dict[str, Record] = {}

    def get(self, key: str) -> Record | None:
        cached = self._cache.get(key)
        found = super().get(key) if cached is None else self._records.live(cached)
        if found is not None:
            self._cache[key] = found
        return found

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._cache.pop(key, None)
        return super().set(key, record, only_if)


@mutant("GET-2")
class RaisesForUnknownKeys(MemoryStore):
    """A missing key raises the dictionary's own error."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None and key not in self._slots and key == "unknown":
            raise KeyError
        return found


@mutant("GET-3")
class NeverExpires(MemoryStore):
    """It leaves expiry to a backend that has none."""

    def _live(self, key: str, now: float) -> Any:
        self._check_open()
        return self._slots.get(key)

    def _remove_expired(self, limit: int) -> int:
        return 0


@mutant("GET-3")
class ShowsWhatIsNotPurged(MemoryStore):
    """`get` alone ignores the expiry, and returns records that have not been purged."""

    def get(self, key: str) -> Record | None:
        with self._lock:
            self._check_open()
            slot = self._slots.get(key)
            return None if slot is None else slot.record


class _Damaged(FileStore):
    """A file store that is told when a record that it reads is damaged."""

    def is_damaged(self, key: str) -> bool:
        name = encode_key(key)
        try:
            self._records.open(digest(name), name)
        except OSError:
            return False
        except Damaged:
            return True
        return False


@mutant("GET-4", harness=FolderHarness)
class RaisesForTheMalformed(_Damaged):
    """A malformed record raises an error of the store."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None and self.is_damaged(key):
            raise StoreError("a record cannot be parsed")
        return found


@mutant("GET-4", harness=FolderHarness)
class EmptyForTheMalformed(_Damaged):
    """A malformed record is returned as an empty session."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None and self.is_damaged(key):
            return Record(b"{}", self._records.clock() + 3600)
        return found


@mutant("GET-5")
class ShowsTheExpiryOfSet(MemoryStore):
    """A copy of the expiry is kept inside the record, where `touch` does not change it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._copies: dict[str, float] = {}

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None:
            return None
        return replace(found, expires_at=self._copies.get(key, found.expires_at))

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if done:
            self._copies[key] = record.expires_at
        return done


@mutant("GET-6")
class ReadingExtends(MemoryStore):
    """Reading extends the life of a session that has less than an hour left, by an hour."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is not None and found.expires_at - self._clock() < 3600:
            self.touch(key, found.expires_at + 3600)
        return found


@mutant("GET-6")
class ReadingForgetsTheOwner(MemoryStore):
    """Reading an old record writes the time of the last access, and leaves the owner out."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is not None and found.expires_at - self._clock() < 18 * 3600:
            self.set(key, replace(found, owner=None))
        return found


@mutant("GET-7")
class ShowsNoOwner(MemoryStore):
    """`get` does not read the owner, which only the index has."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return None if found is None else replace(found, owner=None)


@mutant("GET-7")
class ShowsUndeclaredOwners(MemoryStore):
    """It returns the owner without declaring that it keeps one."""

    capabilities = Capabilities()

    all = Store.all
    length = Store.length
    clear = Store.clear
    owned_by = Store.owned_by
