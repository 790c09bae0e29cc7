"""psycopg's connections, with a limit for the reply to each statement.

libpq has none, and the one at the server is of no use if the server does not answer. Without a
reply, the connection is closed, and no other request asks the server to cancel the statement:
psycopg would wait for the answer to that as well. Only the driver's module imports this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, Self

import psycopg
from psycopg import waiting


class Limited(psycopg.Connection[Any]):
    """A synchronous connection.

    :ivar limit: seconds to wait for each reply.
    """

    limit: float = float("inf")

    @classmethod
    def connect_for(cls, limit: float, *words: Any, **options: Any) -> Self:
        """Connect, and give the connection its limit."""
        made = cls.connect(*words, **options)
        made.limit = limit
        return made

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """See :meth:`psycopg.Connection.wait`."""
        return super().wait(_in_time(self, gen), *args, **options)


class AsyncLimited(psycopg.AsyncConnection[Any]):
    """An asynchronous connection.

    :ivar limit: seconds to wait for each reply.
    """

    limit: float = float("inf")

    @classmethod
    async def connect_for(cls, limit: float, *words: Any, **options: Any) -> Self:
        """Connect, and give the connection its limit."""
        made = await cls.connect(*words, **options)
        made.limit = limit
        return made

    async def wait(self, gen: Any, interval: float = 0.1, *_: Any, **__: Any) -> Any:
        """See :meth:`psycopg.AsyncConnection.wait`."""
        try:
            return await waiting.wait_async(_in_time(self, gen), self.pgconn.socket, interval)
        except asyncio.CancelledError:
            end(self)
            raise


def end(connection: Limited | AsyncLimited) -> None:
    """Close a connection at once."""
    connection._closed = True  # it would warn that it was not closed
    connection.pgconn.finish()


def _in_time(
    connection: Limited | AsyncLimited, steps: Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """Run the steps of a call, which psycopg wakes several times a second."""
    last = time.monotonic() + connection.limit
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if time.monotonic() > last:
                end(connection)
                raise psycopg.errors.ConnectionTimeout("statement timeout expired")
            wanted = steps.send(ready)
    except StopIteration as done:
        return done.value
