"""coatcheck's sessions in files, for one machine: ``store="file:///var/lib/sessions"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import Durability, FileStore

__all__ = ["Durability", "FileStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package, too, and listing stores must not import portalocker, which
    # brings redis-py where that is installed.
    if name in __all__:
        from . import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
