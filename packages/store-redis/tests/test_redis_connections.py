"""Connections: bounded, repaired, of one process and one event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio
from losing import LosingProxy
from redis_backend import Backend

import redis
from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from coatcheck_redis import AsyncRedisStore, RedisStore
from testing.interrupts import interrupted
from testing.servers.redis import RedisServer

pytestmark = pytest.mark.integration("redis")

LIFETIME = 1000.0


def record(data: bytes = b"x", owner: str | None = None) -> Record:
    return Record(data, time.time() + LIFETIME, owner)


@pytest.fixture
def proxy(backend: Backend) -> Iterator[LosingProxy]:
    parts = urlsplit(backend.url)
    assert parts.hostname is not None
    with LosingProxy((parts.hostname, parts.port or 6379)) as proxy:
        yield proxy


def connections(backend: Backend, expected: int, name: str) -> int:
    """Return how many connections of a name the server has.

    It is told of an end after the client has gone on: a number that is not the expected one is
    looked at again for a while.
    """
    deadline = time.monotonic() + 10
    while True:
        count = sum(client["name"] == name for client in backend.raw.client_list())
        if count == expected or time.monotonic() > deadline:
            return count
        time.sleep(0.01)  # the server is asked again, not waited for


def through(proxy: LosingProxy, backend: Backend) -> str:
    here = urlsplit(backend.url).netloc.rpartition("@")[2]
    return backend.url.replace(here, f"127.0.0.1:{proxy.port}", 1)


# A reply is lost: the write was applied, and is sent again


def _stories(owner: str | None) -> dict[str, Callable[[RedisStore], bool]]:
    past = time.time() - 1
    return {
        "create": lambda store: store.set("key", record(b"1", owner), ABSENT),
        "compare and set": lambda store: store.set("key", record(b"2", owner), Unchanged(b"1")),
        "update": lambda store: store.set("key", record(b"3", owner), PRESENT),
        "touch": lambda store: store.touch("key", time.time() + 50, owner),
        "destroy": lambda store: store.destroy("key", Unchanged(b"3")),
        "create again": lambda store: store.set("key", record(b"4", owner), ABSENT),
        "touch to the past": lambda store: store.touch("key", past, owner),
        "and again": lambda store: store.set("key", record(b"5", owner), ABSENT),
        "set to the past": lambda store: store.set("key", Record(b"6", past, owner), PRESENT),
    }


@pytest.mark.parametrize("owner", [None, "ada"])
@pytest.mark.parametrize("losses", [1, 2])
def test_a_write_whose_reply_was_lost_is_known_again(
    backend: Backend, proxy: LosingProxy, owner: str | None, losses: int
) -> None:
    """Each operation says what its first attempt did, not what the next one finds."""
    store = RedisStore.from_url(through(proxy, backend))
    store.set("warm", record())  # the scripts are there
    for name, act in _stories(owner).items():
        proxy.to_lose = losses
        assert act(store) is True, name
        assert proxy.to_lose == 0, name
    assert store.get("key") is None
    store.close()


def test_what_another_request_wrote_meanwhile_is_not_taken_for_one_s_own(
    backend: Backend, proxy: LosingProxy
) -> None:
    store, other = RedisStore.from_url(through(proxy, backend)), RedisStore.from_url(backend.url)
    store.set("key", record(b"1"))
    proxy.to_lose = 1
    with ThreadPoolExecutor(1) as pool:
        # Between the attempts: the proxy closes, and the store waits before it tries again.
        written = pool.submit(store.set, "key", record(b"2"), Unchanged(b"1"))
        while (found := other.get("key")) is None or found.data != b"2":
            pass
        assert other.destroy("key")
        written.result()
    assert store.get("key") is None
    store.close()
    other.close()


class _Repeating(redis.Redis):
    """A client that sends one command twice, as after a lost reply.

    :ivar meanwhile: what others do between the two.
    """

    meanwhile: Callable[[], object] | None = None

    def execute_command(self, *words: Any, **options: Any) -> Any:
        reply = super().execute_command(*words, **options)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
            reply = super().execute_command(*words, **options)
        return reply


@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_a_write_that_others_followed_is_known_again_whatever_their_clocks_say(
    backend: Backend, seconds: int
) -> None:
    client = _Repeating.from_url(backend.server_url)
    here = RedisStore(client, prefix=backend.prefix, clock=lambda: time.time() + seconds)
    others = [
        RedisStore.from_url(backend.url, clock=lambda ahead=ahead: time.time() + ahead)
        for ahead in (0, 7200, -7200)
    ]

    def written(data: bytes) -> Record:
        return Record(data, time.time() + 100_000)

    def write() -> None:
        for other in others:
            assert other.set("key", written(b"theirs"), PRESENT)

    here.set("key", written(b"old"))
    for only_if in (Unchanged(b"old"), Unchanged(b"theirs")):
        client.meanwhile = write
        assert here.set("key", written(b"mine"), only_if) is True
    for other in others:
        other.close()
    client.close()


def test_without_retries_a_lost_reply_is_an_error(backend: Backend, proxy: LosingProxy) -> None:
    store = RedisStore.from_url(through(proxy, backend) + "&retries=0")
    store.set("key", record(b"1"))
    proxy.to_lose = 1
    with pytest.raises(StoreUnavailable):
        store.set("key", record(b"2"))
    found = store.get("key")
    assert found is not None
    assert found.data == b"2"  # "its outcome is unknown" includes this
    store.close()


def test_scripts_that_the_server_forgot_are_sent_again(store: RedisStore, backend: Backend) -> None:
    store.set("key", record())
    backend.raw.script_flush()
    assert store.set("key", record(b"y"), Unchanged(b"x")) is True
    backend.raw.script_flush()
    assert store.destroy("key") is True


# Pools


def test_connections_are_bounded_and_waited_for(backend: Backend) -> None:
    """Eight threads on two connections: nobody fails, and no third connection is made."""
    name = backend.prefix.strip(":")
    store = RedisStore.from_url(f"{backend.url}&max_connections=2&client_name={name}")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.set(str(number), record()), range(400)))
    assert store.length() == 400
    assert connections(backend, 2, name) == 2
    store.close()
    assert connections(backend, 0, name) == 0


def test_tasks_share_bounded_connections_too(backend: Backend) -> None:
    name = backend.prefix.strip(":")

    async def story() -> None:
        store = AsyncRedisStore.from_url(f"{backend.url}&max_connections=2&client_name={name}")
        await asyncio.gather(*(store.set(str(number), record()) for number in range(400)))
        assert await store.length() == 400
        assert connections(backend, 2, name) == 2
        await store.close()
        assert connections(backend, 0, name) == 0

    asyncio.run(story())


def test_a_pool_that_is_used_up_is_a_timeout(own_server: RedisServer) -> None:
    """The only connection waits for a server that stands still."""
    url = f"{own_server.url}?max_connections=1&timeout=0.2&socket_timeout=5"

    async def story() -> None:
        store = AsyncRedisStore.from_url(url)
        await store.ping()
        own_server.pause()
        try:
            slow = asyncio.ensure_future(store.ping())
            await asyncio.sleep(0)
            with pytest.raises(StoreTimeout, match="max_connections"):
                await store.ping()
        finally:
            own_server.resume()
        await slow
        await store.close()

    asyncio.run(story())
    store = RedisStore.from_url(url)
    store.ping()
    own_server.pause()
    try:
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(store.ping) for _ in range(2)]
            failures = 0
            while failures == 0:
                failures = sum(one.done() for one in both)
            own_server.resume()
            errors = [one.exception() for one in both]
    finally:
        own_server.resume()
    assert sorted(type(error) for error in errors if error) == [StoreTimeout]
    store.close()


def test_threads_that_wait_for_a_connection_are_served_in_turn(backend: Backend) -> None:
    """Nobody waits for a second where each call takes less than a millisecond."""
    store = RedisStore.from_url(f"{backend.url}&max_connections=1&timeout=2")

    def use(_: int) -> None:
        for _ in range(300):
            store.get("key")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    store.close()


def test_a_restarted_server_is_found_again_at_once(own_server: RedisServer) -> None:
    """Each connection of the pool is broken; no request sees it."""
    store = RedisStore.from_url(own_server.url)
    barrier = threading.Barrier(5)

    def together(_: int) -> None:
        barrier.wait()
        store.ping()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(together, range(5)))
        own_server.stop()
        own_server.start()
        list(pool.map(together, range(5)))
    store.close()


def test_a_reply_that_nobody_waits_for_any_more_answers_nobody_else(
    own_server: RedisServer,
) -> None:
    """A cancelled request leaves its reply on the connection, which must not be used again."""

    async def story() -> None:
        store = AsyncRedisStore.from_url(f"{own_server.url}?max_connections=1")
        await store.set("mine", record(b"mine"))
        await store.set("yours", record(b"yours"))
        own_server.pause()
        reading = asyncio.ensure_future(store.get("mine"))
        await asyncio.sleep(0.05)  # until it has been sent
        reading.cancel()
        own_server.resume()
        with pytest.raises(asyncio.CancelledError):
            await reading
        found = await store.get("yours")
        assert found is not None
        assert found.data == b"yours"
        await store.close()

    asyncio.run(story())


# Exceptions of signal handlers


@pytest.mark.parametrize("options", [(), ("system",), ("bridged",)], ids=str)
def test_calls_that_a_signal_handler_interrupts_leave_all_as_it_was(
    backend: Backend, options: tuple[str, ...]
) -> None:
    """The exception comes through; no connection is lost, and none has another call's reply."""
    interrupted(f"{backend.url}&max_connections=2", 300, *options)


