"""Keep coatcheck's sessions in one SQLite file: ``store="sqlite-file:////var/lib/shop/sessions.db"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import SQLiteStore

__all__ = ["SQLiteStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import sqlite3.
    if name in __all__:
        from . import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
