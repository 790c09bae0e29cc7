"""FAULT: when the system fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from coatcheck import ABSENT, ALWAYS, PRESENT, AsyncStore, Record, Unchanged
from coatcheck.errors import CoatcheckError, StoreError, StoreTimeout, StoreUnavailable

from ..case import case
from ..context import Context
from ..faults import FaultyStore, attempt, each_fault, faulty_store, through_proxy
from ..handle import Handle
from ..harness import Fault
from ..kill import KEYS, killed_after, record_number

#: Seconds that a call may take by the contract, and some for a busy machine.
_LONGEST: Final = 10.0 + 1.5
#: Seconds that a client library may need to notice that the server is back.
_RECOVERY: Final = 8.0
#: Records of a listing that is interrupted: more than one page of any backend's.
_MANY: Final = 240
#: Seconds after which a process is killed.
_MOMENTS: Final = (0.02, 0.071, 0.153)


# FAULT-1


@case(
    "FAULT-1",
    needs=("unavailable",),
    limit=120,
    hint="an `except` around the read that returns None, or an empty list.",
)
def failed_reads_are_no_answers(context: Context) -> None:
    """While the backend is out of reach no read returns anything but what is stored."""
    record = context.put("key", owner="ann")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            if fault.reads:
                attempt(faulty.store, "get", "key")  # a connection, and whatever it makes ready
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
    """A reply that arrives byte by byte is read to its end, or raises."""
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
    """While the backend is out of reach no write returns, unless it has been done."""
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
    """Tell whether a write returned; nothing but True can be right, then."""
    if isinstance(outcome, Exception):
        return False
    context.expect(outcome, True, about)
    return True


# FAULT-3


@case(
    "FAULT-3",
    depends_on=("GET-2", "GET-3", "SET-6", "SET-9", "DESTROY-2", "TOUCH-2", "TOUCH-3"),
    hint="a KeyError, or a result that is read without looking whether there is one.",
)
def operations_on_any_state(context: Context) -> None:
    """Whatever is under a key, the operations of its life return or raise a StoreError."""
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
                _expect_store_error_at_most(context, attempt(context.store, *call))


@case(
    "FAULT-3",
    needs=("unavailable",),
    limit=450,
    hint="an operation whose call of the client library is outside of the `try`.",
)
def only_store_errors_while_unavailable(context: Context) -> None:
    """While the backend is out of reach each operation returns or raises a StoreError."""
    context.put("key", owner="ann")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            attempt(faulty.store, "get", "key")
            with faulty.during(fault):
                for call in _every_operation(context):
                    _expect_store_error_at_most(context, faulty.attempt(*call), fault.name)


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


def _expect_store_error_at_most(context: Context, outcome: object, about: str = "") -> None:
    if isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
        lead = f"while {about}: " if about else ""
        context.fail(f"{lead}a result or a StoreError", outcome)


# FAULT-4


@case(
    "FAULT-4",
    depends_on=("FAULT-1", "FAULT-2", "FAULT-3"),
    needs=("unavailable",),
    limit=120,
    hint="`raise StoreUnavailable(...)` without `from error`, or `from None`.",
)
def cause_of_a_store_error(context: Context) -> None:
    """The StoreError of a read and of a write has an exception of the client as its cause."""
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
    """Return the faults that hit everything: a full disk refuses nobody."""
    return [fault for fault in faulty.faults if fault.reads and fault.writes]


def _expect_error(context: Context, outcome: object, error: type[Exception], fault: Fault) -> None:
    if not isinstance(outcome, error):
        context.fail(f"while {fault.name}: {error.__name__}", outcome)


@case(
    "FAULT-6",
    depends_on=("FAULT-3",),
    needs=("stall",),
    limit=50,
    hint="a client library that waits for ever unless it is told a time limit.",
)
def no_answer_is_a_timeout(context: Context) -> None:
    """A read and a write that get no answer raise StoreTimeout within ten seconds."""
    for key in ("set", "ended", "touched"):
        context.put(key)
    for faulty, fault in each_fault(context, "stall"):
        attempt(faulty.store, "get", "set")
        with faulty.during(fault):
            _expect_timeouts(context, faulty, fault)


def _expect_timeouts(context: Context, faulty: FaultyStore, fault: Fault) -> None:
    # At the same time, so that the case takes as long as one of them.
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
    hint="an exception of the parser, which is none of the client library's documented ones.",
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
    hint="a `ping` that looks at the client object and not at the server.",
)
def ping_of_a_backend_out_of_reach(context: Context) -> None:
    """While the backend does not answer, `ping` raises."""
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
    hint="a `ping` that looks at the client object and not at the server.",
)
def ping_without_an_answer(context: Context) -> None:
    """While the backend keeps everybody waiting, `ping` raises."""
    context.put("key")
    with faulty_store(context, "stall") as faulty:
        for fault in _whole(faulty):
            attempt(faulty.store, "ping")
            with faulty.during(fault):
                outcome = faulty.attempt("ping")
            _expect_error(context, outcome, StoreError, fault)


# FAULT-7


@case(
    "FAULT-7",
    needs=("unavailable",),
    limit=120,
    hint="a connection that failed and is kept, or one that is made in the constructor alone.",
)
def store_works_after_it_was_unavailable(context: Context) -> None:
    """After the backend was out of reach the same store object reads and writes."""
    _expect_recovery(context, "unavailable")


@case(
    "FAULT-7",
    depends_on=("FAULT-11",),
    needs=("garbage",),
    limit=120,
    hint="a connection that is used again though what it says made no sense.",
)
def store_works_after_garbage(context: Context) -> None:
    """After replies that were nonsense the same store object reads and writes."""
    _expect_recovery(context, "garbage")


@case(
    "FAULT-7",
    depends_on=("FAULT-6",),
    needs=("stall",),
    limit=120,
    hint="a connection that is used again: the late reply is taken for that of the next call.",
)
def store_works_after_a_stall(context: Context) -> None:
    """After calls that timed out the same store object reads and writes, and mixes up nothing."""
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
    _recovered(context, store, fault)
    for name in ("two", "one", "two"):
        context.expect_data(f"{name} of {number}".encode(), f"{name}{number}", store)
    context.put(f"new{number}", b"afterwards", store=store)
    context.expect_data(b"afterwards", f"new{number}", store)


def _recovered(context: Context, store: Handle, fault: Fault) -> None:
    """Wait until a read succeeds: pools notice dead connections one by one, monitors in time."""
    deadline = time.monotonic() + _RECOVERY
    while isinstance(outcome := attempt(store, "get", "nothing"), Exception):
        if time.monotonic() > deadline:
            context.fail(f"a store that works again after this: {fault.name}", outcome)
        time.sleep(0.05)  # nothing tells when the backend is back


# FAULT-8


@case(
    "FAULT-8",
    apis=("async",),
    depends_on=("LOOP-2",),
    hint="a connection that a cancelled call leaves behind with its reply unread.",
)
def cancelled_at_any_moment(context: Context) -> None:
    """Calls that are cancelled after more and more steps end so, or with their result."""
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
    """A call that is cancelled while it waits for its answer ends so, and the next one is right."""
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


# FAULT-9


@case(
    "FAULT-9",
    depends_on=("GET-7",),
    needs=("unavailable",),
    limit=120,
    hint="data, expiry and owner that are written one after the other.",
)
def failed_set_is_whole_or_nothing(context: Context) -> None:
    """After a `set` that failed the record is the old one or the new one as a whole."""
    with faulty_store(context, "unavailable", "garbage") as faulty:
        for number, fault in enumerate(faulty.faults):
            if not fault.writes:
                continue
            key = f"key{number}"
            old = context.put(key, _filled(context, b"old"), "ann", life=90_000)
            new = context.record(_filled(context, b"new!"), "ben", life=180_000)
            attempt(faulty.store, "get", key)
            with faulty.during(fault):
                faulty.attempt("set", key, new)
            _expect_one_of(context, key, (old, new), fault.name)


def _filled(context: Context, pattern: bytes) -> bytes:
    """Return data that take more than one piece of a file or a packet, where they may."""
    limit = context.capabilities.max_data_bytes or 36_000
    return (pattern * 9000)[:limit]


def _expect_one_of(context: Context, key: str, records: Sequence[Record], about: str) -> None:
    found = context.second().get(key)
    for record in records:
        if found is not None and _is_same(context, found, record):
            return
    shown = " or ".join(context.steps.show(record) for record in records)
    context.fail(f"after this: {about}: {shown}", found)


def _is_same(context: Context, seen: Record, record: Record) -> bool:
    return (
        seen.data == record.data
        and seen.owner == context.kept_owner(record.owner)
        and context.is_kept(seen.expires_at, record.expires_at)
    )


@case(
    "FAULT-9",
    apis=("async",),
    depends_on=("GET-7", "FAULT-8"),
    hint="a write in several steps, between which a task can be cancelled.",
)
def cancelled_set_is_whole_or_nothing(context: Context) -> None:
    """After a `set` that was cancelled the record is the old one or the new one as a whole."""
    for steps in (0, 1, 2, 3, 4, 6, 8, 11, 15, 20):
        key = f"key{steps}"
        old = context.put(key, _filled(context, b"old"), "ann", life=90_000)
        new = context.record(_filled(context, b"new!"), "ben", life=180_000)
        context.loop.run(_set_cancelled(context.store.native, key, new, steps))
        _expect_one_of(context, key, (old, new), f"cancelled after {steps} steps")


async def _set_cancelled(store: Any, key: str, record: Record, steps: int) -> None:
    task = asyncio.ensure_future(store.set(key, record))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@case(
    "FAULT-9",
    apis=("sync",),
    depends_on=("GET-7",),
    needs=("url",),
    requires=("multi_process",),
    limit=120,
    hint="a record that is overwritten in place, and not replaced.",
)
def killed_writer_leaves_whole_records(context: Context) -> None:
    """A process that is killed while it writes leaves records that are whole."""
    url = context.need(context.harness.url(context.namespace), "there is no URL")
    for seconds in _MOMENTS:
        for number, key in enumerate(KEYS):
            context.store.set(key, record_number(number, context.clock.now))
        last = killed_after(url, context.harness.opener, context.clock.now, seconds)
        context.expect_that(last >= 0, "a process that writes", "one that has written nothing")
        context.steps.note(f"a process is killed that had made {last + 1} writes")
        for key in KEYS:
            _expect_whole(context, key)


def _expect_whole(context: Context, key: str) -> None:
    found = context.second().get(key)
    if found is None or not found.data[:8].isdigit():
        context.fail("a record as it was written", found)
    whole = record_number(int(found.data[:8]), context.clock.now)
    context.expect_same(found, whole, "a record as it was written")


# FAULT-10


@case(
    "FAULT-10",
    depends_on=("ENUM-1", "FAULT-7"),
    needs=("unavailable",),
    requires=("enumerable",),
    limit=120,
    hint="an `except` around the loop over pages, which ends it.",
)
def interrupted_listing_raises(context: Context) -> None:
    """An iteration of `all` that the backend breaks off raises, or has been complete."""
    _expect_complete_or_raised(context, None, lambda store: store.iterate("all"))


@case(
    "FAULT-10",
    depends_on=("OWNER-1", "FAULT-7"),
    needs=("unavailable",),
    requires=("owners",),
    limit=120,
    hint="an `except` around the loop over pages, which ends it.",
)
def interrupted_owned_by_raises(context: Context) -> None:
    """An iteration of `owned_by` that the backend breaks off raises, or has been complete."""
    _expect_complete_or_raised(context, "ann", lambda store: store.iterate("owned_by", "ann"))


def _expect_complete_or_raised(
    context: Context, owner: str | None, begin: Callable[[Handle], Any]
) -> None:
    record = context.record(b"x" * 500, owner)
    for number in range(_MANY):
        context.store.perform("set", f"key{number}", record)
    context.advance(context.capabilities.owner_lag)
    context.steps.note(f"{_MANY} records are set")
    with faulty_store(context, "unavailable") as faulty:
        for fault in faulty.faults:
            if fault.reads:
                _recovered(context, faulty.store, fault)
                _expect_no_quiet_end(context, faulty, fault, begin(faulty.store))


def _expect_no_quiet_end(context: Context, faulty: FaultyStore, fault: Fault, items: Any) -> None:
    seen = {next(items)[0]}
    with faulty.during(fault):
        try:
            for key, _ in items:
                seen.add(key)
        except Exception:  # which one is FAULT-3's
            return
    if len(seen) != _MANY:
        context.fail(f"an exception, or {_MANY} records", f"an end after {len(seen)} records")


# FAULT-13, FAULT-14: calls that are repeated because a reply was lost


@dataclass(frozen=True, slots=True)
class _Write:
    """A write whose condition holds.

    :ivar name: what is said about it.
    :ivar prepare: makes its condition hold.
    :ivar call: the operation and its arguments.
    :ivar again: makes its condition hold no more, by what another caller writes over it.
    """

    name: str
    prepare: Callable[[], object]
    call: tuple[Any, ...]
    again: tuple[Any, ...]


def _conditional_writes(context: Context) -> Sequence[_Write]:
    new, other = context.record(b"new"), context.record(b"other")

    def ready() -> None:
        context.put(data=b"old")

    def nothing() -> None:
        context.store.destroy("key")

    over = ("set", "key", other)
    return (
        _Write("set with ABSENT", nothing, ("set", "key", new, ABSENT), over),
        _Write("set with Unchanged", ready, ("set", "key", new, Unchanged(b"old")), over),
        _Write("destroy with Unchanged", ready, ("destroy", "key", Unchanged(b"old")), ()),
        _Write("destroy", ready, ("destroy", "key"), ()),
    )


@case(
    "FAULT-13",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a client library that repeats commands, and a condition that no longer holds because "
    "of the first attempt. Give each write a token that the repetition finds.",
)
def false_after_a_lost_reply(context: Context) -> None:
    """A write that was done, and whose reply was lost, returns True or raises."""
    for write in _conditional_writes(context):
        outcome = _met_by_a_loss(context, write, "reply")
        _expect_not(context, outcome, False, f"the reply to {write.name} was lost")


@case(
    "FAULT-13",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a repetition that knows its own write only as long as nobody writes over it.",
)
def false_after_a_lost_reply_and_another_write(context: Context) -> None:
    """A write that was done, and overwritten before it was repeated, returns True or raises."""
    for write in _conditional_writes(context):
        if write.again:
            outcome = _met_by_a_loss(context, write, "reply", write.again)
            _expect_not(
                context, outcome, False, f"the reply to {write.name} was lost, and another followed"
            )


@case(
    "FAULT-14",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a repetition that takes equal data, or a missing record, for its own doing.",
)
def true_for_what_another_did(context: Context) -> None:
    """A write that was lost on its way, while another caller did the same, is False or raises."""
    for write in _conditional_writes(context):
        outcome = _met_by_a_loss(context, write, "request", write.call)
        _expect_not(
            context, outcome, True, f"{write.name} was lost on its way, and another did the same"
        )


def _met_by_a_loss(
    context: Context,
    write: _Write,
    what: Literal["request", "reply"],
    meanwhile: tuple[Any, ...] = (),
) -> Any:
    """Return what a write returns if its request or the reply is lost, once.

    :param meanwhile: what another caller does before the client learns of the loss.
    """
    with through_proxy(context) as (store, proxy):
        proxy = context.need(proxy, "there is no proxy")
        # Whatever is made ready at the first write: connections, scripts, indexes.
        for number in range(2):
            attempt(store, "set", f"other{number}", context.record(b"old"), ABSENT)
            attempt(store, "set", f"other{number}", context.record(b"new"), Unchanged(b"old"))
        for condition in (Unchanged(b"new"), ALWAYS):
            attempt(store, "destroy", "other0", condition)
        write.prepare()
        other = context.open("another", api="sync")  # it is called in another thread

        def act() -> None:
            if meanwhile:
                attempt(other, *meanwhile)

        context.steps.note(f"the next {what} is lost, once")
        with proxy.losing(what, act):
            return attempt(store, *write.call)


def _expect_not(context: Context, outcome: object, wrong: bool, about: str) -> None:
    if isinstance(outcome, Exception):
        _expect_store_error_at_most(context, outcome)
    elif outcome is wrong:
        context.fail(f"after this: {about}: {not wrong} or StoreError", outcome)
