"""CLEAR: removing everything."""

from __future__ import annotations

from coatcheck.errors import UnsupportedOperation

from ..case import case
from ..context import Context

#: More than the first page of any client library.
_MANY = 130


@case("CLEAR-1", hint="`clear` removes one page of a listing, or skips records that have no owner.")
def every_key(context: Context) -> None:
    """After `clear` every key is absent, with and without an owner, whatever its expiry."""
    for number in range(_MANY):
        owner = f"owner{number % 3}" if number % 2 else None
        context.put(f"key{number}", owner=owner, life=60 * (number + 1))
    context.store.clear()
    for number in range(_MANY):
        context.expect_absent(f"key{number}")


@case("CLEAR-1", hint="a handle clears only records that it has written itself.")
def keys_of_another_handle(context: Context) -> None:
    """`clear` removes records that another handle wrote, and both handles see it."""
    writer = context.second()
    context.put(store=writer)
    context.store.clear()
    context.expect_absent()
    context.expect_absent(store=writer)


@case(
    "CLEAR-2",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="`clear` drops the whole database, or everything that begins with the namespace's name.",
)
def other_namespaces(context: Context) -> None:
    """`clear` keeps the records of other namespaces, even if their names begin alike."""
    for extension in ("a", "0"):
        elsewhere = context.elsewhere(extension)
        there, here = context.put(store=elsewhere), context.put()
        context.store.clear()
        context.expect_unchanged(there, store=elsewhere, about="elsewhere")
        here = context.put()
        elsewhere.clear()
        context.expect_unchanged(here, about="here, after `clear` elsewhere")


@case(
    "CLEAR-2",
    depends_on=(
        "GET-5",
        "GET-7",
    ),
    hint="`clear` drops the whole database.",
)
def foreign_things(context: Context) -> None:
    """`clear` keeps data in the backend that belong to no store."""
    context.put()
    is_there = context.harness.foreign(context.namespace)
    context.store.clear()
    if is_there is not None:
        context.expect(is_there(), True, "what belongs to no store is still there, unchanged")


@case("CLEAR-3", hint="an empty list of keys is sent to the backend, or a table is dropped.")
def empty_store(context: Context) -> None:
    """`clear` of an empty store can be repeated, and the store works afterwards."""
    for _ in range(2):
        context.expect(context.store.call("clear"), None)
        context.expect_absent()
    context.put()
    context.expect_data(b"data")
    for _ in range(2):
        context.expect(context.store.call("clear"), None)
    context.put(data=b"again")
    context.expect_data(b"again")


@case(
    "CLEAR-4",
    requires=("owners",),
    depends_on=("CLEAR-1", "OWNER-1"),
    hint="`clear` keeps the index.",
)
def owner_index(context: Context) -> None:
    """After `clear` no owner has a record, even if the keys are used again."""
    for number in range(4):
        context.put(f"key{number}", owner="owner")
    context.store.clear()
    context.advance(context.capabilities.owner_lag)
    context.expect_keys(context.store.owned_by("owner"), [], "after `clear`")
    context.put("key0")
    context.put("key1", owner="other")
    context.advance(context.capabilities.owner_lag)
    context.expect_keys(context.store.owned_by("owner"), [], "after new records without this owner")
    context.expect_keys(context.store.owned_by("other"), ["key1"])


@case(
    "CLEAR-4",
    requires=("enumerable",),
    depends_on=("CLEAR-1", "ENUM-3"),
    hint="`clear` keeps a counter.",
)
def length_is_zero(context: Context) -> None:
    """After `clear` the length is 0, and new records are counted from there."""
    for number in range(4):
        context.put(f"key{number}")
    context.store.clear()
    context.expect(context.store.length(), 0)
    context.put()
    context.expect(context.store.length(), 1)


@case("CLEAR-5", hint="the operation exists without its capability, or does nothing.")
def undeclared(context: Context) -> None:
    """`clear` raises `UnsupportedOperation` if it is not declared."""
    with context.expect_raises(UnsupportedOperation):
        context.store.clear()
