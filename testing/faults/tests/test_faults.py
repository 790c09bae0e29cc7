"""The faults of docs/reliability.md, for a shorter time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from coatcheck import AsyncStore
from testing.faults import dynamodb, mariadb, mongo, postgresql, redis, sqlite
from testing.faults.__main__ import APIS
from testing.faults.run import Fault, Timing, outcome_of
from testing.machine import SERVERS as MACHINE

#: Each server's faults, and a time limit shorter than the store's own.
SERVERS = {
    "dynamodb": (dynamodb.FAULTS, "timeout=1"),
    "mariadb": (mariadb.FAULTS, "timeout=1"),
    "mongo": (mongo.FAULTS, "timeoutMS=1500"),
    "postgresql": (postgresql.FAULTS, "timeout=1"),
    "redis": (redis.FAULTS, "socket_timeout=1"),
    "sqlite": (sqlite.FAULTS, "timeout=1"),
}


def each_fault() -> Iterator[Any]:
    """Yield a fault of each kind with one API; at night each fault of each server with both."""
    for name, (faults, _) in SERVERS.items():
        for number, fault in enumerate(fault for fault in faults if not fault.needs_root):
            for place, api in enumerate(APIS):
                night = fault.is_repeated or number % len(APIS) != place
                marks = [pytest.mark.integration(name)] if name in MACHINE else []
                marks += [pytest.mark.slow] if night else []
                yield pytest.param(name, fault, api, marks=marks, id=f"{name}-{fault.name}-{api}")


@pytest.mark.parametrize(("name", "fault", "api"), list(each_fault()))
def test_acknowledged_writes_are_kept_and_ended_sessions_stay_ended(
    name: str, fault: Fault, api: str
) -> None:
    """With any fault of the server, calls end in bounded time, and with typed errors."""

    def opened(url: str) -> AsyncStore:
        return APIS[api](f"{url}{'&' if '?' in url else '?'}{SERVERS[name][1]}")

    timing = Timing(seconds=4, stall=2.5)
    with fault.backend() as server:
        outcome, recovery = asyncio.run(
            outcome_of(fault, server, opened, timing, workers=16, sessions=100)
        )
    assert outcome.acknowledged > 20  # the applications went on
    if name == "redis":  # the other clients repeat calls until the fault is over
        assert outcome.failed
    assert outcome.untyped == []
    assert (outcome.lost, outcome.revived) == (0, 0)
    assert outcome.longest < 10
    assert recovery < 5
