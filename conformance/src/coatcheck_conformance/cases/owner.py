"""OWNER: whose sessions."""

from __future__ import annotations

from typing import Any, Final

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck.errors import UnsupportedOperation

from ..bench import Bench
from ..case import case
from ..clock import DAY
from ..handle import Handle
from ..kill import KEYS, killed_after
from .get import damaged

#: Owners that somebody or something may take for one another.
_ALIKE: Final = (
    "ann",
    "Ann",
    "ANN",
    "ann ",
    " ann",
    "ann\n",
    "ann\t",
    "an",
    "anna",
    "ann:1",
    "ann:",
    "ann/1",
    "ann\\1",
    "ann%",
    "ann*",
    "an?",
    "an_",
    "a.n",
    "[a]nn",
    "*",
    "%",
    ".",
    "..",
    "{ann}",
    "ann,bob",
    "$ann",
    "\u00e9",
    "e\u0301",
    "\ufb01",
    "fi",
    "\u00df",
    "ss",
    "1",
    "01",
    "1.0",
    "None",
    "null",
    "a" * 255,
    "a" * 256,
)
#: Seconds for which a process writes before it is killed.
_KILLED_AFTER: Final = (0.02, 0.035, 0.05)


#: What a request's JSON can hold in the place of an owner; dictionaries are queries of databases.
_NO_STRINGS: Final[tuple[Any, ...]] = (None, 0, True, b"ann", ["ann"], {"$ne": None}, {"S": "ann"})
#: Strings that are no owners.
_NO_OWNERS: Final = ("", "\ud800", "ann\udfff")


def _owned(bench: Bench, owner: str, store: Handle | None = None) -> list[tuple[str, Record]]:
    """Return what an owner has, as soon as it must be shown."""
    if bench.capabilities.owner_lag > 0:
        bench.elapse(bench.capabilities.owner_lag)
    return (store or bench.store).owned_by(owner)


@case(
    "OWNER-1",
    depends_on=(
        "GET-5",
        "GET-7",
        "CAP-4",
    ),
    hint="the index is written by some of the ways to write a record, and not by others.",
)
def records_of_an_owner(bench: Bench) -> None:
    """Each record of an owner is yielded as it was written, and no other."""
    records: dict[str, Record] = {}
    for number in range(5):
        key = f"key{number}"
        records[key] = bench.put(key, f"data{number}".encode(), "ann", life=DAY + 60 * number)
    bench.put("other", owner="bob")
    bench.put("anonymous")
    found = _owned(bench, "ann")
    bench.expect_keys(found, list(records))
    for key, record in found:
        bench.expect_same(record, records[key], f"the record of {key!r}")


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
def records_of_each_condition(bench: Bench) -> None:
    """A record has its owner whatever the condition of the write was."""
    bench.store.set("absent", bench.record(owner="ann"), ABSENT)
    bench.put("present")
    bench.store.set("present", bench.record(owner="ann"), PRESENT)
    bench.put("unchanged", b"old")
    bench.store.set("unchanged", bench.record(owner="ann"), Unchanged(b"old"))
    bench.expect_keys(_owned(bench, "ann"), ["absent", "present", "unchanged"])


