"""The Redis store, against plain redis-py: GET, and SET with a time to live."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio

import redis
from benchmarks.with_server import LIFETIME, Candidate, against_the_baseline
from coatcheck_redis import AsyncRedisStore, RedisStore
from testing.servers.redis import server

BUDGETS = {
    "async": {"read": 1.35, "write": 1.4, "new": 1.3},
    "sync": {"read": 1.6, "write": 1.6, "new": 1.6},
}


def compare(data: dict[str, Any], rounds: int) -> None:
    """Print the table."""
    with server() as url, asyncio.Runner() as runner, redis.Redis.from_url(url) as client:
        place = f"{url}?prefix=benchmark:"
        async_client = runner.run(_made(url))
        candidate = Candidate(
            "redis",
            BUDGETS,
            RedisStore.from_url(place),
            AsyncRedisStore.from_url(place),
            client.get,
            lambda key, data: client.set(key, data, ex=LIFETIME),
            async_client.get,
            lambda key, data: async_client.set(key, data, ex=LIFETIME),
        )
        against_the_baseline(candidate, runner, data, rounds)
        for key in client.scan_iter(match="baseline:*", count=1000):
            client.unlink(key)
        candidate.store.clear()
        candidate.store.close()
        runner.run(candidate.async_store.close())
        runner.run(async_client.aclose())


async def _made(url: str) -> Any:
    return redis.asyncio.Redis.from_url(url)
