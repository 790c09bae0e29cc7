"""Find the harness of a URL: the memory store's is here, other packages bring their own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import ClassVar, Final

from coatcheck import MemoryStore, Store

from .failure import HarnessError
from .harness import Harness

#: The entry-point group in which a store's package names its harness: scheme = "module:Class".
#: The class is called with the URL that the kit was given.
ENTRY_POINT_GROUP: Final = "coatcheck.conformance"


class MemoryHarness(Harness):
    """The harness of the core's memory store; each namespace is a store object."""

    unsupported: ClassVar = {
        "malformed": "the store holds Record objects, which cannot be damaged",
        "garbled": "the store holds Record objects, which cannot be damaged",
        "stored": "the layout is a dictionary of Record objects",
        "client": "there is no client",
        "async_client": "there is no client",
        "address": "there is no server",
        "folder": "there are no files",
        "unavailable": "the memory of a process is always there",
        "stall": "the memory of a process does not wait",
        "garbage": "there are no replies",
        "traffic": "there are no requests",
        "credentials": "the URL has no place for a password",
    }

    def __init__(self, url: str = "memory:") -> None:
        super().__init__()
        self._url = url
        self._stores: dict[str, MemoryStore] = {}

    def url(self, namespace: str) -> str:
        return self._url

    def has(self, feature: str) -> bool:
        return feature == "url" or super().has(feature)

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        # Another store object would have other data: the store holds them itself.
        if namespace not in self._stores:
            self._stores[namespace] = MemoryStore.from_url(self._url, clock=clock)
        return self._stores[namespace]

    def remove(self, namespace: str) -> None:
        self._stores.pop(namespace, None)


def harness_for(url: str) -> Harness:
    """Return the harness that a store's package offers for a URL, or the general one.

    :raises HarnessError: the package's harness is broken, or the URL has no place for a namespace.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "memory":
        return MemoryHarness(url)
    found = list(entry_points(group=ENTRY_POINT_GROUP, name=scheme))
    if "{namespace}" in url and not found:
        return Harness(url)
    if not found:
        raise HarnessError(
            f"no installed package has a harness for `{scheme}:`, so the URL must say where the "
            "namespace goes: `{namespace}` in its path or in an option"
        )
    try:
        harness = found[0].load()(url)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"the harness of `{scheme}:` is broken: {error!r}") from error
    if not isinstance(harness, Harness):
        raise HarnessError(f"the harness of `{scheme}:` is a {type(harness).__name__}")
    return harness
