"""Put a store behind glass: count its calls, and let the last write win where one asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from coatcheck import ABSENT, ALWAYS, AsyncStore, Condition, Record, Store

from ._glass import calling, current


class WatchedStore(Store):
    """Pass the operations to a store, and note how long they took.

    :param store: keeps the sessions.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.capabilities = store.capabilities

    def get(self, key: str) -> Record | None:
        with calling("get") as outcome:
            record = self._store.get(key)
            outcome.append(record is not None)
        return record

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        with calling("set") as outcome:
            outcome.append(self._store.set(key, record, _respected(only_if)))
        return bool(outcome[0])

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        with calling("destroy") as outcome:
            outcome.append(self._store.destroy(key, only_if))
        return bool(outcome[0])

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        with calling("touch") as outcome:
            outcome.append(self._store.touch(key, expires_at, owner))
        return bool(outcome[0])

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        with calling("owned_by") as outcome:
            found = list(self._store.owned_by(owner))
            outcome.append(found)
        return iter(found)

    def prune(self, limit: int | None = None) -> int:
        return self._store.prune(limit)

    def ping(self) -> None:
        self._store.ping()

    def close(self) -> None:
        self._store.close()


class WatchedAsyncStore(AsyncStore):
    """Do the same as :class:`WatchedStore`, with an async API.

    :param store: keeps the sessions.
    """

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self.capabilities = store.capabilities

    async def get(self, key: str) -> Record | None:
        with calling("get") as outcome:
            record = await self._store.get(key)
            outcome.append(record is not None)
        return record

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        with calling("set") as outcome:
            outcome.append(await self._store.set(key, record, _respected(only_if)))
        return bool(outcome[0])

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        with calling("destroy") as outcome:
            outcome.append(await self._store.destroy(key, only_if))
        return bool(outcome[0])

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        with calling("touch") as outcome:
            outcome.append(await self._store.touch(key, expires_at, owner))
        return bool(outcome[0])

    async def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        with calling("owned_by") as outcome:
            found = [pair async for pair in self._store.owned_by(owner)]
            outcome.append(found)
        for pair in found:
            yield pair

    async def prune(self, limit: int | None = None) -> int:
        return await self._store.prune(limit)

    async def ping(self) -> None:
        await self._store.ping()

    async def close(self) -> None:
        await self._store.close()


def _respected(only_if: Condition) -> Condition:
    """Return the condition of a write; none, where the last write wins.

    A new record still replaces no other, because that protects other visitors.
    """
    trace = current.get()
    is_ignored = trace is not None and trace.last_write_wins and only_if is not ABSENT
    return ALWAYS if is_ignored else only_if
