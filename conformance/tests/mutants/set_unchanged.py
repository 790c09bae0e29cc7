"""Mutants of SET-7 to SET-11, about data that must be unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from mutation import mutant
from references import FolderHarness

from coatcheck import ALWAYS, PRESENT, Condition, MemoryStore, Record, Unchanged
from coatcheck_file import FileStore

from .set import _Judging


@mutant("SET-7")
class UnchangedNeedsNews(_Judging):
    """Compare-and-set fails if the new data are the stored ones."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        return done and not (isinstance(only_if, Unchanged) and only_if.data == record.data)


class _Comparing(_Judging):
    """A store that compares the data of a live record in its own way."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored == given

    def holds(self, only_if: Condition, live: Record | None) -> bool | None:
        if not isinstance(only_if, Unchanged) or live is None:
            return None
        return self.same(live.data, only_if.data)


@mutant("SET-8")
class ComparesNothing(_Comparing):
    """Compare-and-set does not compare."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return True


@mutant("SET-8")
class ComparesTheLength(_Comparing):
    """Compare-and-set compares the length of the data."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return len(stored) == len(given)


@mutant("SET-8", harness=FolderHarness)
class ComparesWhatItRead(FileStore):
    """Compare-and-set compares with the data that this handle has read, and then just writes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: dict[str, bytes] = {}

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        self._seen.pop(key, None)
        if found is not None:
            self._seen[key] = found.data
        return found

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        seen = self._seen.pop(key, None)
        if isinstance(only_if, Unchanged) and only_if.data == seen:
            only_if = PRESENT
        return super().set(key, record, only_if)


@mutant("SET-9")
class UnchangedUpserts(MemoryStore):
    """Compare-and-set creates a record under an unused key."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if isinstance(only_if, Unchanged) and key not in self._slots:
            only_if = ALWAYS
        return super().set(key, record, only_if)


@mutant("SET-10")
class ComparesDocuments(_Comparing):
    """Compare-and-set compares the meaning of the data as JSON."""

    def same(self, stored: bytes, given: bytes) -> bool:
        try:
            return bool(json.loads(stored) == json.loads(given))
        except ValueError:
            return stored == given


@mutant("SET-10")
class ComparesWithoutCase(_Comparing):
    """Compare-and-set ignores case, like a collation."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored.lower() == given.lower()


@mutant("SET-10")
class ComparesWithoutTheEnd(_Comparing):
    """Compare-and-set ignores white space at the end, like a CHAR column."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored.rstrip() == given.rstrip()


@mutant("SET-10")
class ComparesCStrings(_Comparing):
    """Compare-and-set compares up to the first NUL."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored.split(b"\0")[0] == given.split(b"\0")[0]


@mutant("SET-10")
class ComparesTexts(_Comparing):
    """Compare-and-set decodes the data, and replaces bytes that are not UTF-8."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored.decode(errors="replace") == given.decode(errors="replace")


@mutant("SET-10")
class ComparesTheBeginning(_Comparing):
    """Compare-and-set compares the first 255 bytes, which have an index."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return stored[:255] == given[:255]


class _Versioned(MemoryStore):
    """A store that also compares a version with that at the time of the read."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._seen: dict[str, object] = {}

    def version(self, record: Record) -> object:
        return record.data

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is not None:
            self._seen[key] = self.version(found)
        return found

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        seen = self._seen.pop(key, None)
        if isinstance(only_if, Unchanged) and seen is not None:
            live = super().get(key)
            if live is not None and self.version(live) != seen:
                return False
        return super().set(key, record, only_if)


@mutant("SET-10")
class ComparesTheFirstPage(_Comparing):
    """Compare-and-set compares the length, and the first 8 KiB of long data."""

    def same(self, stored: bytes, given: bytes) -> bool:
        return len(stored) == len(given) and stored[:8192] == given[:8192]


@mutant("SET-11")
class ComparesTheExpiry(_Versioned):
    """Compare-and-set compares also the expiry, which a touch moves."""

    def version(self, record: Record) -> object:
        return record.data, record.expires_at

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        seen = self._seen.get(key)
        done = super().set(key, record, only_if)
        if only_if is ALWAYS and seen is not None:
            self._seen[key] = seen
        return done


@mutant("SET-11")
class ComparesTheOwner(_Versioned):
    """Compare-and-set compares also the owner as it was read."""

    def version(self, record: Record) -> object:
        return record.owner

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        seen = self._seen.get(key)
        done = super().set(key, record, only_if)
        if only_if is ALWAYS and seen is not None:
            self._seen[key] = seen
        return done
