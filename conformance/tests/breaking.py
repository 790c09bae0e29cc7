"""Broken stores: each is a store that is right but for one thing, and says which clause that is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coatcheck import AsyncStore, Store
from coatcheck_conformance import Harness
from coatcheck_conformance.harnesses import MemoryHarness


@dataclass(frozen=True)
class Broken:
    """A broken store.

    :ivar clauses: what must fail, and nothing else but what depends on it.
    :ivar make_harness: returns a harness that opens it.
    :ivar seeds: how many seeds are tried at most; more than one where chance must find it: another
        release of Hypothesis may choose otherwise, and threads race as the machine lets them.
    """

    name: str
    clauses: frozenset[str]
    make_harness: Callable[[], Harness]
    seeds: int = 1


class BrokenMemoryHarness(MemoryHarness):
    """Opens a subclass of the memory store, or another store with the same constructor."""

    def __init__(self, store_class: Callable[..., Store | AsyncStore]) -> None:
        super().__init__()
        self.store_class = store_class

    def url(self, namespace: str) -> str:
        return "memory:"

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        if namespace not in self._stores:
            self._stores[namespace] = self.store_class(clock=clock)
        return self._stores[namespace]


_broken: list[Broken] = []


def broken(
    *clauses: str, harness: Callable[[Any], Harness] = BrokenMemoryHarness, seeds: int = 1
) -> Callable[[Any], Any]:
    """Make a class a broken store.

    :param clauses: the clauses that must fail.
    :param harness: makes the harness from the class.
    :param seeds: how many seeds are tried at most.
    """

    def register(store_class: Any) -> Any:
        name, makes = store_class.__name__, lambda: harness(store_class)
        _broken.append(Broken(name, frozenset(clauses), makes, seeds))
        return store_class

    return register


def all_broken() -> list[Broken]:
    """Return every broken store."""
    import broken as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"broken.{module.name}")
    return _broken
