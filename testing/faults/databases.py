"""The common parts of the faults of SQL databases."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from coatcheck_sql import SQLStore

from .run import Timing

#: Seconds between two rounds in which all connections are ended.
_ROUND = 0.1


@dataclass(frozen=True)
class Database:
    """A server whose database has the table of sessions.

    :ivar server: the server, or several.
    :ivar url: the URL of a store.
    """

    server: Any
    url: str


def with_table(
    start: Callable[[], AbstractContextManager[Any]], driver: str = ""
) -> Callable[[], AbstractContextManager[Database]]:
    """Return a backend that starts a server and creates the table.

    :param start: starts the server.
    :param driver: the name of a driver for the URL, instead of the default.
    """

    @contextlib.contextmanager
    def backend() -> Iterator[Database]:
        with start() as server:
            with contextlib.closing(SQLStore.from_url(server.url)) as store:
                store.ensure_table()
            scheme, _, rest = server.url.partition(":")
            yield Database(server, f"{scheme}+{driver}:{rest}" if driver else server.url)

    return backend


async def end_connections(end_all: Callable[[], object], timing: Timing) -> None:
    """Let an administrator end all connections, again and again.

    :param end_all: ends those that are open now.
    """
    await timing.wait(0.3)
    end = time.monotonic() + timing.seconds * 0.4
    while time.monotonic() < end:
        await asyncio.to_thread(end_all)
        await asyncio.sleep(_ROUND)
