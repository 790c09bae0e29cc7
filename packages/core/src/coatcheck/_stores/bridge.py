"""Give a store the API that it lacks.

:class:`AsyncBridge` runs a sync store in worker threads. :class:`SyncBridge` runs an async store on
an event loop in a thread of its own, one for each process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import UnsupportedOperation
from ..store import (
    ALWAYS,
    AsyncStore,
    Capabilities,
    Condition,
    Record,
    Store,
    Transaction,
)

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
    """Offer the async API of a sync store.

    Stores that do not block are called on the event loop, others in worker threads. The bridge has
    its own limit of worker threads, so a slow store leaves the application's threads alone.

    :param store: the store to call. Closing the bridge closes it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.capabilities: Capabilities = store.capabilities
        self._limiters: RunVar[CapacityLimiter] | None = None

    @property
    def transaction(self) -> Transaction | None:
        """See :attr:`AsyncStore.transaction`."""
        return self.store.transaction

    def __getattr__(self, name: str) -> Any:
        raise _missing(self, name)

    async def get(self, key: str) -> Record | None:
        """See :meth:`AsyncStore.get`."""
        return await self._call(self.store.get, key)

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`AsyncStore.set`."""
        return await self._call(self.store.set, key, record, only_if)

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`AsyncStore.destroy`."""
        return await self._call(self.store.destroy, key, only_if)

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`AsyncStore.touch`."""
        return await self._call(self.store.touch, key, expires_at, owner)

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`AsyncStore.all`."""
        if not self.capabilities.enumerable:
            raise UnsupportedOperation("all", "enumerable")
        return self._iterate(self.store.all)

    async def length(self) -> int:
        """See :meth:`AsyncStore.length`."""
        return await self._call(self.store.length)

    async def clear(self) -> None:
        """See :meth:`AsyncStore.clear`."""
        return await self._call(self.store.clear)

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`AsyncStore.owned_by`."""
        if not self.capabilities.owners:
            raise UnsupportedOperation("owned_by", "owners")
        return self._iterate(self.store.owned_by, owner)

    async def prune(self, limit: int | None = None) -> int:
        """See :meth:`AsyncStore.prune`."""
        return await self._call(self.store.prune, limit)

    async def ping(self) -> None:
        """See :meth:`AsyncStore.ping`."""
        return await self._call(self.store.ping)

    async def close(self) -> None:
        """See :meth:`AsyncStore.close`."""
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
    """Offer the sync API of an async store.

    All bridges of a process share one event loop. It is started at the first use, and again after a
    fork.

    :param store: the store to call. Closing the bridge closes it.
    """

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.capabilities: Capabilities = store.capabilities

    @property
    def transaction(self) -> Transaction | None:
        """See :attr:`Store.transaction`."""
        return self.store.transaction

    def __getattr__(self, name: str) -> Any:
        raise _missing(self, name)

    def get(self, key: str) -> Record | None:
        """See :meth:`Store.get`."""
        return _await(self.store.get, key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.set`."""
        return _await(self.store.set, key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.destroy`."""
        return _await(self.store.destroy, key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`Store.touch`."""
        return _await(self.store.touch, key, expires_at, owner)

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`Store.all`."""
        return _drain(self.store.all())

    def length(self) -> int:
        """See :meth:`Store.length`."""
        return _await(self.store.length)

    def clear(self) -> None:
        """See :meth:`Store.clear`."""
        return _await(self.store.clear)

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`Store.owned_by`."""
        return _drain(self.store.owned_by(owner))

    def prune(self, limit: int | None = None) -> int:
        """See :meth:`Store.prune`."""
        return _await(self.store.prune, limit)

    def ping(self) -> None:
        """See :meth:`Store.ping`."""
        return _await(self.store.ping)

    def close(self) -> None:
        """See :meth:`Store.close`."""
        return _await(self.store.close)


def _missing(bridge: Any, name: str) -> AttributeError:
    """Return the error for an attribute that a bridge lacks, and its store may have."""
    kind = type(bridge).__name__
    store = None if name == "store" else bridge.store
    if name.startswith("_") or not hasattr(store, name):
        return AttributeError(f"{kind!r} object has no attribute {name!r}")
    api = "async" if isinstance(store, AsyncStore) else "sync"
    return AttributeError(
        f"the {kind} lacks {name!r}, which a {type(store).__name__} has: use `store.store.{name}`, "
        f"of the {api} API, or open the store for a driver that has both"
    )


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
    """Run the event loop of this process for bridged async stores.

    Other threads share only objects with the loop that are written in C. If a signal handler raised
    an exception in `concurrent.futures.Future`, a lock would stay taken and the loop would wait for
    it forever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget(self) -> None:
        """Forget the loop in a forked child, where the thread of the parent's loop is missing."""
        self._lock = threading.Lock()
        self._loop = None

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call a function on the loop and await its result.

        If the caller is interrupted, the call is cancelled.
        """
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
        # A daemon, because the loop has nothing to lose when the interpreter ends.
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
