"""ENUM: listing."""

from __future__ import annotations

from coatcheck.errors import UnsupportedOperation

from ..case import case
from ..clock import DAY
from ..context import Context

#: More than the first batch of any client that is in use.
_MANY = 130
#: Bytes of a large record: a page of a listing may not have more than ten such records.
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
    """Each live record is yielded once, as `get` shows it."""
    keys = _put_many(context)
    found = context.store.all()
    context.expect_keys(found, keys)
    for key, record in found:
        context.expect(record, context.store.get(key), f"the record of {key!r} as `get` shows it")


@case(
    "ENUM-1",
    depends_on=("GET-5", "GET-7"),
    hint="a page ends where it has grown to a size, and the rest is not asked for.",
)
def large_records(context: Context) -> None:
    """Records of more than a megabyte in all are yielded, each whole."""
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
    hint="what was replaced is listed beside what replaced it.",
)
def changed_records_once(context: Context) -> None:
    """A record that was written again and touched is yielded once, as `get` shows it now."""
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
    """A store without records yields none."""
    context.expect(context.store.all(), [])


@case("ENUM-2", depends_on=("GET-3", "ENUM-1"), hint="only `get` looks at the expiry.")
def expired_records_are_skipped(context: Context) -> None:
    """Expired records are not yielded, and those beside them are."""
    context.put("live")
    for number in range(3):
        context.put(f"expired{number}", life=60)
    context.advance(61)
    context.expect_keys(context.store.all(), ["live"])


@case("ENUM-3", depends_on=("DESTROY-2",), hint="records are counted that `get` no longer shows.")
def length_counts_the_live(context: Context) -> None:
    """The length is the number of live records, and 0 at first."""
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
    hint="records are counted that `get` no longer shows.",
)
def length_leaves_out_the_expired(context: Context) -> None:
    """Expired records are not counted, whether or not they take up space."""
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
    hint="a counter of its own is not kept up.",
)
def length_leaves_out_the_destroyed(context: Context) -> None:
    """Destroyed records are not counted, nor is what was never there."""
    for key in ("one", "two", "three"):
        context.put(key)
    context.store.destroy("one")
    context.store.destroy("one")
    context.store.destroy("unknown")
    context.expect(context.store.length(), 2)


@case(
    "ENUM-4",
    depends_on=("ENUM-1",),
    hint="what begins with the namespace's name is taken for a record of it.",
)
def other_namespaces_are_not_listed(context: Context) -> None:
    """What `all` yields is of this namespace, though another's name begins with its name."""
    elsewhere = context.elsewhere()
    context.put("here")
    context.put("there", store=elsewhere)
    context.harness.foreign(context.namespace)
    context.expect_keys(context.store.all(), ["here"])
    context.expect_keys(elsewhere.all(), ["there"], "elsewhere")


@case("ENUM-4", hint="the whole table or database is counted.")
def other_namespaces_are_not_counted(context: Context) -> None:
    """What `length` counts is of this namespace, though another's name begins with its name."""
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
    """Whatever way a record is malformed, `all` yields those beside it."""
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
    hint="a live dictionary or folder is iterated over, or pages are counted by number.",
    limit=20,
)
def changes_while_it_runs(context: Context) -> None:
    """Records that stay are yielded once while others come, change and go."""
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
    hint="pages are counted by number, and what went shifts what stays.",
    limit=20,
)
def removal_of_what_was_yielded(context: Context) -> None:
    """Each record is yielded though each one that was yielded is destroyed at once."""
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
    """After many iterations that were given up at the first record the store works."""
    _put_many(context, 5)
    for _ in range(20):
        records = context.store.iterate("all")
        next(records)
        records.close()
    context.put()
    context.expect_data(b"data")
    context.expect(len(context.store.all()), 6, "the records that `all` yields")


@case("ENUM-8", hint="a generator raises at its first item, or an empty list is returned.")
def undeclared_all(context: Context) -> None:
    """An `all` that is not declared raises `UnsupportedOperation` before any iteration."""
    with context.expect_raises(UnsupportedOperation):
        context.store.iterate("all")


@case("ENUM-8", hint="the length of an empty listing is returned.")
def undeclared_length(context: Context) -> None:
    """A `length` that is not declared raises `UnsupportedOperation`."""
    with context.expect_raises(UnsupportedOperation):
        context.store.length()
