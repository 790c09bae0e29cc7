"""GET: reading."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import Record

from ..case import case
from ..clock import DAY
from ..context import Context

_OUTSIDE = "the harness has no way to damage a record"


@case(
    "GET-1",
    foundation=False,
    hint="the record is written under another key, or in another form, than it is read.",
)
def data_of_the_last_set(context: Context) -> None:
    """`get` returns the data of the last of several writes."""
    for data in (b"one", b"two", b"three"):
        context.store.set("key", context.record(data))  # SET-1 checks the result
        context.expect_data(data)


@case("GET-1", foundation=False, hint="a handle keeps a copy of the record that it has read.")
def data_of_another_handle(context: Context) -> None:
    """`get` returns data that another handle wrote since this one last read the record."""
    other = context.second()
    context.store.set("key", context.record(b"one"))
    for data in (b"two", b"three"):
        context.store.get("key")
        other.set("key", context.record(data))
        context.expect_data(data)


@case("GET-2", hint="a missing key raises the backend's own KeyError.")
def unknown_key(context: Context) -> None:
    """`get` of a key that was never set returns None, also beside another record."""
    context.expect_absent("unknown")
    context.put("other")
    context.expect_absent("unknown")


@case("GET-3", hint="expiry is left to the backend's garbage collection, which is late.")
def expired_record(context: Context) -> None:
    """`get` of an expired record returns None, with and without an owner."""
    for key, owner in (("key", None), ("owned", "owner")):
        context.expired(key, owner=owner)
        context.expect_absent(key)


@case("GET-3", hint="the first `get` returns a record that the backend has not removed yet.")
def expired_record_again(context: Context) -> None:
    """`get` of a record that expired long ago returns None, each time."""
    context.put(life=60)
    context.advance(3600)
    context.expect_absent()
    context.expect_absent(about="the second time")


def damaged(context: Context) -> Iterator[tuple[str, str]]:
    """Damage a record in each possible way, and yield its key and a description of the way."""
    ways = context.need(context.harness.malformed(context.namespace, "key0"), _OUTSIDE)
    for number, way in enumerate(ways):
        key = f"key{number}"
        context.put(key, owner="owner")
        damage = context.need(context.harness.malformed(context.namespace, key), _OUTSIDE)[way]
        damage()
        context.steps.note(f"directly in the backend, {key!r} is made {way}")
        yield key, way


@case(
    "GET-4",
    needs=("malformed",),
    hint="the parser's exception is raised, or taken for a failure of the system.",
)
def malformed_record(context: Context) -> None:
    """`get` of a malformed record returns None, each time, and one beside it is returned."""
    context.put("sound")
    for key, way in damaged(context):
        context.expect_absent(key, about=way)
        context.expect_absent(key, about=f"{way}, the second time")
    context.expect_data(b"data", "sound")


def _expect_expiry(context: Context, record: Record, about: str) -> None:
    found = context.store.get("key")
    if not isinstance(found, Record) or not context.is_kept(found.expires_at, record.expires_at):
        context.fail(f"{about}: {context.steps.show(record)}", found)


@case("GET-5", hint="the backend's remaining lifetime is added to another clock.")
def expiry_of_the_last_set(context: Context) -> None:
    """`get` returns the expiry of the last of several writes, also some time later."""
    for life in (120, 2 * DAY, 20 * DAY):
        record = context.put(life=life)
        context.advance(60)
        _expect_expiry(context, record, "a minute after `set`")


@case(
    "GET-5",
    depends_on=("TOUCH-1",),
    hint="`get` returns the expiry inside the record, and `touch` moves another one.",
)
def expiry_of_the_last_touch(context: Context) -> None:
    """`get` returns the expiry of a `touch`, and after another `set` that of the `set`."""
    context.put()
    touched = context.record(life=2 * DAY)
    context.expect(context.store.touch("key", touched.expires_at), True)
    _expect_expiry(context, touched, "after `touch`")
    context.advance(60)
    _expect_expiry(context, touched, "a minute later")
    _expect_expiry(context, context.put(life=3 * DAY), "after another `set`")


@case(
    "GET-6",
    depends_on=(
        "GET-5",
        "GET-7",
        "GET-3",
    ),
    hint="reading lengthens the life, as in sessions with a sliding expiry.",
)
def reading_changes_nothing(context: Context) -> None:
    """A record is unchanged after many reads, while time passes."""
    record = context.put(owner="owner")
    for _ in range(4):
        context.advance(DAY / 8)
        context.expect_unchanged(record)
    context.expect_unchanged(record, store=context.second())


@case(
    "GET-6",
    depends_on=("GET-3",),
    hint="reading lengthens the life, as in sessions with a sliding expiry.",
)
def reading_keeps_nothing_alive(context: Context) -> None:
    """A record that is read until just before its expiry is absent after it."""
    context.put(life=120)
    for _ in range(2):
        context.advance(50)
        context.store.get("key")
    context.advance(21)
    context.expect_absent()


def _expect_owner(context: Context, key: str, owner: str | None, about: str) -> None:
    found = context.store.get(key)
    kept = context.kept_owner(owner)
    if not isinstance(found, Record) or found.owner != kept:
        context.fail(f"{about}: a Record with the owner {kept!r}", found)


@case(
    "GET-7",
    hint="the owner is written to the index alone, or returned although `owners` is not declared.",
)
def owner_of_the_last_set(context: Context) -> None:
    """`get` returns the owner of the last write, or None if it had no owner."""
    context.put("anonymous")
    for owner in ("owner", "other", "owner"):
        context.put(owner=owner)
        _expect_owner(context, "key", owner, "after `set`")
    _expect_owner(context, "anonymous", None, "without an owner")
