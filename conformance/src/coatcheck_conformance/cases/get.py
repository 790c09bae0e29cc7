"""GET: reading."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import Record

from ..bench import Bench
from ..case import case
from ..clock import DAY

_OUTSIDE = "the harness has no way to damage a record"


@case(
    "GET-1",
    foundation=False,
    hint="the record is written under another key, or in another form, than it is read.",
)
def data_of_the_last_set(bench: Bench) -> None:
    """After each of several writes the data are those of the last one."""
    for data in (b"one", b"two", b"three"):
        bench.store.set("key", bench.record(data))  # what it returns is SET-1's
        bench.expect_data(data)


@case("GET-1", foundation=False, hint="a handle keeps a copy of what it has read.")
def data_of_another_handle(bench: Bench) -> None:
    """A handle that has read a record shows the data that another handle wrote since."""
    other = bench.second()
    bench.store.set("key", bench.record(b"one"))
    for data in (b"two", b"three"):
        bench.store.get("key")
        other.set("key", bench.record(data))
        bench.expect_data(data)


@case("GET-2", hint="a missing key raises the backend's own KeyError.")
def unknown_key(bench: Bench) -> None:
    """A key that was never set is None, in an empty store and beside another record."""
    bench.expect_absent("unknown")
    bench.put("other")
    bench.expect_absent("unknown")


@case("GET-3", hint="it is left to the backend's cleaning up, which takes its time.")
def expired_record(bench: Bench) -> None:
    """A record whose time has come is None, with an owner and without."""
    for key, owner in (("key", None), ("owned", "owner")):
        bench.expired(key, owner=owner)
        bench.expect_absent(key)


@case("GET-3", hint="the first `get` shows what the backend has not cleaned up yet.")
def expired_record_again(bench: Bench) -> None:
    """A record that expired long ago is None, each time."""
    bench.put(life=60)
    bench.elapse(3600)
    bench.expect_absent()
    bench.expect_absent(about="the second time")


def damaged(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield a key for each way to damage a record, whose record is damaged so, and the way."""
    ways = bench.need(bench.harness.malformed(bench.namespace, "key0"), _OUTSIDE)
    for number, way in enumerate(ways):
        key = f"key{number}"
        bench.put(key, owner="owner")
        damage = bench.need(bench.harness.malformed(bench.namespace, key), _OUTSIDE)[way]
        damage()
        bench.steps.note(f"behind the store's back {key!r} is made {way}")
        yield key, way


@case(
    "GET-4",
    needs=("malformed",),
    hint="the parser's exception comes out, or is taken for a failure of the system.",
)
def malformed_record(bench: Bench) -> None:
    """What is malformed is None, each time, and a record beside it is there."""
    bench.put("sound")
    for key, way in damaged(bench):
        bench.expect_absent(key, about=way)
        bench.expect_absent(key, about=f"{way}, the second time")
    bench.expect_data(b"data", "sound")


def _expect_expiry(bench: Bench, record: Record, about: str) -> None:
    found = bench.store.get("key")
    if not isinstance(found, Record) or not bench.is_kept(found.expires_at, record.expires_at):
        bench.fail(f"{about}: {bench.steps.show(record)}", found)


@case("GET-5", hint="what the backend has left of a life is added to another clock.")
def expiry_of_the_last_set(bench: Bench) -> None:
    """After each of several writes, and some time, the expiry is that of the last one."""
    for life in (120, 2 * DAY, 20 * DAY):
        record = bench.put(life=life)
        bench.elapse(60)
        _expect_expiry(bench, record, "a minute after `set`")


@case(
    "GET-5",
    depends_on=("TOUCH-1",),
    hint="`get` shows the expiry inside the record, and `touch` moves another one.",
)
def expiry_of_the_last_touch(bench: Bench) -> None:
    """After a `touch` the expiry is that of the touch, and after another `set` that of the set."""
    bench.put()
    touched = bench.record(life=2 * DAY)
    bench.expect(bench.store.touch("key", touched.expires_at), True)
    _expect_expiry(bench, touched, "after `touch`")
    bench.elapse(60)
    _expect_expiry(bench, touched, "a minute later")
    _expect_expiry(bench, bench.put(life=3 * DAY), "after another `set`")


@case(
    "GET-6",
    depends_on=(
        "GET-5",
        "GET-7",
        "GET-3",
    ),
    hint="reading extends the life, as sessions with a sliding expiry do.",
)
def reading_changes_nothing(bench: Bench) -> None:
    """A record that was read many times, while time passed, is as it was."""
    record = bench.put(owner="owner")
    for _ in range(4):
        bench.elapse(DAY / 8)
        bench.expect_unchanged(record)
    bench.expect_unchanged(record, store=bench.second())


@case(
    "GET-6",
    depends_on=("GET-3",),
    hint="reading extends the life, as sessions with a sliding expiry do.",
)
def reading_keeps_nothing_alive(bench: Bench) -> None:
    """A record that is read until just before its expiry is absent after it."""
    bench.put(life=120)
    for _ in range(2):
        bench.elapse(50)
        bench.store.get("key")
    bench.elapse(21)
    bench.expect_absent()


def _expect_owner(bench: Bench, key: str, owner: str | None, about: str) -> None:
    found = bench.store.get(key)
    kept = bench.kept_owner(owner)
    if not isinstance(found, Record) or found.owner != kept:
        bench.fail(f"{about}: a Record with the owner {kept!r}", found)


@case(
    "GET-7",
    hint="the owner is written to the index alone, or shown though `owners` is not declared.",
)
def owner_of_the_last_set(bench: Bench) -> None:
    """The owner is the one of the last write, and None of a record that never had one."""
    bench.put("anonymous")
    for owner in ("owner", "other", "owner"):
        bench.put(owner=owner)
        _expect_owner(bench, "key", owner, "after `set`")
    _expect_owner(bench, "anonymous", None, "without an owner")
