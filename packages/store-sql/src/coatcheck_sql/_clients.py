"""Engines of SQLAlchemy: one for each process and, in the async API, for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import BorrowedClient, ClientPerLoop, ClientPerProcess, SingleLoopClient

from ._databases import family_of
from ._drivers import check_charset
from ._own_client import OwnClient
from ._requests import Request
from ._url import Settings


class Client:
    """An engine of the caller's, and what a store does with it.

    An asynchronous engine is a synchronous one whose driver waits in a greenlet. So both APIs run
    the same function, and the async API runs it in one greenlet for each request.

    :param engine: a synchronous engine, or the synchronous part of an asynchronous one.
        Its statements are transactions of their own.
    :param timeout: seconds that a call in the async API may take.
    """

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout

    def run(self, request: Request) -> Any:
        """Run a request on a connection of the pool, and return its reply."""
        with self._engine.connect() as connection:
            try:
                return request(connection)
            except SQLAlchemyError:
                raise  # SQLAlchemy has closed the connection, unless it can be used again
            except BaseException:
                connection.invalidate()
                raise

    async def run_async(self, request: Request) -> Any:
        """Run a request on the running event loop, and return its reply."""
        async with asyncio.timeout(self._timeout):
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

    def check_connection(self, connection: object, dialect: str) -> Connection:
        """Check that an object is a connection of this API to the store's kind of database.

        :returns: it, or the synchronous part of an asynchronous one.
        :raises ConfigurationError: it is not.
        """
        if not isinstance(connection, self.connection):
            raise ConfigurationError(
                f"`bind` takes a {self.connection.__name__} of SQLAlchemy, not "
                f"{type(connection).__name__}; that of an ORM session is what its `connection()` "
                "returns"
            )
        sync: Connection | None = getattr(connection, "sync_connection", connection)
        if sync is None:
            raise ConfigurationError("`bind` takes a connection that is open")
        found = sync.dialect.name
        if family_of(found) != family_of(dialect):
            raise ConfigurationError(f"the connection leads to {found}, and the store to {dialect}")
        check_charset(sync.engine.url)
        return sync


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "connect_args": settings.driver.arguments(),
        "hide_parameters": True,
        # Each statement is a transaction of its own, so that no other has to begin or end it.
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
        "poolclass": NullPool,
        **settings.driver.engine_options,
    }


def _silent(engine: Engine) -> Engine:
    """Return an engine with the same pool whose errors and logs do not show values."""
    own = engine.execution_options(isolation_level="AUTOCOMMIT")
    own.hide_parameters = True
    return own


def _borrow(engine: Engine, timeout: float) -> BorrowedClient[Client]:
    return BorrowedClient(Client(_silent(engine), timeout))


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
    assert sync is not None, "it was checked"
    return SingleLoopClient(BoundClient(sync, timeout), "the connection")


SYNC: Final = API(False, Engine, _borrow, _open, Connection, _bind)
ASYNC: Final = API(True, AsyncEngine, _borrow_async, _open_async, AsyncConnection, _bind_async)
