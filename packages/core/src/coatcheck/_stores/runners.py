"""Execute the operations that generators yield, on the sync or the async API of a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from .._records.operations import (
    Elsewhere,
    OnStore,
    Operation,
    Operations,
    Select,
    Sleep,
    StoreCall,
    ToTheEnd,
    Turn,
)
from .._records.writers import Lines
from ..errors import CoatcheckError, StoreError
from ..store import AsyncStore, Record, Store
from .bridge import AsyncBridge, as_async, as_sync, runs_trio
from .interruptions import interruption
from .shielding import uninterrupted

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class SyncRunner:
    """Run operations on the sync API of a store.

    :param store: any store. An async one is bridged.
    :param others: runners of the stores that operations call elsewhere.
    """

    def __init__(
        self, store: Store | AsyncStore, others: Mapping[object, SyncRunner] | None = None
    ) -> None:
        self._store = as_sync(store)
        self._others = others or {}
        self._lines = Lines()

    def run(self, operations: Operations[T]) -> T:
        """Execute the operations and return the generator's result."""
        store = self._store
        outcome: Any = None
        resume: Any = operations.send
        while True:
            try:
                operation = resume(outcome)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # a generator's T
            try:
                if isinstance(operation, StoreCall):
                    outcome = getattr(store, operation.name)(*operation.args)
                else:
                    outcome = self._perform(operation)
                resume = operations.send
            except BaseException as error:
                # The generator decides what to do about the error.
                outcome, resume = _for_generator(operation, error), operations.throw

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _perform(self, operation: Operation) -> Any:
        if isinstance(operation, Turn):
            return self._wait_for_turn(operation)
        if isinstance(operation, Sleep):
            return time.sleep(operation.seconds)
        if isinstance(operation, ToTheEnd):
            return getattr(self._store, operation.call.name)(*operation.call.args)
        if isinstance(operation, Select):
            return self._select(operation)
        if isinstance(operation, Elsewhere):
            return self._others[operation.store_of].run(_once(operation.call))
        if isinstance(operation, OnStore):
            return SyncRunner(operation.store).run(operation.operations)
        raise AssertionError("all operations are known")

    def _wait_for_turn(self, turn: Turn) -> Any:
        writer = turn.writer
        if not (writer.in_line or (turn.call and not self._store.capabilities.blocking)):
            self._lines.enter(turn.key, writer, _ThreadSignal)
        if isinstance(writer.signal, _ThreadSignal):
            writer.signal.wait(turn.seconds)
        elif turn.call is not None:
            turn.is_called = True
            return getattr(self._store, turn.call.name)(*turn.call.args)
        return None

    def _select(self, operation: Select) -> list[tuple[str, Record]]:
        found = []
        for item in getattr(self._store, operation.name)(*operation.args):
            if operation.keep(item):
                found.append(item)
                if operation.first:
                    break
        return found


