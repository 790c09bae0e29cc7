"""The faults of MongoDB servers under load."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pymongo.errors import AutoReconnect

from testing.servers.mongo import MongoServer, ReplicaSet, replica_set

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
def _small_disk() -> Iterator[MongoServer]:
    """Start a server whose data lie on a small disk in memory; mounting that disk needs root."""
    server = MongoServer("--syncdelay", "1")  # seconds until data files are written
    data = server.folder / "data"
    data.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={_DISK}m", "tmpfs", str(data)), check=True)
    try:
        with server:
            yield server
    finally:
        subprocess.run(("umount", str(data)), check=True)


async def _full(server: MongoServer, timing: Timing) -> None:
    await timing.wait(0.3)
    filling = server.folder / "data" / "filling"
    await asyncio.to_thread(_fill, filling)
    await timing.wait(0.3)
    filling.unlink()
    if not server.runs():
        await asyncio.to_thread(server.start)


def _fill(path: Path) -> None:
    with path.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()


FAULTS: Final = (
    Fault("killed twice, restarted", MongoServer, kill_twice, is_repeated=True),
    Fault("stands still", MongoServer, stop_for_a_while, is_repeated=True),
    Fault("replica set: primary killed, restarted", replica_set, _primary_killed),
    Fault("replica set: primary stands still", replica_set, _primary_stopped, is_repeated=True),
    Fault("replica set: primary steps down", replica_set, _handed_over),
    Fault("disk full, then not", _small_disk, _full, needs_root=True),
)
