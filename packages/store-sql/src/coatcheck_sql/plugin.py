"""Registers the URL schemes of SQL databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coatcheck import StoreSpec, hookimpl

_SYNC: Final = "coatcheck_sql:SQLStore.from_url"
_ASYNC: Final = "coatcheck_sql:AsyncSQLStore.from_url"
#: Under trio, which no async driver supports, the sync API is used.
_BRIDGED: Final = "coatcheck_sql._store:open_bridged"

_BOTH_APIS: Final = (
    "mariadb", "mysql", "postgresql", "postgresql+psycopg",
)  # fmt: skip
_SYNC_API: Final = (
    "mariadb+mariadbconnector", "mariadb+mysqldb", "mariadb+pymysql",
    "mysql+mysqlconnector", "mysql+mysqldb", "mysql+pymysql",
    "postgresql+pg8000", "postgresql+psycopg2",
    "sql+cockroachdb", "sql+cockroachdb+psycopg", "sql+cockroachdb+psycopg2",
    "sql+db2", "sql+mssql+mssqlpython", "sql+mssql+pymssql", "sql+mssql+pyodbc",
    "sql+oracle+oracledb",
    "sqlite", "sqlite+pysqlite",
)  # fmt: skip
_ASYNC_API: Final = (
    "mariadb+aiomysql", "mariadb+asyncmy", "mysql+aiomysql", "mysql+asyncmy",
    "postgresql+asyncpg", "sqlite+aiosqlite",
)  # fmt: skip


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`.

    A driver with one API has one opener. The other API is bridged: SQLite is used in worker
    threads.
    """
    for schemes, opener, async_opener in (
        (_BOTH_APIS, _SYNC, _ASYNC),
        (_SYNC_API, _SYNC, None),
        (_ASYNC_API, _BRIDGED, _ASYNC),
    ):
        yield StoreSpec(
            name="sql",
            schemes=schemes,
            contract="1.0",
            summary="a table of an SQL database",
            open=opener,
            open_async=async_opener,
        )
