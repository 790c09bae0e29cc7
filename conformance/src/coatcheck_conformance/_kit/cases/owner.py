"""OWNER-1 to OWNER-6, OWNER-8, OWNER-9 and OWNER-11 to OWNER-14: an owner's records."""

from __future__ import annotations

from typing import Final

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck.errors import UnsupportedOperation

from ..case import case
from ..clock import DAY
from ..context import Context
from ..handle import Handle
from ..kill import KEYS, killed_after
from .get import damaged

#: Seconds for which a process writes before it is killed.
_KILLED_AFTER: Final = (0.02, 0.035, 0.05)


def owned_by(context: Context, owner: str, store: Handle | None = None) -> list[tuple[str, Record]]:
    """Return the records of an owner, after the time in which the index must show them."""
    if context.capabilities.owner_lag > 0:
        context.advance(context.capabilities.owner_lag)
    return (store or context.store).owned_by(owner)


@case(
    "OWNER-1",
    depends_on=(
        "GET-5",
        "GET-7",
        "CAP-4",
    ),
    hint="some ways to write a record update the index, and others do not.",
)
def records_of_an_owner(context: Context) -> None:
    """`owned_by` yields each record of an owner as it was written, and no other."""
    records: dict[str, Record] = {}
    for number in range(5):
        key = f"key{number}"
        records[key] = context.put(key, f"data{number}".encode(), "ann", life=DAY + 60 * number)
    context.put("other", owner="bob")
    context.put("anonymous")
    found = owned_by(context, "ann")
    context.expect_keys(found, list(records))
    for key, record in found:
        context.expect_same(record, records[key], f"the record of {key!r}")


@case(
    "OWNER-1",
    depends_on=(
        "SET-3",
        "SET-5",
        "SET-7",
        "CAP-4",
    ),
    hint="some ways to write a record update the index, and others do not.",
)
def records_of_each_condition(context: Context) -> None:
    """A write sets the owner, whatever its condition is."""
    context.store.set("absent", context.record(owner="ann"), ABSENT)
    context.put("present")
    context.store.set("present", context.record(owner="ann"), PRESENT)
    context.put("unchanged", b"old")
    context.store.set("unchanged", context.record(owner="ann"), Unchanged(b"old"))
    context.expect_keys(owned_by(context, "ann"), ["absent", "present", "unchanged"])


