"""TOUCH: moving the expiry."""

from __future__ import annotations

from coatcheck import Record

from ..case import case
from ..clock import DAY
from ..context import Context
from ..handle import Handle
from .get import damaged

#: How often a `touch` and a `set` run at the same time.
_ROUNDS = 8

#: Seconds for which each reading of the clock is delayed, so that the calls overlap.
_PAUSE = 0.001


@case(
    "TOUCH-1", hint="a lifetime is passed to a backend that expects an instant, or nothing happens."
)
def longer_life(context: Context) -> None:
    """`touch` of a live record returns True, and the record outlives its former expiry."""
    context.put(life=60)
    for _ in range(3):
        context.expect(context.store.touch("key", context.clock.now + 120), True)
        context.advance(61)
        found = context.store.get("key")
        context.expect_that(found is not None, "a Record, which was touched", found)


@case(
    "TOUCH-1",
    depends_on=("GET-3",),
    hint="the new lifetime is too long, or has no end.",
)
def new_expiry(context: Context) -> None:
    """`touch` of a live record ends it at the new expiry."""
    context.put(life=60)
    context.expect(context.store.touch("key", context.clock.now + 240), True)
    context.advance(241)
    context.expect_absent()


@case("TOUCH-1", hint="a write of the same expiry matches no row.")
def same_expiry(context: Context) -> None:
    """`touch` to the same expiry returns True."""
    record = context.put()
    for _ in range(2):
        context.expect(context.store.touch("key", record.expires_at), True)


@case("TOUCH-2", hint="it is an upsert.")
def nothing_there(context: Context) -> None:
    """`touch` of a key that was never set returns False and creates nothing, with any owner."""
    context.put("other", owner="owner")
    for owner in (None, "owner"):
        context.expect(context.store.touch("key", context.clock.now + DAY, owner), False)
        context.expect_absent()


@case(
    "TOUCH-2",
    needs=("malformed",),
    depends_on=("GET-4",),
    hint="the expiry is moved without a check of the record.",
)
def malformed_record(context: Context) -> None:
    """`touch` of a malformed record returns False, and the key stays absent."""
    for key, way in damaged(context):
        context.expect(context.store.touch(key, context.clock.now + DAY, "owner"), False, way)
        context.expect_absent(key, about=way)


@case(
    "TOUCH-3",
    depends_on=("GET-3",),
    hint="an expired record that is still stored is touched like a live one.",
)
def expired_record(context: Context) -> None:
    """`touch` of an expired record returns False and revives nothing, with any owner."""
    for key, owner in (("key", None), ("owned", "owner")):
        context.expired(key, owner=owner)
        context.expect(context.store.touch(key, context.clock.now + DAY, owner), False)
        context.expect_absent(key)


@case(
    "TOUCH-4",
    depends_on=(
        "DATA-2",
        "DATA-3",
    ),
    hint="the record is written again as it was read.",
)
def data_stay(context: Context) -> None:
    """`touch`, with and without an owner, keeps the data."""
    for owner in (None, "owner"):
        for data in (b"data", b"\xff\xfe", b'{ "a" : 1 }\n', b"data\0"):
            context.put(data=data, owner=owner)
            for given in (None, "owner"):
                context.store.touch("key", context.clock.now + 2 * DAY, given)
                context.expect_data(data)


@case(
    "TOUCH-4",
    depends_on=(
        "DATA-2",
        "DATA-3",
    ),
    hint="a handle writes back the record that it has read before.",
)
def data_of_another_handle_stay(context: Context) -> None:
    """`touch` by a handle that has read older data keeps those of another handle."""
    other = context.second()
    context.put(data=b"old", owner="owner")
    for number, owner in enumerate((None, "owner")):
        context.store.get("key")
        data = b"new%d" % number
        context.put(data=data, owner="owner", store=other)
        context.store.touch("key", context.clock.now + 2 * DAY, owner)
        context.expect_data(data)


@case(
    "TOUCH-4",
    depends_on=(
        "TOUCH-7",
        "TOUCH-8",
        "DATA-2",
        "DATA-3",
    ),
    hint="`touch` reads the record, and writes it back after another call has written.",
)
def data_of_a_set_at_the_same_time_stay(context: Context) -> None:
    """When `touch` and `set` run at the same time the data of the `set` are kept."""
    handles = [context.second() for _ in range(3)]
    context.put(owner="owner")
    context.clock.pause = _PAUSE
    try:
        for number in range(_ROUNDS):
            _meet(context, handles, b"data%d" % number)
    finally:
        context.clock.pause = 0


def _meet(context: Context, handles: list[Handle], data: bytes) -> None:
    first, second, writer = handles
    later = context.clock.now + 2 * DAY
    context.together(
        [
            first.later("touch", "key", later),
            writer.later("set", "key", context.record(data, "owner")),
            second.later("touch", "key", later + 60, "owner"),
        ]
    )
    context.expect_data(data)


@case("TOUCH-5", depends_on=("GET-3",), hint="the later of two expiries is kept.")
def shorter_life(context: Context) -> None:
    """`touch` of a live record to an earlier time ends it then."""
    context.put()
    context.store.touch("key", context.clock.now + 60)
    context.advance(61)
    context.expect_absent()


@case("TOUCH-5", depends_on=("GET-3", "TOUCH-1"), hint="the later of two expiries is kept.")
def shorter_life_after_a_longer_one(context: Context) -> None:
    """`touch` can shorten a life that another `touch` has lengthened."""
    context.put(life=60)
    context.expect(context.store.touch("key", context.clock.now + DAY), True)
    context.store.touch("key", context.clock.now + 120)
    context.advance(121)
    context.expect_absent()


@case(
    "TOUCH-6",
    depends_on=("GET-3", "EXPIRY-1", "TOUCH-5"),
    hint="a lifetime of 0 or less is an error to the backend, or means forever.",
)
def past_time(context: Context) -> None:
    """`touch` of a live record to now or earlier returns True and ends it."""
    now = context.clock.now
    for owner in (None, "owner"):
        for expires_at in (now, now - 60, now - 400 * DAY, 0.0):
            context.put(owner=owner)
            context.expect(context.store.touch("key", expires_at, owner), True)
            context.expect_absent()


@case(
    "TOUCH-7",
    depends_on=("GET-7",),
    hint="the argument is written to the record.",
)
def owner_stays(context: Context) -> None:
    """`touch` does not change the owner, whatever owner is given."""
    for key, owner in (("owned", "owner"), ("anonymous", None)):
        context.put(key, owner=owner)
        for given in ("other", "owner"):
            context.store.touch(key, context.clock.now + 2 * DAY, given)
            found = context.store.get(key)
            kept = context.kept_owner(owner)
            if not isinstance(found, Record) or found.owner != kept:
                context.fail(f"a Record with the owner {kept!r}", found)


@case(
    "TOUCH-8",
    depends_on=("TOUCH-1", "GET-7"),
    hint="None is looked up in the index, or written to the record.",
)
def without_the_argument(context: Context) -> None:
    """`touch` without an owner keeps the record and its owner."""
    context.put(life=60, owner="owner")
    context.expect(context.store.touch("key", context.clock.now + 240), True)
    context.advance(61)
    found = context.store.get("key")
    if not isinstance(found, Record) or found.owner != context.kept_owner("owner"):
        context.fail("a Record with its owner, which was touched", found)