@case(
    "OWNER-2",
    depends_on=(
        "GET-3",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="what the index leads to is not looked at again.",
)
def expired_records(bench: Bench) -> None:
    """Expired records are not yielded, and a live one beside them is."""
    bench.put("live", owner="ann")
    for number in range(3):
        bench.put(f"key{number}", owner="ann", life=60)
    bench.elapse(61)
    bench.expect_keys(_owned(bench, "ann"), ["live"])


@case(
    "OWNER-2",
    depends_on=(
        "DESTROY-1",
        "OWNER-1",
        "EXPIRY-1",
    ),
    hint="`destroy` does not take the record off the index.",
)
def destroyed_records(bench: Bench) -> None:
    """Destroyed records are not yielded."""
    for key in ("one", "two"):
        bench.put(key, owner="ann")
    bench.store.destroy("one")
    bench.expect_keys(_owned(bench, "ann"), ["two"])
    bench.store.destroy("two")
    bench.expect_keys(_owned(bench, "ann"), [])


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
def keys_that_are_used_again(bench: Bench) -> None:
    """A key that was destroyed and is another owner's now is not yielded for the former one."""
    bench.put(owner="ann")
    bench.store.destroy("key")
    bench.put(owner="bob")
    bench.expect_keys(_owned(bench, "ann"), [], "of the former owner")
    bench.expect_keys(_owned(bench, "bob"), ["key"], "of the owner")


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
def expired_keys_that_are_used_again(bench: Bench) -> None:
    """A key that expired and is another owner's now is not yielded for the former one."""
    bench.expired(owner="ann")
    bench.put(owner="bob")
    bench.expect_keys(_owned(bench, "ann"), [], "of the former owner")


@case("OWNER-1", depends_on=("GET-5", "GET-7"), hint="the first batch of an index is all of it.")
def many_records(bench: Bench) -> None:
    """An owner of 130 records has all of them, and another one the others."""
    keys = [f"key{number:03}" for number in range(130)]
    for key in keys:
        bench.put(key, owner="ann")
    bench.put("other", owner="bob")
    bench.expect_keys(_owned(bench, "ann"), keys)
    bench.expect_keys(_owned(bench, "bob"), ["other"])


@case(
    "OWNER-2",
    needs=("malformed",),
    depends_on=("OWNER-1", "GET-4"),
    hint="what the index leads to is parsed without a thought of what may be there.",
)
def malformed_records(bench: Bench) -> None:
    """`owned_by` skips what is malformed, and yields what is beside it."""
    sound = bench.put("sound", owner="owner")
    for _, way in damaged(bench):
        found = dict(_owned(bench, "owner"))
        bench.expect(sorted(found), ["sound"], way)
        bench.expect_same(found["sound"], sound, way)


@case(
    "OWNER-3",
    depends_on=("OWNER-1", "TOUCH-1"),
    hint="the index is a list, to which each write appends.",
)
def each_record_once(bench: Bench) -> None:
    """Records that were written again, and touched, are yielded once."""
    keys = [f"key{number:02}" for number in range(30)]
    for key in keys:
        bench.put(key, owner="ann")
    for key in keys[:10]:
        bench.put(key, b"again", "ann")
        bench.store.touch(key, bench.clock.now + 2 * DAY, "ann")
    seen = [key for key, _ in _owned(bench, "ann")]
    doubled = sorted({key for key in seen if seen.count(key) > 1})
    bench.expect_that(not doubled, "no key twice", doubled)


@case("OWNER-4", hint="the error of a missing index comes out.")
def owner_without_sessions(bench: Bench) -> None:
    """An owner who never had a record has none, in an empty store and beside others."""
    bench.expect(_owned(bench, "nobody"), [])
    bench.put()
    bench.expect(_owned(bench, "nobody"), [], "beside a record without an owner")


@case(
    "OWNER-4",
    depends_on=("DESTROY-1", "OWNER-2"),
    hint="the error of a missing index comes out.",
)
def owner_whose_sessions_ended(bench: Bench) -> None:
    """An owner whose only record was destroyed has none."""
    bench.put(owner="ann")
    bench.store.destroy("key")
    bench.expect(_owned(bench, "ann"), [])


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="the new entry is made, and the former one is left.",
)
def record_moves(bench: Bench) -> None:
    """A record that is written with another owner is that owner's, and not the former one's."""
    bench.put(owner="ann")
    bench.put("stays", owner="ann")
    bench.put(owner="bob")
    bench.expect_keys(_owned(bench, "bob"), ["key"], "of the new owner")
    bench.expect_keys(_owned(bench, "ann"), ["stays"], "of the former owner")


@case(
    "OWNER-5",
    depends_on=("OWNER-1", "SET-2", "GET-7"),
    hint="an owner is looked at only where a record is new.",
)
def record_becomes_owned(bench: Bench) -> None:
    """An anonymous record that gets an owner is found, and one that loses it is not."""
    bench.put()
    bench.put(owner="ann")
    bench.expect_keys(_owned(bench, "ann"), ["key"], "after the login")
    bench.put()
    bench.expect_keys(_owned(bench, "ann"), [], "without an owner again")


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
def touched_records(bench: Bench) -> None:
    """A record that was touched, with the owner's name, is found after its first expiry."""
    bench.put(owner="ann", life=60)
    bench.expect(bench.store.touch("key", bench.clock.now + DAY, "ann"), True)
    bench.elapse(61)
    bench.expect_keys(_owned(bench, "ann"), ["key"])


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
def touched_records_of_several(bench: Bench) -> None:
    """One record that was touched is found after all others of its owner have expired."""
    bench.put("long", owner="ann", life=120)
    bench.put("short", owner="ann", life=60)
    bench.expect(bench.store.touch("long", bench.clock.now + 40 * DAY, "ann"), True)
    bench.elapse(30 * DAY)
    keys = [key for key, _ in _owned(bench, "ann")]
    bench.expect_that("long" in keys, "'long' among the keys", keys)


@case(
    "OWNER-7",
    depends_on=("OWNER-1",),
    hint="the owner goes into a pattern, a collation or a composed key as it is.",
)
def owners_that_look_alike(bench: Bench) -> None:
    """Each of many owners that look alike has its own record alone."""
    for number, owner in enumerate(_ALIKE):
        bench.put(f"key{number}", owner=owner)
    for number, owner in enumerate(_ALIKE):
        bench.expect_keys(_owned(bench, owner), [f"key{number}"], f"owned by {owner[:20]!r}")


