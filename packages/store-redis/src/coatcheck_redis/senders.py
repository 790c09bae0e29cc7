"""What sends commands: redis-py's connections to one server, or its client of a cluster.

redis-py's own client and pools of one server spend more on each command than the command itself
takes; the pools here do what a session needs: a bounded number of connections, a bounded wait for
one, and another attempt on a new connection when one is broken. Each command may be repeated: see
scripts/live.lua.

All of them have ``execute_command`` and ``primaries``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import AbstractBackoff, ExponentialWithJitterBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

import redis
from coatcheck.errors import StoreError
from redis import exceptions

from .failures import used_up
from .url import Settings

#: Seconds between attempts: at random, and no more than this.
PAUSE = 0.3


def backoff() -> AbstractBackoff:
    """Return how long to wait between attempts."""
    return ExponentialWithJitterBackoff(base=PAUSE / 3, cap=PAUSE)


class _Attempts:
    """How often a command is sent.

    :ivar closed: whether nobody waits for it any more.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._backoff = backoff()
        self.closed = False

    def pause(self, error: Exception, failures: int) -> float:
        """Return seconds until the next attempt.

        :raises Exception: the error, if there is none: the server did answer, or has had its time.
        """
        answered = isinstance(error, (exceptions.AuthenticationError, exceptions.ResponseError))
        in_vain = isinstance(error, (exceptions.TimeoutError, StoreError))
        if answered or in_vain or self.closed or failures > self._retries:
            raise error
        return self._backoff.compute(failures)


class _Connections(_Attempts):
    """What both kinds of pools know.

    :ivar connections: all of them.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.retries)
        self._settings = settings
        self._free: deque[Any] = deque()
        self.connections: set[Any] = set()


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

    def primaries(self) -> list[Any]:
        """Return what sends commands to each server that has keys of its own."""
        return [self]

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
                time.sleep(self.pause(error, failures))

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

    async def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        return [self]

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
                await asyncio.sleep(self.pause(error, failures))

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


class Single:
    """redis-py's client of one server, which the caller made."""

    def __init__(self, client: Any) -> None:
        self.execute_command = client.execute_command
        self._client = client

    def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        return [self._client]


class AsyncSingle(Single):
    """The same, asynchronous."""

    async def primaries(self) -> list[Any]:  # type: ignore[override]  # the asynchronous face
        """See :meth:`Pool.primaries`."""
        return [self._client]


class Cluster(_Attempts):
    """redis-py's client of a cluster.

    :param retries: how often to try again what redis-py has given up.
    """

    def __init__(self, client: Any, retries: int = 0) -> None:
        super().__init__(retries)
        self._client = client

    @classmethod
    def of(cls, settings: Settings) -> Cluster:
        """Return the client of a URL; it connects.

        :raises redis.RedisError: no server of the cluster can be reached.
        """
        return cls(RedisCluster(**_cluster_arguments(settings, Retry)), settings.retries)

    def execute_command(self, *words: Any) -> Any:
        """See :meth:`Pool.execute_command`."""
        failures = 0
        while True:
            try:
                return self._client.execute_command(*words)
            except Exception as error:
                failures += 1
                time.sleep(self.pause(error, failures))

    def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        return [node.redis_connection for node in self._client.get_primaries()]

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        self._client.close()


class AsyncCluster(_Attempts):
    """redis-py's asynchronous client of a cluster.

    :param retries: how often to try again what redis-py has given up.
    """

    def __init__(self, client: Any, retries: int = 0) -> None:
        super().__init__(retries)
        self._client = client
        self._knows = asyncio.Lock()
        self._is_ready = False

    @classmethod
    def of(cls, settings: Settings) -> AsyncCluster:
        """Return the client of a URL."""
        arguments = _cluster_arguments(settings, AsyncRetry)
        return cls(redis.asyncio.RedisCluster(**arguments), settings.retries)

    @property
    def connections(self) -> list[Any]:
        """Return all connections."""
        return [link for node in self._client.get_nodes() for link in node._connections]

    async def execute_command(self, *words: Any) -> Any:
        """See :meth:`Pool.execute_command`."""
        failures = 0
        while True:
            try:
                await self._ready()
                return await self._client.execute_command(*words)
            except Exception as error:
                # redis-py closes connections when it learns the cluster anew, also those that
                # other tasks use at that moment; they see any error.
                broken = error if isinstance(error, _TELLING) else _broken(error)
                failures += 1
                await asyncio.sleep(self.pause(broken, failures))

    async def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        await self._ready()
        return list(self._client.get_primaries())

    async def aclose(self) -> None:
        """Close all connections."""
        self.closed = True
        await self._client.aclose()

    async def _ready(self) -> None:
        """Let redis-py learn the cluster before many tasks ask for it at once."""
        if not self._is_ready:
            async with self._knows:
                await self._client.initialize()
                self._is_ready = True


#: Errors that say themselves what happened.
_TELLING: Final = (exceptions.RedisError, StoreError, OSError)


def _broken(error: Exception) -> exceptions.ConnectionError:
    broken = exceptions.ConnectionError("redis-py has closed the connection")
    broken.__cause__ = error
    return broken


def _cluster_arguments(settings: Settings, retry: Any) -> dict[str, Any]:
    return {
        **settings.client,
        "ssl": settings.tls,
        "max_connections": settings.max_connections,
        # It would try again after a timeout, too; what is tried again is decided here.
        "retry": retry(backoff(), 0, supported_errors=(exceptions.ConnectionError,)),
    }