@case(
    "OWNER-2",
    depends_on=(
        "GET-3",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="the record of an index entry is not checked again.",
)
def expired_records(context: Context) -> None:
    """`owned_by` skips expired records, and yields a live one beside them."""
    context.put("live", owner="ann")
    for number in range(3):
        context.put(f"key{number}", owner="ann", life=60)
    context.advance(61)
    context.expect_keys(owned_by(context, "ann"), ["live"])


@case(
    "OWNER-2",
    depends_on=(
        "DESTROY-1",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="`destroy` does not remove the index entry.",
)
def destroyed_records(context: Context) -> None:
    """`owned_by` skips destroyed records."""
    for key in ("one", "two"):
        context.put(key, owner="ann")
    context.store.destroy("one")
    context.expect_keys(owned_by(context, "ann"), ["two"])
    context.store.destroy("two")
    context.expect_keys(owned_by(context, "ann"), [])


@case(
    "OWNER-2",
    depends_on=(
        "DESTROY-1",
        "GET-7",
        "OWNER-1",
        "OWNER-5",
        "EXPIRY-1",
    ),
    hint="`destroy` leaves an index entry, and the key belongs to somebody else now.",
)
def keys_that_are_used_again(context: Context) -> None:
    """`owned_by` of the former owner skips a key that was destroyed and has a new owner."""
    context.put(owner="ann")
    context.store.destroy("key")
    context.put(owner="bob")
    context.expect_keys(owned_by(context, "ann"), [], "of the former owner")
    context.expect_keys(owned_by(context, "bob"), ["key"], "of the owner")


@case(
    "OWNER-2",
    depends_on=(
        "GET-3",
        "GET-7",
        "OWNER-1",
        "OWNER-5",
        "EXPIRY-1",
    ),
    hint="the index entry of an expired record leads to the new record under the same key.",
)
def expired_keys_that_are_used_again(context: Context) -> None:
    """`owned_by` of the former owner skips a key that expired and has a new owner."""
    context.expired(owner="ann")
    context.put(owner="bob")
    context.expect_keys(owned_by(context, "ann"), [], "of the former owner")


@case("OWNER-1", depends_on=("GET-5", "GET-7"), hint="only the first page of the index is read.")
def many_records(context: Context) -> None:
    """`owned_by` yields all 130 records of one owner, and none of another one."""
    keys = [f"key{number:03}" for number in range(130)]
    for key in keys:
        context.put(key, owner="ann")
    context.put("other", owner="bob")
    context.expect_keys(owned_by(context, "ann"), keys)
    context.expect_keys(owned_by(context, "bob"), ["other"])


@case(
    "OWNER-2",
    needs=("malformed",),
    depends_on=("OWNER-1", "GET-4"),
    hint="records are parsed without a check of what else may be there.",
)
def malformed_records(context: Context) -> None:
    """`owned_by` skips malformed records, and yields those beside them."""
    sound = context.put("sound", owner="owner")
    for _, way in damaged(context):
        found = dict(owned_by(context, "owner"))
        context.expect(sorted(found), ["sound"], way)
        context.expect_same(found["sound"], sound, way)


@case(
    "OWNER-3",
    depends_on=("OWNER-1", "TOUCH-1"),
    hint="the index is a list, to which each write appends.",
)
def each_record_once(context: Context) -> None:
    """`owned_by` yields a record once that was written again and touched."""
    keys = [f"key{number:02}" for number in range(30)]
    for key in keys:
        context.put(key, owner="ann")
    for key in keys[:10]:
        context.put(key, b"again", "ann")
        context.store.touch(key, context.clock.now + 2 * DAY, "ann")
    seen = [key for key, _ in owned_by(context, "ann")]
    doubled = sorted({key for key in seen if seen.count(key) > 1})
    context.expect_that(not doubled, "no key twice", doubled)


@case("OWNER-4", hint="the error of a missing index is raised.")
def owner_without_sessions(context: Context) -> None:
    """`owned_by` of an unknown owner yields nothing, in an empty store and beside others."""
    context.expect(owned_by(context, "nobody"), [])
    context.put()
    context.expect(owned_by(context, "nobody"), [], "beside a record without an owner")


@case(
    "OWNER-4",
    depends_on=("DESTROY-1", "OWNER-2"),
    hint="the error of a missing index is raised.",
)
def owner_whose_sessions_ended(context: Context) -> None:
    """`owned_by` yields nothing after the owner's only record was destroyed."""
    context.put(owner="ann")
    context.store.destroy("key")
    context.expect(owned_by(context, "ann"), [])


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="the new index entry is made, and the former one is not removed.",
)
def record_moves(context: Context) -> None:
    """A record that is written with another owner belongs to that owner alone."""
    context.put(owner="ann")
    context.put("stays", owner="ann")
    context.put(owner="bob")
    context.expect_keys(owned_by(context, "bob"), ["key"], "of the new owner")
    context.expect_keys(owned_by(context, "ann"), ["stays"], "of the former owner")


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="the owner is only read when a record is new.",
)
def record_becomes_owned(context: Context) -> None:
    """An anonymous record that gets an owner is found, and one that loses it is not."""
    context.put()
    context.put(owner="ann")
    context.expect_keys(owned_by(context, "ann"), ["key"], "after the login")
    context.put()
    context.expect_keys(owned_by(context, "ann"), [], "without an owner again")


@case(
    "OWNER-6",
    depends_on=(
        "TOUCH-1",
        "OWNER-1",
        "GET-3",
        "EXPIRY-4",
    ),
    hint="`touch` moves the expiry of the record, and not that of its index entry.",
)
def touched_records(context: Context) -> None:
    """A record that was touched, with its owner, is found after its first expiry."""
    context.put(owner="ann", life=60)
    context.expect(context.store.touch("key", context.clock.now + DAY, "ann"), True)
    context.advance(61)
    context.expect_keys(owned_by(context, "ann"), ["key"])


