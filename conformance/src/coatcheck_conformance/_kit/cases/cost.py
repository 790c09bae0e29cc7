"""COST-1 and COST-5 to COST-8: how costs grow with the stored records.

The cases of COST-2 to COST-4 are in `traffic`.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

from coatcheck import ABSENT, Unchanged
from coatcheck.storekit import AsyncBridge, SyncBridge

from ..case import case
from ..context import Context

_FEW: Final = 20
_MANY: Final = 400
#: How often a call is measured: the least counts, because some calls also clean up.
_TRIES: Final = 4
#: Instructions that are ignored: a search through all records takes more.
_SLACK: Final = 1000

_LISTED: Final = 600
_SIZE: Final = 4096


def _is_bridged(context: Context) -> bool:
    """Tell whether other threads do the work, whose instructions cannot be counted."""
    return isinstance(context.store.native, AsyncBridge | SyncBridge)


def instructions(call: Callable[[], Any]) -> int:
    """Count the instructions that the interpreter executes for a call in this thread."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def _least(call: Callable[[int], Any]) -> int:
    return min(instructions(partial(call, number)) for number in range(_TRIES))


def _fill(context: Context, name: str, count: int) -> None:
    for number in range(count):
        record = context.record(owner=f"{name}{number % 50}")
        context.store.perform("set", f"{name}{number}", record)
    context.steps.note(f"store.set of {count} records")


def _expect_alike(context: Context, operation: str, few: int, many: int) -> None:
    if many > 2 * few + _SLACK:
        context.fail(
            f"as many instructions for `{operation}` as with {_FEW} records, {few}",
            f"{many} with {_FEW + _MANY} records",
        )


def _operations(context: Context) -> dict[str, Callable[[int], Any]]:
    store, record = context.store, context.record(owner="owner")
    for name in ("gone", "kept"):
        for number in range(_TRIES):
            store.perform("set", f"{name}{number}", record)
    return {
        "get": lambda number: store.perform("get", f"kept{number}"),
        "get of nothing": lambda number: store.perform("get", f"none{number}"),
        "set": lambda number: store.perform("set", f"kept{number}", record),
        "set with ABSENT": lambda number: store.perform("set", f"kept{number}", record, ABSENT),
        "set with Unchanged": lambda number: store.perform(
            "set", f"kept{number}", record, Unchanged(record.data)
        ),
        "touch": lambda number: store.perform("touch", f"kept{number}", record.expires_at),
        "destroy": lambda number: store.perform("destroy", f"gone{number}"),
    }


@case("COST-1", hint="an operation searches or counts all records.")
def cost_of_a_request(context: Context) -> None:
    """Each operation takes about as many instructions with many records as with few."""
    if _is_bridged(context):
        return
    _fill(context, "few", _FEW)
    few = {operation: _least(call) for operation, call in _operations(context).items()}
    _fill(context, "many", _MANY)
    many = {operation: _least(call) for operation, call in _operations(context).items()}
    for operation, count in few.items():
        _expect_alike(context, operation, count, many[operation])


@case(
    "COST-7",
    depends_on=("OWNER-1",),
    hint="`owned_by` searches all records for those of the owner.",
)
def cost_of_an_owner(context: Context) -> None:
    """`owned_by` takes as many instructions with many records of others as with few."""
    if _is_bridged(context):
        return
    for number in range(3):
        context.put(f"own{number}", owner="ann")
    _fill(context, "few", _FEW)
    few = _least(lambda _: context.store.owned_by("ann"))
    _fill(context, "many", _MANY)
    many = _least(lambda _: context.store.owned_by("ann"))
    _expect_alike(context, "owned_by", few, many)


def _peak(walk: Callable[[], Any]) -> int:
    """Return the largest number of bytes that was allocated at a time during a call."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        walk()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return peak - before


@case(
    "COST-8",
    depends_on=("ENUM-1",),
    hint="a list of all records is built before the iteration begins.",
)
def memory_of_a_listing(context: Context) -> None:
    """Listing needs far less memory than all the data together."""
    if _is_bridged(context):
        return
    size = min(_SIZE, context.capabilities.max_data_bytes or _SIZE)
    for number in range(_LISTED):
        context.store.perform("set", f"key{number}", context.record(b"%04d" % number * (size // 4)))
    context.steps.note(f"store.set of {_LISTED} records of {size} bytes")

    def walk() -> None:
        for _ in context.store.iterate("all"):
            pass

    peak, total = _peak(walk), _LISTED * size
    context.expect_that(peak < total * 3 // 4, f"less than {total * 3 // 4} bytes at a time", peak)


@case(
    "COST-5",
    depends_on=(
        "ENUM-1",
        "ENUM-3",
        "ENUM-6",
    ),
    hint="one command or one transaction lists everything, and nobody else is served meanwhile.",
)
def others_are_served_while_it_lists(context: Context) -> None:
    """During a listing other handles can read, write and count."""
    for number in range(40):
        context.put(f"key{number}")
    other = context.second()
    for number, (key, _) in enumerate(context.store.iterate("all")):
        context.expect(other.set(key, context.record(b"new")), True)
        context.expect_data(b"new", key, other)
        if number % 10 == 0:
            context.expect(context.store.length(), 40)


@case(
    "COST-6",
    depends_on=(
        "CLEAR-1",
        "CLEAR-2",
    ),
    hint="one transaction removes everything, and nobody else is served meanwhile.",
)
def others_are_served_while_it_clears(context: Context) -> None:
    """During a `clear` calls of another namespace succeed, and lose nothing."""
    elsewhere = context.elsewhere()
    for number in range(40):
        context.put(f"key{number}")
    calls = [context.store.later("clear")]
    calls += [elsewhere.later("set", f"key{number}", context.record(b"new")) for number in range(4)]
    context.expect(context.together(calls)[1:], [True] * 4)
    for number in range(4):
        context.expect_data(b"new", f"key{number}", elsewhere)
