"""Mutants of the LOOP clauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

from mutation import mutant
from network_clients import AsyncNetClient
from network_server import PASSWORD
from network_store import AsyncNetStore, NetStore, NetworkHarness
from references import UndeclaredAsync

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck_conformance import ClientStore


class NativeHarness(NetworkHarness):
    """Opens net stores whose async API is a class of its own."""

    unsupported: ClassVar = {
        **NetworkHarness.unsupported,
        "url": "another process could not open the class by it",
        "traffic": "it is not what is wrong",
    }

    def __init__(self, async_class: type[AsyncNetStore], **options: Any) -> None:
        super().__init__(NetStore, async_class, **options)

    def at(self, host: str, port: int) -> NativeHarness:
        async_class: Any = self._classes[1]
        return type(self)(async_class, server=self.server, port=port, timeout=self._timeout)


@mutant("LOOP-1", seeds=5)
class KeepsTheKeyOfACall(MemoryStore):
    """The key of a call is kept in an attribute that all threads share."""

    _wanted = ""

    def get(self, key: str) -> Record | None:
        self._wanted = key
        self._clock()
        return super().get(self._wanted)


@mutant("LOOP-2", harness=NativeHarness)
class KeepsTheKeyOfATask(AsyncNetStore):
    """The key of a call is kept in an attribute that all tasks share."""

    _wanted = ""

    async def get(self, key: str) -> Record | None:
        self._wanted = key
        await asyncio.sleep(0)  # lets other tasks overwrite it
        return await super().get(self._wanted)


@mutant("LOOP-3", harness=NativeHarness)
class BelongsToItsFirstLoop(AsyncNetStore):
    """Its connections are made on the first event loop, and used on every one."""

    _first: asyncio.AbstractEventLoop | None = None

    async def _call(self, operation: str, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        self._first = self._first or loop
        if loop is not self._first:
            raise RuntimeError("a future is attached to a different loop")
        return await super()._call(operation, *args)


@mutant("LOOP-4")
class RemembersEachLoop(UndeclaredAsync):
    """It has a lock for each event loop, and keeps those of loops that were closed."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    async def get(self, key: str) -> Record | None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another library's, which it does not know
            return await super().get(key)
        async with self._locks.setdefault(loop, asyncio.Lock()):
            return await super().get(key)


class _AnyLoopHarness(NativeHarness):
    """The caller's client does not know its event loop."""

    async def with_async_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        client = AsyncNetClient("127.0.0.1", self.server.port, PASSWORD, 1)
        async_class: Any = self._classes[1]
        store = async_class(namespace, client, clock=clock)
        return ClientStore(store, lambda: not client.closed, client.close)


@mutant("LOOP-5", harness=_AnyLoopHarness)
class UsesTheClientAnywhere(AsyncNetStore):
    """It does not check to which event loop the caller's client belongs."""


@mutant("LOOP-6")
class OpensAFileInACoroutine(UndeclaredAsync):
    """It writes a log on the event loop's thread."""

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        with open("/dev/null", "a") as log:  # noqa: PTH123  # what is wrong here
            log.write("written\n")
        return await super().set(key, record, only_if)


class _StallingHarness(NativeHarness):
    """The server's only fault is that it lets callers wait."""

    unsupported: ClassVar = {
        **NativeHarness.unsupported,
        "unavailable": "it is not what is wrong",
        "garbage": "it is not what is wrong",
    }


# On a busy machine it meets slow replies in other cases as well, and then its calls end by time.
@mutant("LOOP-6", harness=_StallingHarness, seeds=3)
class WaitsInACoroutine(AsyncNetStore):
    """When the server does not reply it blocks the event loop for a while."""

    async def _call(self, operation: str, *args: Any) -> Any:
        handle = asyncio.get_running_loop().call_later(0.05, time.sleep, 0.7)
        try:
            return await super()._call(operation, *args)
        finally:
            handle.cancel()
