"""Express with connect-redis and coatcheck with its Redis store, on one server."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest
from interop.applications import asgi_server, express_application, wsgi_server
from interop.walk import EXPRESS, Walk

import redis
from coatcheck.events import SessionEvent
from coatcheck_redis import AsyncRedisStore, RedisStore
from servers.redis import server

STEPS = 2000
#: So that a walk can be taken again.
SEED = int(os.environ.get("COATCHECK_SEED", secrets.randbits(32)))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as started:
        yield started


def test_both_sides_see_the_same_sessions(url: str) -> None:
    events: list[SessionEvent] = []
    raw = redis.Redis.from_url(url)

    def expire(session_id: str) -> None:
        assert raw.pexpire(f"sess:{session_id}", 1)
        while raw.exists(f"sess:{session_id}"):
            time.sleep(0.001)  # for the expiry itself

    with (
        express_application("redis", url) as express,
        asgi_server(AsyncRedisStore.from_url(url), [events.append]) as asgi,
        wsgi_server(RedisStore.from_url(url), [events.append]) as wsgi,
        httpx.Client() as client,
    ):
        walk = Walk(client, {EXPRESS: express.url, "asgi": asgi, "wsgi": wsgi}, expire, SEED)
        walk.run(STEPS)
    assert {event.kind for event in events}.isdisjoint({"corrupt", "store_error", "gone"})
    assert sum(walk.counts.values()) == STEPS
