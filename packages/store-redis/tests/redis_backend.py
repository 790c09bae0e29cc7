"""Where a test's records are."""

from __future__ import annotations

from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class Backend:
    """Where a test's records are.

    :ivar url: of a store with the test's prefix.
    :ivar server_url: of the database.
    :ivar prefix: the test's.
    :ivar raw: redis-py's own client, for what other programs do.
    """

    url: str
    server_url: str
    prefix: str
    raw: redis.Redis

    def place(self, key: str) -> str:
        return self.prefix + key
