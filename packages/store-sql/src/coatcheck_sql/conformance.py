"""The conformance kit's harnesses for SQL databases. Only the kit imports this module."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Final

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    NullPool,
    Table,
    create_engine,
    delete,
    text,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from coatcheck_conformance import ClientStore, Fault, Harness

from ._store import AsyncSQLStore, SQLStore
from ._table import create, sessions_table

#: How many tables are ready for new namespaces.
_READY: Final = 3


class SQLHarness(Harness):
    """Open SQL stores with a table for each namespace.

    Tables are made in advance, because opening a store does nothing.

    :param url: a URL of an SQL store, without the option ``table``.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "stored": "data are binary: the layout holds no text",
        "folder": "the database writes its files itself",
    }
    #: The drivers that the harness uses.
    drivers: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sqlite": ("sqlite+pysqlite", "sqlite+aiosqlite"),
        "postgresql": ("postgresql+psycopg", "postgresql+psycopg"),
        "mysql": ("mysql+pymysql", "mysql+asyncmy"),
        "mariadb": ("mariadb+pymysql", "mariadb+asyncmy"),
    }

    def __init__(self, url: str) -> None:
        super().__init__()
        self._given = url
        self._base = f"kit_{uuid.uuid4().hex[:8]}_"
        self._tables: dict[str, Table] = {}
        self._ready: list[Table] = []
        self._number = 0
        self._engine: Engine | None = None

    def url(self, namespace: str) -> str:
        """See :meth:`coatcheck_conformance.Harness.url`."""
        start, _, query = self._given.partition("?")
        option = f"table={self.table(namespace).name}"
        return f"{self.place(start)}?{'&'.join(filter(None, (query, option)))}"

    def place(self, start: str) -> str:
        """Return the part of the URL before its options."""
        return start

    def has(self, feature: str) -> bool:
        """See :meth:`coatcheck_conformance.Harness.has`."""
        return feature == "url" or super().has(feature)

    def remove(self, namespace: str) -> None:
        """See :meth:`coatcheck_conformance.Harness.remove`."""
        table = self._tables.pop(namespace, None)
        if table is not None:
            with self.database() as database:
                database.execute(delete(table))
            self._ready.append(table)

    def table(self, namespace: str) -> Table:
        """Return the table of a namespace."""
        if namespace not in self._tables:
            if not self._ready:
                self._make_tables()
            self._tables[namespace] = self._ready.pop()
        return self._tables[namespace]

    def _make_tables(self) -> None:
        with self.database() as database:
            for _ in range(_READY):
                self._number += 1
                table = sessions_table(MetaData(), f"{self._base}{self._number}")
                create(database, table)
                self._ready.append(table)

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        super().finish()
        tables = [*self._tables.values(), *self._ready]
        self._tables, self._ready = {}, []
        if tables:
            with self.database() as database:
                for table in tables:
                    database.execute(text(f"DROP TABLE IF EXISTS {table.name}_x"))
                    table.drop(database)

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """Give a connection that does not belong to a store."""
        if self._engine is None:
            self._engine = create_engine(
                self.engine_url(), isolation_level="AUTOCOMMIT", poolclass=NullPool
            )
        with self._engine.connect() as connection:
            yield connection

    def engine_url(self, *, is_async: bool = False) -> URL:
        """Return SQLAlchemy's URL of the database."""
        url = make_url(self.place(self._given.partition("?")[0]))
        return url.set(drivername=self.drivers[url.get_backend_name()][is_async])

    # Direct access to the rows

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        change = partial(self.change, namespace, key)
        return {"no data": partial(change, data=b""), "another layout": partial(change, version=7)}

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""
        change = partial(self.change, namespace, key)
        return {
            "an owner that is not UTF-8": partial(change, owner=b"\xff"),
            "an owner without a letter": partial(change, owner=b""),
        }

    def change(self, namespace: str, key: str, **values: Any) -> None:
        """Change columns of a record's row."""
        table = self.table(namespace)
        with self.database() as database:
            where = table.c.key == key.encode()
            assert database.execute(update(table).where(where).values(**values)).rowcount == 1

    def foreign(self, namespace: str) -> Callable[[], bool]:
        """See :meth:`coatcheck_conformance.Harness.foreign`."""
        name = f"{self.table(namespace).name}_x"
        with self.database() as database:
            database.execute(text(f"DROP TABLE IF EXISTS {name}"))
            database.execute(text(f"CREATE TABLE {name} (word VARCHAR(9))"))
            database.execute(text(f"INSERT INTO {name} VALUES ('other')"))  # noqa: S608

        def is_there() -> bool:
            with self.database() as database:
                found = database.execute(text(f"SELECT word FROM {name}"))  # noqa: S608
                return list(found) == [("other",)]

        return is_there

    # Engines of the caller's

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_client`."""
        engine = create_engine(self.engine_url())
        store = SQLStore(engine, table=self.table(namespace).name, clock=clock)
        return ClientStore(store, lambda: _connections(engine) > 0, engine.dispose)

    async def with_async_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_async_client`."""
        engine = create_async_engine(self.engine_url(is_async=True))
        store = AsyncSQLStore(engine, table=self.table(namespace).name, clock=clock)
        return ClientStore(store, lambda: _connections(engine) > 0, engine.dispose)


class ServerHarness(SQLHarness):
    """Open SQL stores on a server."""

    def address(self) -> tuple[str, int] | None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        url = self.engine_url()
        return None if url.host is None or url.port is None else (url.host, url.port)

    def backend(self) -> str:
        """Return the server's product and version, and the driver."""
        with self.database() as database:
            version = str(database.execute(text("SELECT version()")).scalar_one())
        words = version.split()
        named = " ".join(words[:2]) if words[0] == "PostgreSQL" else f"MariaDB {version}"
        return named.partition("-")[0]

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        found = dict(super().malformed(namespace, key))
        if self.engine_url().get_backend_name() == "postgresql":
            change = partial(self.change, namespace, key)
            found["an expiry without end"] = partial(change, expires_at=float("inf"))
            found["an expiry that is no number"] = partial(change, expires_at=float("nan"))
        return found


