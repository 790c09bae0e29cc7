"""Execute the operations that generators yield, on one face or the other."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from .bridge import AsyncBridge, as_async, as_sync
from .errors import CoatcheckError, ConfigurationError, StoreError
from .operations import Lock, Operation, Select, Sleep, Steps, StoreCall
from .store import AsyncStore, Record, Store

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")


class SyncRunner:
    """Runs steps on the synchronous face of a store.

    :param store: any store; an asynchronous one is bridged.
    """

    def __init__(self, store: Store | AsyncStore) -> None:
        self._store = as_sync(store)
        self._locks = _ThreadLocks()

    def run(self, steps: Steps[T]) -> T:
        """Execute the steps and return their result."""
        held: ExitStack | None = None
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
                        held = held or ExitStack()
                        outcome = self._perform(operation, held)
                    resume = steps.send
                except BaseException as error:
                    # Whatever it is, the steps decide.
                    outcome, resume = _for_steps(operation, error), steps.throw
        finally:
            if held is not None:
                held.close()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _perform(self, operation: Operation, held: ExitStack) -> Any:
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
    wrapped = StoreError(f"`{operation.verb}` of the store failed with {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


class _ThreadLocks:
    """One lock a key, for as long as somebody holds or awaits it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def acquire(self, operation: Lock, held: ExitStack) -> bool:
        key = operation.key
        with self._guard:
            lock, users = self._locks.get(key) or (threading.Lock(), 0)
            self._locks[key] = (lock, users + 1)
        held.callback(self._leave, key)
        acquired = lock.acquire(timeout=max(operation.seconds, 0))
        if acquired:
            held.callback(lock.release)
        return acquired

    def _leave(self, key: str) -> None:
        with self._guard:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


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
