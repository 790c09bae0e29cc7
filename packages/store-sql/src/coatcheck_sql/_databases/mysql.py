"""MariaDB and MySQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Insert, Table, func
from sqlalchemy.dialects.mysql import insert

from .base import Database, Failure, is_untrusted, of_driver

#: Numbers of errors: MariaDB's documentation, "MariaDB Error Codes"; the same in MySQL's.
_NUMBERS: Final = {
    1021: Failure.DISK_FULL,
    1040: Failure.TOO_MANY,
    1034: Failure.DAMAGED,
    1044: Failure.NO_DATABASE,  # this user may not know whether it exists
    1045: Failure.WRONG_USER,
    1046: Failure.NO_DATABASE,
    1049: Failure.NO_DATABASE,
    1053: Failure.UNAVAILABLE,
    1054: Failure.OTHER_TABLE,
    1114: Failure.DISK_FULL,
    1142: Failure.NO_RIGHT,
    1143: Failure.NO_RIGHT,
    1146: Failure.NO_TABLE,
    1153: Failure.TOO_LARGE,
    1203: Failure.TOO_MANY,
    1205: Failure.TIMEOUT,
    1213: Failure.REPEATABLE,
    1226: Failure.TOO_MANY,
    1290: Failure.UNAVAILABLE,  # read only: it is a replica
    1317: Failure.UNAVAILABLE,
    1698: Failure.WRONG_USER,
    1712: Failure.DAMAGED,
    1792: Failure.UNAVAILABLE,
    1836: Failure.UNAVAILABLE,
    1877: Failure.DAMAGED,
    1927: Failure.UNAVAILABLE,
    1969: Failure.TIMEOUT,
    2002: Failure.UNAVAILABLE,
    2003: Failure.UNAVAILABLE,
    2006: Failure.UNAVAILABLE,
    2013: Failure.UNAVAILABLE,
    2026: Failure.NO_TLS,
    3024: Failure.TIMEOUT,
}


class MySQL(Database):
    """Describe MariaDB and MySQL."""

    name = "MariaDB or MySQL"
    no_database = (
        "has no such database for this user, or the URL names none: create it with `CREATE "
        "DATABASE`, and name it in the URL, as in `mariadb://user@host/shop`"
    )

    def insert_or_replace(
        self, table: Table, columns: tuple[str, ...], where: ColumnElement[bool] | None
    ) -> Insert | None:
        """See :meth:`.base.Database.insert_or_replace`.

        With a condition, a row that was inserted and a row that was kept count alike.
        """
        if where is not None:
            return None
        statement = insert(table)
        return statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in columns}
        )

    def intact(self, table: Table) -> list[ColumnElement[bool]]:
        """See :meth:`.base.Database.intact`."""
        return [func.length(table.c.data) > 0]

    def failure(self, error: Exception) -> Failure:
        """See :meth:`.base.Database.failure`."""
        number = next(iter(getattr(of_driver(error), "args", ())), None)
        found = _NUMBERS.get(number) if isinstance(number, int) else None
        text = str(of_driver(error))
        if found is Failure.UNAVAILABLE and "timed out" in text:
            return Failure.TIMEOUT
        if found in (Failure.UNAVAILABLE, Failure.NO_TLS) and is_untrusted(text):
            return Failure.UNTRUSTED
        return found or super().failure(error)
