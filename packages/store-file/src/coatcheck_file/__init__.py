"""coatcheck's sessions in files, for one machine: ``store="file:///var/lib/sessions"``."""

from .store import Durability, FileStore

__all__ = ["Durability", "FileStore"]
