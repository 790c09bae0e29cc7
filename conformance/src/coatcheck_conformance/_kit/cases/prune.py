"""PRUNE: removing expired records."""

from __future__ import annotations

from typing import Final

from coatcheck.errors import CoatcheckError, UnsupportedOperation

from ..case import case
from ..clock import DAY
from ..context import Context
from ..handle import Handle

#: Enough records to notice that a store removes them in batches.
_MANY: Final = 300
#: The most records that one `set` may remove.
_AT_MOST: Final = 200
#: Seconds for which each reading of the clock is delayed, so that other calls come first.
_PAUSE: Final = 0.0005


def _expire(context: Context, count: int, store: Handle | None = None, name: str = "old") -> None:
    """Leave expired records, without reading them afterwards."""
    target = store or context.store
    for number in range(count):
        target.perform("set", f"{name}{number}", context.record(life=60))
    context.steps.note(f"{target.name}.set of {count} records that live for 60 seconds")
    context.advance(61)


@case("PRUNE-1", depends_on=("GET-3",), hint="examined records are counted.")
def removes_and_counts(context: Context) -> None:
    """`prune` returns the number of expired records, and 0 the second time."""
    context.expect(context.store.prune(), 0, "in an empty store")
    for number in range(3):
        context.put(f"live{number}", owner="owner")
    _expire(context, 5)
    context.expect(context.store.prune(), 5)
    context.expect(context.store.prune(), 0, "the second time")


@case("PRUNE-2", depends_on=("GET-3",), hint="the comparison is the wrong way round, or rounded.")
def live_records_stay(context: Context) -> None:
    """`prune` keeps live records, also one that expires in a second or two."""
    records = {key: context.put(key, owner="owner") for key in ("one", "two", "three")}
    last = max(1.0, context.capabilities.expiry_granularity) + 1
    records["soon"] = context.put("soon", life=61 + last)
    _expire(context, 3)
    context.store.prune()
    for key, record in records.items():
        context.expect_data(record.data, key, about=f"{key!r} after `prune`")


@case(
    "PRUNE-2", depends_on=("GET-3",), hint="a limit is filled up with the records that expire next."
)
def many_live_records_stay(context: Context) -> None:
    """`prune` with a limit removes none of 130 live records."""
    keys = [f"key{number:03}" for number in range(130)]
    for number, key in enumerate(keys):
        context.put(key, life=3600 + 60 * number)
    for limit in (1, 10, 1000):
        context.expect(context.store.prune(limit), 0)
    for key in keys:
        context.expect_data(b"data", key, about=f"{key!r} after `prune`")


@case(
    "PRUNE-2",
    depends_on=("GET-3", "TOUCH-1", "EXPIRY-10"),
    hint="an index of expiries still has the first one.",
)
def longer_lives_stay(context: Context) -> None:
    """`prune` keeps records that were touched or rewritten, after their first expiry."""
    for key in ("touched", "written"):
        context.put(key, life=60)
    context.expect(context.store.touch("touched", context.clock.now + DAY), True)
    context.put("written")
    context.advance(61)
    context.store.prune()
    for key in ("touched", "written"):
        context.expect_data(b"data", key, about=f"{key!r} after `prune`")


@case(
    "PRUNE-2",
    depends_on=("GET-3", "LOOP-1", "LOOP-2"),
    hint="a record that was found expired is removed without a second check.",
)
def records_that_are_written_meanwhile(context: Context) -> None:
    """Records that are written under expired keys while `prune` runs stay live."""
    keys = [f"old{number}" for number in range(10)]
    for _ in range(6):
        _expire(context, len(keys))
        writes = [context.store.later("set", key, context.record(b"new")) for key in keys]
        context.clock.pause = _PAUSE
        context.together([context.store.later("prune"), context.store.later("prune"), *writes])
        context.clock.pause = 0.0
        for key in keys:
            context.expect_data(b"new", key, about=f"{key!r} after `set` and `prune`")


@case(
    "PRUNE-3",
    depends_on=("PRUNE-1",),
    hint="the limit is ignored, or 0 is taken for no limit.",
)
def limit_bounds_what_is_removed(context: Context) -> None:
    """`prune` with limit 0 removes nothing, and with limit 3 at most 3 records."""
    _expire(context, 10)
    context.expect(context.store.prune(0), 0, "with a limit of 0")
    removed = context.store.prune(3)
    context.expect_that(0 <= removed <= 3, "3 at most", removed)
    context.expect(context.store.prune(), 10 - removed, "what was left")


