"""Sentinels that name the master, a master that fails, and Unix sockets."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from coatcheck import ABSENT, Record, Store, open_async_store, open_store
from coatcheck.errors import StoreTimeout, StoreUnavailable
from coatcheck.storekit import as_sync
from testing.interrupts import interrupted
from testing.servers.process import PortReservation
from testing.servers.redis import RedisServer, Watched, ask, watched

pytestmark = pytest.mark.integration("redis")

T = TypeVar("T")


def record(data: bytes = b"x", owner: str | None = None) -> Record:
    return Record(data, time.time() + 1000, owner)


def settled(call: Callable[[], T]) -> T:
    """Return what a call returns when the servers have agreed on a master."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call()
        except (StoreTimeout, StoreUnavailable):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # the servers decide when


def until(holds: Callable[[], bool]) -> None:
    """Wait for what the servers do by themselves."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def servers() -> Iterator[Watched]:
    with watched() as servers:
        yield servers


def opened(api: str, url: str) -> Store:
    return open_store(url) if api == "sync" else as_sync(open_async_store(url))


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_store_goes_on_with_the_new_master(servers: Watched, api: str) -> None:
    """The first Sentinel of the URL is not there, and then the master fails."""
    nobody = PortReservation()
    url = f"redis+sentinel://127.0.0.1:{nobody.port},127.0.0.1:{servers.port}/shop"
    store = opened(api, url)
    assert store.set("key", record(b"1", "ada"), ABSENT)
    until(lambda: b":1" in ask(servers.replica.port, "EXISTS", "sess:key"))  # it is asynchronous
    servers.primary.kill()
    found = settled(lambda: store.get("key"))
    assert found is not None
    assert found.data == b"1"
    assert servers.master() == servers.replica.port
    assert settled(lambda: store.set("key", record(b"2", "ada")))
    assert b":1" in ask(servers.replica.port, "EXISTS", "sess:key")
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    store.close()
    nobody.end()


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_master_that_was_demoted_is_left(servers: Watched, api: str) -> None:
    """It is still there and answers reads, and the connection to it is open."""
    url = f"redis+sentinel://127.0.0.1:{servers.port}/shop"
    store = opened(api, url)
    store.set("key", record())
    ask(servers.port, "SENTINEL", "FAILOVER", "shop")
    until(lambda: servers.master() == servers.replica.port)
    ask(servers.replica.port, "DEL", "sess:key")

    def is_left() -> bool:
        # For a moment the old master takes writes, because nobody has told it yet.
        assert settled(lambda: store.set("key", record(b"2")))
        return b":1" in ask(servers.replica.port, "EXISTS", "sess:key")

    until(is_left)
    store.close()


def test_errors_name_the_sentinels_and_the_service(servers: Watched) -> None:
    sentinel = f"127.0.0.1:{servers.port}"
    wrong = open_store(f"redis+sentinel://ada:pw@{sentinel}/nobody?retries=0")
    with pytest.raises(StoreUnavailable, match=f"'nobody' of the Sentinels at {sentinel} cannot"):
        wrong.ping()
    wrong.close()


def test_sentinels_may_have_a_password(servers: Watched) -> None:
    """The master has none."""
    ask(servers.port, "ACL", "SETUSER", "default", "resetpass", ">guard")
    url = f"redis+sentinel://127.0.0.1:{servers.port}/shop?retries=0"
    refused = open_store(url)
    with pytest.raises(StoreUnavailable):
        refused.ping()
    refused.close()
    store = open_store(f"{url}&sentinel_password=guard")
    store.ping()
    store.close()


def test_signal_handlers_may_interrupt_the_search_for_the_master(servers: Watched) -> None:
    interrupted(f"redis+sentinel://127.0.0.1:{servers.port}/shop?max_connections=2", 100)


# Unix sockets


# Before 5.1 redis-py leaves a socket that found nobody to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_both_apis_speak_through_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(path)) as server:
        store = open_store(f"unix://{path}")
        assert store.set("key", record(b"1", "ada"))
        assert b":1" in ask(server.port, "EXISTS", "sess:key")
        other = open_store(f"redis+socket://{path}?db=1")
        assert other.get("key") is None
        other.close()

        async def story() -> None:
            store = open_async_store(f"redis+unix://{path}")
            assert [key async for key, _ in store.owned_by("ada")] == ["key"]
            await store.close()

        asyncio.run(story())
        server.kill()
        with pytest.raises(StoreUnavailable, match=f"Redis at {path} cannot be reached"):
            store.ping()
        store.close()
    gc.collect()
