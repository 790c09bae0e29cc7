"""FAULT-9 and FAULT-10: writes and listings that a fault interrupts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from coatcheck import Record

from ..case import case
from ..context import Context
from ..faults import FaultyStore, attempt, expect_recovered, faulty_store
from ..handle import Handle
from ..harness import Fault
from ..kill import KEYS, killed_after, record_number

#: Records of a listing that is interrupted: more than one page of any backend's.
_MANY: Final = 240
#: Seconds after which a process is killed.
_MOMENTS: Final = (0.02, 0.071, 0.153)


# FAULT-9


@case(
    "FAULT-9",
    depends_on=("GET-7",),
    needs=("unavailable",),
    limit=120,
    hint="data, expiry and owner that are written one after the other.",
)
def failed_set_is_whole_or_nothing(context: Context) -> None:
    """After a failed `set` the record is completely the old one, or completely the new one."""
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
    """Return data that need more than one piece of a file or a packet, if the limit allows it."""
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
    """After a cancelled `set` the record is completely the old one or the new one."""
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
    """A process that is killed while it writes leaves complete records."""
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
    """`all` raises if a fault interrupts it, unless it has yielded every record."""
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
    """`owned_by` raises if a fault interrupts it, unless it has yielded every record."""
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
                expect_recovered(context, faulty.store, fault)
                _expect_no_quiet_end(context, faulty, fault, begin(faulty.store))


def _expect_no_quiet_end(context: Context, faulty: FaultyStore, fault: Fault, items: Any) -> None:
    seen = {next(items)[0]}
    with faulty.during(fault):
        try:
            for key, _ in items:
                seen.add(key)
        except Exception:  # FAULT-3 says which one
            return
    if len(seen) != _MANY:
        context.fail(f"an exception, or {_MANY} records", f"an end after {len(seen)} records")
