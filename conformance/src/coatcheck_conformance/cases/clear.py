"""CLEAR: removing everything."""

from __future__ import annotations

from coatcheck.errors import UnsupportedOperation

from ..bench import Bench
from ..case import case

#: More than the first batch of any client that is in use.
_MANY = 130


@case("CLEAR-1", hint="one page of a listing is removed, or what has no owner.")
def every_key(bench: Bench) -> None:
    """After `clear` every key is absent: with and without an owner, of whatever life."""
    for number in range(_MANY):
        owner = f"owner{number % 3}" if number % 2 else None
        bench.put(f"key{number}", owner=owner, life=60 * (number + 1))
    bench.store.clear()
    for number in range(_MANY):
        bench.expect_absent(f"key{number}")


@case("CLEAR-1", hint="what is cleared is what this handle has written.")
def keys_of_another_handle(bench: Bench) -> None:
    """A `clear` removes what another handle on the same data wrote, for all handles."""
    writer = bench.second()
    bench.put(store=writer)
    bench.store.clear()
    bench.expect_absent()
    bench.expect_absent(store=writer)


@case(
    "CLEAR-2",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="the whole database is dropped, or all that begins with the namespace's name.",
)
def other_namespaces(bench: Bench) -> None:
    """A `clear` leaves the records of other namespaces, whatever their names begin with."""
    for extension in ("a", "0"):
        elsewhere = bench.elsewhere(extension)
        there, here = bench.put(store=elsewhere), bench.put()
        bench.store.clear()
        bench.expect_unchanged(there, store=elsewhere, about="elsewhere")
        here = bench.put()
        elsewhere.clear()
        bench.expect_unchanged(here, about="here, after `clear` elsewhere")


@case(
    "CLEAR-2",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="the whole database is dropped.",
)
def foreign_things(bench: Bench) -> None:
    """A `clear` leaves what belongs to no store."""
    bench.put()
    is_there = bench.harness.foreign(bench.namespace)
    bench.store.clear()
    if is_there is not None:
        bench.expect(is_there(), True, "what belongs to no store is still there, unchanged")


@case("CLEAR-3", hint="a list of no keys is sent to the backend, or a table is dropped.")
def empty_store(bench: Bench) -> None:
    """A `clear` of an empty store, also the second time, leaves a store that works."""
    for _ in range(2):
        bench.expect(bench.store.call("clear"), None)
        bench.expect_absent()
    bench.put()
    bench.expect_data(b"data")
    for _ in range(2):
        bench.expect(bench.store.call("clear"), None)
    bench.put(data=b"again")
    bench.expect_data(b"again")


@case("CLEAR-4", requires=("owners",), depends_on=("CLEAR-1", "OWNER-1"), hint="the index is left.")
def owner_index(bench: Bench) -> None:
    """After `clear` no owner has a record, not even when the keys are used again."""
    for number in range(4):
        bench.put(f"key{number}", owner="owner")
    bench.store.clear()
    bench.elapse(bench.capabilities.owner_lag)
    bench.expect_keys(bench.store.owned_by("owner"), [], "after `clear`")
    bench.put("key0")
    bench.put("key1", owner="other")
    bench.elapse(bench.capabilities.owner_lag)
    bench.expect_keys(bench.store.owned_by("owner"), [], "after new records without this owner")
    bench.expect_keys(bench.store.owned_by("other"), ["key1"])


@case(
    "CLEAR-4", requires=("enumerable",), depends_on=("CLEAR-1", "ENUM-3"), hint="a counter is left."
)
def length_is_zero(bench: Bench) -> None:
    """After `clear` the length is 0, and counts anew."""
    for number in range(4):
        bench.put(f"key{number}")
    bench.store.clear()
    bench.expect(bench.store.length(), 0)
    bench.put()
    bench.expect(bench.store.length(), 1)


@case("CLEAR-5", hint="the verb is there without its capability, or does nothing.")
def undeclared(bench: Bench) -> None:
    """A `clear` that is not declared raises `UnsupportedOperation`."""
    with bench.expect_raises(UnsupportedOperation):
        bench.store.clear()
