"""CAP: declarations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from coatcheck import PRESENT, Capabilities, Unchanged

from ..case import case
from ..context import Context
from ..handle import APIName
from ..watch import IO_EVENTS, watching


@case(
    "CAP-1",
    depends_on=("LIFE-4",),
    foundation=False,
    hint="reading the capabilities asks the backend for its version.",
)
def without_io(context: Context) -> None:
    """A store that was never used declares its capabilities without any I/O."""
    store = context.elsewhere()
    with watching(IO_EVENTS) as watch:
        declared: object = store.capabilities
    context.expect_that(
        isinstance(declared, Capabilities), "a Capabilities object", type(declared).__name__
    )
    context.expect_that(not watch.seen, "no I/O", watch.lines)


@case(
    "CAP-1",
    depends_on=("LIFE-4",),
    foundation=False,
    hint="the capabilities are detected at the first use.",
)
def always_the_same(context: Context) -> None:
    """The capabilities are the same before the first use, after it, and after `close`."""
    store = context.elsewhere()
    declared = store.capabilities
    context.expect(store.capabilities, declared, "read again")
    store.set("key", context.record())
    store.get("key")
    context.expect(store.capabilities, declared, "after use")
    store.close()
    context.expect(store.capabilities, declared, "after `close`")


@case("CAP-2", foundation=False, hint="the two classes declare them separately.")
def apis_agree(context: Context) -> None:
    """Both APIs declare the same capabilities."""
    apis: tuple[APIName, ...] = ("sync", "async")
    one, other = (
        context.open(f"{api}_store", api=api, namespace=f"{context.namespace}{api}") for api in apis
    )
    context.expect(other.capabilities, one.capabilities, "the async API declares")


def _operations(context: Context) -> dict[str, Callable[[], Any]]:
    """Return a call of each operation that the store supports, in the order to call them."""
    store, record, can = context.store, context.record(owner="owner"), context.capabilities
    operations: dict[str, Callable[[], Any]] = {
        "ping": lambda: store.ping(),
        "set": lambda: store.set("key", record),
        "set with PRESENT": lambda: store.set("key", record, PRESENT),
        "set with Unchanged": lambda: store.set("key", record, Unchanged(record.data)),
        "get": lambda: store.get("key"),
        "touch": lambda: store.touch("key", record.expires_at, "owner"),
    }
    if can.enumerable:
        operations |= {"all": lambda: store.all(), "length": lambda: store.length()}
    if can.owners:
        operations["owned_by"] = lambda: store.owned_by("owner")
    if not can.native_expiry:
        operations["prune"] = lambda: store.prune()
    operations["destroy"] = lambda: store.destroy("key")
    if can.clearable:
        operations["clear"] = lambda: store.clear()
    operations["close"] = lambda: store.close()
    return operations


@case(
    "CAP-3",
    depends_on=(
        "CLEAR-3",
        "LIFE-4",
    ),
    hint="an operation writes a file or asks a server, and `blocking` was left at False.",
)
def nothing_waits(context: Context) -> None:
    """No operation opens a file, asks a server or sleeps."""
    context.store.get("key")  # the first call may import modules
    for operation, call in _operations(context).items():
        with watching(IO_EVENTS) as watch:
            call()
        context.expect_that(not watch.seen, f"no waiting in `{operation}`", watch.lines)


@case("CAP-4", foundation=False, hint="a value of the backend is declared without a check.")
def numbers_can_be_calculated_with(context: Context) -> None:
    """The declared numbers are numbers, and lie within their ranges."""
    can = context.capabilities
    for name in ("owner_lag", "expiry_granularity"):
        value = getattr(can, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        right = is_number and math.isfinite(value) and value >= 0
        context.expect_that(right, f"a finite `{name}` that is not negative", value)
    most = can.max_data_bytes
    right = most is None or (type(most) is int and most > 0)
    context.expect_that(right, "a positive integer or None as `max_data_bytes`", most)
