"""Mutants of the PARITY clauses: the async API does otherwise than the sync one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from mutation import mutant
from network_store import AsyncNetStore
from references import DeclaredAsync

from coatcheck import ALWAYS, Condition, MemoryStore, Record, Unchanged
from coatcheck.errors import StoreClosed, StoreUnavailable
from coatcheck.storekit import check_key
from mutants.loop import NativeHarness


@mutant("PARITY-1", harness=NativeHarness)
class TurnsKeysRound(AsyncNetStore):
    """The async API writes a key with special characters from its end to its beginning."""

    async def _call(self, operation: str, *args: Any) -> Any:
        if operation in ("get", "set", "destroy", "touch"):
            args = (self._turned(check_key(args[0])), *args[1:])
        return await super()._call(operation, *args)

    async def _listed(self, owner: str | None) -> AsyncIterator[tuple[str, Record]]:
        async for key, record in super()._listed(owner):
            yield self._turned(key), record

    def _turned(self, key: str) -> str:
        return key if quote(key, safe="") == key else key[::-1]


@mutant("PARITY-2", "DESTROY-2", harness=NativeHarness)
class ReturnsNoneForFalse(AsyncNetStore):
    """The async API returns None where a conditional destroy finds nothing."""

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        ended = await super().destroy(key, only_if)
        if not ended and isinstance(only_if, Unchanged):
            return None if await self.get(key) is None else False  # type: ignore[return-value]
        return ended


@mutant("PARITY-3", "LIFE-5", harness=NativeHarness)
class RaisesAnotherError(AsyncNetStore):
    """The async API is unavailable when it has been closed."""

    async def _call(self, operation: str, *args: Any) -> Any:
        try:
            return await super()._call(operation, *args)
        except StoreClosed as error:
            raise StoreUnavailable("there is no connection") from error


class _Listing(AsyncIterator[tuple[str, Record]]):
    """An asynchronous iterator that may be awaited as well."""

    def __init__(self, records: AsyncIterator[tuple[str, Record]]) -> None:
        self._records = records

    def __await__(self) -> Generator[Any, None, _Listing]:
        return self
        yield

    async def __anext__(self) -> tuple[str, Record]:
        return await anext(self._records)


@mutant("PARITY-4")
class ListsWhenAwaited(DeclaredAsync):
    """Its lists can be awaited, so callers await them."""

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        return _Listing(super().all())

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        return _Listing(super().owned_by(owner))


@mutant("PARITY-5", "PARITY-2", "SET-10", harness=NativeHarness)
class ComparesText(AsyncNetStore):
    """The async API compares what the bytes mean as text."""

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        if isinstance(only_if, Unchanged):
            found = await self.get(key)
            if found is not None and _text(found.data) == _text(only_if.data):
                only_if = Unchanged(found.data)
        return await super().set(key, record, only_if)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape").strip()


@mutant("PARITY-1", "PARITY-2", "GET-7", "OWNER-1", harness=NativeHarness)
class IgnoresTheOwner(AsyncNetStore):
    """The async API writes no owner."""

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return await super().set(key, replace(record, owner=None), only_if)


@mutant("PARITY-2", seeds=20)
class KeepsATouch(MemoryStore):
    """The life that `touch` has given stays when the record is replaced on a condition."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._touched: dict[str, float] = {}

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        touched = self._touched.pop(key, None) if done else None
        if touched is not None and only_if is not ALWAYS:
            super().touch(key, touched)
        return done

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        touched = super().touch(key, expires_at, owner)
        if touched:
            self._touched[key] = expires_at
        return touched
