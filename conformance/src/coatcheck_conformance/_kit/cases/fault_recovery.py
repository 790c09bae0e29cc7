"""FAULT-7 and FAULT-8: a store object works again after a fault, and after a cancelled call."""

from __future__ import annotations

import asyncio
from typing import Any

from coatcheck import AsyncStore, Record

from ..case import case
from ..context import Context
from ..faults import FaultyStore, attempt, expect_recovered, faulty_store
from ..handle import Handle
from ..harness import Fault

# FAULT-7


@case(
    "FAULT-7",
    needs=("unavailable",),
    limit=120,
    hint="a failed connection that is kept, or a connection that only the constructor makes.",
)
def store_works_after_it_was_unavailable(context: Context) -> None:
    """When the backend is reachable again the same store object reads and writes."""
    _expect_recovery(context, "unavailable")


@case(
    "FAULT-7",
    depends_on=("FAULT-11",),
    needs=("garbage",),
    limit=120,
    hint="a connection that is used again although its reply made no sense.",
)
def store_works_after_garbage(context: Context) -> None:
    """After nonsensical replies the same store object reads and writes."""
    _expect_recovery(context, "garbage")


@case(
    "FAULT-7",
    depends_on=("FAULT-6",),
    needs=("stall",),
    limit=120,
    hint="a connection that is used again: the late reply is taken for that of the next call.",
)
def store_works_after_a_stall(context: Context) -> None:
    """After calls that timed out the same store object reads and writes the right records."""
    _expect_recovery(context, "stall")


def _expect_recovery(context: Context, kind: str) -> None:
    with faulty_store(context, kind) as faulty:
        for number, fault in enumerate(faulty.faults):
            for name in ("one", "two"):
                context.put(f"{name}{number}", f"{name} of {number}".encode())
            attempt(faulty.store, "get", f"one{number}")
            with faulty.during(fault):
                if fault.reads:
                    faulty.attempt("get", f"one{number}")
                if fault.writes:
                    faulty.attempt("set", f"new{number}", context.record(b"meanwhile"))
            _expect_working(context, faulty.store, number, fault)


def _expect_working(context: Context, store: Handle, number: int, fault: Fault) -> None:
    expect_recovered(context, store, fault)
    for name in ("two", "one", "two"):
        context.expect_data(f"{name} of {number}".encode(), f"{name}{number}", store)
    context.put(f"new{number}", b"afterwards", store=store)
    context.expect_data(b"afterwards", f"new{number}", store)


# FAULT-8


@case(
    "FAULT-8",
    apis=("async",),
    depends_on=("LOOP-2",),
    hint="a connection that a cancelled call leaves behind with its reply unread.",
)
def cancelled_at_any_moment(context: Context) -> None:
    """A call that is cancelled at any step ends with CancelledError or its result."""
    for number in range(24):
        context.put(f"key{number}", b"%d" % number)
    outcomes = context.loop.run(_cancelled_one_by_one(context.store.native))
    context.steps.note("24 calls of get, cancelled after 0 to 23 steps of the event loop")
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            ended = isinstance(outcome, asyncio.CancelledError)
            context.expect_that(ended, "a result or CancelledError", outcome)
        else:
            is_right = isinstance(outcome, Record) and outcome.data == b"%d" % number
            context.expect_that(is_right, f"the data {number} or CancelledError", outcome)
    for number in range(24):
        context.expect_data(b"%d" % number, f"key{number}", about="after the cancellations")


async def _cancelled_one_by_one(store: Any) -> list[Any]:
    outcomes: list[Any] = []
    for number in range(24):
        task = asyncio.ensure_future(store.get(f"key{number}"))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        outcomes += await asyncio.gather(task, return_exceptions=True)
    return outcomes


@case(
    "FAULT-8",
    apis=("async",),
    depends_on=("FAULT-6", "FAULT-7"),
    needs=("stall",),
    limit=120,
    hint="an `except` that catches CancelledError, or a connection that is used again after it.",
)
def cancelled_while_it_waits(context: Context) -> None:
    """A call that is cancelled while it waits ends with CancelledError; the next one is right."""
    with faulty_store(context, "stall") as faulty:
        for number, fault in enumerate(faulty.faults):
            for name in ("one", "two"):
                context.put(f"{name}{number}", f"{name} of {number}".encode())
            attempt(faulty.store, "get", f"one{number}")
            with faulty.during(fault):
                _expect_cancelled(context, faulty, fault, number)
            _expect_working(context, faulty.store, number, fault)


def _expect_cancelled(context: Context, faulty: FaultyStore, fault: Fault, number: int) -> None:
    args = ("get", f"one{number}") if fault.reads else ("set", f"x{number}", context.record())
    outcome = context.loop.run(_cancelled_after(faulty.store.native, 0.2, *args))
    context.steps.note(f"{args[0]} is cancelled after 0.2 seconds")
    ended = isinstance(outcome, asyncio.CancelledError)
    context.expect_that(ended, f"while {fault.name}: CancelledError", outcome)


async def _cancelled_after(store: Any, seconds: float, operation: str, *args: Any) -> Any:
    assert isinstance(store, AsyncStore), "only this API has tasks"
    task = asyncio.ensure_future(getattr(store, operation)(*args))
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    return (await asyncio.gather(task, return_exceptions=True))[0]
