"""redis-py's connections to one server, shared by threads or tasks.

redis-py's own clients and pools spend more on each command than the command itself takes; these
do what a session needs: a bounded number of connections, a bounded wait for one, and another
attempt on a new connection when one is broken. Each command here may be repeated: see
scripts/live.lua.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any

import redis
import redis.asyncio
from redis import exceptions
from redis.backoff import AbstractBackoff, ExponentialWithJitterBackoff

from .failures import used_up
from .url import Settings

#: Seconds between attempts: at random, and no more than this.
PAUSE = 0.3


def backoff() -> AbstractBackoff:
    """Return how long to wait between attempts."""
    return ExponentialWithJitterBackoff(base=PAUSE / 3, cap=PAUSE)


class _Connections:
    """What both kinds of pools know."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backoff = backoff()
        self._free: deque[Any] = deque()
        self.connections: set[Any] = set()
        self.closed = False

    def _may_repeat(self, error: Exception, failures: int) -> bool:
        """Tell whether a command that failed is sent again: not if the server did answer."""
        answered = isinstance(error, exceptions.AuthenticationError)
        return not (answered or self.closed or failures > self._settings.retries)


class Pool(_Connections):
    """Connections for threads of one process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._kind = redis.SSLConnection if settings.tls else redis.Connection
        self._places = threading.Semaphore(settings.max_connections)

    def execute_command(self, *words: Any) -> Any:
        """Send a command and return the reply.

        :raises StoreTimeout: no connection became free in time.
        :raises redis.RedisError: the server did not answer, or with an error.
        """
        if not self._places.acquire(timeout=self._settings.pool_timeout):
            raise used_up()
        try:
            connection = self._taken()
            try:
                return self._answer(connection, words)
            except exceptions.ResponseError:
                raise
            except BaseException:
                connection.disconnect()  # whatever comes later on it answers another command
                raise
            finally:
                self._give_back(connection)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in list(self.connections):
            connection.disconnect()

    def _answer(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                connection.send_command(*words)  # connects, too
                return connection.read_response()
            except exceptions.ConnectionError as error:
                failures += 1
                connection.disconnect()
                if not self._may_repeat(error, failures):
                    raise
                time.sleep(self._backoff.compute(failures))

    def _taken(self) -> Any:
        try:
            return self._free.pop()
        except IndexError:
            connection = self._kind(**self._settings.client)
            self.connections.add(connection)
            return connection

    def _give_back(self, connection: Any) -> None:
        if self.closed:
            connection.disconnect()
        self._free.append(connection)


class AsyncPool(_Connections):
    """Connections for tasks of one event loop."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        tls = settings.tls
        self._kind = redis.asyncio.SSLConnection if tls else redis.asyncio.Connection
        self._places = asyncio.Semaphore(settings.max_connections)

    async def execute_command(self, *words: Any) -> Any:
        """See :meth:`Pool.execute_command`."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        try:
            connection = self._taken()
            try:
                return await self._answer(connection, words)
            except exceptions.ResponseError:
                raise
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self._give_back(connection)
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in list(self.connections):
            await connection.disconnect()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._settings.pool_timeout):
                await self._places.acquire()
        except TimeoutError:
            raise used_up() from None

    async def _answer(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                await connection.send_command(*words)  # connects, too
                return await connection.read_response()
            except exceptions.ConnectionError as error:
                failures += 1
                await connection.disconnect(nowait=True)
                if not self._may_repeat(error, failures):
                    raise
                await asyncio.sleep(self._backoff.compute(failures))

    def _taken(self) -> Any:
        if self._free:
            return self._free.pop()
        connection = self._kind(**self._settings.client)
        self.connections.add(connection)
        return connection

    async def _give_back(self, connection: Any) -> None:
        if self.closed:
            await connection.disconnect(nowait=True)
        self._free.append(connection)
