"""Mutants of SET-1 to SET-6, and of SET-12 to SET-16."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mutation import mutant
from references import FolderHarness

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, MemoryStore, Record, Unchanged
from coatcheck.errors import StoreError
from coatcheck_file import FileStore

from .get import _Damaged


@mutant("SET-1")
class TellsNothing(MemoryStore):
    """An unconditional write returns nothing."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> Any:
        done = super().set(key, record, only_if)
        return None if only_if is ALWAYS else done


@mutant("SET-1")
class TellsWhetherItIsNews(MemoryStore):
    """A write of the stored record changes no row, and counts as a failure."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        before = self.get(key)
        done = super().set(key, record, only_if)
        return done if only_if is not ALWAYS else before != record


class _Peeking(MemoryStore):
    """A store whose records can be inspected without purging them or marking them as used."""

    def stored(self, key: str) -> Record | None:
        """Return what is stored, expired or not."""
        slot = self._slots.get(key)
        return None if slot is None else slot.record

    def peek(self, key: str) -> Record | None:
        """Return the live record."""
        found = self.stored(key)
        return found if found is not None and found.expires_at > self._clock() else None


class _Atomic(MemoryStore):
    """A store that can do several steps at once, so that it is wrong even without races."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        lock: Any = threading.RLock()
        self._lock = lock


class _Judging(_Atomic):
    """A store that decides by itself whether a condition holds for a live record."""

    def holds(self, only_if: Condition, live: Record | None) -> bool | None:
        """Return whether it holds, or None to leave it to the store."""
        return None

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        with self._lock:
            holds = self.holds(only_if, self.get(key))
            if holds is None:
                return super().set(key, record, only_if)
            return holds and super().set(key, record)


@mutant("SET-2")
class KeepsTheOwner(MemoryStore):
    """An owner of None is left out of the update, and the former one stays."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        before = self.get(key)
        if record.owner is None and before is not None:
            record = replace(record, owner=before.owner)
        return super().set(key, record, only_if)


@mutant("SET-2")
class KeepsTheOwnerOfTheExpired(MemoryStore):
    """A record over an expired one that was not purged inherits its owner."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        slot = self._slots.get(key)
        expired = slot is not None and slot.record.expires_at <= self._clock()
        if slot is not None and expired and record.owner is None:
            record = replace(record, owner=slot.record.owner)
        return super().set(key, record, only_if)


@mutant("SET-3")
class MarksKeepOut(MemoryStore):
    """The tombstone of a destroyed session refuses a new one."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._marks: set[str] = set()

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is ABSENT and key in self._marks:
            return False
        return super().set(key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        done = super().destroy(key, only_if)
        if done:
            self._marks.add(key)
        return done


@mutant("SET-3")
class MisreadsItsReply(MemoryStore):
    """A write with `ABSENT` is done, and its success is taken for a failure."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        return False if only_if is ABSENT else done


@mutant("SET-4")
class AbsentOverwrites(_Judging):
    """`ABSENT` is ignored: a live record is overwritten."""

    def holds(self, only_if: Condition, live: Record | None) -> bool | None:
        return True if only_if is ABSENT and live is not None else None


@mutant("SET-4", harness=FolderHarness)
class AbsentByMemory(FileStore):
    """`ABSENT` is checked against the records that the handle has read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._missing: set[str] = set()

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None:
            self._missing.add(key)
        return found

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        was_missing = key in self._missing
        self._missing.discard(key)
        return super().set(key, record, ALWAYS if only_if is ABSENT and was_missing else only_if)


@mutant("SET-5")
class PresentNeedsNews(MemoryStore):
    """A write with `PRESENT` of the same data matches no row, and counts as a failure."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        before = self.get(key)
        done = super().set(key, record, only_if)
        return done and not (only_if is PRESENT and before == record)


@mutant("SET-5")
class PresentIsUnknown(_Judging):
    """`PRESENT` is taken for `ABSENT` over a live record."""

    def holds(self, only_if: Condition, live: Record | None) -> bool | None:
        return False if only_if is PRESENT else None


@mutant("SET-6")
class PresentUpserts(_Judging):
    """`PRESENT` creates a record under an unused key."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is PRESENT and key not in self._slots:
            only_if = ALWAYS
        return super().set(key, record, only_if)


@mutant("SET-12")
class RefusedMovesTheExpiry(MemoryStore):
    """The expiry is set in a separate step, even if the data were refused."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if not done and record.expires_at > self._clock():
            self.touch(key, record.expires_at)
        return done


