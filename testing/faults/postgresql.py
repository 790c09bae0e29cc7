"""The faults of PostgreSQL servers under load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Final

import psutil

from testing.servers import family
from testing.servers.postgresql import USER, PostgreSQLServer, pair

from .databases import Database, end_connections, with_table
from .disk import disk_of, fill_for_a_while
from .run import Fault, Timing, kill_twice, stop_for_a_while

#: MiB of the disk that becomes full.
_DISK: Final = 160

_END: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


async def _killed(database: Database, timing: Timing) -> None:
    await kill_twice(database.server, timing)


async def _stopped(database: Database, timing: Timing) -> None:
    await stop_for_a_while(database.server, timing)


async def _connections_ended(database: Database, timing: Timing) -> None:
    await end_connections(partial(database.server.sql, _END), timing)


async def _one_process_killed(database: Database, timing: Timing) -> None:
    """Kill the process of one connection; the server then ends all others, and recovers."""
    for _ in range(3):
        await timing.wait(0.2)
        family.kill(_clients(database.server)[:1])


def _clients(server: PostgreSQLServer) -> list[psutil.Process]:
    def title(process: psutil.Process) -> str:
        with contextlib.suppress(psutil.Error):
            return " ".join(process.cmdline())
        return ""

    return [each for each in family.children(server.pid) if f": {USER} " in title(each)]


async def _primary_killed(database: Database, timing: Timing) -> None:
    await timing.wait(0.3)
    database.server.primary.kill()
    await timing.wait(0.1)
    await asyncio.to_thread(database.server.replica.promote)


async def _primary_stopped(database: Database, timing: Timing) -> None:
    """Promote the replica while the primary stands still, which then never comes back."""
    await timing.wait(0.3)
    database.server.primary.pause()
    await asyncio.sleep(timing.stall)
    await asyncio.to_thread(database.server.replica.promote)


@contextlib.contextmanager
def _on_a_small_disk() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer("-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB")
    with disk_of(server, server.data, _DISK), server:
        yield server


async def _full(database: Database, timing: Timing) -> None:
    await fill_for_a_while(database.server, database.server.data, timing)


FAULTS: Final = (
    Fault("killed twice, restarted", with_table(PostgreSQLServer), _killed),
    Fault("one of its processes killed", with_table(PostgreSQLServer), _one_process_killed),
    Fault("stands still", with_table(PostgreSQLServer), _stopped, is_repeated=True),
    Fault("primary killed, replica promoted", with_table(pair), _primary_killed),
    Fault(
        "primary stands still, replica promoted", with_table(pair), _primary_stopped,
        is_repeated=True,
    ),
    Fault(
        "all connections ended, again and again", with_table(PostgreSQLServer),
        _connections_ended, is_repeated=True,
    ),
    Fault(
        "asyncpg: killed twice, restarted", with_table(PostgreSQLServer, "asyncpg"), _killed,
        is_repeated=True,
    ),
    Fault(
        "asyncpg: stands still", with_table(PostgreSQLServer, "asyncpg"), _stopped,
        is_repeated=True,
    ),
    Fault("disk full, then not", with_table(_on_a_small_disk), _full, needs_root=True),
)  # fmt: skip
