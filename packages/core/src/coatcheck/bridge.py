"""Give a store the API that it lacks.

:class:`AsyncBridge` runs a synchronous store in worker threads, :class:`SyncBridge` an
asynchronous store on one event loop of this process, in a thread of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .errors import UnsupportedOperation
from .store import ALWAYS, AsyncStore, Capabilities, Condition, Record, Store

if TYPE_CHECKING:
    import asyncio

    from anyio import CapacityLimiter
    from anyio.lowlevel import RunVar

T = TypeVar("T")

#: Worker threads that one bridged store may use at once on one event loop.
THREADS: Final = 40

_END: Final = object()


def runs_trio() -> bool:
    """Tell whether the calling code runs on trio's event loop."""
    if "trio" not in sys.modules:
        return False
    import trio

    try:  # `in_trio_run` is younger than the oldest trio that works
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


class AsyncBridge(AsyncStore):
    """The async API of a sync store.

    Non-blocking stores are called on the event loop; others in worker threads, of which this
    bridge has its own, so that a slow store does not starve the application's.

    :param store: the store to call. Closing the bridge closes it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.capabilities: Capabilities = store.capabilities
        self._limiters: RunVar[CapacityLimiter] | None = None

    async def get(self, key: str) -> Record | None:
        return await self._call(self.store.get, key)

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return await self._call(self.store.set, key, record, only_if)

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return await self._call(self.store.destroy, key, only_if)

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return await self._call(self.store.touch, key, expires_at, owner)

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        if not self.capabilities.enumerable:
            raise UnsupportedOperation("all", "enumerable")
        return self._iterate(self.store.all)

    async def length(self) -> int:
        return await self._call(self.store.length)

    async def clear(self) -> None:
        return await self._call(self.store.clear)

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        if not self.capabilities.owners:
            raise UnsupportedOperation("owned_by", "owners")
        return self._iterate(self.store.owned_by, owner)

    async def prune(self, limit: int | None = None) -> int:
        return await self._call(self.store.prune, limit)

    async def ping(self) -> None:
        return await self._call(self.store.ping)

    async def close(self) -> None:
        return await self._call(self.store.close)

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        if not self.capabilities.blocking:
            return function(*args)
        from anyio import to_thread

        return await to_thread.run_sync(function, *args, limiter=self._limiter())

    async def _iterate(
        self, operation: Callable[..., Iterator[tuple[str, Record]]], *args: str
    ) -> AsyncIterator[tuple[str, Record]]:
        records = await self._call(operation, *args)
        while (item := await self._call(next, records, _END)) is not _END:
            yield item

    def _limiter(self) -> CapacityLimiter:
        from anyio import CapacityLimiter
        from anyio.lowlevel import RunVar

        if self._limiters is None:
            self._limiters = RunVar("coatcheck-bridge")
        try:
            return self._limiters.get()
        except LookupError:
            limiter = CapacityLimiter(THREADS)
            self._limiters.set(limiter)
            return limiter


class SyncBridge(Store):
    """The sync API of an async store.

    All bridges of a process share one event loop, started on first use and again after a fork.

    :param store: the store to call. Closing the bridge closes it.
    """

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.capabilities: Capabilities = store.capabilities

    def get(self, key: str) -> Record | None:
        return _await(self.store.get, key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return _await(self.store.set, key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return _await(self.store.destroy, key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return _await(self.store.touch, key, expires_at, owner)

    def all(self) -> Iterator[tuple[str, Record]]:
        return _drain(self.store.all())

    def length(self) -> int:
        return _await(self.store.length)

    def clear(self) -> None:
        return _await(self.store.clear)

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return _drain(self.store.owned_by(owner))

    def prune(self, limit: int | None = None) -> int:
        return _await(self.store.prune, limit)

    def ping(self) -> None:
        return _await(self.store.ping)

    def close(self) -> None:
        return _await(self.store.close)


def as_async(store: Store | AsyncStore) -> AsyncStore:
    """Return the async API of any store."""
    if isinstance(store, Store):
        return store.store if isinstance(store, SyncBridge) else AsyncBridge(store)
    return store


def as_sync(store: Store | AsyncStore) -> Store:
    """Return the sync API of any store."""
    if isinstance(store, AsyncStore):
        return store.store if isinstance(store, AsyncBridge) else SyncBridge(store)
    return store


class _Portal:
    """The event loop of this process on which bridged asynchronous stores run.

    What other threads share with the loop is written in C: an exception of a signal handler that
    strikes in `concurrent.futures.Future` leaves a lock taken for which the loop waits for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget(self) -> None:
        """In a forked child: the thread of the parent's loop does not exist here."""
        self._lock = threading.Lock()
        self._loop = None

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await what a function returns on the loop; where the caller is interrupted, cancel it."""
        import asyncio

        loop = self._running()
        outcomes: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()
        tasks: list[asyncio.Task[None]] = []

        async def run() -> None:
            try:
                outcomes.put((await function(*args), None))
            except BaseException as error:
                outcomes.put((None, error))
                if isinstance(error, asyncio.CancelledError):
                    raise

        # The loop keeps no strong references to tasks; the list does.
        loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(run())))
        try:
            result, error = outcomes.get()
        except BaseException:
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
            raise
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # there is one where there is no error

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        import asyncio

        loop = asyncio.new_event_loop()
        # A daemon: the loop has nothing of its own to lose when the interpreter ends.
        threading.Thread(target=loop.run_forever, name="coatcheck", daemon=True).start()
        return loop


_portal: Final = _Portal()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_portal.forget)


def _await(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    return _portal.call(function, *args)


def _drain(records: AsyncIterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    async def following() -> Any:
        return await anext(records, _END)

    while (item := _await(following)) is not _END:
        yield item
