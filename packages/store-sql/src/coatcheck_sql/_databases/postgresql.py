"""PostgreSQL."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Insert, Select, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from .base import Database, Failure, is_untrusted, of_driver, on_conflict, remove_in

#: SQLSTATE (PostgreSQL's documentation, appendix A), or its first two characters: its class.
_STATES: Final = {
    "08": Failure.UNAVAILABLE,
    "25006": Failure.UNAVAILABLE,  # read only: it is a standby
    "26000": Failure.NOT_PREPARED,
    "28": Failure.WRONG_USER,
    "3D000": Failure.NO_DATABASE,
    "3F000": Failure.NO_SCHEMA,
    "40001": Failure.REPEATABLE,
    "40P01": Failure.REPEATABLE,
    "42501": Failure.NO_RIGHT,
    "42703": Failure.OTHER_TABLE,
    "42P05": Failure.NOT_PREPARED,
    "42P01": Failure.NO_TABLE,
    "53100": Failure.DISK_FULL,
    "53300": Failure.TOO_MANY,
    "54000": Failure.TOO_LARGE,
    "55P03": Failure.TIMEOUT,
    "57014": Failure.TIMEOUT,
    "57P": Failure.UNAVAILABLE,
    "XX001": Failure.DAMAGED,
    "XX002": Failure.DAMAGED,
}
#: What the server says when it refuses a connection. psycopg has the text and no SQLSTATE.
_TEXTS: Final = {
    "connection is bad: invalid": Failure.WRONG_OPTION,
    "invalid integer value": Failure.WRONG_OPTION,
    "definition of service": Failure.WRONG_OPTION,
    "certificate file": Failure.WRONG_OPTION,
    "private key file": Failure.WRONG_OPTION,
    "does not support SSL": Failure.NO_TLS,
    "rejected SSL upgrade": Failure.NO_TLS,
    "failed to resolve host": Failure.UNAVAILABLE,
    "password authentication failed": Failure.WRONG_USER,
    "no password supplied": Failure.WRONG_USER,
    "no pg_hba.conf entry": Failure.WRONG_USER,
    "authentication failed": Failure.WRONG_USER,
    'role "': Failure.WRONG_USER,
    'database "': Failure.NO_DATABASE,
    "too many clients": Failure.TOO_MANY,
    "connection slots": Failure.TOO_MANY,
    "timeout expired": Failure.TIMEOUT,
}  # fmt: skip


class PostgreSQL(Database):
    """Describe PostgreSQL."""

    name = "PostgreSQL"
    no_database = "has no such database: create it with `CREATE DATABASE`"

    def insert_or_replace(
        self, table: Table, columns: tuple[str, ...], where: ColumnElement[bool] | None
    ) -> Insert:
        """See :meth:`.base.Database.insert_or_replace`."""
        return on_conflict(insert(table), columns, where)

    def intact(self, table: Table) -> list[ColumnElement[bool]]:
        """See :meth:`.base.Database.intact`."""
        return [func.length(table.c.data) > 0]

    def removal(self, table: Table, chosen: Select[Any]) -> Delete:
        """See :meth:`.base.Database.removal`.

        Several callers share the work: each skips the rows that another is removing. As a plain
        subquery the choice could be made again for each row, and would choose others then.
        """
        locked = chosen.with_for_update(skip_locked=True).cte("chosen").prefix_with("MATERIALIZED")
        return remove_in(table, select(locked.c.key))

    def failure(self, error: Exception) -> Failure:
        """See :meth:`.base.Database.failure`."""
        state = getattr(of_driver(error), "sqlstate", None) or ""
        for part in (state, state[:3], state[:2]):
            if part in _STATES:
                return _STATES[part]
        text = str(of_driver(error))
        if is_untrusted(text):
            return Failure.UNTRUSTED
        for words, failure in _TEXTS.items():
            if not state and words in text:
                return failure
        if "connect" in text and not state:
            return Failure.UNAVAILABLE
        return super().failure(error)
