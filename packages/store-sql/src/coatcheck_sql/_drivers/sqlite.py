"""The drivers of SQLite: sqlite3, which SQLAlchemy calls pysqlite, and aiosqlite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Engine, event

from coatcheck.errors import StoreUnavailable

from .._logs import keep_out
from .base import Driver

#: Seconds to wait for the end of an idle thread.
_JOINED: Final = 1.0


class PySQLite(Driver):
    """Describe sqlite3 of the standard library."""

    options: ClassVar[frozenset[str] | None] = frozenset()
    is_remote: ClassVar[bool] = False
    ends_itself: ClassVar[bool] = True
    is_direct: ClassVar[bool] = True

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`. The time limit is that of waiting for writers."""
        return {"timeout": self.timeout}

    def prepare(self, engine: Engine) -> None:
        """See :meth:`.base.Driver.prepare`.

        No file is created: an empty database in place of a missing one would log everybody out.
        """
        self._path = Path(engine.url.database or "").absolute()
        address = f"{self._path.as_uri()}?mode=rw"

        def connecting(_: Any, __: Any, words: list[Any], options: dict[str, Any]) -> None:
            words[:] = [address]
            options["uri"] = True

        event.listen(engine, "do_connect", connecting)

    def connected(self, connection: Any, info: dict[Any, Any]) -> None:
        """See :meth:`.base.Driver.connected`."""
        cursor = connection.cursor()
        # Acknowledged writes survive the end of the process. `FULL` would wait for the disk.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()
        info["file"] = self._file()

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`. Another file may be at the path by now, or none."""
        try:
            return bool(info["file"] != self._file())
        except OSError:
            return True

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        connection.close()

    def _file(self) -> tuple[int, int]:
        """Return which file is at the path."""
        status = os.stat(self._path)  # noqa: PTH116  # a Path costs more than the system call
        return status.st_dev, status.st_ino

    def before_fork(self, connections: list[Any]) -> None:
        """See :meth:`.base.Driver.before_fork`. In a child, SQLite's record of locks is wrong."""
        for connection in connections:
            self.abandon(connection)

    def create_database(self, url: URL) -> None:
        """See :meth:`.base.Driver.create_database`.

        A new file is readable by its user alone. Its readers do not wait for writers, nor writers
        for readers (`WAL`).
        """
        path = url.database or ""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            if reason := _why_not_created(Path(path).absolute(), error):
                raise StoreUnavailable(reason) from error
            return  # it is there
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")


def _why_not_created(path: Path, error: OSError) -> str:
    """Return why a file was not created; an empty text if it is there already."""
    if isinstance(error, FileExistsError) and not path.is_dir():
        return ""
    if path.is_dir():
        return f"there is a folder at {path}: the URL must have the path of a file"
    if isinstance(error, FileNotFoundError):
        return f"the folder {path.parent} does not exist: create it first"
    if isinstance(error, PermissionError):
        return f"this user may not create a file in the folder {path.parent}"
    return f"the file {path} cannot be created: {os.strerror(error.errno or 0)}"


class AIOSQLite(PySQLite):
    """Describe aiosqlite, which gives each connection a thread."""

    install: ClassVar[str] = "coatcheck-sql[aiosqlite]"
    ends_with: ClassVar[tuple[type[Exception], ...]] = (ValueError,)

    async def execute_async(
        self, connection: Any, text: str, parameters: Any, returns_rows: bool
    ) -> Any:
        """See :meth:`.base.Driver.execute_async`. Each await is a way to the thread and back."""
        if returns_rows:
            return await connection.execute_fetchall(text, parameters)
        return (await connection.execute(text, parameters)).rowcount

    def connected(self, connection: Any, info: dict[Any, Any]) -> None:
        """See :meth:`.base.Driver.connected`."""
        keep_out(connection.driver_connection._thread)
        super().connected(connection, info)

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`."""
        return not connection.driver_connection._running or super().is_dead(connection, info)

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`.

        Afterwards nothing may wait for the thread. SQLAlchemy asks aiosqlite to close as well,
        which does that only while it has the connection.
        """
        driver = connection.driver_connection
        own, driver._connection = driver._connection, None
        if own is not None:
            driver._tx.put_nowait((None, own.close))
        driver.stop()

    def before_fork(self, connections: list[Any]) -> None:
        """See :meth:`.base.Driver.before_fork`."""
        super().before_fork(connections)
        for connection in connections:
            connection.driver_connection._thread.join(_JOINED)
