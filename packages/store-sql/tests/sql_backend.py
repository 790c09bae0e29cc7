"""Databases for tests, and their stores by each driver."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from coatcheck import AsyncStore, Record, Store, open_async_store, open_store
from coatcheck.storekit import as_sync
from testing.machine import folder_in_memory
from testing.servers import mariadb, postgresql

#: The driver of each API that the tests use themselves.
_PLAIN: Final = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
}


def record(data: bytes = b"d4ta", life: float = 3600, owner: str | None = "0wner") -> Record:
    return Record(data, time.time() + life, owner)


@dataclass(frozen=True)
class Backend:
    """A table of a test's own.

    :ivar server_url: of the database, without options.
    :ivar scheme: of the store.
    :ivar is_async: whether the test uses the store's async API.
    :ivar table: the table's name.
    """

    server_url: str
    scheme: str
    is_async: bool
    table: str

    @property
    def url(self) -> str:
        return f"{self.url_at(self.server_url)}?table={self.table}"

    def url_at(self, server_url: str) -> str:
        """Return the URL of a store on a server, without options."""
        return f"{self.scheme}:{server_url.partition(':')[2]}"

    @property
    def database(self) -> str:
        return self.scheme.partition("+")[0]

    def native(self, options: str = "", url: str = "") -> Store | AsyncStore:
        """Open a store with the API of the test."""
        opens = open_async_store if self.is_async else open_store
        return opens(f"{url or self.url}{options}")

    def store(self, options: str = "", url: str = "") -> Store:
        """Open a store, which the test uses by its sync API, bridged or not."""
        return as_sync(self.native(options, url))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection that does not belong to a store, in autocommit."""
        with engine_of(self.server_url).connect() as connection:
            yield connection

    def sql(self, statement: str, **values: Any) -> Any:
        """Run a statement, and return its rows if it has some."""
        with self.connection() as connection:
            result = connection.execute(text(statement), values)
            return result.fetchall() if result.returns_rows else result.rowcount


def engine_of(server_url: str) -> Engine:
    """Return an engine in autocommit that keeps no connection."""
    url = make_url(server_url)
    plain = url.set(drivername=_PLAIN[url.get_backend_name()])
    return create_engine(plain, isolation_level="AUTOCOMMIT", poolclass=NullPool)


@contextmanager
def sqlite_file() -> Iterator[str]:
    """Yield the URL of a new file."""
    with tempfile.TemporaryDirectory(prefix="coatcheck-sql-", dir=folder_in_memory()) as folder:
        yield f"sqlite:///{folder}/sessions.db"


def database(scheme: str) -> AbstractContextManager[str]:
    """Return a context manager that yields the URL of a database."""
    if scheme.startswith("postgresql"):
        return postgresql.server()
    return mariadb.server() if scheme.startswith("mariadb") else sqlite_file()


def _driver(scheme: str, api: str) -> Any:
    server = scheme.partition("+")[0]
    marks = [] if server == "sqlite" else [pytest.mark.integration(server)]
    return pytest.param((scheme, api == "async"), id=f"{scheme}-{api}", marks=marks)


SQLITE: Final = [_driver("sqlite", "sync"), _driver("sqlite+aiosqlite", "async")]
POSTGRESQL: Final = [
    _driver("postgresql", "sync"),
    _driver("postgresql", "async"),
    _driver("postgresql+asyncpg", "async"),
]
MARIADB: Final = [_driver("mariadb", "sync"), _driver("mariadb", "async")]
SERVERS: Final = [*POSTGRESQL, *MARIADB]
ALL: Final = [*SQLITE, *SERVERS]


@contextmanager
def backend_on(server_url: str, driver: tuple[str, bool]) -> Iterator[Backend]:
    """Yield a table of a test's own on a database."""
    backend = Backend(server_url, *driver, table=f"t_{uuid.uuid4().hex[:8]}")
    maker: Any = open_store(f"{server_url}?table={backend.table}")
    maker.ensure_table()
    maker.close()
    yield backend
    backend.sql(f"DROP TABLE IF EXISTS {backend.table}")
