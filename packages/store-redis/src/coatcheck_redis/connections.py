"""The connections that carry commands: pools of redis-py's connections, or its cluster client.

redis-py's own client and pools of one server spend more on each command than the command itself
takes; the pools here do what a session needs: a bounded number of connections, a bounded wait for
one, and another attempt on a new connection when one is broken. Each command may be repeated: see
scripts/live.lua.

All of them have ``execute_command`` and ``primaries``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

import redis
from coatcheck.errors import StoreError
from coatcheck.storekit import Place, Places, interruption
from redis import exceptions

from .failures import PACKAGES, used_up
from .sentinel import ROLE, check_role, is_demoted, question, search
from .url import Settings

#: Seconds between attempts: at random, and no more than this.
PAUSE = 0.3


class _Attempts:
    """How often a command is sent.

    :ivar closed: whether nobody waits for it any more.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self.closed = False

    def pause(self, error: Exception, failures: int) -> float | None:
        """Return seconds until the next attempt.

        None: there is none, because the server did answer, or has had its time.
        """
        answered = isinstance(error, (exceptions.AuthenticationError, exceptions.ResponseError))
        in_vain = isinstance(error, (exceptions.TimeoutError, StoreError))
        if answered or in_vain or self.closed or failures > self._retries:
            return None
        return random.random() * min(PAUSE, PAUSE / 3 * 2.0**failures)  # noqa: S311  # no secret


class _Connections(_Attempts):
    """What both kinds of pools know.

    A connection belongs to a place: whoever has the place has the connection. The place is dirty
    until the whole reply is there. One that comes back dirty is cleaned by whoever takes it next,
    because the exception of a signal handler may keep its user from doing so.
    """

    _kinds: tuple[Any, Any, Any]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.retries)
        self._settings = settings
        plain, tls, socket = self._kinds
        self._kind = socket if "path" in settings.client else tls if settings.tls else plain
        self._places = Places(settings.max_connections)
        self._sentinels = list(settings.sentinels)

    @property
    def connections(self) -> list[Any]:
        """Return all of them."""
        return [place.content for place in self._places.all() if place.content is not None]

    def _connection(self, place: Place) -> Any:
        """Return the connection of a place."""
        if place.content is None:
            place.content = self._kind(**self._settings.client)
            self._forget_master(place.content)
        return place.content

    def _forget_master(self, connection: Any) -> None:
        """Have Sentinels tell where to connect next."""
        if self._sentinels:
            connection.host = ""

    def _has_to_find(self, connection: Any) -> bool:
        return bool(self._sentinels) and not connection.host

    def _retried(self, error: exceptions.RedisError) -> exceptions.RedisError:
        """Return an error as one that is tried again, if a new connection may help."""
        if self._sentinels and isinstance(error, exceptions.ResponseError) and is_demoted(error):
            return exceptions.ConnectionError("the server is no master any more")
        return error


