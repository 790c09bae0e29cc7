"""Statements as drivers take them: a text, and parameters in the form of the driver.

SQLAlchemy compiles each statement once. To execute it, SQLAlchemy makes a context, a result and
rows, which takes 50 µs: as long as a database needs to read a row. So the engines of the store
give the compiled text to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.exc import DBAPIError

from ._requests import Change, Query

#: What PostgreSQL says of a prepared statement whose table has changed, or that it does not know.
_STALE: Final = ("0A000", "26000")


class Prepared:
    """A compiled statement.

    :param text: the SQL.
    :param names: the parameters in their order; None where the driver takes a mapping.
    :param constants: the parameters that have their values already.
    :param conversions: by name, what turns a value into the driver's type.
    """

    def __init__(
        self,
        text: str,
        names: list[str] | None,
        constants: Mapping[str, Any],
        conversions: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        self.text = text
        self._names = names
        self._constants = constants
        self._conversions = conversions

    @classmethod
    def of(
        cls, statement: ClauseElement, values: Mapping[str, Any], dialect: Dialect
    ) -> Self | None:
        """Compile a statement.

        :param values: the values of its parameters, whose names are the same each time.
        :returns: None where the text depends on the values.
        """
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(values))
        if compiled.post_compile_params:
            return None
        constants, conversions = {}, {}
        for name, parameter in compiled.binds.items():
            if name not in values:
                constants[name] = parameter.value
            converts = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if converts is not None:
                conversions[name] = converts
        names = list(compiled.positiontup) if compiled.positional else None
        return cls(compiled.string, names, constants, conversions)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver takes them."""
        given = {**self._constants, **values}
        for name, converts in self._conversions.items():
            if given[name] is not None:
                given[name] = converts(given[name])
        return given if self._names is None else [given[name] for name in self._names]


def execute(connection: Connection, prepared: Prepared, request: Query | Change) -> Any:
    """Send a request with the driver of a connection, and return its reply.

    :raises DBAPIError: as SQLAlchemy would raise it.
    """
    try:
        cursor: Any = connection.connection.cursor()
        cursor.execute(prepared.text, prepared.parameters(request.values))
        reply = request.reply(cursor)
        cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, prepared.text, error) from error
    return reply


def _wrapped(connection: Connection, text: str, error: Exception) -> BaseException:
    dialect = connection.dialect
    link = connection.connection
    is_stale = getattr(error, "sqlstate", None) in _STALE
    has_ended = is_stale or dialect.is_disconnect(error, link, None)  # type: ignore[arg-type]  # an `Error`
    if has_ended:
        connection.invalidate(error)
    return DBAPIError.instance(
        text,
        (),
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=has_ended,
        dialect=dialect,
    )
