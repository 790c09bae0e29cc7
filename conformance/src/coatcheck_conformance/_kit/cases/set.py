"""SET-1 to SET-6 and SET-12 to SET-16: writing a record."""

from __future__ import annotations

from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, Record, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from .get import damaged

_UNCHANGED: Final = Unchanged(b"data")
_OTHER: Final = Unchanged(b"other")


@case(
    "SET-1",
    hint="the backend's own reply is returned, or a write of the same data counts as no success.",
)
def always(context: Context) -> None:
    """`set` returns True and stores the record, under a new key and over a live record."""
    for data in (b"one", b"two", b"two"):
        context.expect(context.store.set("key", context.record(data)), True)
        context.expect_data(data)


@case("SET-1", hint="an expired record that is still stored blocks a new one.")
def always_over_the_expired(context: Context) -> None:
    """`set` over an expired record returns True and stores the new one."""
    context.expired()
    context.expect(context.store.set("key", context.record(b"new")), True)
    context.expect_data(b"new")


@case(
    "SET-2",
    depends_on=(
        "GET-5",
        "GET-7",
        "SET-5",
        "SET-7",
        "EXPIRY-10",
    ),
    hint="an owner of None is left out of the update instead of being written.",
)
def the_whole_record(context: Context) -> None:
    """`set` replaces data, expiry and owner, on any condition, and an owner also by None."""
    for number, only_if in enumerate((ALWAYS, PRESENT, _UNCHANGED)):
        key = f"key{number}"
        context.put(key, owner="owner")
        record = context.record(b"new", life=2 * DAY)
        context.expect(context.store.set(key, record, only_if), True)
        context.expect_unchanged(record, key)


@case(
    "SET-2",
    depends_on=(
        "GET-5",
        "GET-7",
        "SET-13",
        "EXPIRY-10",
    ),
    hint="an expired record that is still stored is updated, and keeps its owner.",
)
def nothing_of_the_expired(context: Context) -> None:
    """A record without an owner does not inherit the owner of an expired one."""
    for number, only_if in enumerate((ALWAYS, ABSENT)):
        key = f"key{number}"
        context.expired(key, owner="owner")
        record = context.record(b"new")
        context.expect(context.store.set(key, record, only_if), True)
        context.expect_unchanged(record, key)


@case(
    "SET-3",
    depends_on=("DESTROY-1",),
    hint="the reply of the backend's conditional write is misread.",
)
def absent_where_nothing_is(context: Context) -> None:
    """`set` with `ABSENT` under a key that was never used returns True and stores the record."""
    context.put("other")
    context.expect(context.store.set("key", context.record(), ABSENT), True)
    context.expect_data(b"data")


@case("SET-3", hint="the tombstone of a destroyed record refuses the write.")
def absent_where_something_was(context: Context) -> None:
    """`set` with `ABSENT` after a `destroy` returns True and stores the record."""
    context.put()
    context.store.destroy("key")
    if context.store.get("key") is not None:
        return  # DESTROY-1 reports it; it is no prerequisite, because its cases depend on SET-3
    context.expect(context.store.set("key", context.record(b"new"), ABSENT), True)
    context.expect_data(b"new")


@case(
    "SET-4",
    hint="the record is written anyway, or checked before another write and written after it.",
)
def absent_where_something_is(context: Context) -> None:
    """`set` with `ABSENT` over a live record returns False, each time."""
    context.put()
    for data in (b"new", b"data"):
        context.expect(context.store.set("key", context.record(data), ABSENT), False)


@case("SET-4", hint="a handle trusts its earlier read.")
def absent_where_another_handle_wrote(context: Context) -> None:
    """`set` with `ABSENT` returns False if another handle has written the record meanwhile."""
    context.store.get("key")
    context.put(store=context.second())
    context.expect(context.store.set("key", context.record(b"new"), ABSENT), False)


@case("SET-5", hint="a write of the same data matches no row.")
def present_where_something_is(context: Context) -> None:
    """`set` with `PRESENT` over a live record returns True, also for the same record again."""
    context.put()
    record = context.record(b"new")
    for _ in range(2):
        context.expect(context.store.set("key", record, PRESENT), True)
        context.expect_data(b"new")


@case("SET-6", depends_on=("DESTROY-1",), hint="it is an upsert.")
def present_where_nothing_is(context: Context) -> None:
    """`set` with `PRESENT` under an unused key returns False and creates nothing."""
    context.put("other")
    context.expect(context.store.set("key", context.record(), PRESENT), False)
    context.expect_absent()


@case(
    "SET-12",
    depends_on=("GET-5", "GET-7", "SET-4", "SET-8"),
    hint="expiry or owner are written in a separate step, even if the data were refused.",
)
def refused_writes(context: Context) -> None:
    """A `set` that returns False changes neither data nor expiry nor owner."""
    record = context.put(owner="owner")
    for only_if in (ABSENT, _OTHER):
        for owner in ("other", None):
            for life in (60, 2 * DAY):
                refused = context.record(b"new", owner, life)
                context.expect(context.store.set("key", refused, only_if), False)
                context.expect_unchanged(record)
    context.advance(61)
    context.expect_unchanged(record, about="after the expiry of what was refused")


