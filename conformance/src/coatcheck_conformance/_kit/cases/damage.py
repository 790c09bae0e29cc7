"""DAMAGE: garbage beside a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, Record, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context

_OUTSIDE = "the harness has no way to put garbage beside a record"
_DATA = b"data"
#: The latest valid time: the end of the year 9999.
_END = 253_402_300_799.0


def _garbled(context: Context) -> Iterator[tuple[str, str, str]]:
    """Yield a key, its owner and a description for each way to put garbage beside a record."""
    ways = context.need(context.harness.garbled(context.namespace, "key0", "owner0"), _OUTSIDE)
    for number, way in enumerate(ways):
        key, owner = f"key{number}", f"owner{number}"
        _garble(context, way, key, owner)
        yield key, owner, way


def _garble(context: Context, way: str, key: str, owner: str) -> None:
    context.put(key, _DATA, owner=owner)
    found = context.need(context.harness.garbled(context.namespace, key, owner), _OUTSIDE)
    context.steps.note(f"directly in the backend: {way} beside {key!r}")
    found[way]()


def _expect_sane(context: Context, found: object, way: str) -> None:
    """Expect None, or a record with these data, a valid owner and a valid expiry."""
    is_sane = found is None or (
        isinstance(found, Record)
        and found.data == _DATA
        and (found.owner is None or (isinstance(found.owner, str) and bool(found.owner)))
        and isinstance(found.expires_at, float | int)
        and math.isfinite(found.expires_at)
        and found.expires_at <= _END
    )
    context.expect_that(is_sane, f"{way}: None, or the record", found)


def _owned(context: Context, owner: str) -> dict[str, Record]:
    if context.capabilities.owner_lag > 0:
        context.advance(context.capabilities.owner_lag)
    return dict(context.store.owned_by(owner))


@case(
    "DAMAGE-1",
    needs=("garbled",),
    hint="metadata are parsed without a check of what somebody else may have written there.",
)
def reads_of_the_garbled(context: Context) -> None:
    """`get` returns None or the record as it was written, each time."""
    for key, _, way in _garbled(context):
        _expect_sane(context, context.store.get(key), way)
        _expect_sane(context, context.store.get(key), f"{way}, the second time")


@case(
    "DAMAGE-1",
    needs=("garbled",),
    depends_on=("DESTROY-1",),
    hint="a script or an index fails at the type of a value.",
)
def writes_of_the_garbled(context: Context) -> None:
    """`touch`, conditional `set` and `destroy` return a bool, and agree with `get`."""

    def writes(key: str, owner: str) -> list[tuple[str, Callable[[], object]]]:
        same, store = context.record(_DATA, owner), context.store
        later = context.clock.now + 2 * DAY
        conditions: list[Condition] = [ABSENT, PRESENT, Unchanged(_DATA)]
        return [
            ("touch", lambda: store.touch(key, later, owner)),
            ("touch without an owner", lambda: store.touch(key, later)),
            *((f"set {each}", lambda it=each: store.set(key, same, it)) for each in conditions),
            *((f"destroy {each}", lambda it=each: store.destroy(key, it)) for each in conditions),
        ]

    number = 0
    for way in context.need(context.harness.garbled(context.namespace, "key", "owner"), _OUTSIDE):
        for operation in range(len(writes("key", "owner"))):
            key, owner = f"key{number}", f"owner{number}"
            number += 1
            _garble(context, way, key, owner)
            name, write = writes(key, owner)[operation]
            done = write()
            context.expect_that(type(done) is bool, f"{way}, {name}: True or False", done)
            _expect_sane(context, context.store.get(key), f"{way}, {name}")


@case(
    "DAMAGE-2",
    needs=("garbled",),
    depends_on=("DAMAGE-1", "GET-5", "GET-7", "TOUCH-1", "DESTROY-1"),
    hint="a write adds to the garbage instead of replacing it.",
)
def a_write_makes_it_whole(context: Context) -> None:
    """After an unconditional write, or one with `ABSENT`, the record is like any other."""
    ways = list(context.need(context.harness.garbled(context.namespace, "key", "owner"), _OUTSIDE))
    for number, way in enumerate(ways * 2):
        key, owner = f"key{number}", f"owner{number}"
        _garble(context, way, key, owner)
        only_if: Condition = ALWAYS
        if number >= len(ways):
            context.store.destroy(key)
            context.expect_absent(key, about=way)
            only_if = ABSENT
        record = context.record(b"new", owner)
        context.expect(context.store.set(key, record, only_if), True, way)
        context.expect_same(context.store.get(key), record, way)
        _expect_owned(context, key, record, way)
        later = Record(b"new", context.clock.now + 2 * DAY, owner)
        context.expect(context.store.touch(key, later.expires_at, owner), True, way)
        context.expect_same(context.store.get(key), later, way)
        _expect_owned(context, key, later, way)
        context.expect(context.store.destroy(key), True, way)
        context.expect_absent(key, about=way)


def _expect_owned(context: Context, key: str, record: Record, way: str) -> None:
    if context.capabilities.owners:
        found = _owned(context, record.owner or "")
        context.expect_that(key in found, f"{way}: the record is listed by its owner", list(found))
        context.expect_same(found[key], record, way)


@case(
    "DAMAGE-3",
    needs=("garbled",),
    depends_on=("ENUM-1", "ENUM-3", "DAMAGE-1"),
    hint="the iteration ends at the first entry that cannot be read.",
)
def listings_beside_the_garbled(context: Context) -> None:
    """Listings yield the intact records, and nothing that is malformed."""
    sound = {f"sound{number}": context.put(f"sound{number}", owner="ann") for number in range(3)}
    keys = []
    for key, owner, way in _garbled(context):
        keys.append(key)
        found = dict(context.store.all())
        for name, record in sound.items():
            context.expect_same(found.get(name), record, way)
        strangers = found.keys() - sound.keys() - set(keys)
        context.expect_that(not strangers, f"{way}: no other keys", sorted(strangers))
        count = context.store.length()
        context.expect_that(count >= len(found), f"{way}: as many as there are, at least", count)
        if not context.capabilities.native_expiry:
            context.store.prune()
        if context.capabilities.owners:
            strangers = _owned(context, owner).keys() - {key}
            context.expect_that(not strangers, f"{way}: no other keys", sorted(strangers))
            context.expect(sorted(_owned(context, "ann")), sorted(sound), way)


@case(
    "DAMAGE-3",
    needs=("garbled",),
    requires=("clearable",),
    depends_on=("CLEAR-1", "DAMAGE-1"),
    hint="the iteration ends at the first entry that cannot be read.",
)
def clearing_the_garbled(context: Context) -> None:
    """`clear` also removes records that have garbage beside them."""
    keys = [key for key, _, _ in _garbled(context)]
    context.store.clear()
    for key in keys:
        context.expect_absent(key)
    context.expect(context.store.length(), 0)
    context.expect(list(context.store.all()), [])