@case(
    "OWNER-6",
    depends_on=(
        "TOUCH-1",
        "OWNER-1",
        "GET-3",
        "EXPIRY-4",
    ),
    hint="an index with a short lifetime does not get the longer one of its newest record.",
)
def touched_records_of_several(context: Context) -> None:
    """A touched record is found after all others of its owner have expired."""
    context.put("long", owner="ann", life=120)
    context.put("short", owner="ann", life=60)
    context.expect(context.store.touch("long", context.clock.now + 40 * DAY, "ann"), True)
    context.advance(30 * DAY)
    keys = [key for key, _ in owned_by(context, "ann")]
    context.expect_that("long" in keys, "'long' among the keys", keys)


@case(
    "OWNER-8",
    needs=("url",),
    requires=("multi_process",),
    depends_on=("OWNER-1", "GET-7"),
    hint="the record is written first, and its index entry afterwards.",
)
def killed_in_the_middle(context: Context) -> None:
    """Each live record of a killed process is found by its owner."""
    url = context.need(context.harness.url(context.namespace), "the harness gives no URL")
    for seconds in _KILLED_AFTER:
        last = killed_after(url, context.harness.opener, context.clock.now, seconds)
        context.steps.note(f"a process wrote {last + 1} times, each with another owner: killed")
        store = context.second()
        for key in KEYS:
            _expect_found_by_owner(context, store, key)


def _expect_found_by_owner(context: Context, store: Handle, key: str) -> None:
    """Expect that `owned_by` yields a record; look again if another record replaced it.

    A request that the process sent before it was killed may reach the backend later.
    """
    found = store.get(key)
    while found is not None and found.owner is not None:
        keys = [owned for owned, _ in owned_by(context, found.owner, store)]
        if keys == [key]:
            return
        before, found = found, store.get(key)
        context.expect_that(found != before, f"{key!r} among those of {before.owner!r}", keys)


@case(
    "OWNER-9",
    depends_on=("OWNER-1",),
    hint="the index is updated later, and `owner_lag` is not declared.",
)
def writes_are_shown_in_time(context: Context) -> None:
    """Another handle's `owned_by` yields each record within the declared time."""
    other = context.second()
    for number in range(1, 6):
        context.put(f"key{number}", owner="ann")
        keys = [f"key{count}" for count in range(1, number + 1)]
        context.expect_keys(owned_by(context, "ann", other), keys, "by another handle")
        context.expect_keys(context.store.owned_by("ann"), keys, "by this handle")


@case(
    "OWNER-11",
    depends_on=("OWNER-1", "SET-4", "SET-8", "SET-12"),
    hint="after the condition failed, the change of the index is undone for the wrong owner.",
)
def refused_writes(context: Context) -> None:
    """After refused writes `owned_by` still finds the record, whatever owner they had."""
    context.put(owner="ann")
    for owner in ("ann", "bob", None):
        context.expect(context.store.set("key", context.record(owner=owner), ABSENT), False)
        context.expect(
            context.store.set("key", context.record(owner=owner), Unchanged(b"x")), False
        )
        context.expect_keys(owned_by(context, "ann"), ["key"], f"after writes for {owner!r}")


@case(
    "OWNER-12", hint="a generator raises only at its first item, or an empty listing is returned."
)
def undeclared_owned_by(context: Context) -> None:
    """`owned_by` raises `UnsupportedOperation` at the call if it is not declared."""
    with context.expect_raises(UnsupportedOperation):
        context.store.iterate("owned_by", "ann")


@case("OWNER-13", hint="a store without an index refuses an owner, or one with it refuses None.")
def records_with_and_without(context: Context) -> None:
    """Records with and without an owner are accepted, side by side and in turn."""
    for key, owner in (("owned", "ann"), ("anonymous", None), ("owned", None), ("owned", "bob")):
        context.expect(
            context.store.set(key, context.record(owner=owner)), True, f"owner {owner!r}"
        )
        context.expect_data(b"data", key, about=f"owner {owner!r}")


@case(
    "OWNER-14",
    foundation=False,
    depends_on=("CAP-4",),
    hint="the delay was declared without the index.",
)
def lag_without_owners(context: Context) -> None:
    """A store that declares `owner_lag` also declares `owners`."""
    context.expect_that(context.capabilities.owners, "`owners` beside `owner_lag`", "no `owners`")