@case(
    "SET-12",
    depends_on=("GET-3", "SET-4", "SET-8"),
    hint="expiry or owner are written in a separate step, even if the data were refused.",
)
def refused_writes_keep_nothing_alive(context: Context) -> None:
    """A `set` that returns False does not lengthen the life of the record."""
    conditions: tuple[Condition, ...] = (ABSENT, _OTHER)
    for number, only_if in enumerate(conditions):
        context.put(f"key{number}", life=60)
        context.expect(context.store.set(f"key{number}", context.record(b"new"), only_if), False)
    context.advance(61)
    for number in range(2):
        context.expect_absent(f"key{number}")


@case(
    "SET-13",
    depends_on=("GET-3", "SET-3"),
    hint="the backend's own condition is used, for which an expired record still exists.",
)
def absent_over_the_expired(context: Context) -> None:
    """`set` with `ABSENT` over an expired record returns True and stores the new one."""
    context.expired()
    context.expect(context.store.set("key", context.record(b"new"), ABSENT), True)
    context.expect_data(b"new")


@case(
    "SET-13",
    depends_on=("GET-3", "SET-6"),
    hint="the backend's own condition is used, for which an expired record still exists.",
)
def present_over_the_expired(context: Context) -> None:
    """`set` with `PRESENT` over an expired record returns False and revives nothing."""
    context.expired()
    context.expect(context.store.set("key", context.record(b"new"), PRESENT), False)
    context.expect_absent()


@case(
    "SET-13",
    depends_on=("GET-3", "SET-9"),
    hint="the backend's own condition is used, for which an expired record still exists.",
)
def unchanged_over_the_expired(context: Context) -> None:
    """`set` with `Unchanged` and the bytes of an expired record returns False."""
    old = context.expired()
    context.expect(context.store.set("key", context.record(b"new"), Unchanged(old.data)), False)
    context.expect_absent()


def _over(context: Context) -> list[float]:
    """Return expiries that are not later than now."""
    return [context.clock.now, context.clock.now - 60, context.clock.now - 400 * DAY, 0.0]


@case(
    "SET-14",
    depends_on=("GET-3", "EXPIRY-1", "SET-5", "SET-7"),
    hint="a lifetime of 0 or less is an error to the backend, or means forever.",
)
def past_expiry_over_a_live_record(context: Context) -> None:
    """`set` with a past expiry returns True and ends the record, if the condition holds."""
    for only_if in (ALWAYS, PRESENT, _UNCHANGED):
        for expires_at in _over(context):
            context.put(owner="owner")
            over = Record(b"over", expires_at, "owner")
            context.expect(context.store.set("key", over, only_if), True)
            context.expect_absent()


@case(
    "SET-14",
    depends_on=("GET-3", "EXPIRY-1", "SET-3"),
    hint="a lifetime of 0 or less is an error to the backend, or means forever.",
)
def past_expiry_where_nothing_is(context: Context) -> None:
    """`set` with a past expiry under an unused key returns True and stores nothing."""
    for only_if in (ALWAYS, ABSENT):
        for number, expires_at in enumerate(_over(context)):
            key = f"{only_if.name}{number}"
            context.expect(context.store.set(key, Record(b"over", expires_at), only_if), True)
            context.expect_absent(key)


@case(
    "SET-15",
    depends_on=("GET-5", "GET-7", "SET-4", "SET-8", "SET-12"),
    hint="a past expiry is turned into an unconditional removal.",
)
def past_expiry_over_what_it_is_not_for(context: Context) -> None:
    """`set` with a past expiry returns False and ends nothing, if the condition fails."""
    record = context.put(owner="owner")
    for only_if in (ABSENT, _OTHER):
        for expires_at in _over(context):
            over = Record(b"over", expires_at, "other")
            context.expect(context.store.set("key", over, only_if), False)
            context.expect_unchanged(record)


@case(
    "SET-15",
    depends_on=("SET-6", "SET-9"),
    hint="a past expiry is turned into a removal, which always succeeds.",
)
def past_expiry_where_nothing_is_present(context: Context) -> None:
    """`set` with a past expiry, and `PRESENT` or `Unchanged`, returns False for an unused key."""
    conditions: tuple[Condition, ...] = (PRESENT, _UNCHANGED)
    for only_if in conditions:
        for expires_at in _over(context):
            over = Record(b"data", expires_at)
            context.expect(context.store.set("key", over, only_if), False)
            context.expect_absent()


@case(
    "SET-16",
    needs=("malformed",),
    hint="the old record is read first, and the parser's exception is raised.",
)
def always_over_the_malformed(context: Context) -> None:
    """`set` over a malformed record returns True and stores the new one, also the second time."""
    for key, way in damaged(context):
        for data in (b"new", b"newer"):
            context.expect(context.store.set(key, context.record(data)), True, way)
            context.expect_data(data, key, about=way)
