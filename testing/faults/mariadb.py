"""The faults of a MariaDB server under load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Final

from testing.servers.mariadb import USER, MariaDBServer

from .databases import Database, end_connections, with_table
from .disk import disk_of, fill_for_a_while
from .run import Fault, Timing, kill_twice, stop_for_a_while

#: MiB of the disk that becomes full.
_DISK: Final = 160


async def _killed(database: Database, timing: Timing) -> None:
    await kill_twice(database.server, timing)


async def _stopped(database: Database, timing: Timing) -> None:
    await stop_for_a_while(database.server, timing)


async def _connections_ended(database: Database, timing: Timing) -> None:
    await end_connections(partial(database.server.sql, f"KILL USER {USER}", "root"), timing)


@contextlib.contextmanager
def _on_a_small_disk() -> Iterator[MariaDBServer]:
    server = MariaDBServer()
    with disk_of(server, server.data, _DISK), server:
        yield server


async def _full(database: Database, timing: Timing) -> None:
    await fill_for_a_while(database.server, database.server.data, timing)


FAULTS: Final = (
    Fault("killed twice, restarted", with_table(MariaDBServer), _killed, is_repeated=True),
    Fault("stands still", with_table(MariaDBServer), _stopped, is_repeated=True),
    Fault("all connections ended, again and again", with_table(MariaDBServer), _connections_ended),
    Fault("disk full, then not", with_table(_on_a_small_disk), _full, needs_root=True),
)
