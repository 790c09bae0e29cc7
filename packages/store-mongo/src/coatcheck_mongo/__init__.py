"""coatcheck's sessions in MongoDB: ``store="mongodb://localhost/shop"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import AsyncMongoStore, MongoStore

__all__ = ["AsyncMongoStore", "MongoStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package, too, and listing stores must not import PyMongo.
    if name in __all__:
        from . import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