@pytest.mark.parametrize("url", ["redis://{}", "redis+sentinel://{0},{0}/shop?retries=0"])
@pytest.mark.parametrize("kind", [OSError, TimeoutError, ConnectionError])
def test_an_error_of_the_system_that_a_signal_handler_raises_is_its_own(
    own_server: RedisServer, url: str, kind: type[OSError]
) -> None:
    """Neither another attempt nor another Sentinel takes it for one of the connection."""
    store = RedisStore.from_url(url.format(f"127.0.0.1:{own_server.port}"))

    def strike(*_: object) -> None:
        own_server.resume()
        raise kind("the handler's")

    former = signal.signal(signal.SIGALRM, strike)
    own_server.pause()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(kind, match="the handler's"):
            store.get("key")
    finally:
        own_server.resume()
        signal.signal(signal.SIGALRM, former)
        store.close()


class _Struck(redis.Redis):
    """A client between whose command and reply an exception strikes once, as a signal's may."""

    strikes = 0

    def parse_response(self, *args: Any, **options: Any) -> Any:
        if self.strikes:
            self.strikes -= 1
            raise KeyboardInterrupt
        return super().parse_response(*args, **options)


@pytest.mark.parametrize("single", [False, True])
def test_a_given_client_s_late_reply_answers_nobody_else(
    own_server: RedisServer, single: bool
) -> None:
    """redis-py puts the connection back, and sees a reply that has come, but not one that comes."""
    client = _Struck(port=own_server.port, single_connection_client=single)
    store = RedisStore(client)
    store.set("mine", record(b"mine"))
    store.set("yours", record(b"yours"))
    own_server.pause()
    client.strikes = 1
    with pytest.raises(KeyboardInterrupt):
        store.get("mine")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.get, "yours")
        own_server.resume()
        found = reading.result()
    assert found is not None
    assert found.data == b"yours"
    client.close()


