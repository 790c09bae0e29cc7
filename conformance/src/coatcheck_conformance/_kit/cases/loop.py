"""LOOP: threads and event loops."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from coatcheck import AsyncStore, Record, Unchanged, open_async_store
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck.storekit import AsyncBridge, as_async

from ..case import case
from ..clock import DAY
from ..context import Context
from ..failure import CheckFailed, Skipped
from ..faults import FaultyStore, each_fault
from ..handle import switching_often
from ..watch import WAITING_EVENTS, watching
from .race import held

_CALLERS: Final = 12
_LOOPS: Final = 10
#: Seconds that an event loop may be blocked on a busy machine.
_LONGEST_GAP: Final = 0.5


def _many_at_once(context: Context) -> None:
    """Run several callers at once, each with a key of its own."""
    for number in range(3):
        records = [
            (f"key{caller}", context.record(b"%d of caller %d" % (number, caller)))
            for caller in range(_CALLERS)
        ]
        calls = [context.store.later("set", key, record) for key, record in records]
        _expect_each(context, calls, [True] * _CALLERS)
        found = _made(context, [context.store.later("get", key) for key, _ in records])
        for seen, (_, record) in zip(found, records, strict=True):
            right = isinstance(seen, Record) and seen.data == record.data
            context.expect_that(right, context.steps.show(record), seen)


def _made(context: Context, calls: Sequence[Any]) -> list[Any]:
    with held(context):
        return context.together(calls)


def _expect_each(context: Context, calls: Sequence[Any], expected: Sequence[object]) -> None:
    for seen, right in zip(_made(context, calls), expected, strict=True):
        context.expect(seen, right)


@case(
    "LOOP-1",
    apis=("sync",),
    hint="something of one call is kept in an attribute of the store.",
)
def many_threads(context: Context) -> None:
    """Twelve threads work with keys of their own, and each sees its own records."""
    _many_at_once(context)


@case(
    "LOOP-2",
    apis=("async",),
    hint="something of one call is kept in an attribute of the store while it awaits.",
)
def many_tasks(context: Context) -> None:
    """Twelve tasks work with keys of their own, and each sees its own records."""
    _many_at_once(context)


# Several loops


async def _write_and_read(store: AsyncStore, context: Context, name: str) -> None:
    """Use the operations that every application needs."""
    for data in (b"one", b"two"):
        _expect(await store.set(name, context.record(data)), True)
        found = await store.get(name)
        _expect(found is not None and found.data, data)
    await store.ping()


async def _work(store: AsyncStore, context: Context, name: str) -> None:
    """Use each operation that every store has, and a listing."""
    data = name.encode()
    _expect(await store.set(name, context.record(data)), True)
    found = await store.get(name)
    _expect(found is not None and found.data, data)
    _expect(await store.touch(name, context.clock.now + 2 * DAY), True)
    _expect(await store.set(name, context.record(b"new"), Unchanged(data)), True)
    if store.capabilities.enumerable:
        _expect(name in [key async for key, _ in store.all()], True)
    await store.ping()
    _expect(await store.destroy(name), True)
    _expect(await store.get(name), None)


def _expect(seen: object, expected: object) -> None:
    if seen != expected:
        raise CheckFailed(repr(expected), repr(seen))


def _on_new_loop(context: Context, name: str) -> weakref.ref[asyncio.AbstractEventLoop]:
    """Work on a new event loop of asyncio, and return the loop."""
    with asyncio.Runner() as runner:
        runner.run(_write_and_read(_native(context), context, name))
        return weakref.ref(runner.get_loop())


def _native(context: Context) -> AsyncStore:
    assert isinstance(context.store.native, AsyncStore), "the case is for that API"
    return context.store.native


def _attempt(context: Context, where: str, work: Callable[[], object]) -> None:
    """Work on an event loop, and fail the case if anything is raised there."""
    context.steps.note(f"operations are called {where}")
    try:
        work()
    except CheckFailed:
        raise
    except Exception as error:  # the clause allows none
        raise CheckFailed("no exception", context.steps.show(error)) from error


_ONE_LOOP: Final = "a client or a lock is made on the first event loop, and used on every one."


@case(
    "LOOP-3",
    apis=("async",),
    hint=_ONE_LOOP,
)
def one_loop_after_the_other(context: Context) -> None:
    """The store works on three event loops; each is closed before the next one begins."""
    for number in range(3):
        _attempt(context, f"on event loop {number}", lambda: _on_new_loop(context, f"key{number}"))  # noqa: B023  # called at once


@case("LOOP-3", apis=("async",), depends_on=("LOOP-2",), hint=_ONE_LOOP)
def several_loops_at_once(context: Context) -> None:
    """The store works on four event loops at once, each in its own thread."""
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait(30)
        for turn in range(3):
            _on_new_loop(context, f"key{number} {turn}")

    def all_of_them() -> None:
        with switching_often(), ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))

    _attempt(context, "on four event loops at once", all_of_them)


@case(
    "LOOP-3",
    apis=("async",),
    hint="a part of asyncio is used while trio runs.",
)
def loop_of_trio(context: Context) -> None:
    """The store works on an event loop of trio, unless it supports only asyncio."""
    import trio

    async def main() -> None:
        store = _opened_for_trio(context)
        if store is None:
            return
        await _write_and_read(store, context, "key")
        if store is not context.store.native:
            await store.close()

    _attempt(context, "on an event loop of trio", lambda: trio.run(main))


def _opened_for_trio(context: Context) -> AsyncStore | None:
    harness, url = context.harness, context.harness.url(context.namespace)
    opens_by_url = context.capabilities.multi_process and "url" not in harness.unsupported
    if opens_by_url and url is not None and harness.opener is None:
        return open_async_store(url, clock=context.clock)
    if opens_by_url:
        return as_async(harness.open(context.namespace, context.clock))
    return context.store.native if isinstance(context.store.native, AsyncBridge) else None


@case(
    "LOOP-4",
    apis=("async",),
    depends_on=("LOOP-3",),
    hint="a dictionary by event loop (or by its id) is never emptied: use weak keys.",
)
def closed_loops_are_forgotten(context: Context) -> None:
    """The store keeps none of ten closed event loops, and none of their files and connections."""
    native = _native(context)
    uses_threads = isinstance(native, AsyncBridge) and native.capabilities.blocking
    if uses_threads and _anyio() < (4, 15):
        raise Skipped("before 4.15 anyio itself keeps closed event loops that used a worker thread")
    _on_new_loop(context, "key")
    gc.collect()
    files = _open_files()
    loops = [_on_new_loop(context, f"key{number}") for number in range(_LOOPS)]
    context.steps.note(f"operations are called on {_LOOPS} event loops, one after the other")
    _expect_gone(context, loops, files + 4)


def _expect_gone(
    context: Context, loops: Sequence[weakref.ref[asyncio.AbstractEventLoop]], files: int
) -> None:
    deadline = time.monotonic() + 3
    while True:
        gc.collect()
        left, still_open = sum(loop() is not None for loop in loops), _open_files()
        if not left and still_open <= files:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)  # worker threads end some time after the loop
    context.expect(left, 0, "closed event loops that are left")
    context.expect_that(still_open <= files, f"at most {files} open files", still_open)


def _open_files() -> int:
    with suppress(OSError):
        return len(list(Path("/proc/self/fd").iterdir()))
    return 0


def _anyio() -> tuple[int, ...]:
    return tuple(map(int, version("anyio").split(".")[:2]))


# The caller's client


@case(
    "LOOP-5",
    apis=("async",),
    needs=("async_client",),
    hint="the running event loop is not compared with the client's.",
)
def client_of_another_loop(context: Context) -> None:
    """Each operation raises ConfigurationError on another event loop than the client's."""

    async def opened() -> Any:
        return await context.harness.with_async_client(context.namespace, context.clock)

    given = context.need(context.loop.run(opened()), "the harness opens no store with a client")
    store = as_async(given.store)
    context.loop.run(_work(store, context, "key"))
    for operation, args in _operations(context).items():
        _expect_refused(context, store, operation, args)
    context.loop.run(_closed(given.close))


