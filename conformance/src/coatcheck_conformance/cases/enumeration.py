"""ENUM: listing."""

from __future__ import annotations

from coatcheck.errors import UnsupportedOperation

from ..bench import Bench
from ..case import case
from ..clock import DAY

#: More than the first batch of any client that is in use.
_MANY = 130
#: Bytes of which a page of a listing may not have more than ten.
_LARGE = 120_000


def _put_many(bench: Bench, count: int = _MANY) -> list[str]:
    """Set records with and without owners, and return their keys."""
    keys = [f"key{number:03}" for number in range(count)]
    for number, key in enumerate(keys):
        bench.put(key, f"data of {key}".encode(), f"owner{number % 3}" if number % 2 else None)
    return keys


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="a cursor yields a record twice, or the owner and expiry are not read.",
)
def each_record_once(bench: Bench) -> None:
    """Each live record is yielded once, as `get` shows it."""
    keys = _put_many(bench)
    found = bench.store.all()
    bench.expect_keys(found, keys)
    for key, record in found:
        bench.expect(record, bench.store.get(key), f"the record of {key!r} as `get` shows it")


@case(
    "ENUM-1",
    depends_on=("GET-5", "GET-7"),
    hint="a page ends where it has grown to a size, and the rest is not asked for.",
)
def large_records(bench: Bench) -> None:
    """Records of more than a megabyte in all are yielded, each whole."""
    data = b"x" * (min(_LARGE, bench.capabilities.max_data_bytes or _LARGE) - 4)
    for number in range(12):
        bench.put(f"key{number:02}", data + b"%4d" % number)
    found = dict(bench.store.all())
    bench.expect_keys(list(found.items()), [f"key{number:02}" for number in range(12)])
    for number in range(12):
        seen = found[f"key{number:02}"].data
        bench.expect(seen, data + b"%4d" % number, f"the data of key{number:02}")


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="what was replaced is listed beside what replaced it.",
)
def changed_records_once(bench: Bench) -> None:
    """A record that was written again and touched is yielded once, as `get` shows it now."""
    bench.put(owner="owner")
    bench.put(data=b"new", owner="other")
    bench.store.touch("key", bench.clock.now + 2 * DAY)
    found = bench.store.all()
    bench.expect_keys(found, ["key"])
    bench.expect(found[0][1], bench.store.get("key"), "as `get` shows it")


@case(
    "ENUM-1",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="an empty listing is taken for an error.",
)
def empty_store_lists_nothing(bench: Bench) -> None:
    """A store without records yields none."""
    bench.expect(bench.store.all(), [])


@case("ENUM-2", depends_on=("GET-3", "ENUM-1"), hint="only `get` looks at the expiry.")
def expired_records_are_skipped(bench: Bench) -> None:
    """Expired records are not yielded, and those beside them are."""
    bench.put("live")
    for number in range(3):
        bench.put(f"expired{number}", life=60)
    bench.elapse(61)
    bench.expect_keys(bench.store.all(), ["live"])


@case("ENUM-3", depends_on=("DESTROY-2",), hint="records are counted that `get` no longer shows.")
def length_counts_the_live(bench: Bench) -> None:
    """The length is the number of live records, and 0 at first."""
    bench.expect(bench.store.length(), 0)
    keys = _put_many(bench)
    bench.expect(bench.store.length(), len(keys))
    bench.put(keys[0], b"again")
    bench.expect(bench.store.length(), len(keys), "after one was written again")


@case(
    "ENUM-3",
    depends_on=(
        "GET-3",
        "DESTROY-2",
    ),
    hint="records are counted that `get` no longer shows.",
)
def length_leaves_out_the_expired(bench: Bench) -> None:
    """Expired records are not counted, whether or not they take up space."""
    bench.put("live")
    for number in range(3):
        bench.put(f"expired{number}", life=60)
    bench.elapse(61)
    bench.expect(bench.store.length(), 1)


@case(
    "ENUM-3",
    depends_on=(
        "DESTROY-1",
        "DESTROY-2",
    ),
    hint="a counter of its own is not kept up.",
)
def length_leaves_out_the_destroyed(bench: Bench) -> None:
    """Destroyed records are not counted, nor is what was never there."""
    for key in ("one", "two", "three"):
        bench.put(key)
    bench.store.destroy("one")
    bench.store.destroy("one")
    bench.store.destroy("unknown")
    bench.expect(bench.store.length(), 2)