# Processes and event loops


def test_a_fork_shares_no_connection(store: RedisStore, backend: Backend) -> None:
    store.set("key", record(b"parent"))
    child = os.fork()
    if child == 0:
        works = store.get("key") is not None and store.set("child", record(b"child"))
        os._exit(0 if works else 1)
    for _ in range(100):
        assert store.get("key") is not None
    assert os.waitpid(child, 0)[1] == 0
    assert store.get("child") is not None


def test_each_event_loop_has_connections_that_end_with_it(backend: Backend) -> None:
    name = backend.prefix.strip(":")
    store = AsyncRedisStore.from_url(f"{backend.url}&client_name={name}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(5):
            asyncio.run(store.set(str(number), record()))
            gc.collect()
            assert not any(client["name"] == name for client in backend.raw.client_list())
        loop = asyncio.new_event_loop()  # closed without `shutdown_asyncgens`
        loop.run_until_complete(store.ping())
        loop.close()
        asyncio.run(store.ping())
        gc.collect()
    assert not any(client["name"] == name for client in backend.raw.client_list())
    asyncio.run(store.close())


def test_close_ends_what_is_under_way_as_closed(own_server: RedisServer) -> None:
    store = RedisStore.from_url(own_server.url)
    store.ping()
    own_server.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.ping)
            time.sleep(0.1)  # nothing shows from outside that a call waits for its reply
            store.close()
            error = waiting.exception()
    finally:
        own_server.resume()
    assert isinstance(error, StoreError)
    with pytest.raises(StoreClosed):
        store.ping()


# Clients that the caller made


def test_a_given_client_is_used_and_left_open(backend: Backend) -> None:
    with redis.Redis.from_url(backend.server_url) as client:
        store = RedisStore(client, prefix=backend.prefix)
        store.set("key", record(owner="ada"))
        assert [key for key, _ in store.owned_by("ada")] == ["key"]
        assert store.length() == 1
        store.close()
        with pytest.raises(StoreClosed):
            store.get("key")
        assert client.exists(backend.place("key"))


def test_a_given_asynchronous_client_belongs_to_its_loop(backend: Backend) -> None:
    client = redis.asyncio.Redis.from_url(backend.server_url)
    store = AsyncRedisStore(client, prefix=backend.prefix)

    async def story() -> None:
        assert await store.set("key", record(owner="ada"))
        assert [key async for key, _ in store.owned_by("ada")] == ["key"]
        await client.aclose()

    asyncio.run(story())
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(story())


def test_a_client_that_cannot_work_is_refused(backend: Backend) -> None:
    decoding = redis.Redis.from_url(backend.server_url, decode_responses=True)
    with pytest.raises(ConfigurationError, match="decode_responses"):
        RedisStore(decoding)
    with pytest.raises(ConfigurationError, match="must be a redis\\.Redis or"):
        RedisStore(redis.asyncio.Redis())
    with pytest.raises(ConfigurationError, match="must be a redis\\.asyncio\\.Redis or"):
        AsyncRedisStore(decoding)
    with pytest.raises(ConfigurationError, match="not str"):
        RedisStore(backend.url)
    decoding.close()
