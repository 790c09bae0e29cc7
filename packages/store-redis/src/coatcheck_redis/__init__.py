"""coatcheck's sessions in Redis or Valkey: ``store="redis://localhost:6379/0"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._store import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import redis-py.
    if name in __all__:
        from . import _store

        return getattr(_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