@case(
    "ENUM-4",
    depends_on=("ENUM-1",),
    hint="what begins with the namespace's name is taken for a record of it.",
)
def other_namespaces_are_not_listed(bench: Bench) -> None:
    """What `all` yields is of this namespace, though another's name begins with its name."""
    elsewhere = bench.elsewhere()
    bench.put("here")
    bench.put("there", store=elsewhere)
    bench.harness.foreign(bench.namespace)
    bench.expect_keys(bench.store.all(), ["here"])
    bench.expect_keys(elsewhere.all(), ["there"], "elsewhere")


@case("ENUM-4", hint="the whole table or database is counted.")
def other_namespaces_are_not_counted(bench: Bench) -> None:
    """What `length` counts is of this namespace, though another's name begins with its name."""
    elsewhere = bench.elsewhere()
    bench.put("here")
    for number in range(2):
        bench.put(f"there{number}", store=elsewhere)
    bench.harness.foreign(bench.namespace)
    bench.expect(bench.store.length(), 1)
    bench.expect(elsewhere.length(), 2, "elsewhere")


@case(
    "ENUM-5",
    needs=("malformed",),
    depends_on=("ENUM-1",),
    hint="the iteration ends at the error of one record.",
)
def malformed_records_are_skipped(bench: Bench) -> None:
    """Whatever way a record is malformed, `all` yields those beside it."""
    sound = _put_many(bench, 10)
    names = list(bench.need(bench.harness.malformed(bench.namespace, "bad"), "no way to damage"))
    for number, name in enumerate(names):
        key = f"bad{number}"
        bench.put(key)
        ways = bench.harness.malformed(bench.namespace, key) or {}
        bench.steps.note(f"the record of {key!r} is damaged: {name}")
        ways[name]()
        bench.expect_keys(bench.store.all(), sound)


@case(
    "ENUM-6",
    depends_on=("ENUM-1", "DESTROY-1"),
    hint="a live dictionary or folder is iterated over, or pages are counted by number.",
    limit=20,
)
def changes_while_it_runs(bench: Bench) -> None:
    """Records that stay are yielded once while others come, change and go."""
    keys = _put_many(bench)
    records = bench.store.iterate("all")
    first, _ = next(records)
    rest = [key for key in keys if key != first]
    gone, changed = rest[::3], rest[1::3]
    for key in gone:
        bench.store.destroy(key)
    for key in changed:
        bench.put(key, b"changed and longer than it was before")
    for number in range(_MANY):
        bench.put(f"new{number}")
    seen = [first, *(key for key, _ in records)]
    for key in keys:
        least = 0 if key in gone else 1
        bench.expect_that(least <= seen.count(key) <= 1, f"{key!r} once", sorted(seen))


@case(
    "ENUM-6",
    depends_on=("ENUM-1",),
    hint="pages are counted by number, and what went shifts what stays.",
    limit=20,
)
def removal_of_what_was_yielded(bench: Bench) -> None:
    """Each record is yielded though each one that was yielded is destroyed at once."""
    keys = _put_many(bench)
    seen = []
    for key, _ in bench.store.iterate("all"):
        seen.append(key)
        bench.store.destroy(key)
    bench.expect(sorted(seen), keys)


@case(
    "ENUM-7",
    depends_on=("ENUM-1",),
    hint="a lock, a cursor or a connection is held until the last record.",
    limit=20,
)
def given_up(bench: Bench) -> None:
    """After many iterations that were given up at the first record the store works."""
    _put_many(bench, 5)
    for _ in range(20):
        records = bench.store.iterate("all")
        next(records)
        records.close()
    bench.put()
    bench.expect_data(b"data")
    bench.expect(len(bench.store.all()), 6, "the records that `all` yields")


@case("ENUM-8", hint="a generator raises at its first item, or an empty list is returned.")
def undeclared_all(bench: Bench) -> None:
    """An `all` that is not declared raises `UnsupportedOperation` before any iteration."""
    with bench.expect_raises(UnsupportedOperation):
        bench.store.iterate("all")


@case("ENUM-8", hint="the length of an empty listing is returned.")
def undeclared_length(bench: Bench) -> None:
    """A `length` that is not declared raises `UnsupportedOperation`."""
    with bench.expect_raises(UnsupportedOperation):
        bench.store.length()
