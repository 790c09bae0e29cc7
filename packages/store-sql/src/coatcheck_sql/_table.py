"""The table of sessions: its columns, its creation, and whether an existing one fits.

Keys and owners are bytes. Databases compare texts by a collation: MySQL takes ``k`` and ``k`` with
a trailing space for the same key, and PostgreSQL's text has no NUL.

docs/decisions/2026-11-30-sql-store.md has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Engine,
    Float,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    inspect,
    text,
)
from sqlalchemy.dialects import mssql, mysql, oracle
from sqlalchemy.exc import DBAPIError, NoSuchTableError
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import REAL, Integer, TypeEngine

from coatcheck.errors import ConfigurationError, StoreError

#: The name of the table unless the application chooses another.
DEFAULT_TABLE: Final = "coatcheck_sessions"
#: The version of the columns. A later layout has another one.
LAYOUT: Final = 1
#: The most bytes of a key or an owner: 256 characters of four bytes each.
_NAME_BYTES: Final = 1024

#: Index names are the table's name and an ending. PostgreSQL's names have 63 characters.
_TABLE_NAME: Final = r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,47}"

_MYSQL: Final = ("mysql", "mariadb")


def _name_type() -> TypeEngine[bytes]:
    """Return the type of keys and owners: binary, and short enough for an index."""
    short: TypeEngine[bytes] = mysql.VARBINARY(_NAME_BYTES)
    return (
        LargeBinary(_NAME_BYTES)
        .with_variant(short, *_MYSQL)
        .with_variant(mssql.VARBINARY(_NAME_BYTES), "mssql")  # type: ignore[no-untyped-call]
        .with_variant(oracle.RAW(_NAME_BYTES), "oracle")
    )


def check_table(name: str) -> str:
    """Check the name of a table, and return it.

    :raises ConfigurationError: it is no name.
    """
    if not re.fullmatch(_TABLE_NAME, name):
        raise ConfigurationError(
            "`table` must be a name of letters, digits and `_` that begins with no digit, with 48 "
            "characters at most; a schema and a dot may come before it"
        )
    return name


def sessions_table(metadata: MetaData, name: str = DEFAULT_TABLE) -> Table:
    """Add the table of sessions to metadata, such as the application's own, and return it.

    :param metadata: the metadata. If it has a table of this name already, that one is returned.
    :param name: the table's name, and a schema and a dot before it.
    :raises ConfigurationError: the name is not allowed.
    """
    schema, _, plain = check_table(name).rpartition(".")
    if name in metadata.tables:
        return metadata.tables[name]
    owner = Column("owner", _name_type(), nullable=True)
    return Table(
        plain,
        metadata,
        Column("key", _name_type(), primary_key=True),
        # A BLOB of MySQL has 64 KiB.
        Column("data", LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL), nullable=False),
        # A FLOAT of MySQL loses seconds.
        Column("expires_at", Double(), nullable=False),
        owner,
        Column("version", SmallInteger(), nullable=False, server_default=text(str(LAYOUT))),
        Index(f"{plain}_expires_at", "expires_at"),
        Index(
            f"{plain}_owner", owner, "key",
            postgresql_where=owner.is_not(None), sqlite_where=owner.is_not(None),
        ),
        schema=schema or None,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )  # fmt: skip


#: Metadata with the table of sessions alone, for migrations.
metadata: Final = MetaData()
sessions_table(metadata)


def create_tables(engine: Engine, name: str = DEFAULT_TABLE) -> bool:
    """Create the table of sessions and its indexes, unless they exist.

    This needs the right to create tables, which sessions do not need. Several callers at once do no
    harm.

    :param engine: an engine for the database. For an ``AsyncEngine`` use
        ``await connection.run_sync(metadata.create_all)``, or its ``sync_engine`` in a greenlet.
    :param name: the table's name, and a schema and a dot before it.
    :returns: whether anything was created.
    :raises ConfigurationError: the name is not allowed.
    :raises StoreError: there is a table of this name with other columns.
    """
    table = sessions_table(MetaData(), name)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return create(connection, table)


def create(connection: Connection, table: Table) -> bool:
    """Create a table and its indexes, unless they exist.

    ``CREATE TABLE IF NOT EXISTS`` of PostgreSQL fails if two callers run it at the same time. So
    each statement may fail if what it creates is there afterwards.

    :returns: whether anything was created.
    :raises StoreError: there is a table of this name with other columns.
    """
    made = False
    if not _has_table(connection, table):
        made = _made(connection, CreateTable(table), lambda: _has_table(connection, table))
    check_layout(columns_of(connection, table), table)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if not _has_index(connection, table, index):
            made |= _made(
                connection,
                CreateIndex(index),
                lambda index=index: _has_index(connection, table, index),
            )
    return made


def _made(connection: Connection, statement: Any, is_there: Any) -> bool:
    try:
        connection.execute(statement)
        return True
    except DBAPIError:
        if connection.invalidated or not is_there():
            raise
        return False  # another caller was faster


def _has_table(connection: Connection, table: Table) -> bool:
    return inspect(connection).has_table(table.name, schema=table.schema)


def _has_index(connection: Connection, table: Table, index: Index) -> bool:
    indexes = inspect(connection).get_indexes(table.name, schema=table.schema)
    return any(found["name"] == index.name for found in indexes)


def columns_of(connection: Connection, table: Table) -> Sequence[Mapping[str, Any]] | None:
    """Return what the database tells about a table's columns, or None if it has no such table."""
    try:
        return inspect(connection).get_columns(table.name, schema=table.schema)
    except NoSuchTableError:
        return None


def check_layout(columns: Sequence[Mapping[str, Any]] | None, table: Table) -> None:
    """Check that a table is one for sessions, of this layout.

    :param columns: what the database tells about its columns.
    :raises StoreError: there is no such table, or it has other columns.
    """
    if columns is None:
        raise no_table(table)
    found = {column["name"]: column for column in columns}
    for name, is_right in _COLUMNS.items():
        if name not in found or not is_right(found[name]["type"]):
            raise StoreError(
                f"the table `{table.fullname}` is none of coatcheck's: its column `{name}` is "
                "missing or has another type; name another table, or rename this one"
            )
    if _default(found["version"]) != str(LAYOUT):
        raise StoreError(
            f"the table `{table.fullname}` has another layout: this version of coatcheck-sql "
            f"reads layout {LAYOUT} alone"
        )


def no_table(table: Table) -> StoreError:
    """Return the error for a table that does not exist."""
    return StoreError(
        f"the database has no table `{table.fullname}`: create it once with "
        "`python -m coatcheck create-table URL`, or by a migration (docs/sql.md)"
    )


def _is_binary(kind: TypeEngine[Any]) -> bool:
    try:
        return kind.python_type is bytes
    except NotImplementedError:
        return False


def _is_double(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, Float) and not isinstance(kind, mysql.FLOAT | REAL)


def _is_integer(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, Integer)


#: Whether the type of a column is right, as a database tells it.
_COLUMNS: Final[Mapping[str, Callable[[TypeEngine[Any]], bool]]] = {
    "key": _is_binary,
    "data": _is_binary,
    "expires_at": _is_double,
    "owner": _is_binary,
    "version": _is_integer,
}


def _default(column: Mapping[str, Any]) -> str:
    found = re.search(r"\d+", str(column.get("default") or ""))
    return found[0] if found else ""
