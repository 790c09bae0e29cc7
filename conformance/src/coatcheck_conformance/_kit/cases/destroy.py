"""DESTROY: removing a record."""

from __future__ import annotations

from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from .get import damaged
from .set_unchanged import alike

_UNCHANGED: Final = Unchanged(b"data")
_OTHER: Final = Unchanged(b"other")


@case("DESTROY-1", hint="the backend's own reply is returned, or the record is only marked.")
def live_record(context: Context) -> None:
    """`destroy` removes a live record, with and without an owner, and returns True."""
    for owner in (None, "owner"):
        context.put(owner=owner)
        context.expect(context.store.destroy("key"), True)
        context.expect_absent()


@case("DESTROY-1", hint="a handle keeps a copy of the record that it has read.")
def live_record_of_another_handle(context: Context) -> None:
    """`destroy` removes a record that another handle wrote, and both handles see it."""
    other = context.second()
    context.put(store=other)
    context.expect_data(b"data", store=other)
    context.expect(context.store.destroy("key"), True)
    context.expect_absent(store=other)


@case("DESTROY-2", hint="the backend raises for a missing key, or never tells what it removed.")
def unknown_key(context: Context) -> None:
    """`destroy` of a key that was never set returns False, also with `Unchanged`."""
    context.put("other")
    context.expect(context.store.destroy("key"), False)
    context.expect(context.store.destroy("key", _UNCHANGED), False)


@case(
    "DESTROY-2",
    depends_on=("DESTROY-1",),
    hint="the tombstone of a destroyed record is itself destroyed, and counted.",
)
def second_time(context: Context) -> None:
    """The second and third `destroy` of a record return False."""
    context.put(owner="owner")
    context.expect(context.store.destroy("key"), True)
    for _ in range(2):
        context.expect(context.store.destroy("key"), False)


@case(
    "DESTROY-3",
    depends_on=("GET-3", "DESTROY-2"),
    hint="the call counts every record that it removed, even an expired one.",
)
def expired_record(context: Context) -> None:
    """`destroy` of an expired record returns False, with and without an owner."""
    for key, owner in (("key", None), ("owned", "owner")):
        context.expired(key, owner=owner)
        context.expect(context.store.destroy(key), False)


@case(
    "DESTROY-3",
    depends_on=("GET-3", "DESTROY-2", "DESTROY-6"),
    hint="the call counts every record that it removed.",
)
def expired_record_unchanged(context: Context) -> None:
    """`destroy` of an expired record returns False, also with `Unchanged` and its bytes."""
    old = context.expired()
    context.expect(context.store.destroy("key", Unchanged(old.data)), False)


@case(
    "DESTROY-4",
    depends_on=("DESTROY-1",),
    hint="the backend allows the condition only in an update.",
)
def live_record_if_present(context: Context) -> None:
    """`destroy` with `PRESENT` removes a live record and returns True."""
    context.put(owner="owner")
    context.expect(context.store.destroy("key", PRESENT), True)
    context.expect_absent()


@case(
    "DESTROY-4",
    depends_on=("DESTROY-2",),
    hint="the failed condition of the backend raises an error.",
)
def nothing_if_present(context: Context) -> None:
    """`destroy` with `PRESENT` of a key that was never set returns False."""
    context.put("other")
    for _ in range(2):
        context.expect(context.store.destroy("key", PRESENT), False)


@case("DESTROY-4", depends_on=("DESTROY-3",), hint="an expired record counts as present.")
def expired_record_if_present(context: Context) -> None:
    """`destroy` with `PRESENT` of an expired record returns False."""
    context.expired()
    context.expect(context.store.destroy("key", PRESENT), False)


@case(
    "DESTROY-5",
    depends_on=("GET-5", "GET-7"),
    hint="every condition but `Unchanged` is ignored.",
)
def live_record_if_absent(context: Context) -> None:
    """`destroy` with `ABSENT` keeps a live record as it is and returns False."""
    record = context.put(owner="owner")
    context.expect(context.store.destroy("key", ABSENT), False)
    context.expect_unchanged(record)


@case("DESTROY-5", hint="the condition holds, so the call returns True.")
def nothing_if_absent(context: Context) -> None:
    """`destroy` with `ABSENT` of an unused or expired key returns False."""
    context.expect(context.store.destroy("key", ABSENT), False)
    context.expired("old")
    context.expect(context.store.destroy("old", ABSENT), False)


@case(
    "DESTROY-6",
    depends_on=("DATA-2",),
    hint="the condition is compared with another form of the data.",
)
def unchanged_record(context: Context) -> None:
    """`destroy` with `Unchanged` and the stored bytes removes the record and returns True."""
    for data in (b"data", b'{"a": 1}', b"\xff\xfe"):
        context.put(data=data, owner="owner")
        context.expect(context.store.destroy("key", Unchanged(data)), True)
        context.expect_absent()


