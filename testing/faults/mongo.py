"""The faults of MongoDB servers under load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from pymongo.errors import AutoReconnect

from testing.servers.mongo import MongoServer, ReplicaSet, replica_set

from .disk import disk_of, fill_for_a_while
from .run import Fault, Timing, kill_twice, stop_for_a_while

#: MiB of the disk that becomes full.
_DISK: Final = 400


async def _primary_killed(members: ReplicaSet, timing: Timing) -> None:
    await timing.wait(0.3)
    primary = await asyncio.to_thread(members.primary)
    primary.kill()
    await asyncio.to_thread(members.primary)  # waits until another one has been elected
    await timing.wait(0.1)
    await asyncio.to_thread(primary.start)


async def _primary_stopped(members: ReplicaSet, timing: Timing) -> None:
    await stop_for_a_while(await asyncio.to_thread(members.primary), timing)


async def _handed_over(members: ReplicaSet, timing: Timing) -> None:
    await timing.wait(0.3)
    primary = await asyncio.to_thread(members.primary)
    await asyncio.to_thread(_step_down, primary)
    await asyncio.to_thread(members.primary)


def _step_down(primary: MongoServer) -> None:
    with primary.client() as client, contextlib.suppress(AutoReconnect):
        client.admin.command("replSetStepDown", 20, secondaryCatchUpPeriodSecs=5)


@contextlib.contextmanager
def _on_a_small_disk() -> Iterator[MongoServer]:
    server = MongoServer("--syncdelay", "1")  # seconds until data files are written
    with disk_of(server, server.data, _DISK), server:
        yield server


async def _full(server: MongoServer, timing: Timing) -> None:
    await fill_for_a_while(server, server.data, timing)


FAULTS: Final = (
    Fault("killed twice, restarted", MongoServer, kill_twice, is_repeated=True),
    Fault("stands still", MongoServer, stop_for_a_while, is_repeated=True),
    Fault("replica set: primary killed, restarted", replica_set, _primary_killed),
    Fault("replica set: primary stands still", replica_set, _primary_stopped, is_repeated=True),
    Fault("replica set: primary steps down", replica_set, _handed_over),
    Fault("disk full, then not", _on_a_small_disk, _full, needs_root=True),
)
