"""The differences between databases: one module for each that this package knows."""

from __future__ import annotations

from .base import Database, Failure
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = ["Database", "Failure", "database_of", "family_of"]


def database_of(dialect: str) -> Database:
    """Return the description of a database.

    :param dialect: the name of SQLAlchemy's dialect.
    """
    if dialect == "sqlite":
        return SQLite()
    if dialect == "postgresql":
        return PostgreSQL()
    if family_of(dialect) == "mysql":
        return MySQL()
    return Database(dialect)


def family_of(dialect: str) -> str:
    """Return the name that databases which are used alike have in common.

    :param dialect: the name of SQLAlchemy's dialect.
    """
    return "mysql" if dialect == "mariadb" else dialect
