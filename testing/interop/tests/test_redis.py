"""Express with connect-redis and coatcheck with its Redis store, on one server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import redis
from coatcheck import SessionOptions
from coatcheck_express import migrate_from_express
from coatcheck_redis import AsyncRedisStore, RedisStore
from testing.interop.applications import NAME, express_application, options_of, wsgi_server
from testing.interop.both import each_length, random_walk_on_both
from testing.servers.node import NodeServer
from testing.servers.redis import server

pytestmark = pytest.mark.integration("express", "redis")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as started:
        yield started


@pytest.fixture(scope="module")
def express(url: str) -> Iterator[NodeServer]:
    with express_application("redis", url) as started:
        yield started


@each_length
def test_both_sides_see_the_same_sessions(steps: int, url: str, express: NodeServer) -> None:
    raw = redis.Redis.from_url(url)
    asynchronous, plain = AsyncRedisStore.from_url(url), RedisStore.from_url(url)

    def expire(session_id: str) -> None:
        assert raw.pexpire(f"sess:{session_id}", 1)
        while raw.exists(f"sess:{session_id}"):
            time.sleep(0.001)  # until it has expired

    def remaining(session_id: str) -> float:
        return raw.pttl(f"sess:{session_id}") / 1000

    random_walk_on_both(express, asynchronous, plain, expire, remaining, steps)


def test_nobody_is_logged_out_by_the_end_of_express(url: str, express: NodeServer) -> None:
    """Express's sessions of every kind become native ones."""
    store = RedisStore.from_url(url)

    def native(path: str) -> SessionOptions:
        return SessionOptions(secret="s" * 32, name=NAME, store=store)

    def both(path: str) -> SessionOptions:
        return migrate_from_express(native(path), options_of(path, store))

    def ask(client: httpx.Client, base: str, *actions: list[Any]) -> Any:
        response = client.post(f"{base}/plain", json=actions)
        assert response.status_code == 200, response.text
        return response.json()

    clients = [httpx.Client() for _ in range(50)]
    for number, client in enumerate(clients):
        begin = [["set", ["user"], number]]
        if number % 3 == 0:
            begin.insert(0, ["max_age", 60_000 * (1 + number)])
        ask(client, express.url, *begin)
    with wsgi_server(both) as changing, wsgi_server(native) as changed:
        for number, client in enumerate(clients):
            before = client.cookies[NAME]
            seen = ask(client, changing, ["set", ["seen"], True])
            assert seen["data"] == {"user": number, "seen": True}
            lifetime = 60 * (1 + number) if number % 3 == 0 else None
            assert seen["cookie"]["max_age"] == pytest.approx(lifetime, abs=0.1)
            assert client.cookies[NAME] != before
            assert ask(client, changed)["data"] == seen["data"]
            assert ask(client, express.url)["data"] == {}, "the old record has ended"
    for client in clients:
        client.close()
