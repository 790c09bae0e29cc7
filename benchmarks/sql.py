"""The SQL store, against the drivers alone: one SELECT, and one statement that writes a row.

The baseline has one connection, which it never checks, and knows no other request: it revives ended
sessions and overwrites the changes of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosqlite
import asyncmy
import asyncpg
import psycopg
import pymysql
from sqlalchemy import make_url

from benchmarks.with_server import LIFETIME, Budgets, Candidate, against_the_baseline
from coatcheck_sql import AsyncSQLStore, SQLStore
from testing.servers import mariadb, postgresql
from testing.servers.programs import ServerMissing

BUDGETS: Budgets = {api: {"read": 1.6} for api in ("async", "sync")}
#: A read of SQLite takes less time than the middleware.
_BUDGETS_WITHOUT_SERVER: Budgets = {"async": {"read": 1.0}, "sync": {"read": 2.1}}

_TABLE = "benchmark_baseline"
_ON_CONFLICT = "ON CONFLICT (k) DO UPDATE SET data = excluded.data, ends = excluded.ends"
_ON_DUPLICATE = "ON DUPLICATE KEY UPDATE data = VALUES(data), ends = VALUES(ends)"

Baseline = tuple[Callable[[str], Any], Callable[[str, bytes], Any]]


@dataclass(frozen=True)
class Case:
    """A database, and a driver for each API.

    :ivar server: yields the URL of a database.
    :ivar drivers: what the sync and the async driver are called in URLs of SQLAlchemy.
    :ivar connect: returns a connection of the sync driver.
    :ivar connect_async: the same of the async driver.
    :ivar baseline_async: returns what reads and writes with the async driver.
    :ivar marks: how the drivers mark three parameters.
    :ivar key: the type of keys.
    :ivar data: the type of data.
    :ivar or_replace: the end of an INSERT that replaces a row.
    :ivar budgets: the allowed ratios.
    """

    server: Callable[[], AbstractContextManager[str]]
    drivers: tuple[str, str]
    connect: Callable[[str], Any]
    connect_async: Callable[[str], Awaitable[Any]]
    baseline_async: Callable[[Any, Case], Baseline]
    marks: tuple[str, str, str] = ("%s", "%s", "%s")
    key: str = "bytea"
    data: str = "bytea"
    or_replace: str = _ON_CONFLICT
    budgets: Budgets = field(default_factory=lambda: BUDGETS)

    @property
    def read(self) -> str:
        """Return the statement that reads a row."""
        return f"SELECT data FROM {_TABLE} WHERE k = {self.marks[0]}"

    @property
    def write(self) -> str:
        """Return the statement that writes a row."""
        return f"INSERT INTO {_TABLE} VALUES ({', '.join(self.marks)}) {self.or_replace}"

    def prepare(self, connection: Any) -> None:
        """Create an empty table for the baseline."""
        columns = f"k {self.key} PRIMARY KEY, data {self.data} NOT NULL, ends DOUBLE PRECISION"
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {_TABLE}")
            cursor.execute(f"CREATE TABLE {_TABLE} ({columns})")


def _row(key: str, data: bytes) -> tuple[bytes, bytes, float]:
    return key.encode(), data, time.time() + LIFETIME


def _baseline(connection: Any, case: Case) -> Baseline:
    read, write = case.read, case.write

    def get(key: str) -> Any:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(read, (key.encode(),))
            row = cursor.fetchone()
        return None if row is None else row[0]

    def put(key: str, data: bytes) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(write, _row(key, data))

    return get, put


def _baseline_async(connection: Any, case: Case) -> Baseline:
    read, write = case.read, case.write

    async def get(key: str) -> Any:
        async with connection.cursor() as cursor:
            await cursor.execute(read, (key.encode(),))
            row = await cursor.fetchone()
        return None if row is None else row[0]

    async def put(key: str, data: bytes) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(write, _row(key, data))

    return get, put


def _baseline_asyncpg(connection: Any, case: Case) -> Baseline:
    read, write = (
        statement.replace("%s", "$1", 1).replace("%s", "$2", 1).replace("%s", "$3")
        for statement in (case.read, case.write)
    )

    async def get(key: str) -> Any:
        return await connection.fetchval(read, key.encode())

    async def put(key: str, data: bytes) -> None:
        await connection.execute(write, *_row(key, data))

    return get, put


def _words(url: str) -> dict[str, Any]:
    parts = make_url(url)
    return {
        "host": parts.host, "port": parts.port, "user": parts.username, "password": "",
        "database": parts.database, "autocommit": True,
    }  # fmt: skip


@contextlib.contextmanager
def _file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/sessions.db"
        SQLStore.from_url(url).ensure_table()
        yield url


def _sqlite(url: str) -> Any:
    connection = sqlite3.connect(Path(make_url(url).database or ""), isolation_level=None)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


async def _aiosqlite(url: str) -> Any:
    connection = await aiosqlite.connect(make_url(url).database or "", isolation_level=None)
    await connection.execute("PRAGMA synchronous = NORMAL")
    return connection


async def _psycopg(url: str) -> Any:
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


_PSYCOPG = Case(
    postgresql.server, ("postgresql+psycopg", "postgresql+psycopg"),
    lambda url: psycopg.connect(url, autocommit=True), _psycopg, _baseline_async,
)  # fmt: skip
_ASYNCPG = Case(
    postgresql.server, ("postgresql+psycopg", "postgresql+asyncpg"),
    lambda url: psycopg.connect(url, autocommit=True), asyncpg.connect, _baseline_asyncpg,
)  # fmt: skip
CASES: dict[str, Case] = {
    "psycopg": _PSYCOPG,
    "asyncpg": _ASYNCPG,
    "mariadb": Case(
        mariadb.server, ("mariadb+pymysql", "mariadb+asyncmy"),
        lambda url: pymysql.connect(**_words(url)), lambda url: asyncmy.connect(**_words(url)),
        _baseline_async, key="VARBINARY(1024)", data="LONGBLOB", or_replace=_ON_DUPLICATE,
    ),
    "sqlite": Case(
        _file, ("sqlite+pysqlite", "sqlite+aiosqlite"), _sqlite, _aiosqlite, _baseline_async,
        marks=("?", "?", "?"), key="BLOB", data="BLOB", budgets=_BUDGETS_WITHOUT_SERVER,
    ),
}  # fmt: skip


def compare(data: dict[str, Any], rounds: int) -> None:
    """Print a table for each driver."""
    for name, case in CASES.items():
        try:
            with case.server() as url, asyncio.Runner() as runner:
                _compare(name, case, url, runner, data, rounds)
        except ServerMissing as missing:
            print(f"\n{name} left out: {missing}")


def _compare(
    name: str, case: Case, url: str, runner: asyncio.Runner, data: dict[str, Any], rounds: int
) -> None:
    parts = make_url(url)
    ours, ours_async = (parts.set(drivername=driver) for driver in case.drivers)
    with contextlib.closing(case.connect(url)) as connection:
        case.prepare(connection)
        async_connection = runner.run(_made(case, url))
        candidate = Candidate(
            name,
            case.budgets,
            SQLStore.from_url(ours.render_as_string(hide_password=False)),
            AsyncSQLStore.from_url(ours_async.render_as_string(hide_password=False)),
            *_baseline(connection, case),
            *case.baseline_async(async_connection, case),
        )
        assert isinstance(candidate.store, SQLStore)
        candidate.store.ensure_table()
        against_the_baseline(candidate, runner, data, rounds)
        candidate.store.close()
        runner.run(candidate.async_store.close())
        runner.run(_close(async_connection))


async def _made(case: Case, url: str) -> Any:
    return await case.connect_async(url)


async def _close(connection: Any) -> None:
    closed = connection.close()
    if closed is not None:  # asyncmy closes at once
        await closed
