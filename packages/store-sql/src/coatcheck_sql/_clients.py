"""Engines of SQLAlchemy: one for each process and, in the async API, for each event loop.

An asynchronous engine is a synchronous one whose driver waits in a greenlet. So both APIs run the
same function, and the async API runs it in one greenlet for each request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import ClauseElement, Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import BorrowedClient, ClientPerLoop, ClientPerProcess, SingleLoopClient

from ._drivers import Driver, check_charset
from ._prepared import Prepared, execute
from ._requests import Change, Query, Request
from ._url import Settings

#: Seconds after which an idle connection is replaced, because firewalls forget it.
_RECYCLED: Final = 900


class Client:
    """An engine, and what a store does with it.

    :param engine: a synchronous engine, or the synchronous part of an asynchronous one.
    :param timeout: seconds that a call in the async API may take, or None if drivers end it.
    :ivar engine: the engine, whose statements are transactions of their own.
    """

    def __init__(self, engine: Engine, timeout: float | None = None) -> None:
        self.engine = engine
        self.timeout = timeout

    def run(self, request: Request) -> Any:
        """Run a request on a connection of the pool, and return its reply."""
        with self.engine.connect() as connection:
            try:
                return request(connection)
            except SQLAlchemyError:
                raise  # SQLAlchemy has closed the connection, unless it can be used again
            except BaseException:
                connection.invalidate()
                raise

    async def run_async(self, request: Request) -> Any:
        """Run a request on the running event loop, and return its reply."""
        async with asyncio.timeout(self.timeout):
            return await greenlet_spawn(self.run, request)


class BoundClient:
    """A connection of the caller's, in the caller's transaction.

    :param connection: a synchronous connection, or the synchronous part of an asynchronous one.
    :param timeout: seconds that a call in the async API may take.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    def run(self, request: Request) -> Any:
        """Run a request in the transaction, and return its reply."""
        return request(self._connection)

    async def run_async(self, request: Request) -> Any:
        """Do the same on the event loop of the connection."""
        async with asyncio.timeout(self._timeout):
            return await greenlet_spawn(request, self._connection)


