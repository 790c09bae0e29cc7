"""Statements as drivers take them: a text, and parameters in the form of the driver.

SQLAlchemy compiles each statement once. To execute it, SQLAlchemy makes a context, a result and
rows, which takes 50 µs: as long as a database needs to read a row. So the engines of the store
give the compiled text to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from sqlalchemy import ClauseElement, Dialect


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
