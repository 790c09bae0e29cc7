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


@case(
    "OWNER-1",
    depends_on=(
        "GET-5",
        "GET-7",
        "CAP-4",
    ),
    hint="the index is written by some of the ways to write a record, and not by others.",
)
def records_of_an_owner(context: Context) -> None:
    """Each record of an owner is yielded as it was written, and no other."""
    records: dict[str, Record] = {}
    for number in range(5):
        key = f"key{number}"
        records[key] = context.put(key, f"data{number}".encode(), "ann", life=DAY + 60 * number)
    context.put("other", owner="bob")
    context.put("anonymous")
    found = context.owned_by("ann")
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
    hint="the index is written by some of the ways to write a record, and not by others.",
)
def records_of_each_condition(context: Context) -> None:
    """A record has its owner whatever the condition of the write was."""
    context.store.set("absent", context.record(owner="ann"), ABSENT)
    context.put("present")
    context.store.set("present", context.record(owner="ann"), PRESENT)
    context.put("unchanged", b"old")
    context.store.set("unchanged", context.record(owner="ann"), Unchanged(b"old"))
    context.expect_keys(context.owned_by("ann"), ["absent", "present", "unchanged"])


@case(
    "OWNER-2",
    depends_on=(
        "GET-3",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="what the index leads to is not looked at again.",
)
def expired_records(context: Context) -> None:
    """Expired records are not yielded, and a live one beside them is."""
    context.put("live", owner="ann")
    for number in range(3):
        context.put(f"key{number}", owner="ann", life=60)
    context.advance(61)
    context.expect_keys(context.owned_by("ann"), ["live"])


@case(
    "OWNER-2",
    depends_on=(
        "DESTROY-1",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="`destroy` does not take the record off the index.",
)
def destroyed_records(context: Context) -> None:
    """Destroyed records are not yielded."""
    for key in ("one", "two"):
        context.put(key, owner="ann")
    context.store.destroy("one")
    context.expect_keys(context.owned_by("ann"), ["two"])
    context.store.destroy("two")
    context.expect_keys(context.owned_by("ann"), [])


@case(
    "OWNER-2",
    depends_on=(
        "DESTROY-1",
        "GET-7",
        "OWNER-1",
        "OWNER-5",
        "EXPIRY-1",
    ),
    hint="`destroy` leaves an entry in the index, and what it leads to is somebody else's now.",
)
def keys_that_are_used_again(context: Context) -> None:
    """A key that was destroyed and is another owner's now is not yielded for the former one."""
    context.put(owner="ann")
    context.store.destroy("key")
    context.put(owner="bob")
    context.expect_keys(context.owned_by("ann"), [], "of the former owner")
    context.expect_keys(context.owned_by("bob"), ["key"], "of the owner")


@case(
    "OWNER-2",
    depends_on=(
        "GET-3",
        "GET-7",
        "OWNER-1",
        "OWNER-5",
        "EXPIRY-1",
    ),
    hint="the entry of an expired record leads to what was written under its key since.",
)
def expired_keys_that_are_used_again(context: Context) -> None:
    """A key that expired and is another owner's now is not yielded for the former one."""
    context.expired(owner="ann")
    context.put(owner="bob")
    context.expect_keys(context.owned_by("ann"), [], "of the former owner")


@case("OWNER-1", depends_on=("GET-5", "GET-7"), hint="the first batch of an index is all of it.")
def many_records(context: Context) -> None:
    """An owner of 130 records has all of them, and another one the others."""
    keys = [f"key{number:03}" for number in range(130)]
    for key in keys:
        context.put(key, owner="ann")
    context.put("other", owner="bob")
    context.expect_keys(context.owned_by("ann"), keys)
    context.expect_keys(context.owned_by("bob"), ["other"])


@case(
    "OWNER-2",
    needs=("malformed",),
    depends_on=("OWNER-1", "GET-4"),
    hint="what the index leads to is parsed without a thought of what may be there.",
)
def malformed_records(context: Context) -> None:
    """`owned_by` skips what is malformed, and yields what is beside it."""
    sound = context.put("sound", owner="owner")
    for _, way in damaged(context):
        found = dict(context.owned_by("owner"))
        context.expect(sorted(found), ["sound"], way)
        context.expect_same(found["sound"], sound, way)


@case(
    "OWNER-3",
    depends_on=("OWNER-1", "TOUCH-1"),
    hint="the index is a list, to which each write appends.",
)
def each_record_once(context: Context) -> None:
    """Records that were written again, and touched, are yielded once."""
    keys = [f"key{number:02}" for number in range(30)]
    for key in keys:
        context.put(key, owner="ann")
    for key in keys[:10]:
        context.put(key, b"again", "ann")
        context.store.touch(key, context.clock.now + 2 * DAY, "ann")
    seen = [key for key, _ in context.owned_by("ann")]
    doubled = sorted({key for key in seen if seen.count(key) > 1})
    context.expect_that(not doubled, "no key twice", doubled)


@case("OWNER-4", hint="the error of a missing index comes out.")
def owner_without_sessions(context: Context) -> None:
    """An owner who never had a record has none, in an empty store and beside others."""
    context.expect(context.owned_by("nobody"), [])
    context.put()
    context.expect(context.owned_by("nobody"), [], "beside a record without an owner")


@case(
    "OWNER-4",
    depends_on=("DESTROY-1", "OWNER-2"),
    hint="the error of a missing index comes out.",
)
def owner_whose_sessions_ended(context: Context) -> None:
    """An owner whose only record was destroyed has none."""
    context.put(owner="ann")
    context.store.destroy("key")
    context.expect(context.owned_by("ann"), [])


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="the new entry is made, and the former one is left.",
)
def record_moves(context: Context) -> None:
    """A record that is written with another owner is that owner's, and not the former one's."""
    context.put(owner="ann")
    context.put("stays", owner="ann")
    context.put(owner="bob")
    context.expect_keys(context.owned_by("bob"), ["key"], "of the new owner")
    context.expect_keys(context.owned_by("ann"), ["stays"], "of the former owner")


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="an owner is looked at only where a record is new.",
)
def record_becomes_owned(context: Context) -> None:
    """An anonymous record that gets an owner is found, and one that loses it is not."""
    context.put()
    context.put(owner="ann")
    context.expect_keys(context.owned_by("ann"), ["key"], "after the login")
    context.put()
    context.expect_keys(context.owned_by("ann"), [], "without an owner again")


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
    """A record that was touched, with the owner's name, is found after its first expiry."""
    context.put(owner="ann", life=60)
    context.expect(context.store.touch("key", context.clock.now + DAY, "ann"), True)
    context.advance(61)
    context.expect_keys(context.owned_by("ann"), ["key"])


