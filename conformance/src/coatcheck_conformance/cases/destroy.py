"""DESTROY: ending."""

from __future__ import annotations

from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Unchanged

from ..bench import Bench
from ..case import case
from ..clock import DAY
from .get import damaged
from .set import alike

_UNCHANGED: Final = Unchanged(b"data")
_OTHER: Final = Unchanged(b"other")


@case("DESTROY-1", hint="the backend's own reply is returned, or the record is only marked.")
def live_record(bench: Bench) -> None:
    """A live record is removed, with an owner and without, and the call returns True."""
    for owner in (None, "owner"):
        bench.put(owner=owner)
        bench.expect(bench.store.destroy("key"), True)
        bench.expect_absent()


@case("DESTROY-1", hint="a handle keeps a copy of what it has read.")
def live_record_of_another_handle(bench: Bench) -> None:
    """A record that another handle wrote is removed for both."""
    other = bench.second()
    bench.put(store=other)
    bench.expect_data(b"data", store=other)
    bench.expect(bench.store.destroy("key"), True)
    bench.expect_absent(store=other)


@case("DESTROY-2", hint="the backend raises for a missing key, or never tells what it removed.")
def unknown_key(bench: Bench) -> None:
    """Under a key that was never set it returns False, whether or not it asks for some bytes."""
    bench.put("other")
    bench.expect(bench.store.destroy("key"), False)
    bench.expect(bench.store.destroy("key", _UNCHANGED), False)


@case("DESTROY-2", depends_on=("DESTROY-1",), hint="a mark of what was destroyed is destroyed.")
def second_time(bench: Bench) -> None:
    """The second time it returns False, and the third."""
    bench.put(owner="owner")
    bench.expect(bench.store.destroy("key"), True)
    for _ in range(2):
        bench.expect(bench.store.destroy("key"), False)


@case(
    "DESTROY-3",
    depends_on=("GET-3", "DESTROY-2"),
    hint="whatever was removed counts, also what had expired.",
)
def expired_record(bench: Bench) -> None:
    """An expired record gives False, with an owner and without."""
    for key, owner in (("key", None), ("owned", "owner")):
        bench.expired(key, owner=owner)
        bench.expect(bench.store.destroy(key), False)


@case(
    "DESTROY-3", depends_on=("GET-3", "DESTROY-2", "DESTROY-6"), hint="whatever was removed counts."
)
def expired_record_unchanged(bench: Bench) -> None:
    """An expired record gives False also where its bytes are asked for."""
    old = bench.expired()
    bench.expect(bench.store.destroy("key", Unchanged(old.data)), False)


@case("DESTROY-4", depends_on=("DESTROY-1",), hint="it is the condition of an update.")
def live_record_if_present(bench: Bench) -> None:
    """With `PRESENT` a live record is removed, and the call returns True."""
    bench.put(owner="owner")
    bench.expect(bench.store.destroy("key", PRESENT), True)
    bench.expect_absent()


@case("DESTROY-4", depends_on=("DESTROY-2",), hint="the condition of an update raises.")
def nothing_if_present(bench: Bench) -> None:
    """With `PRESENT` a key that was never set gives False."""
    bench.put("other")
    for _ in range(2):
        bench.expect(bench.store.destroy("key", PRESENT), False)


@case("DESTROY-4", depends_on=("DESTROY-3",), hint="what has expired counts as present.")
def expired_record_if_present(bench: Bench) -> None:
    """With `PRESENT` an expired record gives False."""
    bench.expired()
    bench.expect(bench.store.destroy("key", PRESENT), False)


@case(
    "DESTROY-5",
    depends_on=("GET-5", "GET-7"),
    hint="conditions are ignored, or every condition but `Unchanged`.",
)
def live_record_if_absent(bench: Bench) -> None:
    """With `ABSENT` a live record stays as it was, and the call returns False."""
    record = bench.put(owner="owner")
    bench.expect(bench.store.destroy("key", ABSENT), False)
    bench.expect_unchanged(record)


@case("DESTROY-5", hint="the condition holds, so it is called a success.")
def nothing_if_absent(bench: Bench) -> None:
    """With `ABSENT` a key that was never set, or has expired, gives False."""
    bench.expect(bench.store.destroy("key", ABSENT), False)
    bench.expired("old")
    bench.expect(bench.store.destroy("old", ABSENT), False)


@case(
    "DESTROY-6",
    depends_on=("DATA-2",),
    hint="the condition is compared with another form of the data.",
)
def unchanged_record(bench: Bench) -> None:
    """With `Unchanged` and its bytes a live record is removed, and the call returns True."""
    for data in (b"data", b'{"a": 1}', b"\xff\xfe"):
        bench.put(data=data, owner="owner")
        bench.expect(bench.store.destroy("key", Unchanged(data)), True)
        bench.expect_absent()


