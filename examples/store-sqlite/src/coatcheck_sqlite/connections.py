"""Connections to one database file: who may use which one, and what their failures mean."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias
from weakref import WeakSet

from coatcheck.errors import StoreClosed, StoreError, StoreTimeout, StoreUnavailable

#: The origin of a connection: the process, and the device and number of the file.
Origin: TypeAlias = tuple[int, int, int]

_WAITED_TOO_LONG: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_OUT_OF_REACH: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)

#: Held while a file is made: closing a descriptor of a database drops this process's locks on it.
_making: Final = threading.Lock()
_everyone: Final[WeakSet[Connections]] = WeakSet()
#: Connections of the parent process. Its child may neither use nor close them.
_inherited: Final[list[sqlite3.Connection]] = []


class Connections:
    """Lend connections, each to one call at a time, and keep the idle ones.

    :param path: the file, which is made for its user alone when it is first needed.
    :param schema: statements that make missing tables.
    :param timeout: seconds to wait for other writers: once to open the file, once for a statement.
    """

    def __init__(self, path: Path, schema: str, timeout: float) -> None:
        self._path = path
        self._schema = schema
        self._timeout = timeout
        self._idle: list[tuple[Origin, sqlite3.Connection]] = []
        self._was_there = False
        self._closed = False
        _everyone.add(self)

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for the block; one that has failed is not used again.

        :raises StoreError: the block, or opening the file, failed.
        """
        self._check_open()
        connection = None
        try:
            origin = self._origin()
            connection = self._taken(origin) or self._opened()
            yield connection
        except BaseException as error:
            if connection is not None:
                _close(connection)
            if isinstance(error, sqlite3.Error | OSError):
                raise self._failure(error) from error
            raise
        self._idle.append((origin, connection))
        if self._closed:
            self.let_go()

    def close(self) -> None:
        """Close idle connections now, and lent ones when they come back."""
        self._closed = True
        self.let_go()

    def let_go(self) -> None:
        """Close idle connections."""
        self._taken(None)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this SQLite store is closed")

    def _taken(self, wanted: Origin | None) -> sqlite3.Connection | None:
        """Return an idle connection of this origin, and close others on the way."""
        with suppress(IndexError):
            while True:
                origin, connection = self._idle.pop()
                if origin == wanted:
                    return connection
                if origin[0] == os.getpid():
                    _close(connection)
                else:
                    _inherited.append(connection)
        return None

    def _origin(self) -> Origin:
        """Return the origin that a connection must have; an existing file is not made again."""
        if not self._was_there:
            _make(self._path)
        status = os.stat(self._path)  # noqa: PTH116  # a Path costs more than the system call
        self._was_there = True
        return os.getpid(), status.st_dev, status.st_ino

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
        except BaseException:
            _close(connection)
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables, and let readers and a writer work at the same time (WAL)."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.executescript(f"PRAGMA journal_mode = WAL; {self._schema}")
                break
            except sqlite3.OperationalError as error:
                # SQLite itself does not wait if two processes switch to WAL at the same time.
                if _code(error) not in _WAITED_TOO_LONG or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  # it is not a secret
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA busy_timeout = {round(self._timeout * 1000)}")

    def _failure(self, error: Exception) -> StoreError:
        code = _code(error)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if self._closed and isinstance(error, sqlite3.ProgrammingError):
            return StoreClosed("this SQLite store was closed meanwhile")
        if code in _WAITED_TOO_LONG:
            return StoreTimeout(f"another writer kept the database locked: {name}")
        if code in _OUT_OF_REACH or isinstance(error, OSError):
            return StoreUnavailable(f"the database file is out of reach: {name}")
        return StoreError(f"SQLite failed: {name}")


def _code(error: Exception) -> int:
    """Return the primary result code, or 0 if the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _make(path: Path) -> None:
    with _making, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _close(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.close()


def _before_fork() -> None:
    """Close all connections: in the child SQLite's record of its locks would be wrong."""
    _making.acquire()
    for connections in list(_everyone):
        connections.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_making.release, after_in_child=_making.release
    )
