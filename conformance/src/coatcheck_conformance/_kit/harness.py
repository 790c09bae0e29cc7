"""Describe a store to the kit.

A store that is opened by a URL needs its URL, with a place for the namespace::

    from coatcheck_conformance import Harness, StoreConformance

    class TestMyStore(StoreConformance):
        harness = Harness("mystore://127.0.0.1:7000/{namespace}")

The more methods a harness has, the more the kit can check. Features that a store cannot have are
declared, with the reason, in :attr:`Harness.unsupported`.
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
    "url": "the store is opened by a URL (LIFE-2, LIFE-3, and cases with a second process)",
    "malformed": "a stored record can be damaged (GET-4, SET-16, DESTROY-10, ENUM-5)",
    "garbled": "garbage can be put beside a record (DAMAGE-1, DAMAGE-2, DAMAGE-3)",
    "stored": "the backend's layout holds text (DATA-10)",
    "client": "the caller can pass in a client object (LIFE-9)",
    "async_client": "the caller can pass in an asynchronous client object (LOOP-5)",
    "address": "the store talks to a server (COST-2, and faults of the network)",
    "folder": "the store keeps files in a folder (SECRET-6, and faults of the disk)",
    "unavailable": "the backend can be unreachable (FAULT-1, FAULT-2, FAULT-5, ...)",
    "stall": "the backend can let a caller wait (FAULT-6, ...)",
    "garbage": "the backend can send nonsense (FAULT-11)",
    "traffic": "requests and replies can be counted (COST-2 to COST-4)",
    "credentials": "the URL can hold a password (SECRET-1)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of the backend.

    :ivar kind: ``"unavailable"``, ``"stall"`` or ``"garbage"``: it decides what a call must raise.
    :ivar name: a few words for the steps: ``"the disk is full"``.
    :ivar during: returns a context manager. While it is entered, each call that needs the backend
        meets the fault; afterwards the backend works again.
    :ivar reads: whether the fault hits ``get``, ``all``, ``owned_by``, ``length``.
    :ivar writes: whether the fault hits ``set``, ``destroy``, ``touch``.
    """

    kind: str
    name: str
    during: Callable[[], AbstractContextManager[object]]
    reads: bool = True
    writes: bool = True


@dataclass(frozen=True, slots=True)
class ClientStore:
    """A store whose caller passed in a client object.

    :ivar store: the store.
    :ivar is_open: tells whether the client can still be used.
    :ivar close: closes the client.
    """

    store: Store | AsyncStore
    is_open: Callable[[], bool | Awaitable[bool]]
    close: Callable[[], Awaitable[None] | None]


class Harness:
    """Open the store under test, and give the kit access to its backend.

    :param url: the store's URL, with ``{namespace}`` where its namespace goes, and ``{folder}`` for
        a temporary folder.
    :param opener: ``"module:Class.from_url"`` opens the URL, before the store has an entry point;
        otherwise the URL's scheme selects the store.
    :raises HarnessError: the URL has no place for a namespace.
    """

    #: Features that this kind of store cannot have, each with the reason.
    unsupported: ClassVar[Mapping[str, str]] = {}

    #: The file of deviations, relative to the folder of the class's own file.
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
        """Open a handle on the sync API, or on the async one if the store has no other.

        Handles of the same namespace share its data. A namespace that was never used is empty.
        Namespaces consist of small letters and digits.
        """
        url = self.url(namespace)
        if url is None:
            raise HarnessError(f"`{type(self).__name__}` needs a URL or a method `open`")
        if self.opener is not None:
            return self._opened(self.opener, url, clock)
        return open_store(url, clock=clock)

    def open_async(self, namespace: str, clock: Callable[[], float]) -> Store | AsyncStore:
        """Open a handle with the store's own async API.

        The default opens the URL. If :meth:`open` is overridden, or if there is an ``opener``, it
        calls :meth:`open`, and the core bridges the APIs.
        """
        url = self.url(namespace)
        own_open = type(self).open is not Harness.open
        if own_open or url is None or self.opener is not None:
            return self.open(namespace, clock)
        return open_async_store(url, clock=clock)

    def url(self, namespace: str) -> str | None:
        """Return the URL that opens a namespace, or None if the store has no URLs."""
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
        """Remove the records that a case has left; the default clears the store if it can."""
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
        """Let time pass in a backend that expires records by a clock of its own.

        The store's clock has moved already. The default does nothing, which is right for a store
        that compares with that clock.
        """

    # Direct access to the backend; None: no access, see FEATURES and `unsupported`

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]] | None:
        """Return named ways to damage the stored record of a key, so that it is malformed."""
        return None

    def garbled(
        self, namespace: str, key: str, owner: str
    ) -> Mapping[str, Callable[[], None]] | None:
        """Return named ways to put garbage beside the record of a key and its owner.

        The garbage goes where the store keeps metadata, indexes and everything else beside the
        record. It is of every kind that somebody can put there: another type, bytes that are not
        text, numbers without sense. Afterwards the record may be missing or present.
        """
        return None

    def stored(self, namespace: str, key: str) -> str | bytes | None:
        """Return the data of a record as the backend holds them: text, or binary."""
        return None

    def foreign(self, namespace: str) -> Callable[[], bool] | None:
        """Put data into the backend that belong to no store.

        :returns: a callable that tells whether the data are still there, unchanged.
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
        """Return host and port of the server, so that the kit can put a proxy in front of it.

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
        """Return faults of the backend that the harness itself can cause.

        The kit adds faults of the network if there is an ``address``, and faults of a disk if there
        is a ``folder``.
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
            raise HarnessError(f"{opener} returned {type(store).__name__}, which is not a store")
        return store


class _Elsewhere(Harness):
    """A harness whose store reaches its server at another address."""

    def __init__(self, real: Harness, host: str, port: int) -> None:
        super().__init__(opener=real.opener)
        self._real, self._host, self._port = real, host, port

    def url(self, namespace: str) -> str | None:
        return self._real.url_at(namespace, self._host, self._port)


def method_of(feature: str) -> str:
    """Return the name of the harness's method that gives a feature."""
    if feature in ("unavailable", "stall", "garbage"):
        return "faults"
    if feature in ("traffic", "credentials"):
        return "address"
    others = {"client": "with_client", "async_client": "with_async_client"}
    return others.get(feature, feature)


def resolve(reference: str) -> Any:
    """Return the object that ``module:name.name`` names.

    :raises HarnessError: there is no such object.
    """
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HarnessError(f"`{reference}` names nothing: {error}") from error
    return found
