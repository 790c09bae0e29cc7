"""The differences between databases, and what is true of those that have no module."""

from __future__ import annotations

import enum
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, Insert, Select, Table, delete, select
from sqlalchemy.exc import DBAPIError

_UNTRUSTED: Final = (
    "certificate verify failed", "does not match host name", "doesn't match",
)  # fmt: skip


class Failure(enum.Enum):
    """Name what went wrong, as far as a store has to know it."""

    #: The server ended, restarts, or is not the primary now.
    UNAVAILABLE = "unavailable"
    #: It did not answer in time, or another transaction kept a row for too long.
    TIMEOUT = "timeout"
    #: Nothing was done, because other transactions were in the way: a deadlock.
    REPEATABLE = "repeatable"
    WRONG_USER = "wrong user"
    NO_DATABASE = "no database"
    NO_SCHEMA = "no schema"
    NO_TABLE = "no table"
    OTHER_TABLE = "other table"
    NO_RIGHT = "no right"
    DISK_FULL = "disk full"
    TOO_LARGE = "too large"
    TOO_MANY = "too many connections"
    #: The server has no TLS, and an option asks for it.
    NO_TLS = "no TLS"
    #: The server's certificate is not trusted, or is another server's.
    UNTRUSTED = "untrusted"
    #: The driver has refused an option, or cannot read a file that one names.
    WRONG_OPTION = "wrong option"
    #: The database says that its own files are damaged.
    DAMAGED = "damaged"
    #: A pool between store and database lends its connections for one transaction.
    NOT_PREPARED = "not prepared"
    OTHER = "other"


class Database:
    """Describe a database.

    This class describes any database that SQLAlchemy knows. Subclasses know more about one.

    :ivar name: its name in errors.
    :ivar no_database: what errors say if the database of a URL is missing.
    :ivar no_right: what errors say if the right to write is missing, instead of naming the right.
    """

    name = "the database"
    no_database = "has no such database: create it first"
    no_right = ""

    def __init__(self, dialect: str = "") -> None:
        if dialect:
            self.name = f"the database ({dialect})"

    def insert_or_replace(
        self, table: Table, columns: tuple[str, ...], where: ColumnElement[bool] | None
    ) -> Insert | None:
        """Return a statement that writes a row whether or not its key has one already.

        :param columns: the columns to replace.
        :param where: what must be true of the row that is replaced.
        :returns: None if there is no such statement, or if its number of rows does not tell whether
            a row was written.
        """
        return None

    def intact(self, table: Table) -> list[ColumnElement[bool]]:
        """Return what is true of rows that stores have written, whatever their expiry is."""
        return []

    def removal(self, table: Table, chosen: Select[Any]) -> Delete | None:
        """Return a statement that removes the rows of chosen keys, and no more than were chosen.

        :returns: None if it takes two statements: one to read the keys, one to remove their rows.
        """
        return None

    def failure(self, error: Exception) -> Failure:
        """Tell what an exception of SQLAlchemy or of a driver means."""
        broken = isinstance(error, DBAPIError) and error.connection_invalidated
        return Failure.UNAVAILABLE if broken else Failure.OTHER


def of_driver(error: Exception) -> object:
    """Return the driver's exception. SQLAlchemy wraps it, except when some drivers connect."""
    return error.orig if isinstance(error, DBAPIError) else error


def is_untrusted(text: str) -> bool:
    """Tell whether the text of an error is about the server's certificate."""
    return any(words in text for words in _UNTRUSTED)


def on_conflict(insert: Any, columns: tuple[str, ...], where: ColumnElement[bool] | None) -> Insert:
    """Return the statement of :meth:`Database.insert_or_replace` for databases with ON CONFLICT.

    :param insert: the INSERT of the database's dialect.
    """
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]  # of any dialect
        index_elements=["key"],
        set_={name: insert.excluded[name] for name in columns},
        where=where,
    )


def keys_of(table: Table, *where: ColumnElement[bool]) -> Select[Any]:
    """Return a query for the keys of rows."""
    return select(table.c.key).where(*where)


def remove_in(table: Table, chosen: Select[Any], *where: ColumnElement[bool]) -> Delete:
    """Return a statement that removes the rows whose keys a query chooses."""
    return delete(table).where(table.c.key.in_(chosen), *where)
