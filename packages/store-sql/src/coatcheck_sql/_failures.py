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
    Failure.TOO_MANY: "has no connection left for this user: see `pool_size` in docs/sql.md",
    Failure.NO_TLS: "has no TLS, and the URL asks for it",
    Failure.UNTRUSTED: "has a certificate that is not trusted, or that is another server's",
    Failure.DISK_FULL: "has no room left on its disk: nothing was written",
}
_OTHERS: Final = {
    Failure.NO_SCHEMA: "has no such schema: create it with `CREATE SCHEMA`, or name another one in "
    "`table`",
    Failure.WRONG_OPTION: "was not asked: the driver refuses the value of an option, or cannot "
    "read a file that one names; the cause of this error says which",
    Failure.DAMAGED: "says that its files are damaged: see docs/sql.md, MariaDB and SQLite",
    Failure.OTHER_TABLE: "has a table that lacks columns, so it is none of coatcheck's",
    Failure.TOO_LARGE: "does not accept a statement of this size: see `max_allowed_packet` in "
    "docs/sql.md",
    Failure.NOT_PREPARED: "has lost a prepared statement: a pool in transaction mode, such as "
    "PgBouncer, is in between; use psycopg (`postgresql://`), which prepares none there",
}


#: A socket in the file system, or the file of a certificate.
_NO_FILE: Final = (
    "cannot be reached: a file that the URL names does not exist, or this user may not open it"
)


def translated(error: Exception, where: str, database: Database, table: Table) -> StoreError:
    """Return the error that the store raises for an exception of the client library.

    :param where: names the server: ``"PostgreSQL at 10.0.0.5:5432"``.
    """
    if isinstance(error, PoolTimeout):
        return StoreTimeout(f"no connection to {where} became free in time: see `pool_size`")
    if isinstance(error, TimeoutError):
        return StoreTimeout(f"{where} did not answer in time")
    failure = database.failure(error)
    if failure is Failure.OTHER and isinstance(error, FileNotFoundError | PermissionError):
        return StoreUnavailable(f"{where} {_NO_FILE}")
    if failure is Failure.OTHER and (isinstance(error, OSError) or _is_ended(error)):
        failure = Failure.UNAVAILABLE
    return _of_database(failure, error, where, database, table)


def _is_ended(error: Exception) -> bool:
    """Tell whether the pool gave up, because each new connection had ended before it was used."""
    return isinstance(error, InvalidRequestError) and "connection is closed" in str(error)


def _of_database(
    failure: Failure, error: Exception, where: str, database: Database, table: Table
) -> StoreError:
    if failure is Failure.NO_DATABASE:
        return StoreUnavailable(f"{where} {database.no_database}")
    if failure in _UNAVAILABLE:
        return StoreUnavailable(f"{where} {_UNAVAILABLE[failure]}")
    if failure is Failure.TIMEOUT:
        return StoreTimeout(f"{where} did not answer in time, or a row was locked for too long")
    if failure is Failure.NO_TABLE:
        return no_table(table)
    if failure is Failure.NO_RIGHT:
        return StoreError(
            f"{where} {database.no_right}" if database.no_right else _no_right(error, table)
        )
    text = _OTHERS.get(failure, "answered with an error, or its answer could not be read")
    return StoreError(f"{where} {text}")


def _no_right(error: Exception, table: Table) -> str:
    statement = error.statement if isinstance(error, DBAPIError) else None
    word = (statement or "").lstrip().partition(" ")[0].upper()
    if word == "CREATE":
        return (
            "the database user lacks the right to `CREATE` tables here; `create-table` needs it, "
            "and sessions do not"
        )
    if word in ("SHOW", "DESCRIBE"):  # MariaDB shows a table to those who may read it
        word = "SELECT"
    lacking = f"`{word}`" if word.isalpha() else "what the statement does"
    return (
        f"the database user lacks the right to {lacking} in the table `{table.fullname}`; sessions "
        "need SELECT, INSERT, UPDATE and DELETE, and `create-table` needs CREATE"
    )
