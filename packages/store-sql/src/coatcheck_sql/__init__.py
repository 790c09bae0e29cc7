"""coatcheck's sessions in an SQL database: ``store="postgresql://app@localhost/shop"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._store import AsyncSQLStore, SQLStore
    from ._table import create_tables, metadata, sessions_table

__all__ = ["AsyncSQLStore", "SQLStore", "create_tables", "metadata", "sessions_table"]

_IN_TABLE = ("create_tables", "metadata", "sessions_table")


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import SQLAlchemy.
    if name in _IN_TABLE:
        from . import _table as module
    elif name in __all__:
        from . import _store as module  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