class AsyncRunner:
    """Run operations on the async API of a store.

    :param store: any store. A sync one that never blocks is called on the event loop, another sync
        one in worker threads.
    :param others: runners of the stores that operations call elsewhere.
    """

    def __init__(
        self, store: Store | AsyncStore, others: Mapping[object, AsyncRunner] | None = None
    ) -> None:
        self._others = others or {}
        bridged = as_async(store)
        self._direct = False
        self._store: Any = bridged
        if isinstance(bridged, AsyncBridge) and not store.capabilities.blocking:
            self._direct, self._store = True, bridged.store
        self._lines = Lines()

    @property
    def waits(self) -> bool:
        """Whether calls of the store have to be awaited."""
        return not self._direct or any(other.waits for other in self._others.values())

    async def run(self, operations: Operations[T]) -> T:
        """Execute the operations and return the generator's result."""
        store, direct = self._store, self._direct
        outcome: Any = None
        resume: Any = operations.send
        while True:
            try:
                operation = resume(outcome)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # a generator's T
            try:
                if isinstance(operation, StoreCall):
                    outcome = getattr(store, operation.name)(*operation.args)
                    if not direct:
                        outcome = await outcome
                elif isinstance(operation, Turn):
                    call, outcome = operation.call, None
                    signal = None if direct and call else self._signal(operation)
                    if signal is not None:
                        await signal.wait(operation.seconds)
                    elif call is not None:
                        operation.is_called = True
                        outcome = getattr(store, call.name)(*call.args)
                        if not direct:
                            outcome = await outcome
                else:
                    outcome = await self._perform(operation)
                resume = operations.send
            except BaseException as error:
                # The generator decides what to do about the error, also about a cancellation.
                outcome, resume = _for_generator(operation, error), operations.throw

    async def _perform(self, operation: Operation) -> Any:
        if isinstance(operation, Select):
            return await self._select(operation)
        if isinstance(operation, Sleep):
            import anyio

            return await anyio.sleep(operation.seconds)
        if isinstance(operation, ToTheEnd):
            call = getattr(self._store, operation.call.name)(*operation.call.args)
            return call if self._direct else await uninterrupted(lambda: call)
        if isinstance(operation, Elsewhere):
            return await self._others[operation.store_of].run(_once(operation.call))
        if isinstance(operation, OnStore):
            return await AsyncRunner(operation.store).run(operation.operations)
        raise AssertionError("all operations are known")

    def _signal(self, turn: Turn) -> _TaskSignal | _TrioSignal | None:
        """Let a writer enter its line, and return the signal that it has to wait for, if any."""
        writer = turn.writer
        if not writer.in_line:
            writer.stay_in_thread()
            self._lines.enter((_current_loop(), turn.key), writer, _loop_signal)
        if writer.signal is None:
            return None
        assert isinstance(writer.signal, _TaskSignal | _TrioSignal), "it was made here"
        return writer.signal

    async def _select(self, operation: Select) -> list[tuple[str, Record]]:
        store = AsyncBridge(self._store) if self._direct else self._store
        found = []
        records = getattr(store, operation.name)(*operation.args)
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


def _once(call: StoreCall) -> Operations[Any]:
    return (yield call)


def _for_generator(operation: Operation, error: BaseException) -> BaseException:
    """Return the error that a generator gets for an error of the store.

    An error that the contract does not allow is wrapped, without its text, which may hold anything.
    """
    if isinstance(error, CoatcheckError) or not isinstance(error, Exception):
        return error
    call = operation.call if isinstance(operation, ToTheEnd | Turn) else operation
    if not isinstance(call, StoreCall | Select):
        return error
    if (outside := interruption(error)) is not None:
        return outside
    wrapped = StoreError(f"`{call.name}` of the store failed with {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def _current_loop() -> object:
    """Return an object that identifies the running event loop.

    Tasks can wake other tasks of the same loop.
    """
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        from anyio.lowlevel import current_token

        return current_token()


def _loop_signal() -> _TaskSignal | _TrioSignal:
    return _TrioSignal() if runs_trio() else _TaskSignal()


class _TaskSignal:
    """Wake a task of asyncio. The events and time limits of anyio take longer than the write."""

    def __init__(self) -> None:
        from asyncio import get_running_loop

        self._loop = get_running_loop()
        self._thread = threading.get_ident()
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if threading.get_ident() == self._thread:
            self._wake()
            return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> None:
        if self._is_set:
            return
        self._waiting = self._loop.create_future()
        limit = self._loop.call_later(max(seconds, 0), self._wake)
        try:
            await self._waiting
        finally:
            limit.cancel()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _TrioSignal:
    """Wake a task of trio."""

    def __init__(self) -> None:
        import anyio
        import trio

        self._event = anyio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()

    def set(self) -> None:
        if threading.get_ident() == self._thread:
            self._event.set()
            return
        import trio

        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._event.set)

    async def wait(self, seconds: float) -> None:
        import anyio

        with anyio.move_on_after(max(seconds, 0)):
            await self._event.wait()


class _ThreadSignal:
    """Wake a thread.

    Each signal has a lock of its own, so no other thread is held up if it stays taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        with suppress(RuntimeError):  # it was set before
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=max(seconds, 0))
