"""coatcheck's sessions in MongoDB: ``store="mongodb://localhost/shop"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._store import AsyncMongoStore, MongoStore

__all__ = ["AsyncMongoStore", "MongoStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import PyMongo.
    if name in __all__:
        from . import _store

        return getattr(_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
