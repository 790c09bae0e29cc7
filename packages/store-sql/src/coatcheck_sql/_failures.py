"""Turn failures of SQLAlchemy and of drivers into errors of stores.

No message quotes the server's words, keys, data or the URL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable

from ._databases import Database, Failure
from ._table import no_table

#: The packages whose exceptions the client library raises.
PACKAGES: Final = (
    "aiosqlite", "asyncmy", "asyncpg", "greenlet", "psycopg", "psycopg_binary", "psycopg_c",
    "pymysql", "sqlalchemy", "sqlite3",
)  # fmt: skip

_UNAVAILABLE: Final = {
    Failure.UNAVAILABLE: "cannot be reached, or cannot serve now",
    Failure.REPEATABLE: "let other transactions go first each time: nothing was done",
    Failure.WRONG_USER: "refused the user name or the password",
    Failure.NO_DATABASE: "has no such database; `python -m coatcheck create-table URL` creates the "
    "file of SQLite, and no other database",
    Failure.TOO_MANY: "has no connection left for this user: see `pool_size` in docs/sql.md",
    Failure.DISK_FULL: "has no room left on its disk: nothing was written",
}
_OTHERS: Final = {
    Failure.OTHER_TABLE: "has a table that lacks columns, so it is none of coatcheck's",
    Failure.TOO_LARGE: "does not accept a statement of this size: see `max_allowed_packet` in "
    "docs/sql.md",
    Failure.NOT_PREPARED: "has lost a prepared statement: a pool in transaction mode, such as "
    "PgBouncer, is in between; use psycopg (`postgresql://`), which prepares none there",
}


def translated(error: Exception, where: str, database: Database, table: Table) -> StoreError:
    """Return the error that the store raises for an exception of the client library.

    :param where: names the server: ``"PostgreSQL at 10.0.0.5:5432"``.
    """
    if isinstance(error, PoolTimeout):
        return StoreTimeout(f"no connection to {where} became free in time: see `pool_size`")
    if isinstance(error, TimeoutError):
        return StoreTimeout(f"{where} did not answer in time")
    if isinstance(error, OSError) or _is_ended(error):
        return StoreUnavailable(f"{where} {_UNAVAILABLE[Failure.UNAVAILABLE]}")
    return _of_database(database.failure(error), error, where, table)


def _is_ended(error: Exception) -> bool:
    """Tell whether the pool gave up, because each new connection had ended before it was used."""
    return isinstance(error, InvalidRequestError) and "connection is closed" in str(error)


def _of_database(failure: Failure, error: Exception, where: str, table: Table) -> StoreError:
    if failure in _UNAVAILABLE:
        return StoreUnavailable(f"{where} {_UNAVAILABLE[failure]}")
    if failure is Failure.TIMEOUT:
        return StoreTimeout(f"{where} did not answer in time, or a row was locked for too long")
    if failure is Failure.NO_TABLE:
        return no_table(table)
    if failure is Failure.NO_RIGHT:
        return StoreError(_no_right(error, table))
    text = _OTHERS.get(failure, "answered with an error, or its answer could not be read")
    return StoreError(f"{where} {text}")


def _no_right(error: Exception, table: Table) -> str:
    statement = error.statement if isinstance(error, DBAPIError) else None
    word = (statement or "").lstrip().partition(" ")[0].upper()
    lacking = f"`{word}`" if word.isalpha() else "what the statement does"
    return (
        f"the database user lacks the right to {lacking} in the table `{table.fullname}`; sessions "
        "need SELECT, INSERT, UPDATE and DELETE"
    )
