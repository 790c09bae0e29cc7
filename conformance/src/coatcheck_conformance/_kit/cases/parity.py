"""PARITY: the two APIs agree."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from coatcheck import ABSENT, PRESENT, AsyncStore, Record, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from ..contract import clauses
from ..handle import Handle
from ..machine import run_machine

#: Groups of clauses about the result of a single call.
_SINGLE: Final = (
    "KEY",
    "GET",
    "SET",
    "DESTROY",
    "TOUCH",
    "EXPIRY",
    "ENUM",
    "CLEAR",
    "OWNER",
    "PRUNE",
)
_OPERATIONS: Final = tuple(
    id
    for id, clause in clauses().items()
    if id.partition("-")[0] in _SINGLE
    and clause.level != "recommended"
    and id not in ("GET-1", "SET-1")
)


def _both_ways(context: Context) -> Iterator[tuple[Handle, Handle]]:
    """Yield the two APIs as writer and reader, in turn."""
    other = context.other_api()
    yield context.store, other
    yield other, context.store


@case(
    "PARITY-1",
    depends_on=(
        "GET-5",
        "GET-7",
        "SET-2",
        "RACE-8",
        "DATA-1",
        "DATA-2",
        "TOUCH-8",
        "KEY-1",
    ),
    hint="the APIs differ in the name of a key, in the encoding or in a field.",
)
def written_here_read_there(context: Context) -> None:
    """Each API reads data, expiry and owner that the other one wrote."""
    contents = (
        ("key", b"data", None),
        ("Grün/..*", bytes(range(256)), "ann"),
        ("long" * 64, b'{"a": 1}', "Ännchen"),
    )
    for writer, reader in _both_ways(context):
        for key, data, owner in contents:
            record = context.put(key, data, owner, store=writer)
            context.expect_unchanged(record, key, store=reader)


@case(
    "PARITY-1",
    depends_on=(
        "DESTROY-1",
        "TOUCH-1",
        "SET-5",
        "RACE-8",
        "DATA-1",
        "DATA-2",
        "GET-5",
        "GET-7",
        "TOUCH-8",
        "KEY-1",
    ),
    hint="one API keeps a copy of the record that it has read.",
)
def changed_here_seen_there(context: Context) -> None:
    """Each API sees that the other one replaces, touches or ends a record."""
    for writer, reader in _both_ways(context):
        context.put(store=reader)
        context.expect(writer.set("key", context.record(b"new", "ann"), PRESENT), True)
        context.expect_unchanged(context.record(b"new", "ann"), store=reader)
        context.expect(writer.touch("key", context.clock.now + 2 * DAY), True)
        context.expect_unchanged(context.record(b"new", "ann", 2 * DAY), store=reader)
        context.expect(writer.destroy("key"), True)
        context.expect_absent(store=reader)


# What is returned


def _returned(context: Context, api: Handle) -> Iterator[tuple[str, Any]]:
    """Yield each operation, in words, and its result; leave the namespace as it was."""
    live, past = context.record(b"Data", "ann"), context.record(b"Data", "ann", life=-60)
    for only_if in (PRESENT, Unchanged(b"Data"), ABSENT):
        name = context.steps.show(only_if)
        yield f"set past {name}, absent", api.set("key", past, only_if)
        yield f"set {name}, absent", api.set("key", live, only_if)
        yield f"get after set {name}", api.get("key")
        api.set("key", live)
        yield f"set {name}, live", api.set("key", live, only_if)
        yield f"destroy {name}, live", api.destroy("key", only_if)
        api.destroy("key")
        yield f"destroy {name}, absent", api.destroy("key", only_if)
    yield "set past, absent", api.set("key", past)
    yield "touch, absent", api.touch("key", live.expires_at)
    yield "destroy, absent", api.destroy("key")
    yield "set, absent", api.set("key", live)
    for other in (b"data", b"Data ", b"Data\0"):
        yield "set Unchanged, other bytes", api.set("key", live, Unchanged(other))
        yield "destroy Unchanged, other bytes", api.destroy("key", Unchanged(other))
    yield "touch, live", api.touch("key", live.expires_at + 60, "ann")
    yield "get, live", api.get("key")
    yield from _listed(api)
    yield "ping", api.perform("ping")
    yield "touch past, live", api.touch("key", past.expires_at)
    yield "get after touch past", api.get("key")
    yield "set past, live", (api.set("key", live), api.set("key", past), api.get("key"))
    yield "destroy, live", (api.set("key", live), api.destroy("key"), api.get("key"))
    if api.capabilities.clearable:
        yield "clear", api.perform("clear")


def _listed(api: Handle) -> Iterator[tuple[str, Any]]:
    if api.capabilities.enumerable:
        yield "length", api.length()
        yield "all", api.all()
    if api.capabilities.owners and not api.capabilities.owner_lag:
        yield "owned_by", api.owned_by("ann")
        yield "owned_by of another", api.owned_by("Ann")


@case(
    "PARITY-2",
    depends_on=(
        "CLEAR-3",
        "DESTROY-2",
        "SET-14",
        "TOUCH-6",
        "ENUM-3",
    ),
    hint="one API returns the reply of the backend's client.",
)
def the_same_is_returned(context: Context) -> None:
    """The same calls return the same values, of the same types, through both APIs."""
    ours = list(_returned(context, context.store))
    theirs = list(_returned(context, context.other_api()))
    for (what, mine), (_, others) in zip(ours, theirs, strict=True):
        context.expect(others, mine, f"{what}, as through the {context.api} API")


@case(
    "PARITY-2",
    depends_on=(
        *_OPERATIONS,
        "PARITY-1",
        "PARITY-5",
        "CLEAR-3",
        "DESTROY-2",
        "SET-14",
        "TOUCH-6",
        "ENUM-3",
    ),
    limit=120.0,
    hint="an operation leaves a trace that it should have removed. The steps are the "
    "shortest sequence that was found.",
)
def any_sequence_of_calls(context: Context) -> None:
    """Calls in any order, each on an API chosen at random, return what a dictionary would."""
    run_machine(context)


# What is raised


def _operations(context: Context, api: Handle) -> dict[str, Any]:
    record = context.record()
    plain: dict[str, tuple[Any, ...]] = {
        "get": ("key",),
        "set": ("key", record),
        "destroy": ("key",),
        "touch": ("key", record.expires_at),
        "length": (),
        "clear": (),
        "prune": (),
        "ping": (),
    }
    calls: dict[str, Any] = {
        operation: lambda operation=operation, args=args: api.call(operation, *args)
        for operation, args in plain.items()
    }
    return {**calls, "all": api.all, "owned_by": lambda: api.owned_by("ann")}


def _raised(call: Any) -> str:
    """Return the name of the exception class that a call raises."""
    try:
        call()
    except Exception as error:  # its class is the result
        return type(error).__name__
    return "nothing"


def _expect_same_errors(context: Context, operations: tuple[str, ...], other: Handle) -> None:
    ours, theirs = _operations(context, context.store), _operations(context, other)
    for operation in operations:
        mine, others = _raised(ours[operation]), _raised(theirs[operation])
        context.expect(others, mine, f"raised by {operation}, as through the {context.api} API")


_OWN_ERRORS: Final = "one API raises an exception of the backend's client."


@case(
    "PARITY-3",
    depends_on=(
        "LIFE-4",
        "OWNER-12",
        "ENUM-8",
        "CLEAR-5",
    ),
    hint=_OWN_ERRORS,
)
def undeclared_operations(context: Context) -> None:
    """Both APIs refuse an undeclared operation with the same error."""
    declared = context.capabilities
    undeclared = {
        "all": not declared.enumerable,
        "length": not declared.enumerable,
        "clear": not declared.clearable,
        "owned_by": not declared.owners,
        "prune": declared.native_expiry,
    }
    operations = tuple(
        operation for operation, is_undeclared in undeclared.items() if is_undeclared
    )
    _expect_same_errors(context, operations, context.other_api())


@case(
    "PARITY-3",
    depends_on=(
        "LIFE-4",
        "OWNER-12",
        "ENUM-8",
        "CLEAR-5",
    ),
    hint=_OWN_ERRORS,
)
def closed_stores(context: Context) -> None:
    """Both APIs refuse each operation of a closed store with the same error."""
    other = context.other_api()
    for api in (context.store, other):
        api.close()
    _expect_same_errors(context, tuple(_operations(context, other)), other)


@case(
    "PARITY-3",
    depends_on=(
        "LIFE-4",
        "OWNER-12",
        "ENUM-8",
        "CLEAR-5",
    ),
    requires=("max_data_bytes",),
    hint=_OWN_ERRORS,
)
def too_large_data(context: Context) -> None:
    """Both APIs refuse data that are too large with the same error."""
    limit = context.capabilities.max_data_bytes
    assert limit is not None, "the case requires it"
    record = Record(bytes(limit + 1), context.clock.now + DAY)
    other = context.other_api()
    mine = _raised(lambda: context.store.set("key", record))
    others = _raised(lambda: other.set("key", record))
    context.expect(others, mine, f"raised by set, as through the {context.api} API")


# How it is called


@case(
    "PARITY-4",
    apis=("async",),
    requires=("enumerable",),
    hint="`async def all` returns an iterator; it has to be `def`, or to yield.",
)
def all_is_not_awaited(context: Context) -> None:
    """`all` of the async API returns an asynchronous iterator that is not awaited."""
    context.put()
    _expect_iterator(context, "all")


@case(
    "PARITY-4",
    apis=("async",),
    requires=("owners",),
    hint="`async def owned_by` returns an iterator; it has to be `def`, or to yield.",
)
def owned_by_is_not_awaited(context: Context) -> None:
    """`owned_by` of the async API returns an asynchronous iterator that is not awaited."""
    context.put(owner="ann")
    _expect_iterator(context, "owned_by", "ann")


def _expect_iterator(context: Context, operation: str, *args: str) -> None:
    native = context.store.native
    assert isinstance(native, AsyncStore), "the case is for that API"

    async def called() -> tuple[bool, bool, str]:
        found = getattr(native, operation)(*args)
        is_iterator, is_awaitable = isinstance(found, AsyncIterator), inspect.isawaitable(found)
        if inspect.iscoroutine(found):
            found.close()
        elif is_iterator:
            _ = [item async for item in found]
        return is_iterator, is_awaitable, type(found).__name__

    is_iterator, is_awaitable, kind = context.loop.run(called())
    context.steps.note(f"{context.steps.call('store', operation, args)}, without await -> a {kind}")
    right = is_iterator and not is_awaitable
    context.expect_that(right, "an asynchronous iterator that is not to be awaited", f"a {kind}")


# Conditions


@case(
    "PARITY-5",
    depends_on=("PARITY-1", "SET-7", "SET-8", "SET-10"),
    hint="one API decodes or encodes the data on the way.",
)
def compared_across_apis(context: Context) -> None:
    """Each API compares bytes exactly that the other one read."""
    for writer, comparer in _both_ways(context):
        for data in (b'{"a": 1}', b"caf\xc3\xa9", bytes(range(256))):
            context.put(data=data, store=writer)
            for near in (data + b" ", data + b"\0", data.swapcase()):
                outcome = comparer.set("key", context.record(b"wrong"), Unchanged(near))
                context.expect(outcome, False)
            found = context.expect_data(data, store=writer)
            condition = Unchanged(found.data)
            context.expect(comparer.set("key", context.record(b"new"), condition), True)
            context.expect(writer.set("key", context.record(b"late"), condition), False)


@case(
    "PARITY-5",
    depends_on=("PARITY-1", "SET-4", "SET-6", "DESTROY-6", "DESTROY-7"),
    hint="the APIs look for the record in different places.",
)
def presence_across_apis(context: Context) -> None:
    """Records that one API creates or ends decide the conditions of the other one."""
    for writer, comparer in _both_ways(context):
        context.put(data=b"first", store=writer)
        context.expect(comparer.set("key", context.record(), ABSENT), False)
        context.expect(comparer.destroy("key", Unchanged(b"other")), False)
        context.expect(comparer.destroy("key", Unchanged(b"first")), True)
        context.expect(writer.set("key", context.record(), PRESENT), False)
