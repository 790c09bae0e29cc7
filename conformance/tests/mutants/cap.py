"""Mutants of the CAP clauses."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mutation import StoreClassHarness, mutant
from references import DeclaredAsync, PlainStore

from coatcheck import AsyncStore, Capabilities, MemoryStore, Store


@mutant("CAP-1")
class CapabilitiesEndWithIt(MemoryStore):
    """A closed store declares other capabilities than an open one."""

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]  # a property instead
        declared = MemoryStore.capabilities
        return replace(declared, clearable=False) if self._closed else declared


@mutant("CAP-1", "LIFE-1")
class CapabilitiesFromADisk(MemoryStore):
    """It reads its capabilities from a file at each use."""

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]  # a property instead
        with open(os.devnull, "rb") as answer:  # noqa: PTH123
            answer.read()
        return MemoryStore.capabilities


class _DurableByMistake(MemoryStore):
    capabilities = replace(MemoryStore.capabilities, durable=True)


class _TwoStores(StoreClassHarness):
    """Opens another class for the sync API."""

    def __init__(self, store_class: Any) -> None:
        super().__init__(store_class)
        self.other = StoreClassHarness(_DurableByMistake)

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        if namespace in self._stores:
            return self._stores[namespace]
        return self.other.open(namespace, clock)

    def open_async(self, namespace: str, clock: Callable[[], float]) -> Store | AsyncStore:
        opened: Store | AsyncStore = super().open(namespace, clock)
        return opened

    def remove(self, namespace: str) -> None:
        super().remove(namespace)
        self.other.remove(namespace)


@mutant("CAP-2", harness=_TwoStores)
class APIsThatDiffer(DeclaredAsync):
    """Its sync API declares that writes are durable, and this one does not."""


@mutant("CAP-3", "LOOP-6")
class WritesALog(MemoryStore):
    """It declares that it never blocks, and logs each `destroy` in a file."""

    def _discard(self, key: str) -> None:
        with open(os.devnull, "ab") as log:  # noqa: PTH123
            log.write(b"ended\n")
        super()._discard(key)


@mutant("CAP-4")
class NegativeLag(PlainStore):
    """It declares that its index is up to date before the write."""

    capabilities = Capabilities(owner_lag=-1.0)
