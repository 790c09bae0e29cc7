"""Mutants of the RACE clauses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mutation import mutant
from references import FolderHarness

from coatcheck import (
    ABSENT,
    ALWAYS,
    PRESENT,
    Condition,
    MemoryStore,
    Record,
    Unchanged,
)
from coatcheck.storekit import check_record, condition_holds
from coatcheck_file import FileStore
from coatcheck_file.conformance import FileHarness


@mutant("RACE-1", seeds=5)
class CreatesInTwoSteps(MemoryStore):
    """It looks whether the key is absent, and then writes."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is not ABSENT:
            return super().set(key, record, only_if)
        if self.get(key) is not None:
            return False
        self._clock()
        return super().set(key, record)


@mutant("RACE-2", seeds=5)
class ComparesInTwoSteps(MemoryStore):
    """It compares the bytes, and then writes over any record."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if not isinstance(only_if, Unchanged):
            return super().set(key, record, only_if)
        if not condition_holds(only_if, self.get(key)):
            return False
        self._clock()
        return super().set(key, record, PRESENT)


@mutant("RACE-3", seeds=5)
class EndsInTwoSteps(MemoryStore):
    """It looks whether the record is there, and then removes it."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if only_if is not ALWAYS:
            return super().destroy(key, only_if)
        found = self.get(key)
        self._clock()
        super().destroy(key)
        return found is not None


@mutant("RACE-4", seeds=5)
class UpdatesRevive(MemoryStore):
    """It looks whether the record is there, and then writes without a condition."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is not PRESENT:
            return super().set(key, record, only_if)
        if self.get(key) is None:
            return False
        self._clock()
        return super().set(key, record)


@mutant("RACE-4", seeds=5)
class ReplacementsRevive(MemoryStore):
    """A write whose comparison held brings a destroyed record back."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if not isinstance(only_if, Unchanged):
            return super().set(key, record, only_if)
        live = condition_holds(only_if, self.get(key))
        self._clock()
        if super().set(key, record, only_if):
            return True
        return live and super().set(key, record, ABSENT)


@mutant("RACE-5", seeds=5)
class TouchesRevive(MemoryStore):
    """A touch writes the record that it has read, even after its removal."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.get(key)
        if found is None:
            return False
        self._clock()
        if super().touch(key, expires_at, owner):
            return True
        return super().set(key, replace(found, expires_at=expires_at), ABSENT)


@mutant("RACE-6", "TOUCH-4", seeds=5)
class TouchesUndo(MemoryStore):
    """A touch writes all of the record that it has read."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.get(key)
        if found is None:
            return False
        self._clock()
        return super().set(key, replace(found, expires_at=expires_at), PRESENT)


@mutant("RACE-7", seeds=5)
class RemovesBeforeItWrites(MemoryStore):
    """It replaces a record by removing it and writing another one."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is ALWAYS and check_record(record):
            super().destroy(key)
            self._clock()
        return super().set(key, record, only_if)


@mutant("RACE-7", seeds=5)
class ReadsInTwoSteps(MemoryStore):
    """It reads the data first, and expiry and owner later."""

    def get(self, key: str) -> Record | None:
        first = super().get(key)
        self._clock()
        second = super().get(key)
        return second and first and replace(second, data=first.data)


@mutant("RACE-8", harness=FolderHarness)
class RemembersWhatItRead(FileStore):
    """It keeps what it has read as long as the data are the same, and misses touches by others."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cache: dict[str, Record] = {}

    def get(self, key: str) -> Record | None:
        found, cached = super().get(key), self._cache.get(key)
        if found is None:
            return None
        if cached is None or cached.data != found.data or self._records.live(cached) is None:
            self._cache[key] = cached = found
        return cached

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._cache.pop(key, None)
        return super().set(key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        self._cache.pop(key, None)
        return super().destroy(key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        self._cache.pop(key, None)
        return super().touch(key, expires_at, owner)

    def clear(self) -> None:
        self._cache.clear()
        super().clear()


_locks: dict[Path, dict[str, threading.Lock]] = {}
_guard = threading.Lock()


class _NoStallHarness(FolderHarness):
    """The kit does not hold the locks of the files."""

    unsupported: ClassVar = {
        **FileHarness.unsupported,
        "stall": "the store waits for threads alone",
    }


@mutant("RACE-9", harness=_NoStallHarness)
class LocksOnlyThreads(FileStore):
    """All handles of the process share its locks, which only stop threads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._locks.held = self._held_by_thread  # type: ignore[method-assign]  # breaking it
        self._garbage._locks = self._locks

    @contextmanager
    def _held_by_thread(self, name: str, *, wait: bool = True) -> Iterator[None]:
        with _guard:
            lock = _locks.setdefault(self.folder, {}).setdefault(name, threading.Lock())
        with lock:
            yield