class SQLiteHarness(SQLHarness):
    """Open SQL stores in a file of the kit's own, in a new folder beside the URL's file."""

    unsupported: ClassVar[Mapping[str, str]] = {
        "stored": "data are binary: the layout holds no text",
        "address": "there is no server",
        "traffic": "nothing is sent: the process reads the file itself",
        "credentials": "the URL has no place for a password",
    }

    def __init__(self, url: str) -> None:
        super().__init__(url)
        path = make_url(url.partition("?")[0]).database or ""
        self._beside = Path(path).absolute().parent
        self._made: Path | None = None

    @property
    def file(self) -> Path:
        """Return the file of the database."""
        if self._made is None:
            self._made = Path(mkdtemp(prefix="conformance-", dir=self._beside))
            with closing(SQLStore.from_url(f"sqlite:///{self._made / 'sessions.db'}")) as store:
                store.ensure_table()
        return self._made / "sessions.db"

    def place(self, start: str) -> str:
        """See :meth:`SQLHarness.place`."""
        return f"{start.partition(':')[0]}:///{self.file}"

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        self._tables, self._ready = {}, []
        super().finish()
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    def backend(self) -> str:
        """Return the library's version."""
        return f"SQLite {sqlite3.sqlite_version}"

    def folder(self, namespace: str) -> Path:
        """See :meth:`coatcheck_conformance.Harness.folder`."""
        return self.file.parent

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        change = partial(self._write, namespace, key)
        return {
            **super().malformed(namespace, key),
            "data that are text": partial(change, "data", "text"),
            "data that are a number": partial(change, "data", 7),
            "an expiry that is text": partial(change, "expires_at", "never"),
            "an expiry without end": partial(change, "expires_at", float("inf")),
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""
        change = partial(self._write, namespace, key, "owner")
        return {
            **super().garbled(namespace, key, owner),
            "an owner that is a number": partial(change, 7),
            "an owner that is text": partial(change, owner),
        }

    def faults(self, namespace: str) -> list[Fault]:
        """See :meth:`coatcheck_conformance.Harness.faults`."""
        return [
            Fault("unavailable", "the file has vanished", self._instead),
            Fault("unavailable", "a folder is in its place", partial(self._instead, Path.mkdir)),
            Fault("garbage", "the file is not SQLite's", partial(self._instead, _garbage)),
            Fault("stall", "another writer does not end", self._locked, reads=False),
        ]

    def _write(self, namespace: str, key: str, column: str, value: object) -> None:
        name = self.table(namespace).name
        with self._raw() as database:
            statement = f"UPDATE {name} SET {column} = ? WHERE key = ?"  # noqa: S608
            database.execute(statement, (value, key.encode()))

    @contextmanager
    def _instead(self, put: Callable[[Path], object] | None = None) -> Iterator[None]:
        """Put something else in the place of the file and of SQLite's files beside it."""
        folder = self.file.parent
        aside, rubbish = Path(mkdtemp(dir=folder)), Path(mkdtemp(dir=folder))
        _move(self.file, aside)
        try:
            if put is not None:
                put(self.file)
            yield
        finally:
            _move(self.file, rubbish)
            _move(aside / self.file.name, folder)
            for each in (aside, rubbish):
                shutil.rmtree(each)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._raw() as database:
            database.execute("BEGIN EXCLUSIVE")
            yield
            database.execute("ROLLBACK")

    @contextmanager
    def _raw(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as database:
            yield database


def _connections(engine: Any) -> int:
    """Return how many idle connections an engine has: none after it was disposed of."""
    count: int = engine.pool.checkedin()
    return count


def _garbage(file: Path) -> None:
    file.write_bytes(b"<html>502 Bad Gateway</html>" * 999)


def _move(file: Path, folder: Path) -> None:
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        with suppress(FileNotFoundError):
            file.with_name(name).replace(folder / name)
