"""What the kit has to be told about a store.

A store that is opened by a URL needs its URL, with a place for the namespace::

    from coatcheck_conformance import Harness, StoreConformance

    class TestMyStore(StoreConformance):
        harness = Harness("mystore://127.0.0.1:7000/{namespace}")

Whatever more the kit can be told lets it verify more; what a store cannot have is declared, with
the reason, in :attr:`Harness.unsupported`.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from coatcheck import AsyncStore, Store, open_async_store, open_store

from .failure import HarnessError

#: What a harness may declare as unsupported, with the clauses that need it.
FEATURES: Final[Mapping[str, str]] = {
    "url": "the store is opened by a URL (LIFE-2, LIFE-3, and all that takes a second process)",
    "malformed": "what is under a key can be no record (GET-4, SET-16, DESTROY-10, ENUM-5)",
    "garbled": "what is kept beside a record can be garbage (DAMAGE-1, DAMAGE-2, DAMAGE-3)",
    "stored": "the backend's layout holds text (DATA-10)",
    "client": "the caller can pass in a client object (LIFE-9)",
    "async_client": "the caller can pass in an asynchronous client object (LOOP-5)",
    "address": "the store talks to a server (COST-2, and the faults of a network)",
    "folder": "the store keeps files in a folder (SECRET-6, and the faults of a disk)",
    "unavailable": "the backend can be out of reach (FAULT-1, FAULT-2, FAULT-5, ...)",
    "stall": "the backend can keep a caller waiting (FAULT-6, ...)",
    "garbage": "the backend can answer nonsense (FAULT-11)",
    "traffic": "it can be counted what the backend is asked and answers (COST-2 to COST-4)",
    "credentials": "the URL can hold a password (SECRET-1)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with the backend.

    :ivar kind: ``"unavailable"``, ``"stall"`` or ``"garbage"``: what a call must raise.
    :ivar name: in a few words, for the steps: ``"the disk is full"``.
    :ivar during: returns a context manager: as long as it is entered, each call that needs the
        backend meets the fault; afterwards all is well again.
    :ivar reads: whether it hits ``get``, ``all``, ``owned_by``, ``length``.
    :ivar writes: whether it hits ``set``, ``destroy``, ``touch``.
    """

    kind: str
    name: str
    during: Callable[[], AbstractContextManager[object]]
    reads: bool = True
    writes: bool = True


@dataclass(frozen=True, slots=True)
class ClientStore:
    """A store that was given a client object by its caller.

    :ivar store: the store.
    :ivar is_open: tells whether the client can still be used.
    :ivar close: closes the client.
    """

    store: Store | AsyncStore
    is_open: Callable[[], bool | Awaitable[bool]]
    close: Callable[[], Awaitable[None] | None]


