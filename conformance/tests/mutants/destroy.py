"""Mutants of the DESTROY clauses."""

from __future__ import annotations

from typing import Any

from mutation import mutant
from references import FolderHarness

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, MemoryStore, Record, Unchanged
from coatcheck.errors import StoreError, StoreUnavailable
from coatcheck.storekit import check_key

from .get import _Damaged
from .set import _Peeking


@mutant("DESTROY-1")
class OnlySaysSo(MemoryStore):
    """`destroy` keeps the record, and returns True."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if only_if is ALWAYS:
            return self.get(key) is not None
        return super().destroy(key, only_if)


@mutant("DESTROY-2", by_chance=("RACE-4", "OWNER-1"))
class AlwaysTrue(MemoryStore):
    """`destroy` returns True even if it removed nothing."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return super().destroy(key, only_if) or only_if is ALWAYS


@mutant("DESTROY-2", by_chance=("RACE-4", "OWNER-1"))
class RaisesTheSecondTime(MemoryStore):
    """Logging out twice is an error."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if self.get(key) is None and only_if is ALWAYS:
            raise StoreUnavailable("there is no such record")
        return super().destroy(key, only_if)


@mutant("DESTROY-3")
class CountsTheExpired(_Peeking):
    """`destroy` returns True for an expired record."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        is_stored = self.stored(key) is not None
        return super().destroy(key, only_if) or (is_stored and only_if in (ALWAYS, PRESENT))


@mutant("DESTROY-4")
class PresentIsNotKnown(MemoryStore):
    """`destroy` with PRESENT removes nothing."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        check_key(key)
        return only_if is not PRESENT and super().destroy(key, only_if)


@mutant("DESTROY-5")
class AbsentRemoves(MemoryStore):
    """`destroy` ignores ABSENT."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return super().destroy(key, ALWAYS if only_if is ABSENT else only_if)


@mutant("DESTROY-6")
class UnchangedRemovesNothing(MemoryStore):
    """A conditional removal never matches."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return not isinstance(only_if, Unchanged) and super().destroy(key, only_if)


@mutant("DESTROY-7")
class IgnoresItsCondition(MemoryStore):
    """A conditional removal removes any record."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return super().destroy(key, ALWAYS if isinstance(only_if, Unchanged) else only_if)


@mutant("DESTROY-8")
class CanBeUndone(MemoryStore):
    """A removed record is kept aside, and an update finds it there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._aside: dict[str, Record] = {}

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        found = self.get(key)
        done = super().destroy(key, only_if)
        if done and found is not None and found.owner == "ann":
            self._aside[key] = found
        return done

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        aside = self._aside.pop(key, None) if owner == "ann" else None
        if aside is not None:
            super().set(key, aside)
        return super().touch(key, expires_at, owner)


@mutant("DESTROY-9")
class RemovesByPrefix(MemoryStore):
    """Keys that begin with the key are removed with it."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        done = super().destroy(key, only_if)
        if done and key == "key":
            for other in [one for one in list(self._slots) if one.startswith(f"{key}:")]:
                super().destroy(other)
        return done


@mutant("DESTROY-10", harness=FolderHarness)
class CannotRemoveTheMalformed(_Damaged):
    """It parses a record before it removes it, and fails if it cannot."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if not self._closed and self.is_damaged(key):
            raise StoreError("a record cannot be parsed")
        return super().destroy(key, only_if)
