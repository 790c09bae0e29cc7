"""SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Insert, Select, Table, func
from sqlalchemy.dialects.sqlite import insert

from .base import Database, Failure, of_driver, on_conflict, remove_in

_CODES: Final = {
    sqlite3.SQLITE_BUSY: Failure.TIMEOUT,
    sqlite3.SQLITE_LOCKED: Failure.TIMEOUT,
    sqlite3.SQLITE_CANTOPEN: Failure.NO_DATABASE,
    sqlite3.SQLITE_IOERR: Failure.UNAVAILABLE,
    sqlite3.SQLITE_PERM: Failure.NO_RIGHT,
    sqlite3.SQLITE_READONLY: Failure.NO_RIGHT,
    sqlite3.SQLITE_FULL: Failure.DISK_FULL,
    sqlite3.SQLITE_TOOBIG: Failure.TOO_LARGE,
    sqlite3.SQLITE_CORRUPT: Failure.DAMAGED,
    sqlite3.SQLITE_NOTADB: Failure.DAMAGED,
}


class SQLite(Database):
    """Describe SQLite, which accepts values of any type in any column."""

    name = "SQLite"
    no_database = (
        "has no such file, or this user may not open it: `python -m coatcheck create-table URL` "
        "creates it"
    )
    no_right = (
        "may not be written by this user: sessions need the right to write the file and its "
        "folder, because SQLite makes files beside it"
    )

    def insert_or_replace(
        self, table: Table, columns: tuple[str, ...], where: ColumnElement[bool] | None
    ) -> Insert:
        """See :meth:`.base.Database.insert_or_replace`."""
        return on_conflict(insert(table), columns, where)

    def intact(self, table: Table) -> list[ColumnElement[bool]]:
        """See :meth:`.base.Database.intact`."""
        return [
            func.typeof(table.c.expires_at) == "real",
            func.typeof(table.c.data) == "blob",
            func.length(table.c.data) > 0,
        ]

    def removal(self, table: Table, chosen: Select[Any]) -> Delete:
        """See :meth:`.base.Database.removal`. There is one writer at a time."""
        return remove_in(table, chosen)

    def failure(self, error: Exception) -> Failure:
        """See :meth:`.base.Database.failure`."""
        if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            return Failure.NO_DATABASE
        code = getattr(of_driver(error), "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_ERROR:
            text = str(of_driver(error))
            if text.startswith("no such table"):
                return Failure.NO_TABLE
            if text.startswith("no such column"):
                return Failure.OTHER_TABLE
        return _CODES.get(code) or super().failure(error)