@case(
    "DESTROY-6",
    depends_on=(
        "SET-11",
        "TOUCH-1",
        "DATA-2",
    ),
    hint="a version number is compared, which each touch changes as well.",
)
def touched_record(context: Context) -> None:
    """`destroy` with `Unchanged` succeeds even if the record was touched since it was read."""
    context.put()
    context.expect_data(b"data")
    context.expect(context.second().touch("key", context.clock.now + 2 * DAY), True)
    context.expect(context.store.destroy("key", _UNCHANGED), True)
    context.expect_absent()


@case(
    "DESTROY-7",
    depends_on=("GET-5", "GET-7"),
    hint="the condition is ignored, or compared with the data that this handle has read.",
)
def changed_record(context: Context) -> None:
    """`destroy` with `Unchanged` and other bytes keeps the record as it is and returns False."""
    context.put(data=b"former", owner="owner")
    context.expect_data(b"former")
    record = context.put(data=b"stored", owner="owner", store=context.second())
    for data in (b"former", b"sto", b"longer than stored", b"x"):
        context.expect(context.store.destroy("key", Unchanged(data)), False)
        context.expect_unchanged(record)


@case(
    "DESTROY-7",
    depends_on=("SET-10", "DATA-1"),
    hint="parsed documents, collated texts, or a part of the data are compared.",
)
def almost_unchanged_record(context: Context) -> None:
    """`destroy` with `Unchanged` and bytes that only mean the same keeps the record."""
    for stored, given in alike():
        context.put(data=stored)
        context.expect(context.store.destroy("key", Unchanged(given)), False)
        context.expect_data(stored)


@case(
    "DESTROY-8",
    depends_on=("DESTROY-1", "SET-6", "SET-9", "TOUCH-2"),
    hint="the record is only marked as destroyed, and the next write overwrites the tombstone.",
)
def nothing_brings_it_back(context: Context) -> None:
    """After `destroy` writes with `PRESENT` and `Unchanged`, and `touch`, return False."""
    context.put(owner="ann")
    context.expect(context.store.destroy("key"), True)
    _expect_ended(context)
    context.advance(60)
    _expect_ended(context)


@case(
    "DESTROY-8",
    depends_on=("DESTROY-1", "SET-6", "SET-9", "TOUCH-2"),
    hint="a handle writes back the record that it has read before.",
)
def no_other_handle_brings_it_back(context: Context) -> None:
    """A handle that has read a record cannot bring it back after another one destroyed it."""
    context.put(owner="ann")
    context.expect_data(b"data")
    context.expect(context.second().destroy("key"), True)
    _expect_ended(context)


def _expect_ended(context: Context) -> None:
    """Expect that only a new session makes the key live."""
    record = context.record(owner="ann", life=2 * DAY)
    context.expect(context.store.touch("key", record.expires_at), False)
    context.expect(context.store.touch("key", record.expires_at, "ann"), False)
    context.expect(context.store.set("key", record, PRESENT), False)
    context.expect(context.store.set("key", record, _UNCHANGED), False)
    context.expect_absent()


_NEIGHBOURS: Final = ("k", "ke", "key0", "key1", "key:1", "keykey", "a key", "other")


@case(
    "DESTROY-9",
    depends_on=("GET-5", "GET-7", "KEY-6", "DESTROY-2"),
    hint="the key is taken for a pattern, or everything of the owner is removed.",
)
def neighbours(context: Context) -> None:
    """`destroy` keeps other records as they are: with similar keys, the same data or owner."""
    records = {key: context.put(key, owner="owner") for key in _NEIGHBOURS}
    context.put(owner="owner")
    context.store.destroy("key")
    context.store.destroy("unknown")
    for key, record in records.items():
        context.expect_unchanged(record, key)


@case(
    "DESTROY-2",
    needs=("malformed",),
    depends_on=("GET-4", "DESTROY-10"),
    hint="the malformed record is counted as an ended session, or cannot be parsed.",
)
def malformed_record_is_none(context: Context) -> None:
    """`destroy` of a malformed record returns False, on any condition."""
    for key, way in damaged(context):
        for only_if in (_UNCHANGED, PRESENT, ALWAYS):
            context.expect(context.store.destroy(key, only_if), False, way)
            context.expect_absent(key, about=way)


@case(
    "DESTROY-10",
    needs=("malformed",),
    depends_on=("SET-3",),
    hint="an unreadable record is taken for a missing one, and not removed.",
)
def malformed_record(context: Context) -> None:
    """After `destroy` of a malformed record a new record can be written."""
    for key, way in damaged(context):
        context.store.destroy(key)
        context.expect(context.store.set(key, context.record(b"new"), ABSENT), True, way)
        context.expect_data(b"new", key, about=way)
