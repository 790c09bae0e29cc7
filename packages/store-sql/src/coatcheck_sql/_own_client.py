"""The engines that stores make themselves, and their connections.

SQLAlchemy makes a connection and compiles statements; the driver executes them. SQLAlchemy's pool
would take 20 µs to lend a connection, and its greenlets 40 µs to wait for an asynchronous driver.
docs/decisions/2026-11-30-sql-store.md has the reasons.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import ClauseElement, Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.util import greenlet_spawn

from coatcheck.storekit import Places

from ._drivers import Call, Driver
from ._prepared import Prepared
from ._requests import Change, Query, Request
from ._url import Settings

#: Seconds after which an idle connection is replaced, because firewalls forget it.
_RECYCLED: Final = 900
#: What PostgreSQL says of a prepared statement whose table has changed, or that it does not know.
_STALE: Final = ("0A000", "26000")
#: The connections that a call has begun to make.
_begun: Final[ContextVar[list[Any]]] = ContextVar("_begun")


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """A connection.

    :ivar connection: for requests that SQLAlchemy executes. It is detached from SQLAlchemy's pool.
    :ivar adapted: what SQLAlchemy gave it: the driver's connection if that is synchronous, and else
        SQLAlchemy's adapter of it.
    :ivar driver: the driver's connection.
    :ivar info: what the description of the driver has noted.
    :ivar made: when it was made.
    """

    connection: Connection
    adapted: Any
    driver: Any
    info: dict[Any, Any]
    made: float

    @classmethod
    def to(cls, engine: Engine) -> _Link:
        """Connect."""
        connection = engine.connect()
        proxy = connection.connection
        adapted, driver = proxy.dbapi_connection, proxy.driver_connection
        connection.detach()
        return cls(connection, adapted, driver, proxy.info, time.monotonic())

    def run(self, request: Request) -> Any:
        """Run a request with SQLAlchemy."""
        reply = request(self.connection)
        self.connection.rollback()  # SQLAlchemy believes that there is a transaction
        return reply


class OwnClient:
    """An engine that the store has made, and closes.

    A call takes the connection that was used last, and only if none is idle a new one is made. So
    those that are not needed become old. It gives the connection back after the reply: whatever
    interrupts a call in between, no other call gets its connection.

    :param settings: the parts and options of the URL.
    :param engine: the engine, which keeps no connections of its own. In the async API it is the
        synchronous part of an asynchronous one.
    :ivar engine: the engine.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine = engine
        self._driver: Driver = settings.driver
        self._idle: list[_Link] = []
        self._open: set[_Link] = set()
        self._is_closed = False
        # Both let calls that wait take turns.
        self._places = Places(settings.pool_size)
        self._turns = asyncio.Semaphore(settings.pool_size)
        self._turn_timeout = settings.timeout
        self._timeout = None if self._driver.ends_itself else settings.timeout
        self._prepared: dict[ClauseElement, Prepared | None] = {}
        self._driver.prepare(engine)
        event.listen(engine, "connect", self._connecting, insert=True)
        event.listen(engine, "connect", self._connected)
        _everyone.add(self)

    def run(self, request: Request) -> Any:
        """Run a request, and return its reply.

        :raises sqlalchemy.exc.TimeoutError: no connection became free in time.
        """
        place = self._places.take(self._turn_timeout)
        if place is None:
            raise PoolTimeout
        try:
            link = self._pop()
            if link is None or self._is_over(link):
                link = self._renew(link)
            call = None
            try:
                call = self._call(request)
                if call is None:
                    reply = link.run(request)
                else:
                    reply = self._driver.execute(link.driver, *call)
            except BaseException as error:
                self._failed(link, call, error)
                raise
            self._give_back(link)
            if self._is_closed:
                self._close_idle()
        finally:
            self._places.give_back(place)
            self._places.serve()
        return reply

    async def run_async(self, request: Request) -> Any:
        """Do the same on the running event loop."""
        if self._turns.locked():
            try:
                async with asyncio.timeout(self._turn_timeout):
                    await self._turns.acquire()
            except TimeoutError:
                raise PoolTimeout from None
        else:
            await self._turns.acquire()  # it does not wait
        try:
            if self._timeout is None:
                return await self._run_async(request)
            async with asyncio.timeout(self._timeout):
                return await self._run_async(request)
        finally:
            self._turns.release()

    async def _run_async(self, request: Request) -> Any:
        link = self._pop()
        if link is None or self._is_over(link):
            link = await greenlet_spawn(self._renew, link)
        call = None
        try:
            call = self._call(request)
            if call is None:
                reply = await greenlet_spawn(link.run, request)
            else:
                reply = await self._driver.execute_async(link.driver, *call)
        except BaseException as error:
            await greenlet_spawn(self._failed, link, call, error)
            raise
        self._give_back(link)
        if self._is_closed:
            await greenlet_spawn(self._close_idle)
        return reply

    def _call(self, request: Request) -> Call | None:
        """Return what the driver executes, or None if SQLAlchemy has to execute the request."""
        if not (isinstance(request, Query | Change) and self._driver.is_direct):
            return None
        statement = request.statement
        if statement not in self._prepared:
            prepared = Prepared.of(statement, request.values, self.engine.dialect)
            self._prepared[statement] = prepared
        prepared = self._prepared[statement]
        if prepared is None:
            return None
        return prepared.text, prepared.parameters(request.values), request.returns_rows

    def _connecting(self, connection: Any, record: Any) -> None:
        _begun.get().append(connection)

    def _connected(self, connection: Any, record: Any) -> None:
        try:
            self._driver.connected(connection, record.info)
        except BaseException:
            self._driver.abandon(connection)  # SQLAlchemy would wait for the server's goodbye
            raise

    def _pop(self) -> _Link | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _is_over(self, link: _Link) -> bool:
        is_old = time.monotonic() - link.made > _RECYCLED
        return is_old or self._driver.is_dead(link.adapted, link.info)

    def _renew(self, link: _Link | None) -> _Link:
        """Close idle connections that are over, and return another one, which may be new."""
        while link is not None:
            if not self._is_over(link):
                return link
            if self._driver.is_dead(link.adapted, link.info):
                self._discard(link)
            else:
                self._close(link)
            link = self._pop()
        begun: list[Any] = []
        _begun.set(begun)
        try:
            link = _Link.to(self.engine)
        except BaseException:
            for connection in begun:  # before version 2.1, SQLAlchemy does not end it
                self._driver.abandon(connection)
            raise
        finally:
            begun.clear()
        self._open.add(link)
        return link

    def _give_back(self, link: _Link) -> None:
        self._idle.append(link)

    def _failed(self, link: _Link, call: Call | None, error: BaseException) -> None:
        """Keep the connection if its state is known, and raise errors as SQLAlchemy does.

        :raises DBAPIError: the error is one of the driver's.
        """
        dialect = self.engine.dialect
        errors: Any = (dialect.loaded_dbapi.Error, *self._driver.errors())
        if call is None or not isinstance(error, errors):
            self._discard(link)
            return
        has_ended = (
            getattr(error, "sqlstate", None) in _STALE
            or isinstance(error, self._driver.ends_with)
            or dialect.is_disconnect(error, link.adapted, None)
        )
        if has_ended:
            self._discard(link)
        else:
            self._give_back(link)
        raise DBAPIError.instance(
            call[0], (), error, errors,
            hide_parameters=True, connection_invalidated=has_ended, dialect=dialect,
        ) from error  # fmt: skip

    def _discard(self, link: _Link) -> None:
        """End a connection whose state is not known."""
        dialect = self.engine.dialect
        self._open.discard(link)
        if dialect.is_async:
            self._driver.abandon(link.adapted)  # SQLAlchemy would wait for the server's goodbye
        with suppress(Exception):
            dialect.do_terminate(link.adapted)

    def _close(self, link: _Link) -> None:
        self._open.discard(link)
        with suppress(Exception):
            self.engine.dialect.do_close(link.adapted)

    def _close_idle(self) -> None:
        while (link := self._pop()) is not None:
            self._close(link)

    def close(self) -> None:
        """Close the idle connections now, and others when their calls end."""
        self._is_closed = True
        self._close_idle()

    async def close_async(self) -> None:
        """Do the same on the event loop of the connections.

        asyncpg waits for the server's goodbye, and a silent server sends none.
        """
        try:
            async with asyncio.timeout(self._turn_timeout):
                await greenlet_spawn(self.close)
        except TimeoutError:
            while (link := self._pop()) is not None:
                self._discard(link)

    def abandon(self) -> None:
        """End the connections of an event loop that no longer runs."""
        self._idle.clear()
        for link in list(self._open):
            self._driver.abandon(link.adapted)
        self._open.clear()

    def before_fork(self) -> None:
        """Prepare for a fork of this process."""
        if self._driver.is_remote:
            return
        links = []
        while (link := self._pop()) is not None:
            links.append(link)
        self._driver.before_fork([link.adapted for link in links])
        self._open.difference_update(links)


_everyone: Final[WeakSet[OwnClient]] = WeakSet()


def _before_fork() -> None:
    for client in list(_everyone):
        client.before_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
