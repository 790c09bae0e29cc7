"""The cost of a request at the server, and many requests at once on one session."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis_backend import Backend
from visiting import Visit, asgi, visits

import redis
from coatcheck import AsyncStore, Record
from coatcheck_redis import AsyncRedisStore, RedisStore
from testing.servers.redis import RedisServer

pytestmark = pytest.mark.integration("redis")


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server whose commands are counted, so that nobody else may send any."""
    with RedisServer() as started:
        yield started.url


def trips(server_url: str, visit: Visit, path: str) -> int:
    """Return how many commands clients send in a visit, but for a connection's greeting.

    MONITOR tells them from those of scripts, which INFO commandstats does not.
    """
    end = "the end of this visit"
    watching, marking = redis.Redis.from_url(server_url), redis.Redis.from_url(server_url)
    with watching, marking, watching.monitor() as monitor:
        visit(path)
        marking.echo(end)
        seen = 0
        for command in monitor.listen():
            words = command["command"].split()
            if end in command["command"]:
                return seen
            greeting = words[0].upper() in ("CLIENT", "HELLO", "SELECT", "AUTH")
            seen += command["client_type"] != "lua" and not greeting
    raise AssertionError("MONITOR ended")


@pytest.mark.parametrize("kind", [AsyncRedisStore, RedisStore])
def test_the_trips_of_a_request(backend: Backend, kind: type[AsyncRedisStore | RedisStore]) -> None:
    """None without a cookie or for a touch that is not due, one to read or begin, two to write."""
    with visits(kind.from_url(backend.url)) as first_visit:
        for _ in range(2):  # the server has the scripts then, that of changes, too
            first_visit("/write")
    idle = 1 if kind is AsyncRedisStore else 0  # ASGI loads before the application
    with visits(kind.from_url(backend.url)) as visit:
        for path, expected in (
            ("/nothing", 0), ("/read", 0), ("/write", 1), ("/nothing", idle), ("/read", 1),
            ("/write", 2),
        ):  # fmt: skip
            assert trips(backend.server_url, visit, path) == expected, path


def test_32_tasks_on_one_session_lose_nothing_and_take_few_writes(backend: Backend) -> None:
    """In one process those who wait are written along with the one that writes."""
    writes = 0

    class Store(AsyncRedisStore):
        async def set(self, *args: Any, **more: Any) -> bool:
            nonlocal writes
            writes += 1
            return await super().set(*args, **more)

    async def story() -> None:
        store: AsyncStore = Store.from_url(backend.url)
        transport = httpx.ASGITransport(asgi(store))
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.test") as client:
            await client.get("/put/first")  # the client keeps the cookie

            async def write(path: str) -> int:
                return (await client.get(path)).status_code

            paths = [f"/put/key{number}" for number in range(32)]
            assert set(await asyncio.gather(*map(write, paths))) == {200}
        ((_, found),) = [item async for item in store.all()]
        assert set(json.loads(found.data)["d"]) == {"first"} | {f"key{n}" for n in range(32)}
        assert 2 <= writes <= 16
        await store.close()

    asyncio.run(story())


def test_an_owner_s_sessions_are_read_in_pages(store: RedisStore, backend: Backend) -> None:
    for number in range(100):
        store.set(f"{number}", Record(b"x" * 1000, time.time() + 3600, "ada"))
    backend.raw.config_resetstat()
    assert len(list(store.owned_by("ada"))) == 100
    assert 4 <= backend.raw.info("commandstats")["cmdstat_evalsha"]["calls"] <= 5