async def _closed(close: Callable[[], Any]) -> None:
    closing = close()
    if inspect.isawaitable(closing):
        await closing


def _operations(context: Context) -> dict[str, tuple[Any, ...]]:
    return {
        "get": ("key",),
        "set": ("key", context.record()),
        "destroy": ("key",),
        "touch": ("key", context.clock.now + DAY),
        "ping": (),
    }


def _expect_refused(
    context: Context, store: AsyncStore, operation: str, args: tuple[Any, ...]
) -> None:
    async def call() -> object:
        return await asyncio.wait_for(getattr(store, operation)(*args), 5)

    context.steps.note(f"{context.steps.call('store', operation, args)} on another event loop")
    with context.expect_raises(ConfigurationError), asyncio.Runner() as runner:
        runner.run(call())


# Waiting


@case(
    "LOOP-6",
    depends_on=(
        "SET-7",
        "SET-11",
        "DESTROY-1",
    ),
    apis=("async",),
    hint="a coroutine calls a synchronous client.",
)
def nothing_waits_on_the_loop(context: Context) -> None:
    """The event loop's thread opens no file, and waits for no connection, lock or process."""

    async def main() -> list[str]:
        await _work(_native(context), context, "before")  # modules are imported by now
        with watching(WAITING_EVENTS) as watch:
            await _work(_native(context), context, "key")
        return watch.lines_of_this_thread()

    found: list[str] = []
    _attempt(context, "on a watched event loop", lambda: found.extend(context.loop.run(main())))
    context.expect_that(not found, "nothing on the event loop's thread that may wait", found)


@case(
    "LOOP-6",
    depends_on=(
        "SET-7",
        "SET-11",
        "DESTROY-1",
        "FAULT-3",
    ),
    apis=("async",),
    needs=("stall",),
    hint="a coroutine calls a synchronous client, which waits for the backend.",
)
def the_loop_runs_while_a_call_waits(context: Context) -> None:
    """While a call waits for a backend that does not reply, other tasks run."""
    for faulty, fault in each_fault(context, "stall"):
        operation = "set" if fault.writes else "get"
        args = ("key", context.record()) if fault.writes else ("key",)
        faulty.store.set("key", context.record())
        with ExitStack() as during:
            during.enter_context(faulty.during(fault))
            longest = context.loop.run(_longest_gap(faulty, during, operation, args))
        context.expect_that(
            longest < _LONGEST_GAP,
            f"a task that goes on while {operation} waits because {fault.name}",
            f"it stood still for {longest:.1f} seconds",
        )


async def _longest_gap(
    faulty: FaultyStore, during: ExitStack, operation: str, args: tuple[Any, ...]
) -> float:
    """Call an operation that waits, and return how long another task was blocked at most."""
    call = asyncio.ensure_future(getattr(faulty.store.native, operation)(*args))
    longest, last = 0.0, time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    during.close()
    with suppress(StoreError):
        await call
    return longest
