"""Stores that conform, and declare other capabilities than the memory and the file store.

They show that such declarations are possible; some mutants are made of them.
"""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, Final

from mutation import StoreClassHarness

from coatcheck import ALWAYS, AsyncStore, Capabilities, Condition, MemoryStore, Record, Store
from coatcheck.errors import RecordTooLarge
from coatcheck_conformance import Harness
from coatcheck_file.conformance import FileHarness


class PlainStore(MemoryStore):
    """Declare nothing: no listing, no clearing, no owners, and calls may block."""

    capabilities = Capabilities()

    all = Store.all
    length = Store.length
    clear = Store.clear
    owned_by = Store.owned_by

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return super().set(key, replace(record, owner=None), only_if)


class LimitedStore(MemoryStore):
    """Its data have a limit."""

    capabilities = replace(MemoryStore.capabilities, max_data_bytes=1000)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._check_open()
        if len(record.data) > 1000:
            raise RecordTooLarge(len(record.data), 1000)
        return super().set(key, record, only_if)


class CoarseStore(MemoryStore):
    """It keeps whole seconds."""

    capabilities = replace(MemoryStore.capabilities, expiry_granularity=1.0)

    def rounded(self, expires_at: float) -> float:
        return float(math.floor(expires_at))

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        record = replace(record, expires_at=self.rounded(record.expires_at))
        return super().set(key, record, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return super().touch(key, self.rounded(expires_at), owner)


class MinutesStore(CoarseStore):
    """It keeps whole minutes."""

    capabilities = replace(MemoryStore.capabilities, expiry_granularity=60.0)

    def rounded(self, expires_at: float) -> float:
        return float(expires_at // 60 * 60)


class LaggingStore(MemoryStore):
    """Its index of owners shows a write a second later."""

    capabilities = replace(MemoryStore.capabilities, owner_lag=1.0)

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._written: dict[str, float] = {}

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if done:
            self._written[key] = self._clock()
        return done

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        owned = super().owned_by(owner)
        shown = self._clock() - self.capabilities.owner_lag
        return (item for item in owned if self._written[item[0]] <= shown)


class NativeStore(MemoryStore):
    """Let the backend remove expired records, and also compare with the store's own clock."""

    capabilities = replace(MemoryStore.capabilities, native_expiry=True)

    prune = Store.prune


class UndeclaredAsync(AsyncStore):
    """A store with only the async API, which declares nothing."""

    capabilities = Capabilities()

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._store: MemoryStore = PlainStore(clock=clock)

    async def get(self, key: str) -> Record | None:
        return self._store.get(key)

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return self._store.set(key, record, only_if)

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return self._store.destroy(key, only_if)

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return self._store.touch(key, expires_at, owner)

    async def prune(self, limit: int | None = None) -> int:
        return self._store.prune(limit)

    async def ping(self) -> None:
        self._store.ping()

    async def close(self) -> None:
        self._store.close()


class DeclaredAsync(UndeclaredAsync):
    """A store with only the async API, which declares the same as a memory store."""

    capabilities = MemoryStore.capabilities

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._store = MemoryStore(clock=clock)

    async def all(self) -> AsyncIterator[tuple[str, Record]]:
        for item in self._store.all():
            yield item

    async def length(self) -> int:
        return self._store.length()

    async def clear(self) -> None:
        self._store.clear()

    async def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        for item in self._store.owned_by(owner):
            yield item


class SharedMemoryStore(MemoryStore):
    """A store whose backend holds other namespaces, which it leaves alone.

    :param namespace: separates it from the others.
    :param backend: all stores, by their namespaces.
    """

    def __init__(
        self, namespace: str, backend: dict[str, Any], *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(clock=clock)
        self.namespace, self._backend = namespace, backend

    def like_named(self) -> Iterator[SharedMemoryStore]:
        """Yield this store and those whose namespaces begin with the name of this one."""
        for name, store in list(self._backend.items()):
            if name.startswith(self.namespace):
                yield store


class SharedHarness(StoreClassHarness):
    """Opens stores that have one backend for all namespaces."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        if namespace not in self._stores:
            store: Any = self.store_class(namespace, self._stores, clock=clock)
            self._stores[namespace] = store
        return self._stores[namespace]


class FolderHarness(FileHarness):
    """Opens a subclass of the file store, in this process and in others."""

    def __init__(self, store_class: Any) -> None:
        self._above = tempfile.mkdtemp(prefix="coatcheck-mutant-")
        super().__init__(f"file://{self._above}?durability=process")
        self.opener = f"{store_class.__module__}:{store_class.__qualname__}.from_url"
        self.store_class = store_class

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        # As the opener does, but for the time that a stall takes.
        folder = self.folder(namespace)
        return self.store_class(folder, durability="process", clock=clock, lock_timeout=1)

    def finish(self) -> None:
        super().finish()
        shutil.rmtree(self._above, ignore_errors=True)


class TextStore(MemoryStore):
    """A store whose layout holds text data as text."""

    def layout(self, key: str) -> str | bytes | None:
        """Return the data of a record as the backend holds them."""
        record = self.get(key)
        if record is None:
            return None
        try:
            return record.data.decode()
        except UnicodeDecodeError:
            return record.data


class TextHarness(StoreClassHarness):
    """Show the layout of stores that hold text."""

    unsupported: ClassVar = {
        name: reason for name, reason in StoreClassHarness.unsupported.items() if name != "stored"
    }

    def stored(self, namespace: str, key: str) -> str | bytes | None:
        store: Any = self._stores[namespace]
        found: str | bytes | None = store.layout(key)
        return found


def _reference(
    store_class: Any, harness: Callable[[Any], Harness] = StoreClassHarness
) -> Callable[[], Harness]:
    """Return a function that makes a harness of the class, under the name of the class."""
    make = functools.partial(harness, store_class)
    functools.update_wrapper(make, store_class, assigned=("__name__",), updated=())
    return make


#: What makes a harness of each.
REFERENCES: Final = (
    _reference(PlainStore),
    _reference(LimitedStore),
    _reference(CoarseStore),
    _reference(MinutesStore),
    _reference(LaggingStore),
    _reference(NativeStore),
    _reference(UndeclaredAsync),
    _reference(DeclaredAsync),
    _reference(SharedMemoryStore, SharedHarness),
    _reference(TextStore, TextHarness),
)


class IndexTrustingStore(MemoryStore):
    """A store in memory that lists all that its index names, of any owner."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return self._records(self._owned_keys(owner))
