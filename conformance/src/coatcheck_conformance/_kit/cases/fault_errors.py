"""FAULT-1 to FAULT-6, FAULT-11 and FAULT-12: what calls return and raise during a fault."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Record, Unchanged
from coatcheck.errors import CoatcheckError, StoreError, StoreTimeout, StoreUnavailable

from ..case import case
from ..context import Context
from ..faults import FaultyStore, attempt, each_fault, expect_store_error_at_most, faulty_store
from ..harness import Fault

#: Seconds that a call may take by the contract, with an allowance for a busy machine.
_LONGEST: Final = 10.0 + 1.5


# FAULT-1


@case(
    "FAULT-1",
    needs=("unavailable",),
    limit=120,
    hint="an `except` around the read that returns None, or an empty list.",
)
def failed_reads_are_no_answers(context: Context) -> None:
    """While the backend is unreachable a read returns what is stored, or raises."""
    record = context.put("key", owner="ann")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            if fault.reads:
                attempt(faulty.store, "get", "key")  # it connects, and prepares what it needs
                _expect_true_reads(context, faulty, fault, record)


def _expect_true_reads(context: Context, faulty: FaultyStore, fault: Fault, record: Record) -> None:
    can = context.capabilities
    with faulty.during(fault):
        got = faulty.attempt("get", "key")
        length = faulty.attempt("length") if can.enumerable else 1
        everything = faulty.attempt("all") if can.enumerable else None
        owned = faulty.attempt("owned_by", "ann") if can.owners else None
    about = f"while {fault.name}, StoreError or"
    if not isinstance(got, Exception):
        context.expect_same(got, record, about)
    if not isinstance(length, Exception):
        context.expect(length, 1, about)
    for listed in (everything, owned):
        if listed is not None and not isinstance(listed, Exception):
            context.expect_keys(listed, ["key"], about)


@case(
    "FAULT-1",
    needs=("address",),
    hint="a single `recv` that is taken for the whole reply.",
)
def reply_in_pieces(context: Context) -> None:
    """A read whose reply arrives byte by byte returns the whole record, or raises."""
    record = context.put("key", bytes(range(256)))
    with faulty_store(context, "unavailable") as faulty:
        proxy = context.need(faulty.proxy, "there is no proxy")
        with proxy.doing("drip"):
            got = faulty.attempt("get", "key")
        if not isinstance(got, Exception):
            context.expect_same(got, record)


# FAULT-2


@case(
    "FAULT-2",
    needs=("unavailable",),
    limit=120,
    hint="an `except` around the write that logs the error and returns a truth value.",
)
def failed_writes_are_not_acknowledged(context: Context) -> None:
    """While the backend is unreachable a write raises, unless it was done."""
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            if fault.writes:
                _expect_true_writes(context, faulty, fault)


def _expect_true_writes(context: Context, faulty: FaultyStore, fault: Fault) -> None:
    for key in ("kept", "ended", "touched"):
        context.put(key, b"old")
    context.store.destroy("made")
    attempt(faulty.store, "get", "kept")
    record, later = context.record(b"new"), context.clock.now + 2 * 86400
    with faulty.during(fault):
        made = faulty.attempt("set", "made", record)
        kept = faulty.attempt("set", "kept", record)
        ended = faulty.attempt("destroy", "ended")
        touched = faulty.attempt("touch", "touched", later)
    about = f"while {fault.name}: StoreError, or what was acknowledged"
    seen = context.second()
    for key, outcome in (("made", made), ("kept", kept)):
        if _acknowledged(context, outcome, about):
            context.expect_unchanged(record, key, seen, about)
    if _acknowledged(context, ended, about):
        context.expect_absent("ended", seen, about)
    if _acknowledged(context, touched, about):
        context.expect_unchanged(Record(b"old", later), "touched", seen, about)


def _acknowledged(context: Context, outcome: object, about: str) -> bool:
    """Tell whether a write returned; then it must have returned True."""
    if isinstance(outcome, Exception):
        return False
    context.expect(outcome, True, about)
    return True


# FAULT-3


@case(
    "FAULT-3",
    depends_on=("GET-2", "GET-3", "SET-6", "SET-9", "DESTROY-2", "TOUCH-2", "TOUCH-3"),
    hint="a KeyError, or a missing check of an empty result.",
)
def operations_on_any_state(context: Context) -> None:
    """In any state of a key the operations return, or raise a StoreError."""
    for prepare in (lambda: None, lambda: context.put(), lambda: context.expired()):
        for condition in (ALWAYS, ABSENT, PRESENT, Unchanged(b"data")):
            prepare()
            calls: Sequence[tuple[Any, ...]] = (
                ("get", "key"),
                ("touch", "key", context.clock.now + 90),
                ("set", "key", context.record(), condition),
                ("destroy", "key", condition),
            )
            for call in calls:
                expect_store_error_at_most(context, attempt(context.store, *call))


@case(
    "FAULT-3",
    needs=("unavailable",),
    limit=450,
    hint="an operation that calls the client library outside the `try`.",
)
def only_store_errors_while_unavailable(context: Context) -> None:
    """While the backend is unreachable each operation returns, or raises a StoreError."""
    context.put("key", owner="ann")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            attempt(faulty.store, "get", "key")
            with faulty.during(fault):
                for call in _every_operation(context):
                    expect_store_error_at_most(context, faulty.attempt(*call), fault.name)


def _every_operation(context: Context) -> list[tuple[Any, ...]]:
    can = context.capabilities
    calls: list[tuple[Any, ...]] = [
        ("get", "key"),
        ("set", "key", context.record(b"new")),
        ("set", "key", context.record(b"new"), Unchanged(b"data")),
        ("touch", "key", context.clock.now + 90),
        ("destroy", "other"),
        ("ping",),
    ]
    if can.enumerable:
        calls += [("all",), ("length",)]
    if can.owners:
        calls.append(("owned_by", "ann"))
    if not can.native_expiry:
        calls.append(("prune",))
    if can.clearable:
        calls.append(("clear",))
    return calls


# FAULT-4


@case(
    "FAULT-4",
    depends_on=("FAULT-1", "FAULT-2", "FAULT-3"),
    needs=("unavailable",),
    limit=120,
    hint="`raise StoreUnavailable(...)` without `from error`, or `from None`.",
)
def cause_of_a_store_error(context: Context) -> None:
    """The `__cause__` of a StoreError is the exception of the client library."""
    context.put("key")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            attempt(faulty.store, "get", "key")
            with faulty.during(fault):
                for call in (("get", "key"), ("set", "key", context.record())):
                    _expect_cause(context, faulty.attempt(*call), fault)


def _expect_cause(context: Context, outcome: object, fault: Fault) -> None:
    if not isinstance(outcome, StoreError):
        return
    cause = outcome.__cause__
    if cause is None or isinstance(cause, CoatcheckError):
        expected = f"while {fault.name}: a StoreError whose __cause__ is the client's exception"
        shown = "None" if cause is None else type(cause).__name__
        context.fail(expected, f"{type(outcome).__name__} with the cause {shown}")


# FAULT-5, FAULT-6, FAULT-11, FAULT-12: which error


@case(
    "FAULT-5",
    depends_on=("FAULT-1", "FAULT-2", "FAULT-3"),
    needs=("unavailable",),
    limit=120,
    hint="a StoreError for every exception of the client library.",
)
def out_of_reach_is_unavailable(context: Context) -> None:
    """A read and a write of a backend that refuses raise StoreUnavailable."""
    context.put("key")
    with faulty_store(context, "unavailable") as faulty:
        for fault in _whole(faulty):
            attempt(faulty.store, "get", "key")
            with faulty.during(fault):
                for call in (("get", "key"), ("set", "key", context.record())):
                    outcome = faulty.attempt(*call)
                    if isinstance(outcome, Exception):
                        _expect_error(context, outcome, StoreUnavailable, fault)


def _whole(faulty: FaultyStore) -> list[Fault]:
    """Return the faults that hit reads and writes; a full disk, for one, refuses no read."""
    return [fault for fault in faulty.faults if fault.reads and fault.writes]


def _expect_error(context: Context, outcome: object, error: type[Exception], fault: Fault) -> None:
    if not isinstance(outcome, error):
        context.fail(f"while {fault.name}: {error.__name__}", outcome)


@case(
    "FAULT-6",
    depends_on=("FAULT-3",),
    needs=("stall",),
    limit=50,
    hint="a client library that waits forever unless it gets a time limit.",
)
def no_answer_is_a_timeout(context: Context) -> None:
    """A read and a write without a reply raise StoreTimeout within ten seconds."""
    for key in ("set", "ended", "touched"):
        context.put(key)
    for faulty, fault in each_fault(context, "stall"):
        attempt(faulty.store, "get", "set")
        with faulty.during(fault):
            _expect_timeouts(context, faulty, fault)


def _expect_timeouts(context: Context, faulty: FaultyStore, fault: Fault) -> None:
    # The calls run at the same time, so that the case takes as long as one of them.
    calls = []
    if fault.reads:
        calls.append(faulty.store.later("get", "set"))
    if fault.writes:
        calls.append(faulty.store.later("set", "set", context.record()))
        calls.append(faulty.store.later("destroy", "ended"))
        calls.append(faulty.store.later("touch", "touched", context.clock.now + 90))
    started = time.monotonic()
    outcomes = context.together(calls)
    took = time.monotonic() - started
    for outcome in outcomes:
        _expect_error(context, outcome, StoreTimeout, fault)
    if took > _LONGEST:
        context.fail("an end within 10 seconds", f"an end after {took:.1f} seconds")


@case(
    "FAULT-11",
    depends_on=("FAULT-1", "FAULT-2", "FAULT-3"),
    needs=("garbage",),
    limit=120,
    hint="an exception of the parser, which is not a documented one of the client library.",
)
def garbage_is_a_store_error(context: Context) -> None:
    """A read and a write that get nonsense for a reply raise a StoreError."""
    record = context.put("key")
    with faulty_store(context, "garbage") as faulty:
        for fault in faulty.faults:
            attempt(faulty.store, "get", "key")
            with faulty.during(fault):
                read = faulty.attempt("get", "key")
                written = faulty.attempt("set", "key", record)
            if isinstance(read, Record):
                context.expect_same(read, record)
            else:
                _expect_error(context, read, StoreError, fault)
            if written is not True:
                _expect_error(context, written, StoreError, fault)


@case(
    "FAULT-12",
    depends_on=("LIFE-6", "FAULT-3"),
    needs=("unavailable",),
    limit=120,
    hint="a `ping` that checks the client object and not the server.",
)
def ping_of_a_backend_out_of_reach(context: Context) -> None:
    """`ping` raises while the backend is unreachable."""
    context.put("key")
    with faulty_store(context, "unavailable") as faulty:
        for fault in _whole(faulty):
            attempt(faulty.store, "ping")
            with faulty.during(fault):
                outcome = faulty.attempt("ping")
            _expect_error(context, outcome, StoreError, fault)


@case(
    "FAULT-12",
    depends_on=("LIFE-6", "FAULT-3", "FAULT-6"),
    needs=("stall",),
    limit=50,
    hint="a `ping` that checks the client object and not the server.",
)
def ping_without_an_answer(context: Context) -> None:
    """`ping` raises while the backend does not reply."""
    context.put("key")
    with faulty_store(context, "stall") as faulty:
        for fault in _whole(faulty):
            attempt(faulty.store, "ping")
            with faulty.during(fault):
                outcome = faulty.attempt("ping")
            _expect_error(context, outcome, StoreError, fault)