@case(
    "PRUNE-3",
    depends_on=("PRUNE-1",),
    hint="the limit is ignored, or it limits the count and not the removals.",
)
def limits_add_up(context: Context) -> None:
    """None of several `prune` calls removes more records than its limit."""
    _expire(context, 12)
    counts = [context.store.prune(2) for _ in range(4)]
    context.expect_that(max(counts) <= 2, "2 at most for each", counts)
    context.expect(context.store.prune(), 12 - sum(counts), "what was left")


@case("PRUNE-4", depends_on=("PRUNE-1",), hint="without a limit only one batch is removed.")
def removes_everything(context: Context) -> None:
    """`prune` without a limit removes every expired record, however many there are."""
    context.put("live")
    _expire(context, _MANY)
    context.store.prune()
    context.expect(context.store.prune(), 0, "the second time")


@case(
    "PRUNE-5",
    depends_on=("PRUNE-1", "PRUNE-3"),
    hint="each pass begins at the same place, and finds live records there.",
)
def repeated_calls_reach_everything(context: Context) -> None:
    """Repeated `prune` calls with a small limit remove all expired records in the end."""
    for number in range(20):
        context.put(f"a{number}")
    for number in range(3):
        context.put(f"m{number}", life=60)
    for number in range(20):
        context.put(f"z{number}")
    context.advance(61)
    removed = 0
    for _ in range(60):
        removed += context.store.prune(4)
        if removed == 3:
            return
    context.expect(removed, 3, "removed by 60 calls with a limit of 4")


@case(
    "PRUNE-6",
    depends_on=("PRUNE-1", "LOOP-1", "LOOP-2"),
    hint="found records are counted, and not removed ones.",
)
def several_at_once(context: Context) -> None:
    """Parallel `prune` calls by two handles raise nothing, and count each record once."""
    other = context.second()
    for number in range(5):
        _expire(context, 20, name=f"pass{number}of")
        context.clock.pause = _PAUSE
        calls = [store.later("prune") for store in (context.store, other, context.store, other)]
        counts = context.together(calls)
        context.clock.pause = 0.0
        errors = [count for count in counts if isinstance(count, CoatcheckError)]
        context.expect_that(not errors, "no exception", errors)
        context.expect(sum(counts), 20, "counted by all calls")


@case(
    "PRUNE-7",
    depends_on=("PRUNE-1", "PRUNE-4"),
    hint="only `prune` removes expired records, and nobody may call it.",
)
def writes_remove_what_has_expired(context: Context) -> None:
    """Many writes remove all records that had expired, and leave none to `prune`."""
    _expire(context, 20)
    record = context.record()
    for _ in range(400):
        context.store.perform("set", "key", record)
    context.steps.note("store.set('key', ...) 400 times")
    context.expect(context.store.prune(), 0)


@case(
    "PRUNE-7",
    depends_on=("PRUNE-1", "PRUNE-4"),
    hint="the first write removes all expired records.",
)
def no_write_pays_for_all(context: Context) -> None:
    """One write leaves most of many expired records to later writes."""
    _expire(context, _MANY)
    context.put()
    left = context.store.prune()
    context.expect_that(left >= _MANY - _AT_MOST, f"{_MANY - _AT_MOST} of {_MANY} left", left)


@case("PRUNE-8", hint="`prune` does nothing, and returns 0.")
def undeclared_prune(context: Context) -> None:
    """`prune` raises, with and without a limit, if the backend removes records itself."""
    for limit in (None, 5):
        with context.expect_raises(UnsupportedOperation):
            context.store.prune(limit)


@case(
    "PRUNE-9",
    depends_on=("PRUNE-1",),
    hint="every key that begins with the namespace's name is taken for a record of it.",
)
def other_namespaces_are_left(context: Context) -> None:
    """`prune` keeps expired records of other namespaces, and data that belong to no store."""
    elsewhere = context.elsewhere()
    is_untouched = context.harness.foreign(context.namespace)
    for number in range(4):
        context.put(f"there{number}", life=60, store=elsewhere)
    _expire(context, 2)
    context.expect(context.store.prune(), 2)
    context.expect(elsewhere.prune(), 4, "left elsewhere")
    if is_untouched is not None:
        context.expect(is_untouched(), True, "what belongs to no store is there")
