"""Mutants of the EXPIRY clauses."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mutation import StoreClassHarness, mutant
from references import CoarseStore, NativeStore

from coatcheck import ABSENT, ALWAYS, Condition, MemoryStore, Record


class _Rewriting(MemoryStore):
    """A store that keeps another expiry than it is given."""

    def kept(self, expires_at: float) -> float:
        return expires_at

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return super().set(key, replace(record, expires_at=self.kept(record.expires_at)), only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return super().touch(key, self.kept(expires_at), owner)


@mutant("EXPIRY-1")
class ExpiresLate(MemoryStore):
    """A record is still returned at the instant of its expiry."""

    def _live(self, key: str, now: float) -> Any:
        self._check_open()
        slot = self._slots.get(key)
        return slot if slot is not None and slot.record.expires_at >= now else None


@mutant("EXPIRY-1")
class ExpiresEarly(MemoryStore):
    """A record is no longer shown in its last second."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return found if found is not None and found.expires_at > self._clock() + 1 else None


@mutant("EXPIRY-2")
class CountsFromArrivalInSet(MemoryStore):
    """`set` computes a lifetime, which begins when the backend receives it."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        life = record.expires_at - self._clock()
        return super().set(key, replace(record, expires_at=self._clock() + life), only_if)


@mutant("EXPIRY-2")
class CountsFromArrivalInTouch(MemoryStore):
    """`touch` computes a lifetime, which begins when the backend receives it."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        life = expires_at - self._clock()
        return super().touch(key, self._clock() + life, owner)


def _of_cookie(data: bytes) -> str:
    """Return the expiry inside an Express session's data, or nothing."""
    try:
        return str(json.loads(data)["cookie"]["expires"])
    except (ValueError, KeyError, TypeError):
        return ""


@mutant("EXPIRY-3")
class BelievesPastInCookie(MemoryStore):
    """A record is expired if the cookie inside its data is."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return None if found is None or "" < _of_cookie(found.data) < "2020" else found


@mutant("EXPIRY-3")
class BelievesFutureInCookie(_Rewriting):
    """A record expires with the cookie inside its data, if that is later."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if _of_cookie(record.data) > "2090":
            record = replace(record, expires_at=4e9)
        return super().set(key, record, only_if)


@mutant("EXPIRY-4")
class SignedMilliseconds(_Rewriting):
    """A lifetime in milliseconds of more than 31 bits ends at once."""

    def kept(self, expires_at: float) -> float:
        now = self._clock()
        return now + 0.001 if (expires_at - now) * 1000 >= 2**31 else expires_at


@mutant("EXPIRY-4")
class SignedSeconds(_Rewriting):
    """Expiries are at most the last second of 31 bits, in the year 2038."""

    def kept(self, expires_at: float) -> float:
        return min(expires_at, 2.0**31 - 1)


@mutant("EXPIRY-4")
class UnsignedSeconds(_Rewriting):
    """Expiries are kept in 32 bits, which overflow in the year 2106."""

    def kept(self, expires_at: float) -> float:
        return expires_at % 2**32


@mutant("EXPIRY-4")
class OneYearAtMost(_Rewriting):
    """No record lives longer than 400 days, as no cookie does."""

    def kept(self, expires_at: float) -> float:
        return min(expires_at, self._clock() + 400 * 86400)


@mutant("EXPIRY-5")
class RoundsUp(CoarseStore):
    """Expiries are rounded up to whole seconds."""

    def rounded(self, expires_at: float) -> float:
        return float(math.ceil(expires_at))


@mutant("EXPIRY-5")
class RoundsInTouch(MemoryStore):
    """`touch` keeps whole milliseconds, and this is not declared."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return super().touch(key, math.floor(expires_at * 1000) / 1000, owner)


@mutant("EXPIRY-5")
class KeepsLocalTime(_Rewriting):
    """Expiries are kept as local time without a zone."""

    def kept(self, expires_at: float) -> float:
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(expires_at))
        return time.mktime(time.strptime(shown, "%Y-%m-%d %H:%M:%S")) + expires_at % 1


@mutant("EXPIRY-5")
class MixesUpZones(_Rewriting):
    """Expiries are written in UTC, and read as if they were local time."""

    def kept(self, expires_at: float) -> float:
        return time.mktime((*time.gmtime(expires_at)[:8], 0)) + expires_at % 1


@mutant("EXPIRY-6")
class TakesHalfAStepOff(CoarseStore):
    """Half a second is subtracted from each expiry, to be safe."""

    def rounded(self, expires_at: float) -> float:
        return expires_at - 0.5


@mutant("EXPIRY-7")
class OneClockForAll(MemoryStore):
    """The clock is kept in the class, so the newest store's clock counts for all."""

    latest: Callable[[], float]

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        OneClockForAll.latest = staticmethod(clock)
        super().__init__(clock=lambda: OneClockForAll.latest())


@mutant("EXPIRY-8")
class LooksAtTheSystemToo(MemoryStore):
    """A record that has expired by the system's time is not returned."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        return found if found is not None and found.expires_at > time.time() else None


@mutant("EXPIRY-8")
class TouchesBySystemTime(MemoryStore):
    """`touch` also compares with the system's time."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        found = self.get(key)
        if found is None or found.expires_at <= time.time():
            return False
        return super().touch(key, expires_at, owner)


class _BackendClockHarness(StoreClassHarness):
    """Let time pass in the backend, too."""

    def advance(self, namespace: str, seconds: float) -> None:
        self._stores[namespace].ahead += seconds  # type: ignore[attr-defined]  # it is our own


@mutant("EXPIRY-9", harness=_BackendClockHarness)
class LeavesItToTheBackend(NativeStore):
    """The backend decides what has expired, by a clock of its own."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.ahead = clock() - time.time()
        super().__init__(clock=lambda: time.time() + self.ahead)


@mutant("EXPIRY-10")
class KeepsTheLater(MemoryStore):
    """A `set` never makes a life shorter."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        found = self.get(key)
        if found is not None and record.expires_at > self._clock():
            record = replace(record, expires_at=max(record.expires_at, found.expires_at))
        return super().set(key, record, only_if)


@mutant("EXPIRY-10")
class KeepsTheFormer(MemoryStore):
    """A conditional `set` over a live record keeps its expiry."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        found = self.get(key)
        if found is not None and only_if is not ALWAYS and record.expires_at > self._clock():
            record = replace(record, expires_at=found.expires_at)
        return super().set(key, record, only_if)


@mutant("EXPIRY-1")
class TakenAtTheInstant(MemoryStore):
    """At the instant of its expiry a record is absent, but still blocks `ABSENT`."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        slot = self._slots.get(key)
        if only_if is ABSENT and slot and slot.record.expires_at == self._clock():
            return False
        return super().set(key, record, only_if)


@mutant("EXPIRY-5")
class TakesIntegersForMilliseconds(MemoryStore):
    """An expiry without a fraction is taken for milliseconds, as JavaScript counts."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if isinstance(record.expires_at, int):
            record = replace(record, expires_at=record.expires_at / 1000)
        return super().set(key, record, only_if)
