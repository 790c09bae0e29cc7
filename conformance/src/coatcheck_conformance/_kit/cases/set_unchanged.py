"""SET-7 to SET-11: writing with `Unchanged`, over data that are compared."""

from __future__ import annotations

from typing import Final

from coatcheck import Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from .get import damaged

_UNCHANGED: Final = Unchanged(b"data")


@case("SET-7", hint="a write of the same data matches no row.")
def unchanged_data(context: Context) -> None:
    """`set` with `Unchanged` and the stored bytes returns True and stores the record."""
    context.put(data=b"one")
    for before, after in ((b"one", b"two"), (b"two", b"three"), (b"three", b"three")):
        context.expect(context.store.set("key", context.record(after), Unchanged(before)), True)
        context.expect_data(after)


@case("SET-8", hint="a length is compared, or the data that this handle has read.")
def changed_data(context: Context) -> None:
    """`set` with `Unchanged` and other bytes returns False, also with former data."""
    context.put(data=b"former")
    context.put(data=b"stored")
    for other in (b"former", b"sto", b"longer than stored", b"x", b"Z" * 6):
        context.expect(context.store.set("key", context.record(b"new"), Unchanged(other)), False)


@case(
    "SET-8", hint="a handle compares with the data that it has read, and not with the stored ones."
)
def changed_by_another_handle(context: Context) -> None:
    """`set` with `Unchanged` returns False if another handle wrote since the data were read."""
    context.put()
    context.expect_data(b"data")
    context.put(data=b"theirs", store=context.second())
    context.expect(context.store.set("key", context.record(b"ours"), _UNCHANGED), False)


@case(
    "SET-9",
    depends_on=("DESTROY-1",),
    hint="a missing record is taken for one that has not changed.",
)
def unchanged_where_nothing_is(context: Context) -> None:
    """`set` with `Unchanged` under an unused key returns False and creates nothing."""
    context.put("other")
    for data in (b"data", b"new", b"null"):
        context.expect(context.store.set("key", context.record(b"new"), Unchanged(data)), False)
        context.expect_absent()


@case(
    "SET-9",
    needs=("malformed",),
    depends_on=("GET-4", "SET-16"),
    hint="the malformed record is compared, although it is no record.",
)
def unchanged_over_the_malformed(context: Context) -> None:
    """`set` with `Unchanged` over a malformed record returns False and creates nothing."""
    for key, way in damaged(context):
        context.expect(context.store.set(key, context.record(b"new"), _UNCHANGED), False, way)
        context.expect_absent(key, about=way)


#: Different data that a parser, a text layer or a collation takes for the same.
_ALIKE: Final = (
    (b'{"a":1,"b":2}', b'{"a": 1, "b": 2}'),
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    (b'{"a":1}', b'{"a":1.0}'),
    (b'{"a":"\xc3\xa9"}', b'{"a":"\\u00e9"}'),
    (b"data", b"Data"),
    (b"data", b"data\n"),
    (b"data", b"data "),
    (b"data", b" data"),
    (b"data", b"data\0"),
    (b"data", b"data\0more"),
    ("caf\u00e9".encode(), "cafe\u0301".encode()),
    ("caf\u00e9".encode(), b"cafe"),
    (b"\xff\xfe\xfd", b"\xff\xfe\xfc"),
    (b"1", b"01"),
    (b"x" * 500 + b"y", b"x" * 500 + b"z"),
)


def alike() -> list[tuple[bytes, bytes]]:
    """Return pairs of data that are almost the same, in both orders."""
    return [*_ALIKE, *((second, first) for first, second in _ALIKE)]


@case(
    "SET-10",
    depends_on=("SET-8", "DATA-1"),
    hint="parsed documents, collated texts, or a part of the data are compared.",
)
def exact_bytes(context: Context) -> None:
    """`set` with `Unchanged` and bytes that only mean the same returns False."""
    for stored, given in alike():
        context.put(data=stored)
        context.expect(context.store.set("key", context.record(b"new"), Unchanged(given)), False)


@case(
    "SET-10",
    depends_on=("SET-8", "DATA-1"),
    hint="the first page of the data is compared, or a checksum of it.",
)
def exact_bytes_at_the_end(context: Context) -> None:
    """`set` with `Unchanged` returns False if only the last byte of large data differs."""
    for size in (1025, 8193, 100_001):
        lead = b"x" * (min(size, context.capabilities.max_data_bytes or size) - 1)
        context.put(data=lead + b"a")
        only_if = Unchanged(lead + b"b")
        context.expect(context.store.set("key", context.record(b"new"), only_if), False)


@case(
    "SET-11",
    depends_on=(
        "SET-7",
        "TOUCH-1",
        "OWNER-13",
    ),
    hint="a version number is compared, which each touch changes as well.",
)
def touched_in_between(context: Context) -> None:
    """`set` with `Unchanged` succeeds even if the record was touched since it was read."""
    for toucher in (context.store, context.second()):
        context.put()
        context.expect_data(b"data")
        context.expect(toucher.touch("key", context.clock.now + 2 * DAY), True)
        context.expect(context.store.set("key", context.record(b"new"), _UNCHANGED), True)


@case(
    "SET-11",
    depends_on=(
        "SET-7",
        "OWNER-13",
    ),
    hint="a version number or the whole record is compared.",
)
def another_owner_in_between(context: Context) -> None:
    """`set` with `Unchanged` succeeds even if owner and expiry were set since it was read."""
    for writer in (context.store, context.second()):
        context.put(owner="owner")
        context.expect_data(b"data")
        context.put(owner="other", life=2 * DAY, store=writer)
        context.expect(context.store.set("key", context.record(b"new"), _UNCHANGED), True)
