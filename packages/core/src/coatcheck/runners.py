"""Execute the operations that generators yield, on one face or the other."""

from __future__ import annotations

import functools
import operator
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import starmap
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .bridge import AsyncBridge, as_async, as_sync
from .errors import CoatcheckError, ConfigurationError, StoreError
from .interruptions import interruption
from .operations import Lock, Operation, Select, Sleep, Steps, StoreCall
from .store import AsyncStore, Record, Store

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")
#: How to release a lock, and with which argument.
_Held: TypeAlias = tuple[Callable[[None], None], None]


class SyncRunner:
    """Runs steps on the synchronous face of a store.

    :param store: any store; an asynchronous one is bridged.
    """

    def __init__(self, store: Store | AsyncStore) -> None:
        self._store = as_sync(store)
        self._locks = _ThreadLocks()

    def run(self, steps: Steps[T]) -> T:
        """Execute the steps and return their result."""
        held: list[_Held] = []
        release: Iterator[None] | None = None
        store = self._store
        outcome: Any = None
        resume: Any = steps.send
        try:
            while True:
                try:
                    operation = resume(outcome)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]  # a generator's T
                try:
                    if isinstance(operation, StoreCall):
                        outcome = getattr(store, operation.verb)(*operation.args)
                    else:
                        release = release or starmap(operator.call, held)
                        outcome = self._perform(operation, held)
                    resume = steps.send
                except BaseException as error:
                    # Whatever it is, the steps decide.
                    outcome, resume = _for_steps(operation, error), steps.throw
        finally:
            if release is not None:
                any(release)  # all of them, in one step

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _perform(self, operation: Operation, held: list[_Held]) -> Any:
        if isinstance(operation, Lock):
            return self._locks.acquire(operation, held)
        if isinstance(operation, Sleep):
            return time.sleep(operation.seconds)
        if isinstance(operation, Select):
            return self._select(operation)
        raise ConfigurationError("an asynchronous callable needs the ASGI middleware")

    def _select(self, operation: Select) -> list[tuple[str, Record]]:
        found = []
        for item in getattr(self._store, operation.verb)(*operation.args):
            if operation.keep(item):
                found.append(item)
                if operation.first:
                    break
        return found


class AsyncRunner:
    """Runs steps on the asynchronous face of a store.

    :param store: any store. A synchronous one that never blocks is called on the event loop,
        another one in worker threads.
    """

    def __init__(self, store: Store | AsyncStore) -> None:
        bridged = as_async(store)
        self._direct = False
        self._store: Any = bridged
        if isinstance(bridged, AsyncBridge) and not store.capabilities.blocking:
            self._direct, self._store = True, bridged.store
        self._locks = _LoopLocks()

    @property
    def waits(self) -> bool:
        """Whether calls of the store have to be awaited. Others are done at once."""
        return not self._direct

    async def run(self, steps: Steps[T]) -> T:
        """Execute the steps and return their result."""
        held: ExitStack | None = None
        store, direct = self._store, self._direct
        outcome: Any = None
        resume: Any = steps.send
        try:
            while True:
                try:
                    operation = resume(outcome)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]  # a generator's T
                try:
                    if isinstance(operation, StoreCall):
                        outcome = getattr(store, operation.verb)(*operation.args)
                        if not direct:
                            outcome = await outcome
                    else:
                        held = held or ExitStack()
                        outcome = await self._perform(operation, held)
                    resume = steps.send
                except BaseException as error:
                    # Whatever it is, a cancellation too, the steps decide.
                    outcome, resume = _for_steps(operation, error), steps.throw
        finally:
            if held is not None:
                held.close()

    async def _perform(self, operation: Operation, held: ExitStack) -> Any:
        if isinstance(operation, Lock):
            return await self._locks.acquire(operation, held)
        if isinstance(operation, Select):
            return await self._select(operation)
        if isinstance(operation, Sleep):
            import anyio

            return await anyio.sleep(operation.seconds)
        assert not isinstance(operation, StoreCall)
        return await operation.awaitable

    async def _select(self, operation: Select) -> list[tuple[str, Record]]:
        store = AsyncBridge(self._store) if self._direct else self._store
        found = []
        records = getattr(store, operation.verb)(*operation.args)
        try:
            async for item in records:
                if operation.keep(item):
                    found.append(item)
                    if operation.first:
                        break
        finally:
            if hasattr(records, "aclose"):  # as generators have it
                await records.aclose()
        return found


def _for_steps(operation: Operation, error: BaseException) -> BaseException:
    """Wrap what a store raised against the contract. Its text may hold anything: left out."""
    if isinstance(error, CoatcheckError) or not isinstance(error, Exception):
        return error
    if not isinstance(operation, StoreCall | Select):
        return error
    if (outside := interruption(error)) is not None:
        return outside
    wrapped = StoreError(f"`{operation.verb}` of the store failed with {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


class _KeyLock(SimpleQueue[None]):
    """A lock: there is an item in it while it is free."""


class _ThreadLocks:
    """One lock a key, for as long as somebody holds or awaits it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, weakref.ref[_KeyLock]] = {}

    def acquire(self, operation: Lock, held: list[_Held]) -> bool:
        """Add a lock to those that are held; return False if it was not free in time."""
        lock = self._lock(operation.key)
        # In one step, as everything that `zip` and `map` do: between two, an exception of a signal
        # handler would leave it taken.
        taken = zip((lock.put,), map(lock.get, (True,), (max(operation.seconds, 0),)), strict=True)
        try:
            held.extend(taken)
        except Empty:
            return False
        return True

    def _lock(self, key: str) -> _KeyLock:
        with self._guard:
            known = self._locks.get(key)
            lock = None if known is None else known()
            if lock is None:
                lock = _KeyLock()
                lock.put(None)
                forget = functools.partial(dict.pop, self._locks, key)
                self._locks[key] = weakref.ref(lock, forget)
            return lock


class _LoopLocks:
    """One lock a key and event loop, for as long as somebody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: dict[tuple[object, str], tuple[anyio.Lock, int]] = {}

    async def acquire(self, operation: Lock, held: ExitStack) -> bool:
        import anyio
        from anyio.lowlevel import current_token

        key = (current_token(), operation.key)
        lock, users = self._locks.get(key) or (anyio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        held.callback(self._leave, key)
        with anyio.move_on_after(max(operation.seconds, 0)):
            await lock.acquire()
            held.callback(lock.release)
            return True
        return False

    def _leave(self, key: tuple[object, str]) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, users - 1)
