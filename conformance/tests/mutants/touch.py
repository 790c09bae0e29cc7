"""Mutants of the TOUCH clauses."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from mutation import mutant

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.errors import StoreUnavailable

from .set import _Peeking


@mutant("TOUCH-1")
class MovesNothing(MemoryStore):
    """`touch` returns True and does nothing."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.get(key)
        if found is None or expires_at < found.expires_at:
            return super().touch(key, expires_at, owner)
        return True


@mutant("TOUCH-2")
class MakesGhosts(MemoryStore):
    """A touch of nothing creates a record."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        if self.get(key) is None and key not in self._seen:
            super().set(key, Record(b"{}", expires_at, owner))
        return super().touch(key, expires_at, owner)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._seen.add(key)
        return super().set(key, record, only_if)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: set[str] = set()


@mutant("TOUCH-3")
class Revives(_Peeking):
    """A touch of an expired record that is still stored brings it back."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        stored = self.stored(key)
        if stored is not None and stored.expires_at <= self._clock():
            super().set(key, replace(stored, expires_at=expires_at))
            return True
        return super().touch(key, expires_at, owner)


@mutant("TOUCH-4")
class NormalisesData(_Peeking):
    """A touch rewrites the data, in a form of its own."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        done = super().touch(key, expires_at, owner)
        found = self.peek(key)
        if done and found is not None and found.data.endswith(b"\x00"):
            super().set(key, replace(found, data=found.data[:-1]))
        return done


@mutant("TOUCH-4", seeds=5)
class RewritesTheRecord(_Peeking):
    """A touch reads the record and writes it again."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.peek(key)
        if found is not None and found.data.startswith((b"data", b"write")):
            time.sleep(0.002)  # as long as a trip to a server takes
            return super().set(key, replace(found, expires_at=expires_at))
        return super().touch(key, expires_at, owner)


@mutant("TOUCH-5")
class CannotShorten(MemoryStore):
    """The later of two expiries is kept."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.get(key)
        if found is not None and self._clock() < expires_at < found.expires_at - 7000:
            return True
        return super().touch(key, expires_at, owner)


@mutant("TOUCH-6")
class RefusesToEnd(MemoryStore):
    """A past expiry raises an error."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        if expires_at <= self._clock() and self.get(key) is not None:
            raise StoreUnavailable("invalid expire time")
        return super().touch(key, expires_at, owner)


@mutant("TOUCH-7")
class BelievesTheArgument(_Peeking):
    """The owner that the caller names is stored."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        done = super().touch(key, expires_at, owner)
        found = self.peek(key)
        if done and owner is not None and found is not None:
            super().set(key, replace(found, owner=owner))
        return done


@mutant("TOUCH-8")
class ForgetsTheOwner(_Peeking):
    """Without the argument the record loses its owner."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        done = super().touch(key, expires_at, owner)
        found = self.peek(key)
        if done and owner is None and found is not None and found.owner is not None:
            super().set(key, replace(found, owner=None))
        return done
