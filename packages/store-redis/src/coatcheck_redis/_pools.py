"""Pools of redis-py's connections to one server.

redis-py's own client and pools spend more time on each command than the command itself takes. These
pools do what a session needs: a bounded number of connections, a bounded wait for one, and another
attempt on a new connection when one is broken.

A pool has ``execute_command`` and ``primaries``, as all clients of this package have.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import redis.asyncio

import redis
from coatcheck.storekit import Place, Places
from redis import exceptions

from ._failures import used_up
from ._retries import Retries
from ._sentinel import ROLE, MasterSearch, address_of, check_role, is_demoted
from ._url import Settings


class _BasePool(Retries):
    """The part that both pools share.

    A connection belongs to a place, and only the thread or task that has the place uses it. A place
    is dirty until the whole reply has arrived. An exception of a signal handler may keep a user
    from cleaning a place up, so the next one who takes a dirty place does it.
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
        """Return all connections."""
        return [place.content for place in self._places.all() if place.content is not None]

    def _connection(self, place: Place) -> Any:
        """Return the connection of a place."""
        if place.content is None:
            place.content = self._kind(**self._settings.client)
            self._forget_master(place.content)
        return place.content

    def _forget_master(self, connection: Any) -> None:
        """Have the Sentinels say where to connect next."""
        if self._sentinels:
            connection.host = ""

    def _must_search(self, connection: Any) -> bool:
        """Tell whether a connection has no master yet."""
        return bool(self._sentinels) and not connection.host

    def is_final(self, error: Exception) -> bool:
        """See :meth:`Retries.is_final`."""
        if self._sentinels and isinstance(error, exceptions.ResponseError) and is_demoted(error):
            return False  # the Sentinels may know another master
        return super().is_final(error)

    def _question(self) -> tuple[str, ...]:
        """Return the command that asks a Sentinel for the master."""
        assert self._settings.service is not None, "there are Sentinels"
        return address_of(self._settings.service)


class Pool(_BasePool):
    """Connections for the threads of one process."""

    _kinds = (redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)

    def execute_command(self, *words: Any) -> Any:
        """Send a command and return the reply.

        :raises StoreTimeout: no connection became free in time.
        :raises redis.RedisError: the server did not answer, or answered with an error.
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
                reply = self._send(connection, words)
            except exceptions.ResponseError:
                place.is_dirty = False
                raise
            place.is_dirty = False
            if self.closed:
                place.content.disconnect()
            return reply
        except BaseException:
            # A late reply must not become that of the next command.
            if place.is_dirty and place.content is not None:
                place.content.disconnect()
            raise
        finally:
            self._places.give_back(place)
            del place  # the traceback of an interruption would keep it for a while
            self._places.serve()

    def primaries(self) -> list[Any]:
        """Return a client for each server that holds keys of its own."""
        return [self]

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        for connection in self.connections:
            connection.disconnect()

    def _send(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                if self._must_search(connection):
                    self._connect(connection)
                connection.send_command(*words)  # it connects first if necessary
                return connection.read_response()
            except (exceptions.ConnectionError, exceptions.ResponseError) as error:
                failures += 1
                pause = self.pause_after(error, failures)
                if pause is None:
                    raise
                connection.disconnect()
                self._forget_master(connection)
                time.sleep(pause)

    def _connect(self, connection: Any) -> None:
        """Connect to the master that the Sentinels name."""
        search = MasterSearch(self._sentinels)
        for sentinel in search:
            try:
                search.hear(sentinel, self._asked(sentinel))
            except Exception as error:
                if not search.survives(error):
                    raise
        connection.host, connection.port = search.address()
        connection.connect()
        connection.send_command(*ROLE)
        check_role(connection.read_response())

    def _asked(self, sentinel: dict[str, Any]) -> Any:
        """Return a Sentinel's reply."""
        link = self._kind(**sentinel)
        try:
            link.send_command(*self._question())
            return link.read_response()
        finally:
            link.disconnect()


class AsyncPool(_BasePool):
    """Connections for the tasks of one event loop."""

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
                reply = await self._send(connection, words)
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
        """Wait for a place, and return it."""
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._settings.pool_timeout):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # a place came at the same moment
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

    async def _send(self, connection: Any, words: tuple[Any, ...]) -> Any:
        failures = 0
        while True:
            try:
                if self._must_search(connection):
                    await self._connect(connection)
                await connection.send_command(*words)
                return await connection.read_response()
            except (exceptions.ConnectionError, exceptions.ResponseError) as error:
                failures += 1
                pause = self.pause_after(error, failures)
                if pause is None:
                    raise
                await connection.disconnect(nowait=True)
                self._forget_master(connection)
                await asyncio.sleep(pause)

    async def _connect(self, connection: Any) -> None:
        """See :meth:`Pool._connect`."""
        search = MasterSearch(self._sentinels)
        for sentinel in search:
            try:
                search.hear(sentinel, await self._asked(sentinel))
            except Exception as error:
                if not search.survives(error):
                    raise
        connection.host, connection.port = search.address()
        await connection.connect()
        await connection.send_command(*ROLE)
        check_role(await connection.read_response())

    async def _asked(self, sentinel: dict[str, Any]) -> Any:
        """See :meth:`Pool._asked`."""
        link = self._kind(**sentinel)
        try:
            await link.send_command(*self._question())
            return await link.read_response()
        finally:
            await link.disconnect(nowait=True)
