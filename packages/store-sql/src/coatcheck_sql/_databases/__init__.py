"""The differences between databases: one module for each that this package knows."""

from __future__ import annotations

from .base import Database, Failure
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = ["Database", "Failure", "database_of"]


def database_of(dialect: str) -> Database:
    """Return the description of a database.

    :param dialect: the name of SQLAlchemy's dialect.
    """
    if dialect == "sqlite":
        return SQLite()
    if dialect == "postgresql":
        return PostgreSQL()
    if dialect in ("mysql", "mariadb"):
        return MySQL()
    return Database(dialect)
