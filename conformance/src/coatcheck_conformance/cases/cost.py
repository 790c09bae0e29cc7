"""COST-1, COST-7, COST-8: what grows with the stored records. Others are in `traffic`."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

from coatcheck import ABSENT, Unchanged
from coatcheck.bridge import AsyncBridge, SyncBridge

from ..bench import Bench
from ..case import case

_FEW: Final = 20
_MANY: Final = 400
#: How often a call is measured: the least counts, because some calls tidy up.
_TRIES: Final = 4
#: Instructions that are not counted: a search through the many records takes more.
_SLACK: Final = 1000

_LISTED: Final = 600
_SIZE: Final = 4096


def _is_bridged(bench: Bench) -> bool:
    """Tell whether other threads do the work, where it cannot be counted."""
    return isinstance(bench.store.native, AsyncBridge | SyncBridge)


def instructions(call: Callable[[], Any]) -> int:
    """Count the instructions of the interpreter that a call takes in this thread."""
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


def _fill(bench: Bench, name: str, count: int) -> None:
    for number in range(count):
        record = bench.record(owner=f"{name}{number % 50}")
        bench.store.perform("set", f"{name}{number}", record)
    bench.steps.note(f"store.set of {count} records")


def _expect_alike(bench: Bench, verb: str, few: int, many: int) -> None:
    if many > 2 * few + _SLACK:
        bench.fail(
            f"as many instructions for `{verb}` as with {_FEW} records, {few}",
            f"{many} with {_FEW + _MANY} records",
        )


def _verbs(bench: Bench) -> dict[str, Callable[[int], Any]]:
    store, record = bench.store, bench.record(owner="owner")
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


@case("COST-1", hint="a search through all records, or a count of them.")
def cost_of_a_request(bench: Bench) -> None:
    """With many records each verb takes about as many instructions as with few."""
    if _is_bridged(bench):
        return
    _fill(bench, "few", _FEW)
    few = {verb: _least(call) for verb, call in _verbs(bench).items()}
    _fill(bench, "many", _MANY)
    many = {verb: _least(call) for verb, call in _verbs(bench).items()}
    for verb, count in few.items():
        _expect_alike(bench, verb, count, many[verb])


@case("COST-7", depends_on=("OWNER-1",), hint="a search through all records for those of an owner.")
def cost_of_an_owner(bench: Bench) -> None:
    """With many records of others `owned_by` takes about as many instructions as with few."""
    if _is_bridged(bench):
        return
    for number in range(3):
        bench.put(f"own{number}", owner="ann")
    _fill(bench, "few", _FEW)
    few = _least(lambda _: bench.store.owned_by("ann"))
    _fill(bench, "many", _MANY)
    many = _least(lambda _: bench.store.owned_by("ann"))
    _expect_alike(bench, "owned_by", few, many)


def _peak(walk: Callable[[], Any]) -> int:
    """Return how many bytes more than before were in use at a time."""
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
    hint="a list of everything is made, and iterated over.",
)
def memory_of_a_listing(bench: Bench) -> None:
    """Listing takes far less memory than all data have."""
    if _is_bridged(bench):
        return
    size = min(_SIZE, bench.capabilities.max_data_bytes or _SIZE)
    for number in range(_LISTED):
        bench.store.perform("set", f"key{number}", bench.record(b"%04d" % number * (size // 4)))
    bench.steps.note(f"store.set of {_LISTED} records of {size} bytes")

    def walk() -> None:
        for _ in bench.store.iterate("all"):
            pass

    peak, total = _peak(walk), _LISTED * size
    bench.expect_that(peak < total * 3 // 4, f"less than {total * 3 // 4} bytes at a time", peak)


@case(
    "COST-5",
    depends_on=(
        "ENUM-1",
        "ENUM-3",
        "ENUM-6",
    ),
    hint="one command or one transaction lists everything, and nobody else gets a turn.",
)
def others_are_served_while_it_lists(bench: Bench) -> None:
    """Between two records of a listing other handles read and write, and counting goes on."""
    for number in range(40):
        bench.put(f"key{number}")
    other = bench.second()
    for number, (key, _) in enumerate(bench.store.iterate("all")):
        bench.expect(other.set(key, bench.record(b"new")), True)
        bench.expect_data(b"new", key, other)
        if number % 10 == 0:
            bench.expect(bench.store.length(), 40)


@case(
    "COST-6",
    depends_on=(
        "CLEAR-1",
        "CLEAR-2",
    ),
    hint="one transaction removes everything, and nobody else gets a turn.",
)
def others_are_served_while_it_clears(bench: Bench) -> None:
    """Calls of another namespace at the same time succeed, and lose nothing."""
    elsewhere = bench.elsewhere()
    for number in range(40):
        bench.put(f"key{number}")
    calls = [bench.store.later("clear")]
    calls += [elsewhere.later("set", f"key{number}", bench.record(b"new")) for number in range(4)]
    bench.expect(bench.together(calls)[1:], [True] * 4)
    for number in range(4):
        bench.expect_data(b"new", f"key{number}", elsewhere)