class _RefusedWrites(_Atomic):
    """A store whose refused write changes a part of the record."""

    def left(self, before: Record, record: Record) -> Record:
        return before

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        with self._lock:
            done = super().set(key, record, only_if)
            before = self.get(key)
            if not done and before is not None and record.expires_at > self._clock():
                super().set(key, self.left(before, record))
            return done


@mutant("SET-12")
class RefusedChangesTheOwner(_RefusedWrites):
    """The owner is written first, and stays if the condition then fails."""

    def left(self, before: Record, record: Record) -> Record:
        return replace(before, owner=record.owner)


@mutant("SET-12")
class RefusedWritesData(_RefusedWrites):
    """The data of a record with an owner are written, and the call returns False."""

    def left(self, before: Record, record: Record) -> Record:
        return replace(before, data=record.data) if before.owner is not None else before


class _BlindToExpiry(_Peeking):
    """A store whose conditions still see expired records that are not purged."""

    def expired(self, key: str) -> Record | None:
        return None if self.peek(key) is not None else self.stored(key)


@mutant("SET-13")
class AbsentFailsOnTheExpired(_BlindToExpiry):
    """`ABSENT` fails over an expired record that is not purged."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is ABSENT and self.expired(key) is not None:
            return False
        return super().set(key, record, only_if)


@mutant("SET-13")
class PresentRevives(_BlindToExpiry):
    """`PRESENT` holds for an expired record that is not purged."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is PRESENT and self.expired(key) is not None:
            only_if = ALWAYS
        return super().set(key, record, only_if)


@mutant("SET-13")
class UnchangedRevives(_BlindToExpiry):
    """`Unchanged` holds for an expired record that is not purged."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        old = self.expired(key)
        if isinstance(only_if, Unchanged) and old is not None and old.data == only_if.data:
            only_if = ALWAYS
        return super().set(key, record, only_if)


class _PastExpiry(MemoryStore):
    """A store that treats a record that has expired already in a way of its own."""

    @abstractmethod
    def over(self, key: str, record: Record) -> bool:
        """Write a record that has expired already, for which the condition holds."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if record.expires_at > self._clock() or not self._would(key, only_if):
            return super().set(key, record, only_if)
        return self.over(key, record)

    def _would(self, key: str, only_if: Condition) -> bool:
        live = self.get(key)
        if isinstance(only_if, Unchanged):
            return live is not None and live.data == only_if.data
        return only_if is ALWAYS or (live is None) == (only_if is ABSENT)


@mutant("SET-14")
class PastExpiryRaises(_PastExpiry):
    """A lifetime of 0 or less is an error to the backend."""

    def over(self, key: str, record: Record) -> bool:
        raise StoreError("invalid expire time")


@mutant("SET-14")
class PastExpiryIsDropped(_PastExpiry):
    """A record that has expired is not written, and the old one stays."""

    def over(self, key: str, record: Record) -> bool:
        return True


@mutant("SET-14")
class PastExpiryIsRefused(_PastExpiry):
    """Writing a record that has expired removes the old one and returns False."""

    def over(self, key: str, record: Record) -> bool:
        self.destroy(key)
        return False


@mutant("SET-14")
class PastExpiryIsForEver(_PastExpiry):
    """A lifetime of 0 or less means no expiry."""

    def over(self, key: str, record: Record) -> bool:
        return super().set(key, replace(record, expires_at=self._clock() + 3e9))


@mutant("SET-15")
class PastExpiryIgnoresTheCondition(MemoryStore):
    """A write with a past expiry removes the record on any condition."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if record.expires_at <= self._clock():
            only_if = ALWAYS
        return super().set(key, record, only_if)


@mutant("SET-15")
class PastExpiryAlwaysSucceeds(MemoryStore):
    """A write with a past expiry respects its condition, but always returns True."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return super().set(key, record, only_if) or record.expires_at <= self._clock()


@mutant("SET-16", harness=FolderHarness)
class RaisesOverTheMalformed(_Damaged):
    """It parses the old record before it overwrites it, and fails if it cannot."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if not self._closed and self.is_damaged(key):
            raise StoreError("a record cannot be parsed")
        return super().set(key, record, only_if)


@mutant("SET-16", harness=FolderHarness)
class KeepsTheMalformed(_Damaged):
    """It keeps a malformed record as it is, and returns True."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if only_if is ALWAYS and not self._closed and self.is_damaged(key):
            return True
        return super().set(key, record, only_if)
