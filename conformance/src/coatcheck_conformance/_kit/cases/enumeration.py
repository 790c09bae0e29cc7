"""ENUM: listing."""

from __future__ import annotations

from coatcheck.errors import UnsupportedOperation

from ..case import case
from ..clock import DAY
from ..context import Context

#: More than the first page of any client library.
_MANY = 130
#: Bytes of a large record: some backends return no more than ten such records a page.
_LARGE = 120_000


def _put_many(context: Context, count: int = _MANY) -> list[str]:
    """Set records with and without owners, and return their keys."""
    keys = [f"key{number:03}" for number in range(count)]
    for number, key in enumerate(keys):
        context.put(key, f"data of {key}".encode(), f"owner{number % 3}" if number % 2 else None)
    return keys


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="a cursor yields a record twice, or the owner and expiry are not read.",
)
def each_record_once(context: Context) -> None:
    """`all` yields each live record once, as `get` returns it."""
    keys = _put_many(context)
    found = context.store.all()
    context.expect_keys(found, keys)
    for key, record in found:
        context.expect(record, context.store.get(key), f"the record of {key!r} as `get` shows it")


@case(
    "ENUM-1",
    depends_on=("GET-5", "GET-7"),
    hint="a page ends when it has reached a size, and the next page is not requested.",
)
def large_records(context: Context) -> None:
    """`all` yields records of more than a megabyte together, each complete."""
    data = b"x" * (min(_LARGE, context.capabilities.max_data_bytes or _LARGE) - 4)
    for number in range(12):
        context.put(f"key{number:02}", data + b"%4d" % number)
    found = dict(context.store.all())
    context.expect_keys(list(found.items()), [f"key{number:02}" for number in range(12)])
    for number in range(12):
        seen = found[f"key{number:02}"].data
        context.expect(seen, data + b"%4d" % number, f"the data of key{number:02}")


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="the old version of a record is listed beside the new one.",
)
def changed_records_once(context: Context) -> None:
    """`all` yields a record that was rewritten and touched once, as `get` returns it now."""
    context.put(owner="owner")
    context.put(data=b"new", owner="other")
    context.store.touch("key", context.clock.now + 2 * DAY)
    found = context.store.all()
    context.expect_keys(found, ["key"])
    context.expect(found[0][1], context.store.get("key"), "as `get` shows it")


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="an empty listing is taken for an error.",
)
def empty_store_lists_nothing(context: Context) -> None:
    """`all` of an empty store yields nothing."""
    context.expect(context.store.all(), [])


@case("ENUM-2", depends_on=("GET-3", "ENUM-1"), hint="only `get` checks the expiry.")
def expired_records_are_skipped(context: Context) -> None:
    """`all` skips expired records, and yields those beside them."""
    context.put("live")
    for number in range(3):
        context.put(f"expired{number}", life=60)
    context.advance(61)
    context.expect_keys(context.store.all(), ["live"])


@case("ENUM-3", depends_on=("DESTROY-2",), hint="records are counted that `get` no longer returns.")
def length_counts_the_live(context: Context) -> None:
    """`length` returns the number of live records, and 0 at first."""
    context.expect(context.store.length(), 0)
    keys = _put_many(context)
    context.expect(context.store.length(), len(keys))
    context.put(keys[0], b"again")
    context.expect(context.store.length(), len(keys), "after one was written again")


@case(
    "ENUM-3",
    depends_on=(
        "GET-3",
        "DESTROY-2",
    ),
    hint="records are counted that `get` no longer returns.",
)
def length_leaves_out_the_expired(context: Context) -> None:
    """`length` leaves out expired records, whether or not they still take up space."""
    context.put("live")
    for number in range(3):
        context.put(f"expired{number}", life=60)
    context.advance(61)
    context.expect(context.store.length(), 1)


@case(
    "ENUM-3",
    depends_on=(
        "DESTROY-1",
        "DESTROY-2",
    ),
    hint="the store has a counter, and forgets to update it.",
)
def length_leaves_out_the_destroyed(context: Context) -> None:
    """`length` leaves out destroyed records, and a key that was never set."""
    for key in ("one", "two", "three"):
        context.put(key)
    context.store.destroy("one")
    context.store.destroy("one")
    context.store.destroy("unknown")
    context.expect(context.store.length(), 2)