@case(
    "DESTROY-6",
    depends_on=(
        "SET-11",
        "TOUCH-1",
        "DATA-2",
    ),
    hint="a version is compared that each touch changes as well.",
)
def touched_record(bench: Bench) -> None:
    """With `Unchanged` a record is removed though it was touched since it was read."""
    bench.put()
    bench.expect_data(b"data")
    bench.expect(bench.second().touch("key", bench.clock.now + 2 * DAY), True)
    bench.expect(bench.store.destroy("key", _UNCHANGED), True)
    bench.expect_absent()


@case(
    "DESTROY-7",
    depends_on=("GET-5", "GET-7"),
    hint="conditions are ignored, or what this handle has read is compared.",
)
def changed_record(bench: Bench) -> None:
    """With `Unchanged` and other bytes a record stays as it was, and the call returns False."""
    bench.put(data=b"former", owner="owner")
    bench.expect_data(b"former")
    record = bench.put(data=b"stored", owner="owner", store=bench.second())
    for data in (b"former", b"sto", b"longer than stored", b"x"):
        bench.expect(bench.store.destroy("key", Unchanged(data)), False)
        bench.expect_unchanged(record)


@case(
    "DESTROY-7",
    depends_on=("SET-10", "DATA-1"),
    hint="documents are compared, texts by a collation, or a part of the data.",
)
def almost_unchanged_record(bench: Bench) -> None:
    """With `Unchanged` and bytes that only mean the same a record stays."""
    for stored, given in alike():
        bench.put(data=stored)
        bench.expect(bench.store.destroy("key", Unchanged(given)), False)
        bench.expect_data(stored)


@case(
    "DESTROY-8",
    depends_on=("DESTROY-1", "SET-6", "SET-9", "TOUCH-2"),
    hint="the record is only marked as destroyed, and the mark is lost with the next write.",
)
def nothing_brings_it_back(bench: Bench) -> None:
    """What was destroyed stays so for `PRESENT`, `Unchanged` and `touch`, which return False."""
    bench.put(owner="ann")
    bench.expect(bench.store.destroy("key"), True)
    _expect_ended(bench)
    bench.elapse(60)
    _expect_ended(bench)


@case(
    "DESTROY-8",
    depends_on=("DESTROY-1", "SET-6", "SET-9", "TOUCH-2"),
    hint="a handle writes back what it has read before.",
)
def no_other_handle_brings_it_back(bench: Bench) -> None:
    """What another handle destroyed stays so for a handle that has read it before."""
    bench.put(owner="ann")
    bench.expect_data(b"data")
    bench.expect(bench.second().destroy("key"), True)
    _expect_ended(bench)


def _expect_ended(bench: Bench) -> None:
    """Expect that nothing but a new session makes the key live."""
    record = bench.record(owner="ann", life=2 * DAY)
    bench.expect(bench.store.touch("key", record.expires_at), False)
    bench.expect(bench.store.touch("key", record.expires_at, "ann"), False)
    bench.expect(bench.store.set("key", record, PRESENT), False)
    bench.expect(bench.store.set("key", record, _UNCHANGED), False)
    bench.expect_absent()


_NEIGHBOURS: Final = ("k", "ke", "key0", "key1", "key:1", "keykey", "a key", "other")


@case(
    "DESTROY-9",
    depends_on=("GET-5", "GET-7", "KEY-6", "DESTROY-2"),
    hint="what is removed is a pattern, or all that belongs to the owner.",
)
def neighbours(bench: Bench) -> None:
    """Records beside it stay as they were: of like names, with the same data and owner."""
    records = {key: bench.put(key, owner="owner") for key in _NEIGHBOURS}
    bench.put(owner="owner")
    bench.store.destroy("key")
    bench.store.destroy("unknown")
    for key, record in records.items():
        bench.expect_unchanged(record, key)


@case(
    "DESTROY-2",
    needs=("malformed",),
    depends_on=("GET-4", "DESTROY-10"),
    hint="what is there is counted as an ended session, or cannot be parsed.",
)
def malformed_record_is_none(bench: Bench) -> None:
    """`destroy` of what is malformed returns False, on any condition."""
    for key, way in damaged(bench):
        for only_if in (_UNCHANGED, PRESENT, ALWAYS):
            bench.expect(bench.store.destroy(key, only_if), False, way)
            bench.expect_absent(key, about=way)


@case(
    "DESTROY-10",
    needs=("malformed",),
    depends_on=("SET-3",),
    hint="what cannot be read is taken for nothing, and left.",
)
def malformed_record(bench: Bench) -> None:
    """After `destroy` of what is malformed nothing is in the way of a new record."""
    for key, way in damaged(bench):
        bench.store.destroy(key)
        bench.expect(bench.store.set(key, bench.record(b"new"), ABSENT), True, way)
        bench.expect_data(b"new", key, about=way)
