"""Mutants of the LIFE clauses."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from mutation import StoreClassHarness, mutant
from network_clients import Idle, NetClient
from network_server import PASSWORD
from network_store import NetStore, NetworkHarness
from references import FolderHarness

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.errors import StoreError
from coatcheck_conformance import ClientStore
from coatcheck_file import FileStore


class OpenerHarness(StoreClassHarness):
    """Opens URLs with the mutant's own opener."""

    def __init__(self, store_class: Any) -> None:
        super().__init__(store_class)
        self.opener = f"{store_class.__module__}:{store_class.__qualname__}.from_url"


@mutant("LIFE-1")
class StartsAThread(MemoryStore):
    """The constructor starts a thread that cleans up."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        threading.Thread(target=self.ping, daemon=True).start()


@mutant("LIFE-1", harness=FolderHarness)
class MakesItsFolder(FileStore):
    """The constructor makes the folder."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@mutant("LIFE-1", harness=lambda store_class: NetworkHarness(store_class, None))
class ConnectsAtOnce(NetStore):
    """The constructor looks whether the server is there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        with suppress(StoreError):
            self.ping()


@mutant("LIFE-2", harness=OpenerHarness)
class OpenerWithoutAClock(MemoryStore):
    """The opener takes a URL and nothing else."""

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:  # type: ignore[override]  # this is the fault
        return cls()


@mutant("LIFE-2", harness=OpenerHarness)
class OpenerOfAnotherThing(MemoryStore):
    """The opener returns a class, which must still be called."""

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Any:
        return cls


@mutant("LIFE-3", harness=OpenerHarness)
class IgnoresOptions(MemoryStore):
    """The opener ignores options that it does not know."""

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryStore:
        return cls(clock=clock)


@mutant("LIFE-3", harness=OpenerHarness)
class MistakesAreKeyErrors(MemoryStore):
    """An unknown option raises the error of a dictionary."""

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryStore:
        if "?" in url:
            raise KeyError("option")
        return cls(clock=clock)


@mutant("LIFE-4")
class ClosesOnce(MemoryStore):
    """The second `close` raises because the store is closed."""

    def close(self) -> None:
        self._check_open()
        super().close()


@mutant("LIFE-4")
class ClosingTheClosed(MemoryStore):
    """`close` raises the error of a connection that was closed already."""

    def close(self) -> None:
        super().close()
        raise OSError("not connected")


@mutant("LIFE-4")
class ClosesWhatWasUsed(MemoryStore):
    """`close` of a store that was never used fails, because there is no connection."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._connection: list[str] | None = None

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._connection = []
        return super().set(key, record, only_if)

    def close(self) -> None:
        super().close()
        if self._connection is None:
            raise StoreError("there is no connection")


@mutant("LIFE-5")
class WorksAfterTheEnd(MemoryStore):
    """A closed store begins again."""

    def _check_open(self) -> None:
        pass


@mutant("LIFE-5")
class PingsAfterTheEnd(MemoryStore):
    """`ping` does not look whether the store is closed."""

    def ping(self) -> None:
        pass


@mutant("LIFE-6")
class AnswersPong(MemoryStore):
    """`ping` returns the server's reply."""

    def ping(self) -> Any:
        super().ping()
        return "PONG"


@mutant("LIFE-6")
class PingWrites(MemoryStore):
    """`ping` tries a write, and leaves it."""

    def ping(self) -> None:
        self._check_open()
        self.set("__coatcheck__", Record(b"ping", self._clock() + 60))


@mutant("LIFE-6")
class PingExtends(MemoryStore):
    """`ping` touches the records that it finds."""

    def ping(self) -> None:
        self._check_open()
        for key, record in list(self.all()):
            self.touch(key, record.expires_at + 60)


@mutant("LIFE-7", harness=FolderHarness)
class ClosingClears(FileStore):
    """`close` removes the records, as a test's store does."""

    def close(self) -> None:
        if not self._closed:
            with suppress(Exception):
                self.clear()
        super().close()


class OneProcess(FolderHarness):
    """Open the mutant in other processes as well; the kit does not inspect its files."""

    unsupported: ClassVar = {
        **FolderHarness.unsupported,
        "folder": "its files are another store's",
        "unavailable": "its disk is another store's",
        "stall": "its disk is another store's",
        "malformed": "its files are another store's",
        "garbled": "its files are another store's",
    }

    def __init__(self, store_class: Any) -> None:
        super().__init__(store_class)
        self.opener = f"{store_class.__module__}:{store_class.__qualname__}.from_url"
        self._stores: dict[str, Any] = {}

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        if namespace not in self._stores:
            self._stores[namespace] = self.store_class(self.folder(namespace), clock=clock)
        return self._stores[namespace]


@mutant("LIFE-8", harness=OneProcess)
class WritesBehind(MemoryStore):
    """A write is acknowledged, and gets to the disk when the store is closed."""

    capabilities = dataclasses.replace(MemoryStore.capabilities, durable=True)

    def __init__(self, folder: Any, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._disk = FileStore(folder, clock=clock)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryStore:
        return cls(FileStore.from_url(url).folder, clock=clock)

    def close(self) -> None:
        records = [] if self._closed else list(self.all())
        super().close()
        for key, record in records:
            self._disk.set(key, record)


class _GivesItsOwnClient(NetworkHarness):
    """Give a client to the mutant."""

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        client = NetClient("127.0.0.1", self.server.port, PASSWORD, 1)
        store = ClosesTheCallersClient(namespace, client, clock=clock)
        return ClientStore(store, lambda: not client.closed, client.close)


@mutant("LIFE-9", harness=_GivesItsOwnClient)
class ClosesTheCallersClient(NetStore):
    """`close` closes every client, also the caller's."""

    def close(self) -> None:
        super().close()
        self._client.close()


class _OneForAllProcesses(dict[int, Idle]):
    """The idle connections of the process, which a forked child also uses."""

    def setdefault(self, key: int, default: Any = None) -> Any:
        return super().setdefault(0, default)


class _SharedClient(NetClient):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._idle = _OneForAllProcesses()


@mutant("LIFE-10", harness=lambda store_class: NetworkHarness(store_class, None))
class ForkedWithItsSockets(NetStore):
    """After a fork both processes use the same connections."""

    client_class = _SharedClient
