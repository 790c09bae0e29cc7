"""The requests of operations: functions of a connection.

A request gets a :class:`sqlalchemy.Connection`, in the async API as well: SQLAlchemy's asyncio
extension runs synchronous code in a greenlet, which waits for the driver. The store's own
connections let the driver execute a :class:`Query` or a :class:`Change` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from sqlalchemy import Connection, Delete, Insert, Select, Update

#: A request of an operation.
Request: TypeAlias = Callable[[Connection], Any]
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """Read rows.

    :ivar statement: the statement.
    :ivar values: the values of its parameters.
    """

    returns_rows: ClassVar[bool] = True

    statement: Select[Any]
    values: Values

    def __call__(self, connection: Connection) -> Sequence[Sequence[Any]]:
        """Return the rows."""
        return connection.execute(self.statement, self.values).fetchall()


@dataclass(frozen=True, slots=True)
class Change:
    """Write or remove rows.

    :ivar statement: the statement.
    :ivar values: the values of its parameters.
    """

    returns_rows: ClassVar[bool] = False

    statement: Insert | Update | Delete
    values: Values

    def __call__(self, connection: Connection) -> int:
        """Return how many rows were found, changed or not."""
        return connection.execute(self.statement, self.values).rowcount
