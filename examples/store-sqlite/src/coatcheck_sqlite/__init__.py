"""Keep coatcheck's sessions in one SQLite file: ``store="sqlite:////var/lib/shop/sessions.db"``."""

from .store import SQLiteStore

__all__ = ["SQLiteStore"]