@case(
    "OWNER-8",
    needs=("url",),
    requires=("multi_process",),
    depends_on=("OWNER-1", "GET-7"),
    hint="the record is written first, and its index entry afterwards.",
)
def killed_in_the_middle(bench: Bench) -> None:
    """What is live after its writer was killed, at several moments, is found by its owner."""
    url = bench.need(bench.harness.url(bench.namespace), "the harness gives no URL")
    for seconds in _KILLED_AFTER:
        last = killed_after(url, bench.harness.opener, bench.clock.now, seconds)
        bench.steps.note(f"a process wrote {last + 1} times, each with another owner: killed")
        store = bench.second()
        for key in KEYS:
            _expect_found_by_owner(bench, store, key)


def _expect_found_by_owner(bench: Bench, store: Handle, key: str) -> None:
    """Expect a record among its owner's, again where it is another one by then.

    What a process sent before it was killed may reach the record after the first reading.
    """
    found = store.get(key)
    while found is not None and found.owner is not None:
        keys = [owned for owned, _ in _owned(bench, found.owner, store)]
        if keys == [key]:
            return
        before, found = found, store.get(key)
        bench.expect_that(found != before, f"{key!r} among those of {before.owner!r}", keys)


@case(
    "OWNER-9",
    depends_on=("OWNER-1",),
    hint="`owner_lag` is not declared, though the index is brought up to date later.",
)
def writes_are_shown_in_time(bench: Bench) -> None:
    """After each write another handle finds the record, in the declared time."""
    other = bench.second()
    for number in range(1, 6):
        bench.put(f"key{number}", owner="ann")
        keys = [f"key{count}" for count in range(1, number + 1)]
        bench.expect_keys(_owned(bench, "ann", other), keys, "by another handle")
        bench.expect_keys(bench.store.owned_by("ann"), keys, "by this handle")


@case(
    "OWNER-10",
    depends_on=("OWNER-1",),
    hint="the index has the owner's name alone, without the namespace.",
)
def other_namespaces(bench: Bench) -> None:
    """An owner's records are those of the namespace, though another has the same owner."""
    elsewhere = bench.elsewhere()
    bench.put("here", owner="ann")
    bench.put("there", owner="ann", store=elsewhere)
    bench.expect_keys(_owned(bench, "ann"), ["here"])
    bench.expect_keys(_owned(bench, "ann", elsewhere), ["there"], "elsewhere")


@case(
    "OWNER-11",
    depends_on=("OWNER-1", "SET-4", "SET-8", "SET-12"),
    hint="what was noted in the index before the condition failed is undone for the old owner.",
)
def refused_writes(bench: Bench) -> None:
    """After writes that were refused, with the same owner and another, the record is found."""
    bench.put(owner="ann")
    for owner in ("ann", "bob", None):
        bench.expect(bench.store.set("key", bench.record(owner=owner), ABSENT), False)
        bench.expect(bench.store.set("key", bench.record(owner=owner), Unchanged(b"x")), False)
        bench.expect_keys(_owned(bench, "ann"), ["key"], f"after writes for {owner!r}")


@case("OWNER-12", hint="a generator raises at its first item, or an empty listing is returned.")
def undeclared_owned_by(bench: Bench) -> None:
    """An `owned_by` that is not declared raises `UnsupportedOperation` before any iteration."""
    with bench.expect_raises(UnsupportedOperation):
        bench.store.iterate("owned_by", "ann")


@case("OWNER-13", hint="a store without an index refuses an owner, or one with it refuses None.")
def records_with_and_without(bench: Bench) -> None:
    """Records with an owner and without one are accepted, side by side and in turn."""
    for key, owner in (("owned", "ann"), ("anonymous", None), ("owned", None), ("owned", "bob")):
        bench.expect(bench.store.set(key, bench.record(owner=owner)), True, f"owner {owner!r}")
        bench.expect_data(b"data", key, about=f"owner {owner!r}")


@case(
    "OWNER-14",
    foundation=False,
    depends_on=("CAP-4",),
    hint="the delay was declared without the index.",
)
def lag_without_owners(bench: Bench) -> None:
    """Whoever declares `owner_lag` declares `owners`."""
    bench.expect_that(bench.capabilities.owners, "`owners` beside `owner_lag`", "no `owners`")


@case(
    "OWNER-15",
    depends_on=("OWNER-1", "SET-3"),
    hint="an owner goes into a query or a name unchecked: `coatcheck.check_owner` checks it.",
)
def other_things_than_owners(bench: Bench) -> None:
    """`owned_by` and `set` refuse what is no owner, and the record is there afterwards."""
    bench.put(owner="ann")
    for error, junk in (*((TypeError, owner) for owner in _NO_STRINGS),
                        *((ValueError, owner) for owner in _NO_OWNERS)):  # fmt: skip
        with bench.expect_raises(error):
            bench.store.owned_by(junk)
        if junk is not None:
            with bench.expect_raises(error):
                bench.store.set("key", bench.record(b"other", owner=junk))
    bench.expect_data(b"data")
    bench.expect_keys(_owned(bench, "ann"), ["key"])
