"""coatcheck's sessions in files, for one machine: ``store="file:///var/lib/sessions"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._store import Durability, FileStore

__all__ = ["Durability", "FileStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import portalocker, which
    # imports redis-py if that is installed.
    if name in __all__:
        from . import _store

        return getattr(_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
