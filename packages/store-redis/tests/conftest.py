"""One server for all tests of a process, and a prefix of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from redis_backend import Backend

import redis
from coatcheck_redis import RedisStore
from testing.servers.redis import RedisServer, server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture
def backend(server_url: str) -> Iterator[Backend]:
    prefix = f"test-{uuid.uuid4().hex[:8]}:"
    joint = "&" if "?" in server_url else "?"
    raw = redis.Redis.from_url(server_url)
    yield Backend(f"{server_url}{joint}prefix={prefix}", server_url, prefix, raw)
    for key in raw.scan_iter(match=f"*{prefix}*", count=1000):
        raw.delete(key)
    raw.close()


@pytest.fixture
def store(backend: Backend) -> Iterator[RedisStore]:
    store = RedisStore.from_url(backend.url)
    yield store
    store.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server for a test that does to it what others must not notice."""
    with RedisServer() as started:
        yield started