@case(
    "ENUM-4",
    depends_on=("ENUM-1",),
    hint="every key that begins with the namespace's name is taken for a record of it.",
)
def other_namespaces_are_not_listed(context: Context) -> None:
    """`all` yields no record of a namespace whose name begins with this one's name."""
    elsewhere = context.elsewhere()
    context.put("here")
    context.put("there", store=elsewhere)
    context.harness.foreign(context.namespace)
    context.expect_keys(context.store.all(), ["here"])
    context.expect_keys(elsewhere.all(), ["there"], "elsewhere")


@case("ENUM-4", hint="the whole table or database is counted.")
def other_namespaces_are_not_counted(context: Context) -> None:
    """`length` counts no record of a namespace whose name begins with this one's name."""
    elsewhere = context.elsewhere()
    context.put("here")
    for number in range(2):
        context.put(f"there{number}", store=elsewhere)
    context.harness.foreign(context.namespace)
    context.expect(context.store.length(), 1)
    context.expect(elsewhere.length(), 2, "elsewhere")


@case(
    "ENUM-5",
    needs=("malformed",),
    depends_on=("ENUM-1",),
    hint="the iteration ends at the error of one record.",
)
def malformed_records_are_skipped(context: Context) -> None:
    """`all` skips malformed records, and yields those beside them."""
    sound = _put_many(context, 10)
    names = list(
        context.need(context.harness.malformed(context.namespace, "bad"), "no way to damage")
    )
    for number, name in enumerate(names):
        key = f"bad{number}"
        context.put(key)
        ways = context.harness.malformed(context.namespace, key) or {}
        context.steps.note(f"the record of {key!r} is damaged: {name}")
        ways[name]()
        context.expect_keys(context.store.all(), sound)


@case(
    "ENUM-6",
    depends_on=("ENUM-1", "DESTROY-1"),
    hint="a live dictionary or folder is iterated over, or pages are addressed by number.",
    limit=20,
)
def changes_while_it_runs(context: Context) -> None:
    """`all` yields each lasting record once while others are created, changed and removed."""
    keys = _put_many(context)
    records = context.store.iterate("all")
    first, _ = next(records)
    rest = [key for key in keys if key != first]
    gone, changed = rest[::3], rest[1::3]
    for key in gone:
        context.store.destroy(key)
    for key in changed:
        context.put(key, b"changed and longer than it was before")
    for number in range(_MANY):
        context.put(f"new{number}")
    seen = [first, *(key for key, _ in records)]
    for key in keys:
        least = 0 if key in gone else 1
        context.expect_that(least <= seen.count(key) <= 1, f"{key!r} once", sorted(seen))


@case(
    "ENUM-6",
    depends_on=("ENUM-1",),
    hint="pages are addressed by number, and a removal shifts the records that follow.",
    limit=20,
)
def removal_of_what_was_yielded(context: Context) -> None:
    """`all` yields each record even if each one is destroyed as soon as it was yielded."""
    keys = _put_many(context)
    seen = []
    for key, _ in context.store.iterate("all"):
        seen.append(key)
        context.store.destroy(key)
    context.expect(sorted(seen), keys)


@case(
    "ENUM-7",
    depends_on=("ENUM-1",),
    hint="a lock, a cursor or a connection is held until the last record.",
    limit=20,
)
def given_up(context: Context) -> None:
    """The store works after many iterations that were abandoned at the first record."""
    _put_many(context, 5)
    for _ in range(20):
        records = context.store.iterate("all")
        next(records)
        records.close()
    context.put()
    context.expect_data(b"data")
    context.expect(len(context.store.all()), 6, "the records that `all` yields")


@case("ENUM-8", hint="a generator raises only at its first item, or an empty list is returned.")
def undeclared_all(context: Context) -> None:
    """`all` raises `UnsupportedOperation` at the call if it is not declared."""
    with context.expect_raises(UnsupportedOperation):
        context.store.iterate("all")


@case("ENUM-8", hint="the length of an empty listing is returned.")
def undeclared_length(context: Context) -> None:
    """`length` raises `UnsupportedOperation` if it is not declared."""
    with context.expect_raises(UnsupportedOperation):
        context.store.length()
