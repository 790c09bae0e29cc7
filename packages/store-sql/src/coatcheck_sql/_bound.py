"""Transactions of the application's that stores are bound to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RootTransaction

from coatcheck.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BoundTransaction:
    """The transaction that a connection has now.

    :ivar root: SQLAlchemy's; None before the first statement.
    """

    root: RootTransaction | None

    @property
    def is_open(self) -> bool:
        """See :class:`coatcheck.store.Transaction`."""
        return self.root is not None and self.root.is_active


def check_transaction(connection: Connection) -> None:
    """Check that a connection has transactions.

    :raises ConfigurationError: it is closed, or in autocommit.
    """
    if connection.closed or connection.invalidated:
        raise ConfigurationError("`bind` takes a connection that is open")
    if _is_autocommit(connection):
        raise ConfigurationError(
            "the connection is in autocommit, so a rollback would undo nothing: `bind` takes one "
            'without `isolation_level="AUTOCOMMIT"`'
        )


def _is_autocommit(connection: Connection) -> bool:
    dialect: Any = connection.dialect
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = dialect._on_connect_isolation_level  # that of `create_engine`
    if level == "AUTOCOMMIT" or dialect.name == "sqlite":
        # For sqlite3, SQLAlchemy's documentation advises to set autocommit in the driver, and to
        # begin each transaction by an event.
        return bool(level == "AUTOCOMMIT")
    with suppress(NotImplementedError):
        return bool(dialect.detect_autocommit_setting(connection.connection.dbapi_connection))
    return False
