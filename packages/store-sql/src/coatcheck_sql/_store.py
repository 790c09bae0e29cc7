"""The stores: one for the sync API and one for the async API of SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from copy import copy
from functools import partial
from typing import Any, ClassVar, Self

from sqlalchemy import Connection, MetaData

from coatcheck import Capabilities
from coatcheck.errors import StoreError
from coatcheck.storekit import (
    AsyncGeneratorStore,
    BaseGeneratorStore,
    GeneratorStore,
    SyncBridge,
    Transaction,
)

from ._bound import BoundTransaction, check_transaction
from ._clients import API, ASYNC, SYNC
from ._databases import database_of
from ._drivers import driver_class
from ._failures import PACKAGES, translated
from ._operations import LARGEST, SQLOperations
from ._table import DEFAULT_TABLE, sessions_table
from ._url import TIMEOUT, parse


class _BaseSQLStore(BaseGeneratorStore):
    """The constructors and the errors of both stores."""

    capabilities: Capabilities = Capabilities(
        enumerable=True,
        clearable=True,
        owners=True,
        max_data_bytes=LARGEST,
        multi_process=True,
        durable=True,
    )
    backend: ClassVar[str] = "SQL"
    client_packages: ClassVar[Collection[str]] = PACKAGES
    _api: ClassVar[API]
    _operations: SQLOperations
    _timeout: float = TIMEOUT
    _bound_to: Connection | None = None

    def __init__(
        self,
        engine: Any,
        *,
        table: str = DEFAULT_TABLE,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api.check(engine)
        driver_class(engine.dialect.driver)
        provider = self._api.borrow(engine, timeout)
        self._timeout = timeout
        self._set_up(provider, _where(engine.url), engine.dialect.name, table, clock)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ``postgresql://user:password@host:port/database?option=value``, without I/O.

        ``docs/sql.md`` lists the URLs and their options. Each process has its own connections; in
        the async API, so has each event loop.

        :raises ConfigurationError: the URL cannot be parsed, or has an unknown option; the driver
            is missing.
        """
        settings = parse(url, is_async=cls._api.is_async)
        store = cls.__new__(cls)
        name = settings.url.get_backend_name()
        store._timeout = settings.timeout
        store._set_up(cls._api.open(settings), _where(settings.url), name, settings.table, clock)
        store._create_database = partial(settings.driver.create_database, settings.url)
        return store

    def bind(self, connection: Any) -> Self:
        """Return a store whose operations run in the application's own transaction.

        Its writes are stored when the application commits, together with everything else in the
        transaction, or not at all. Use it for :meth:`coatcheck.SyncSession.save` and for
        :class:`coatcheck.Sessions`, and not for a middleware::

            with engine.begin() as connection:
                connection.execute(insert(orders).values(...))
                session["cart"] = []
                session.save(store=store.bind(connection))

        A row that is read is locked until the transaction ends. Other writers of the session wait.

        :param connection: a ``sqlalchemy.Connection`` or, for :class:`AsyncSQLStore`, a
            ``sqlalchemy.ext.asyncio.AsyncConnection`` to the same database. The caller keeps it.
        :raises ConfigurationError: it is another object, is closed or in autocommit, or leads to
            another kind of database.
        """
        sync = self._api.check_connection(connection, self._dialect)
        check_transaction(sync)
        bound = copy(self)
        bound._bound_to = sync
        bound._operations = self._operations.bound()
        bound.set_up(self._api.bind(connection, self._timeout), bound._operations)
        return bound

    @property
    def transaction(self) -> Transaction | None:
        """The transaction of the connection that the store is bound to; None if it is not bound."""
        connection = self._bound_to
        return None if connection is None else BoundTransaction(connection.get_transaction())

    def _set_up(
        self,
        provider: Any,
        where: str,
        dialect: str,
        table: str,
        clock: Callable[[], float],
    ) -> None:
        self._dialect, self._clock, self._where = dialect, clock, where
        self._database = database_of(dialect)
        self._table = sessions_table(MetaData(), table)
        self._create_database: Callable[[], None] | None = None
        self.set_up(provider, SQLOperations(self._table, self._database, clock))

    def translate_error(self, error: Exception) -> StoreError:
        """See :meth:`coatcheck.storekit.BaseGeneratorStore.translate_error`."""
        return translated(error, self._where, self._database, self._table)


class SQLStore(_BaseSQLStore, GeneratorStore):
    """Sessions in a table of an SQL database.

    The table must exist: see :func:`coatcheck_sql.create_tables` and :meth:`ensure_table`.

    :param engine: a ``sqlalchemy.Engine``. The caller keeps it: ``close`` leaves it open. Give its
        driver time limits, so that no call waits for longer. A process that was forked must have
        called ``engine.dispose(close=False)``.
    :param table: the table's name, and a schema and a dot before it.
    :param timeout: seconds that a call may take. It is for :class:`AsyncSQLStore`: sync calls take
        the time that the engine's driver allows.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the engine is another object, or its driver is known not to work;
        the table's name is not allowed.
    """

    _api = SYNC

    def prune(self, limit: int | None = None) -> int:
        """See :meth:`coatcheck.Store.prune`."""
        return self.run_operation(self._operations.prune(limit))  # type: ignore[no-any-return]

    def ensure_table(self) -> bool:
        """Create the table and its indexes, unless they exist.

        This needs the right to create tables, which sessions do not need. Several callers at once
        do no harm.

        :returns: whether anything was created.
        :raises StoreError: it failed, or there is a table of this name with other columns.
        """
        return self.run_operation(self._operations.ensure_table(self._create_database))  # type: ignore[no-any-return]

    def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.GeneratorStore.send_request`."""
        return client.run(request)


class AsyncSQLStore(_BaseSQLStore, AsyncGeneratorStore):
    """Sessions in a table of an SQL database, for event loops of asyncio.

    :param engine: a ``sqlalchemy.ext.asyncio.AsyncEngine``. The caller keeps it: ``close`` leaves
        it open. It belongs to the event loop that runs when the store is made or, if none runs, to
        the first that uses it.

    The other parameters are those of :class:`SQLStore`.
    """

    _api = ASYNC

    async def prune(self, limit: int | None = None) -> int:
        """See :meth:`coatcheck.Store.prune`."""
        return await self.run_operation(self._operations.prune(limit))  # type: ignore[no-any-return]

    async def ensure_table(self) -> bool:
        """See :meth:`SQLStore.ensure_table`."""
        return await self.run_operation(self._operations.ensure_table(self._create_database))  # type: ignore[no-any-return]

    async def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.AsyncGeneratorStore.send_request`."""
        return await client.run_async(request)


def open_bridged(url: str, *, clock: Callable[[], float] = time.time) -> SyncBridge:
    """Open the sync API for a driver that has an async API alone; see :meth:`SQLStore.from_url`."""
    return SyncBridge(AsyncSQLStore.from_url(url, clock=clock))


def _where(url: Any) -> str:
    """Return the name of the server in errors."""
    database = database_of(url.get_backend_name())
    if url.get_backend_name() == "sqlite":
        return f"{database.name} at {url.database}"
    if several := url.query.get("host"):
        return f"{database.name} at {several if isinstance(several, str) else ', '.join(several)}"
    host = url.host or "the default host"
    shown = f"[{host}]" if ":" in host else host
    return f"{database.name} at {shown}" + (f":{url.port}" if url.port else "")
