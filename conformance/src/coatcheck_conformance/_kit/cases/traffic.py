"""COST-2 to COST-4: requests and bytes on the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from coatcheck import ABSENT, PRESENT, Unchanged

from ..case import case
from ..context import Context
from ..faults import through_proxy
from ..proxy import Proxy, Traffic

#: How often a call is measured: heartbeats of client libraries are counted as well.
_TRIES: Final = 5
_RECORDS: Final = 40
_SIZE: Final = 4000


def _least(proxy: Proxy, calls: Callable[[int], Any], count: Callable[[Traffic], int]) -> int:
    """Return the least that one of several tries took."""
    counts = []
    for number in range(_TRIES):
        before = proxy.traffic.copy()
        calls(number)
        counts.append(count(proxy.traffic.since(before)))
    return min(counts)


@case(
    "COST-2",
    needs=("traffic",),
    depends_on=("SET-3", "SET-5", "SET-7", "DESTROY-1", "TOUCH-1"),
    hint="a read before the write, or a command that checks the connection.",
)
def one_round_trip(context: Context) -> None:
    """Each operation of a record without an owner takes one request and its reply."""
    with through_proxy(context) as (store, proxy):
        proxy = context.need(proxy, "the harness has no address")
        record = context.record()
        store.ping()
        for key in ("warm", "warmer"):
            store.set(key, record)
            store.get(key)
            store.touch(key, record.expires_at)
            store.destroy(key)
        operations: dict[str, Callable[[int], Any]] = {
            "set with ABSENT": lambda number: store.set(f"{number}", record, ABSENT),
            "set": lambda number: store.set(f"{number}", record),
            "get": lambda number: store.get(f"{number}"),
            "set with PRESENT": lambda number: store.set(f"{number}", record, PRESENT),
            "set with Unchanged": lambda number: store.set(
                f"{number}", record, Unchanged(record.data)
            ),
            "touch": lambda number: store.touch(f"{number}", record.expires_at - 60),
            "destroy": lambda number: store.destroy(f"{number}"),
            "get of nothing": lambda number: store.get(f"{number}"),
        }
        for name, operation in operations.items():
            turns = _least(proxy, operation, lambda traffic: traffic.turns)
            if turns > 1:
                context.fail(f"one round trip for {name}", f"{turns} round trips")


@case(
    "COST-3",
    needs=("traffic",),
    requires=("enumerable",),
    depends_on=("ENUM-3",),
    hint="a `length` that counts what `all` yields.",
)
def length_transfers_no_data(context: Context) -> None:
    """`length` receives far fewer bytes than the records that it counts have."""
    with through_proxy(context) as (store, proxy):
        proxy = context.need(proxy, "the harness has no address")
        for number in range(_RECORDS):
            context.put(f"key{number}", b"x" * _SIZE)
        store.ping()
        received = _least(proxy, lambda _: store.length(), lambda traffic: traffic.received)
        _expect_few(context, received)


@case(
    "COST-4",
    needs=("traffic",),
    depends_on=("PRUNE-1",),
    hint="a `prune` that reads whole records to see when they expire.",
)
def prune_transfers_no_data(context: Context) -> None:
    """`prune` receives far fewer bytes than the records have that it removes and examines."""
    with through_proxy(context) as (store, proxy):
        proxy = context.need(proxy, "the harness has no address")
        for number in range(_RECORDS):
            context.put(f"live{number}", b"x" * _SIZE)
        for number in range(_RECORDS):
            context.put(f"key{number}", b"x" * _SIZE, life=60)
        context.advance(61)
        store.ping()
        before = proxy.traffic.copy()
        store.prune()
        _expect_few(context, proxy.traffic.since(before).received)


def _expect_few(context: Context, received: int) -> None:
    most = _RECORDS * _SIZE // 4
    if received > most:
        context.fail(f"at most {most} bytes received", f"{received} bytes")
