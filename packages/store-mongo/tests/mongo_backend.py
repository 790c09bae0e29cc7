"""Where a test's sessions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient


@dataclass(frozen=True)
class Backend:
    """Where a test's sessions are.

    :ivar url: of a store with the test's collection.
    :ivar server_url: of the server.
    :ivar name: the collection's.
    :ivar client: PyMongo's own, for what other programs do.
    """

    url: str
    server_url: str
    name: str
    client: MongoClient[dict[str, Any]]

    @property
    def collection(self) -> Any:
        return self.client["coatcheck"][self.name]
