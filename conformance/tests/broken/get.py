"""Broken in what GET says."""

from __future__ import annotations

from breaking import broken

from coatcheck import MemoryStore, Record


@broken("GET-2")
class RaisesForUnknownKeys(MemoryStore):
    """A missing key is the dictionary's own error."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is None and key not in self._slots and key == "unknown":
            raise KeyError
        return found