class Pool(_Connections):
    """Connections for threads of one process."""

    _kinds = (redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)

    def execute_command(self, *words: Any) -> Any:
        """Send a command and return the reply.

        :raises StoreTimeout: no connection became free in time.
        :raises redis.RedisError: the server did not answer, or with an error.
        """
        place = self._places.take(self._settings.pool_timeout)
        if place is None:
            raise used_up(self._settings.where)
        try:
            connection = self._connection(place)
            if place.is_dirty:
                connection.disconnect()
                self._forget_master(connection)
            place.is_dirty = True
            try:
                reply = self._answer(connection, words)
            except exceptions.ResponseError:
                place.is_dirty = False
                raise
            place.is_dirty = False
            if self.closed:
                place.content.disconnect()
            return reply
        except BaseException:
            # Whatever comes later on it answers another command.
            if place.is_dirty and place.content is not None:
                place.content.disconnect()
            raise
        finally:
            self._places.give_back(place)
            del place  # an old traceback would keep it for somebody who is interrupted later
            self._places.serve()

    def primaries(self) -> list[Any]:
        """Return what sends commands to each server that has keys of its own."""
        return [self]

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in self.connections:
            connection.disconnect()

    def _answer(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                if self._has_to_find(connection):
                    self._connect(connection)
                connection.send_command(*words)  # connects, too
                return connection.read_response()
            except (exceptions.ConnectionError, exceptions.ResponseError) as error:
                if interruption(error, PACKAGES) is not None:
                    raise
                failures += 1
                pause = self.pause(self._retried(error), failures)
                if pause is None:
                    raise
                connection.disconnect()
                self._forget_master(connection)
                time.sleep(pause)

    def _connect(self, connection: Any) -> None:
        """Connect to the master that the Sentinels name."""
        candidates = search(self._sentinels)
        try:
            arguments = next(candidates)
            while True:
                try:
                    reply = self._told(arguments)
                except Exception as error:
                    if interruption(error, PACKAGES) is not None:
                        raise
                    arguments = candidates.throw(error)
                else:
                    arguments = candidates.send(reply)
        except StopIteration as found:
            connection.host, connection.port = found.value
        connection.connect()
        connection.send_command(*ROLE)
        check_role(connection.read_response())

    def _told(self, arguments: dict[str, Any]) -> Any:
        assert self._settings.service is not None, "there are Sentinels"
        link = self._kind(**arguments)
        try:
            link.send_command(*question(self._settings.service))
            return link.read_response()
        finally:
            link.disconnect()


class AsyncPool(_Connections):
    """Connections for tasks of one event loop."""

    _kinds = (
        redis.asyncio.Connection,
        redis.asyncio.SSLConnection,
        redis.asyncio.UnixDomainSocketConnection,
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._waiting: deque[asyncio.Future[Place]] = deque()

    async def execute_command(self, *words: Any) -> Any:
        """See :meth:`Pool.execute_command`."""
        place = None if self._waiting else self._places.take_at_once()
        if place is None:
            place = await self._waited()
        try:
            connection = self._connection(place)
            if place.is_dirty:
                await connection.disconnect(nowait=True)
                self._forget_master(connection)
            place.is_dirty = True
            try:
                reply = await self._answer(connection, words)
            except exceptions.ResponseError:
                place.is_dirty = False
                raise
            place.is_dirty = False
            if self.closed:
                await place.content.disconnect(nowait=True)
            return reply
        except BaseException:
            if place.is_dirty and place.content is not None:
                await place.content.disconnect(nowait=True)
            raise
        finally:
            self._give_back(place)
            del place

    async def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        return [self]

    async def aclose(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in self.connections:
            await connection.disconnect()

    async def _waited(self) -> Place:
        """Return the place of the first task that leaves one."""
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._settings.pool_timeout):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # in this very moment
                self._give_back(turn.result())
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise used_up(self._settings.where) from None
            raise

    def _give_back(self, place: Place) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(place)
                return
        self._places.give_back(place)

    async def _answer(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                if self._has_to_find(connection):
                    await self._connect(connection)
                await connection.send_command(*words)  # connects, too
                return await connection.read_response()
            except (exceptions.ConnectionError, exceptions.ResponseError) as error:
                if interruption(error, PACKAGES) is not None:
                    raise
                failures += 1
                pause = self.pause(self._retried(error), failures)
                if pause is None:
                    raise
                await connection.disconnect(nowait=True)
                self._forget_master(connection)
                await asyncio.sleep(pause)

    async def _connect(self, connection: Any) -> None:
        """See :meth:`Pool._connect`."""
        candidates = search(self._sentinels)
        try:
            arguments = next(candidates)
            while True:
                try:
                    reply = await self._told(arguments)
                except Exception as error:
                    if interruption(error, PACKAGES) is not None:
                        raise
                    arguments = candidates.throw(error)
                else:
                    arguments = candidates.send(reply)
        except StopIteration as found:
            connection.host, connection.port = found.value
        await connection.connect()
        await connection.send_command(*ROLE)
        check_role(await connection.read_response())

    async def _told(self, arguments: dict[str, Any]) -> Any:
        assert self._settings.service is not None, "there are Sentinels"
        link = self._kind(**arguments)
        try:
            await link.send_command(*question(self._settings.service))
            return await link.read_response()
        finally:
            await link.disconnect(nowait=True)


class BorrowedServer:
    """redis-py's client of one server, which the caller made."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def execute_command(self, *words: Any) -> Any:
        """See :meth:`Pool.execute_command`."""
        try:
            return self._client.execute_command(*words)
        except exceptions.RedisError:
            raise
        except BaseException:
            # A connection may be back in redis-py's pool before its reply is.
            if self._client.connection is not None:
                self._client.connection.disconnect()
            self._client.connection_pool.disconnect(inuse_connections=False)
            raise

    def primaries(self) -> list[Any]:
        """See :meth:`Pool.primaries`."""
        return [self._client]


class AsyncBorrowedServer:
    """redis-py's async client of one server, which the caller made."""

    def __init__(self, client: Any) -> None:
        self.execute_command = client.execute_command
        self._client = client

    async def primaries(self) -> list[Any]:
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
                if interruption(error, PACKAGES) is not None:
                    raise
                failures += 1
                pause = self.pause(error, failures)
                if pause is None:
                    raise
                time.sleep(pause)

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
                if interruption(error, PACKAGES) is not None:
                    raise
                # redis-py closes connections when it learns the cluster anew, also those that
                # other tasks use at that moment; they see any error.
                broken = error if isinstance(error, _TELLING) else _broken(error)
                failures += 1
                pause = self.pause(broken, failures)
                if pause is None:
                    raise broken from broken.__cause__
                await asyncio.sleep(pause)

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


def _is_old() -> bool:
    """Tell whether redis-py is older than 6.0."""
    return int(redis.__version__.partition(".")[0]) < 6


#: Errors that say themselves what happened.
_TELLING: Final = (exceptions.RedisError, StoreError, OSError)


def _broken(error: Exception) -> exceptions.ConnectionError:
    broken = exceptions.ConnectionError("redis-py has closed the connection")
    broken.__cause__ = error
    return broken


def _cluster_arguments(settings: Settings, retry: Any) -> dict[str, Any]:
    # Before 6.0 it tries again whatever `retry` says.
    old = {"cluster_error_retry_attempts": 0} if _is_old() else {}
    return {
        **old,
        **settings.client,
        "ssl": settings.tls,
        "max_connections": settings.max_connections,
        # It would try again after a timeout, too; what is tried again is decided here.
        "retry": retry(NoBackoff(), 0, supported_errors=(exceptions.ConnectionError,)),
    }