@case(
    "OWNER-6",
    depends_on=(
        "TOUCH-1",
        "OWNER-1",
        "GET-3",
        "EXPIRY-4",
    ),
    hint="an index that was written for a short life is not extended by a longer one.",
)
def touched_records_of_several(context: Context) -> None:
    """One record that was touched is found after all others of its owner have expired."""
    context.put("long", owner="ann", life=120)
    context.put("short", owner="ann", life=60)
    context.expect(context.store.touch("long", context.clock.now + 40 * DAY, "ann"), True)
    context.advance(30 * DAY)
    keys = [key for key, _ in context.owned_by("ann")]
    context.expect_that("long" in keys, "'long' among the keys", keys)


@case(
    "OWNER-8",
    needs=("url",),
    requires=("multi_process",),
    depends_on=("OWNER-1", "GET-7"),
    hint="the record is written first, and its index entry afterwards.",
)
def killed_in_the_middle(context: Context) -> None:
    """What is live after its writer was killed, at several moments, is found by its owner."""
    url = context.need(context.harness.url(context.namespace), "the harness gives no URL")
    for seconds in _KILLED_AFTER:
        last = killed_after(url, context.harness.opener, context.clock.now, seconds)
        context.steps.note(f"a process wrote {last + 1} times, each with another owner: killed")
        store = context.second()
        for key in KEYS:
            _expect_found_by_owner(context, store, key)


def _expect_found_by_owner(context: Context, store: Handle, key: str) -> None:
    """Expect a record among its owner's, again where it is another one by then.

    What a process sent before it was killed may reach the record after the first reading.
    """
    found = store.get(key)
    while found is not None and found.owner is not None:
        keys = [owned for owned, _ in context.owned_by(found.owner, store)]
        if keys == [key]:
            return
        before, found = found, store.get(key)
        context.expect_that(found != before, f"{key!r} among those of {before.owner!r}", keys)


@case(
    "OWNER-9",
    depends_on=("OWNER-1",),
    hint="`owner_lag` is not declared, though the index is brought up to date later.",
)
def writes_are_shown_in_time(context: Context) -> None:
    """After each write another handle finds the record, in the declared time."""
    other = context.second()
    for number in range(1, 6):
        context.put(f"key{number}", owner="ann")
        keys = [f"key{count}" for count in range(1, number + 1)]
        context.expect_keys(context.owned_by("ann", other), keys, "by another handle")
        context.expect_keys(context.store.owned_by("ann"), keys, "by this handle")


@case(
    "OWNER-11",
    depends_on=("OWNER-1", "SET-4", "SET-8", "SET-12"),
    hint="what was noted in the index before the condition failed is undone for the old owner.",
)
def refused_writes(context: Context) -> None:
    """After writes that were refused, with the same owner and another, the record is found."""
    context.put(owner="ann")
    for owner in ("ann", "bob", None):
        context.expect(context.store.set("key", context.record(owner=owner), ABSENT), False)
        context.expect(
            context.store.set("key", context.record(owner=owner), Unchanged(b"x")), False
        )
        context.expect_keys(context.owned_by("ann"), ["key"], f"after writes for {owner!r}")


@case("OWNER-12", hint="a generator raises at its first item, or an empty listing is returned.")
def undeclared_owned_by(context: Context) -> None:
    """An `owned_by` that is not declared raises `UnsupportedOperation` before any iteration."""
    with context.expect_raises(UnsupportedOperation):
        context.store.iterate("owned_by", "ann")


@case("OWNER-13", hint="a store without an index refuses an owner, or one with it refuses None.")
def records_with_and_without(context: Context) -> None:
    """Records with an owner and without one are accepted, side by side and in turn."""
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
    """A store that declares `owner_lag` declares `owners`."""
    context.expect_that(context.capabilities.owners, "`owners` beside `owner_lag`", "no `owners`")