class Harness:
    """Opens the store under test, and gives what access the kit needs behind its back.

    :param url: the store's URL, with ``{namespace}`` where its namespace goes, and ``{folder}`` for
        a temporary folder.
    :param opener: ``"module:Class.from_url"`` to open the URL with, before the store has an entry
        point; otherwise the store is found by the URL's scheme.
    :raises HarnessError: the URL has no place for a namespace.
    """

    #: What this kind of store cannot have: a feature, and the reason.
    unsupported: ClassVar[Mapping[str, str]] = {}

    #: The file of deviations, seen from the folder of the file that the class is in.
    deviations: ClassVar[str | None] = None

    def __init__(self, url: str | None = None, *, opener: str | None = None) -> None:
        self.template = url
        self.opener = opener
        self._folder: Path | None = None
        if url is not None and "{namespace}" not in url:
            raise HarnessError(
                "the URL must say where the namespace goes, as in `redis://host/0?prefix="
                "{namespace}:`: the kit must never work among somebody's own sessions"
            )

    # Opening

    def open(self, namespace: str, clock: Callable[[], float]) -> Store | AsyncStore:
        """Open a handle: the sync API, or the async one if that is all there is.

        Handles of the same namespace are on the same data; a namespace that was never used is
        empty. Namespaces consist of small letters and digits.
        """
        url = self.url(namespace)
        if url is None:
            raise HarnessError(f"`{type(self).__name__}` needs a URL or a method `open`")
        if self.opener is not None:
            return self._opened(self.opener, url, clock)
        return open_store(url, clock=clock)

    def open_async(self, namespace: str, clock: Callable[[], float]) -> Store | AsyncStore:
        """Open a handle with the store's own async API.

        The default opens the URL so, and is :meth:`open` where that is overridden or where there
        is an ``opener``: the core bridges.
        """
        url = self.url(namespace)
        own_open = type(self).open is not Harness.open
        if own_open or url is None or self.opener is not None:
            return self.open(namespace, clock)
        return open_async_store(url, clock=clock)

    def url(self, namespace: str) -> str | None:
        """Return the URL that opens a namespace, or None where there are no URLs."""
        if self.template is None:
            return None
        return self.template.replace("{namespace}", namespace).replace(
            "{folder}", str(self.temporary_folder()) if "{folder}" in self.template else ""
        )

    def temporary_folder(self) -> Path:
        """Return a folder that exists until :meth:`finish`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="coatcheck-kit-"))
        return self._folder

    def remove(self, namespace: str) -> None:
        """Remove what a case has left. The default clears the store where it can."""
        from coatcheck.storekit import as_sync

        from .clock import Clock

        store = as_sync(self.open(namespace, Clock()))
        try:
            if store.capabilities.clearable:
                store.clear()
        finally:
            store.close()

    def finish(self) -> None:
        """End the run: remove the temporary folder, stop servers."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # Time

    def advance(self, namespace: str, seconds: float) -> None:
        """Let time pass in the backend, for one that expires records by a clock of its own.

        The store's clock has moved already. The default does nothing, which is right wherever the
        store compares with that clock.
        """

    # Access behind the store's back; None: not written, see FEATURES and `unsupported`

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]] | None:
        """Return ways to damage the stored record of a key so that it is none, by their names."""
        return None

    def garbled(
        self, namespace: str, key: str, owner: str
    ) -> Mapping[str, Callable[[], None]] | None:
        """Return ways to put garbage beside the record of a key and its owner, by their names.

        It is where the store keeps metadata, indexes, and whatever else is not the record itself,
        and of each kind that somebody can put there: another type, no text, numbers without sense.
        Afterwards the record may be missing, or there.
        """
        return None

    def stored(self, namespace: str, key: str) -> str | bytes | None:
        """Return the data of a record as the backend holds them: text, or binary."""
        return None

    def foreign(self, namespace: str) -> Callable[[], bool] | None:
        """Put something into the backend that belongs to no store.

        :returns: a callable that tells whether it is still there, unchanged.
        """
        return None

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore | None:
        """Open a store with a client that the caller passed in."""
        return None

    async def with_async_client(
        self, namespace: str, clock: Callable[[], float]
    ) -> ClientStore | None:
        """Open an asynchronous store with a client made on the running event loop."""
        return None

    # Faults

    def address(self) -> tuple[str, int] | None:
        """Return host and port of the server, so that the kit can put a proxy in between.

        The default takes them from the URL.
        """
        if self.template is None:
            return None
        parts = urlsplit(self.template)
        if parts.hostname is None or parts.port is None:
            return None
        return parts.hostname, parts.port

    def url_at(self, namespace: str, host: str, port: int) -> str:
        """Return the URL of a namespace with another address of the server."""
        url, address = self.url(namespace), self.address()
        assert url is not None, "asked for where there is a URL"
        assert address is not None, "asked for where there is an address"
        return url.replace(f"{address[0]}:{address[1]}", f"{host}:{port}", 1)

    def at(self, host: str, port: int) -> Harness:
        """Return a harness like this one, that reaches the server at another address."""
        return _Elsewhere(self, host, port)

    def folder(self, namespace: str) -> Path | None:
        """Return the folder in which the store keeps its files."""
        return None

    def faults(self, namespace: str) -> Sequence[Fault]:
        """Return faults of the backend that the harness can bring about by itself.

        The kit adds those of the network where there is an ``address``, and those of a disk where
        there is a ``folder``.
        """
        return ()

    # About the run

    def backend(self) -> str:
        """Return the backend's product and version, for the report."""
        return ""

    def has(self, feature: str) -> bool:
        """Tell whether the harness gives a feature that is not declared unsupported."""
        if feature == "url":
            return self.template is not None
        if feature in ("address", "traffic", "credentials"):
            return self.address() is not None
        if feature in ("unavailable", "stall", "garbage"):
            by_disk = feature == "unavailable" and type(self).folder is not Harness.folder
            own = type(self).faults is not Harness.faults
            return self.address() is not None or own or by_disk
        method = method_of(feature)
        return getattr(type(self), method) is not getattr(Harness, method)

    def _opened(self, opener: str, url: str, clock: Callable[[], float]) -> Store | AsyncStore:
        store = resolve(opener)(url, clock=clock)
        if not isinstance(store, Store | AsyncStore):
            raise HarnessError(f"{opener} returned {type(store).__name__}, which is no store")
        return store


class _Elsewhere(Harness):
    """A harness whose store reaches its server at another address."""

    def __init__(self, real: Harness, host: str, port: int) -> None:
        super().__init__(opener=real.opener)
        self._real, self._host, self._port = real, host, port

    def url(self, namespace: str) -> str | None:
        return self._real.url_at(namespace, self._host, self._port)


def method_of(feature: str) -> str:
    """Return the method of a harness that gives a feature."""
    if feature in ("unavailable", "stall", "garbage"):
        return "faults"
    if feature in ("traffic", "credentials"):
        return "address"
    others = {"client": "with_client", "async_client": "with_async_client"}
    return others.get(feature, feature)


def resolve(reference: str) -> Any:
    """Return what ``module:name.name`` names.

    :raises HarnessError: there is no such thing.
    """
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HarnessError(f"`{reference}` names nothing: {error}") from error
    return found