class OwnClient(Client):
    """An engine that the store has made, and closes.

    :param settings: the parts and options of the URL.
    :param engine: the engine.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._driver: Driver = settings.driver
        self._open: set[Any] = set()
        self._busy: set[Any] = set()
        self._is_closed = False
        # A call that gives a connection back may take it again before one that waits for it in
        # SQLAlchemy's pool. Calls that wait for the semaphore take turns.
        self._turns = asyncio.Semaphore(settings.pool_size)
        self._turn_timeout = settings.timeout
        self._prepared: dict[ClauseElement, Prepared | None] = {}
        super().__init__(engine, None if self._driver.ends_itself else settings.timeout)
        self._driver.prepare(engine)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "checkin", self._checked_in)
        event.listen(engine, "invalidate", self._invalidated)
        event.listen(engine, "close", self._ended)
        _everyone.add(self)

    def run(self, request: Request) -> Any:
        """See :meth:`Client.run`."""
        try:
            if self._driver.is_direct and isinstance(request, Query | Change):
                return super().run(partial(self._execute, request))
            return super().run(request)
        finally:
            if self._is_closed:
                self.engine.dispose()

    async def run_async(self, request: Request) -> Any:
        """See :meth:`Client.run_async`.

        :raises sqlalchemy.exc.TimeoutError: no connection became free in time.
        """
        if self._turns.locked():
            try:
                async with asyncio.timeout(self._turn_timeout):
                    await self._turns.acquire()
            except TimeoutError:
                raise PoolTimeout from None
        else:
            await self._turns.acquire()  # it does not wait
        try:
            return await super().run_async(request)
        finally:
            self._turns.release()

    def _execute(self, request: Query | Change, connection: Connection) -> Any:
        statement = request.statement
        if statement not in self._prepared:
            prepared = Prepared.of(statement, request.values, connection.dialect)
            self._prepared[statement] = prepared
        prepared = self._prepared[statement]
        return request(connection) if prepared is None else execute(connection, prepared, request)

    def close(self) -> None:
        """Close the idle connections now, and others when their calls end."""
        self._is_closed = True
        self.engine.dispose()

    async def close_async(self) -> None:
        """Do the same on the event loop of the connections."""
        await greenlet_spawn(self.close)

    def abandon(self) -> None:
        """End the connections of an event loop that no longer runs."""
        for connection in list(self._open):
            self._driver.abandon(connection)
        self._open.clear()

    def before_fork(self) -> None:
        """Prepare for a fork of this process."""
        self._driver.before_fork(self.engine, list(self._open - self._busy))

    def _connected(self, connection: Any, record: Any) -> None:
        try:
            self._driver.connected(connection, record.info)
        except BaseException:
            self._driver.abandon(connection)  # before version 2.1, SQLAlchemy does not end it
            raise
        self._open.add(connection)

    def _checked_out(self, connection: Any, record: Any, proxy: Any) -> None:
        if self._driver.is_dead(connection, record.info):
            raise DisconnectionError
        self._busy.add(connection)

    def _checked_in(self, connection: Any, record: Any) -> None:
        self._busy.discard(connection)

    def _invalidated(self, connection: Any, record: Any, error: Any) -> None:
        if self.engine.dialect.is_async and self._driver.is_remote:
            self._driver.abandon(connection)  # SQLAlchemy would wait for the server's goodbye

    def _ended(self, connection: Any, record: Any) -> None:
        self._open.discard(connection)
        self._busy.discard(connection)


_everyone: Final[WeakSet[OwnClient]] = WeakSet()


def _before_fork() -> None:
    for client in list(_everyone):
        with suppress(SQLAlchemyError):
            client.before_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


@dataclass(frozen=True, slots=True)
class API:
    """One of the two APIs of SQLAlchemy.

    :ivar is_async: whether it is the async one.
    :ivar kind: the class of its engines.
    :ivar borrow: returns the provider of an engine that the caller made and closes, for calls that
        may take this many seconds.
    :ivar open: returns the provider of the engines of a URL.
    :ivar connection: the class of its connections.
    :ivar bind: returns the provider of a connection that the caller made, and commits.
    """

    is_async: bool
    kind: type[Any]
    borrow: Callable[[Any, float], Any]
    open: Callable[[Settings], Any]
    connection: type[Any]
    bind: Callable[[Any, float], Any]

    def check(self, engine: object) -> None:
        """Check that an object is an engine of this API.

        :raises ConfigurationError: it is not, or its character set is none that is safe.
        """
        if not isinstance(engine, self.kind):
            raise ConfigurationError(
                f"the engine must be an {self.kind.__name__} of SQLAlchemy, not "
                f"{type(engine).__name__}"
            )
        check_charset(engine.url)

    def check_connection(self, connection: object, dialect: str) -> None:
        """Check that an object is a connection of this API to the store's kind of database.

        :raises ConfigurationError: it is not.
        """
        if not isinstance(connection, self.connection):
            raise ConfigurationError(
                f"`bind` takes a {self.connection.__name__} of SQLAlchemy, not "
                f"{type(connection).__name__}; that of an ORM session is what its `connection()` "
                "returns"
            )
        if connection.dialect.name != dialect:
            raise ConfigurationError(
                f"the connection leads to {connection.dialect.name}, and the store to {dialect}"
            )
        check_charset(connection.engine.url)


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "connect_args": settings.driver.arguments(),
        "hide_parameters": True,
        # Each statement is a transaction of its own, so that no other has to begin or end it.
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
        "pool_reset_on_return": None,
        "pool_size": settings.pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.timeout,
        "pool_recycle": _RECYCLED,
        # Connections that are not needed now become old, and are replaced.
        "pool_use_lifo": True,
        **settings.driver.engine_options,
    }


def _silent(engine: Engine) -> Engine:
    """Return an engine with the same pool whose errors and logs do not show values."""
    own = engine.execution_options(isolation_level="AUTOCOMMIT")
    own.hide_parameters = True
    return own


def _borrow(engine: Engine, _: float) -> BorrowedClient[Client]:
    return BorrowedClient(Client(_silent(engine)))


def _open(settings: Settings) -> ClientPerProcess[OwnClient]:
    def make() -> OwnClient:
        return OwnClient(settings, create_engine(settings.url, **_options(settings)))

    return ClientPerProcess(make, OwnClient.close)


def _borrow_async(engine: AsyncEngine, timeout: float) -> SingleLoopClient[Client]:
    return SingleLoopClient(Client(_silent(engine.sync_engine), timeout), "the AsyncEngine")


def _open_async(settings: Settings) -> ClientPerLoop[OwnClient]:
    def make() -> OwnClient:
        engine = create_async_engine(settings.url, **_options(settings))
        return OwnClient(settings, engine.sync_engine)

    return ClientPerLoop(make, OwnClient.close_async, OwnClient.abandon)


def _bind(connection: Connection, timeout: float) -> BorrowedClient[BoundClient]:
    return BorrowedClient(BoundClient(connection, timeout))


def _bind_async(connection: AsyncConnection, timeout: float) -> SingleLoopClient[BoundClient]:
    sync = connection.sync_connection
    if sync is None:
        raise ConfigurationError("`bind` takes a connection that is open")
    return SingleLoopClient(BoundClient(sync, timeout), "the connection")


SYNC: Final = API(False, Engine, _borrow, _open, Connection, _bind)
ASYNC: Final = API(True, AsyncEngine, _borrow_async, _open_async, AsyncConnection, _bind_async)
