"""A cluster of three primaries, formed here, and slots that move while sessions are used."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

import redis
from coatcheck import ABSENT, AsyncStore, Record, Unchanged, open_async_store, open_store
from coatcheck.errors import StoreTimeout, StoreUnavailable
from coatcheck.storekit import as_sync
from coatcheck_redis import AsyncRedisStore, RedisStore
from coatcheck_redis._layout import slot
from testing.interrupts import interrupted
from testing.servers.redis import RedisServer, ask, cluster

pytestmark = pytest.mark.integration("redis")

LIFETIME = 1000.0


def record(data: bytes = b"x", owner: str | None = None) -> Record:
    return Record(data, time.time() + LIFETIME, owner)


@pytest.fixture(scope="module")
def members() -> Iterator[list[RedisServer]]:
    with cluster() as members:
        yield members


def url_of(members: list[RedisServer], prefix: str) -> str:
    return f"redis+cluster://127.0.0.1:{members[0].port}?prefix={prefix}"


def test_sessions_of_one_owner_lie_on_all_servers(members: list[RedisServer]) -> None:
    store = open_store(url_of(members, "spread:"))
    keys = {f"key {number}" for number in range(100)}
    for key in keys:
        assert store.set(key, record(owner="ada"), ABSENT)
    for member in members:
        assert int(ask(member.port, "DBSIZE").strip(b":\r\n")) > 30
    assert {key for key, _ in store.owned_by("ada")} == keys
    assert {key for key, _ in store.all()} == keys
    assert store.length() == 100
    store.clear()
    assert store.length() == 0
    assert list(store.owned_by("ada")) == []
    store.close()


def test_the_asynchronous_face_reaches_all_servers(members: list[RedisServer]) -> None:
    async def story() -> None:
        store = open_async_store(url_of(members, "async:"))
        keys = {f"key {number}" for number in range(30)}
        await asyncio.gather(*(store.set(key, record(owner="ada")) for key in keys))
        assert {key async for key, _ in store.owned_by("ada")} == keys
        assert {key async for key, _ in store.all()} == keys
        await store.ping()
        await store.clear()
        assert await store.length() == 0
        await store.close()

    asyncio.run(story())


def test_a_client_that_a_signal_handler_interrupted_is_given_up(
    members: list[RedisServer],
) -> None:
    """Nobody knows which of its locks and connections are as they should be."""
    interrupted(url_of(members, "interrupted:"), 40, "slow")


def test_clients_that_the_caller_made_work_too(members: list[RedisServer]) -> None:
    with RedisCluster(host="127.0.0.1", port=members[0].port) as client:
        store = RedisStore(client, prefix="given:")
        assert store.set("key", record(owner="ada"))
        assert [key for key, _ in store.owned_by("ada")] == ["key"]
        store.close()

    async def story() -> None:
        client = AsyncRedisCluster(host="127.0.0.1", port=members[0].port)
        store = AsyncRedisStore(client, prefix="given:")
        assert await store.destroy("key")
        await store.close()
        await client.aclose()

    asyncio.run(story())


@pytest.mark.parametrize("key", ["{tag}rest", "no}tag", "{}empty", "a{b}c{d}", "{open", "ü{ß}"])
def test_keys_with_braces_stay_in_one_slot_with_their_metadata(
    members: list[RedisServer], key: str
) -> None:
    for prefix in ("braces:", "{b}:", "}:"):
        store = open_store(url_of(members, prefix))
        assert store.set(key, record(owner="ada"), ABSENT)
        assert store.touch(key, time.time() + 50, "ada")
        assert [found for found, _ in store.owned_by("ada")] == [key]
        assert store.destroy(key)
        store.close()


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_slot_that_moves_while_its_sessions_are_written_loses_nothing(
    members: list[RedisServer], api: str
) -> None:
    """The slot goes from one server to the next and back, key by key, as resharding does it."""
    url = url_of(members, f"moving-{api}:")
    # All of one slot, and enough of them to be between two servers for a while.
    keys = [f"{{t}}{number}" for number in range(40)]
    store = open_store(url)
    for key in keys:
        store.set(key, record(b"0"))
    load = (_Load if api == "sync" else _AsyncLoad)(url, keys)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(load.run)
        try:
            move_around(members, slot(b"{t}"), partial(load.go_on, writing))
        finally:
            load.done.set()
        writing.result()
    for key in keys:
        assert int(settled(lambda key=key: store.get(key)).data) == load.written[key]
    assert sum(load.written.values()) > 0
    assert store.length() == len(keys)
    store.close()


class _Load:
    """Counts each key up by compare-and-set, four keys at a time.

    :ivar written: what each key has been counted up to.
    """

    def __init__(self, url: str, keys: list[str]) -> None:
        self.url, self.keys = url, keys
        self.written = dict.fromkeys(keys, 0)
        self.done = threading.Event()

    def go_on(self, writing: Future[None]) -> None:
        """Wait until there has been some writing.

        :raises Exception: what has ended the writing.
        """
        enough, deadline = sum(self.written.values()) + 30, time.monotonic() + 60
        while sum(self.written.values()) < enough:
            if writing.done():
                writing.result()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def run(self) -> None:
        self.store = open_store(self.url)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._count, range(4)))
        self.store.close()

    def _count(self, offset: int) -> None:
        for key in itertools.cycle(self.keys[offset::4]):
            if self.done.is_set():
                return
            new, old = self._next(key)
            try:
                assert self.store.set(key, record(new), Unchanged(old)) is True
                self.written[key] += 1
            except StoreUnavailable:  # the outcome is unknown: look
                self.written[key] = self._looked_up(key)

    def _looked_up(self, key: str) -> int:
        store = open_store(self.url)
        found = settled(lambda: store.get(key))
        store.close()
        return int(found.data)

    def _next(self, key: str) -> tuple[bytes, bytes]:
        before = self.written[key]
        return b"%d" % (before + 1), b"%d" % before


class _AsyncLoad(_Load):
    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        store = open_async_store(self.url)
        await asyncio.gather(*(self._counted(store, offset) for offset in range(4)))
        await store.close()

    async def _counted(self, store: AsyncStore, offset: int) -> None:
        for key in itertools.cycle(self.keys[offset::4]):
            if self.done.is_set():
                return
            new, old = self._next(key)
            try:
                assert await store.set(key, record(new), Unchanged(old)) is True
                self.written[key] += 1
            except StoreUnavailable:
                self.written[key] = await asyncio.to_thread(self._looked_up, key)


def move_around(members: list[RedisServer], number: int, go_on: Callable[[], None]) -> None:
    ids = {m.port: ask(m.port, "CLUSTER", "MYID").split(b"\r\n")[1].decode() for m in members}
    owner = next(m for m in members if owns(m, number))
    first, second = (m for m in members if m is not owner)
    for source, target in ((owner, first), (first, second), (second, owner)):
        go_on()
        move(number, source, target, ids)
        go_on()


def settled(read: Callable[[], Record | None]) -> Record:
    deadline = time.monotonic() + 30
    while True:
        try:
            found = read()
        except (StoreTimeout, StoreUnavailable):
            if time.monotonic() > deadline:
                raise
            continue
        assert found is not None
        return found


def owns(member: RedisServer, number: int) -> bool:
    return ask(member.port, "CLUSTER", "COUNTKEYSINSLOT", str(number)) != b":0\r\n"


def move(number: int, source: RedisServer, target: RedisServer, ids: dict[int, str]) -> None:
    """Move a slot as `redis-cli --cluster reshard` does."""
    ask(target.port, "CLUSTER", "SETSLOT", str(number), "IMPORTING", ids[source.port])
    ask(source.port, "CLUSTER", "SETSLOT", str(number), "MIGRATING", ids[target.port])
    with redis.Redis(port=source.port) as client:
        while names := client.execute_command("CLUSTER GETKEYSINSLOT", number, 5):
            client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
            time.sleep(0.01)  # as over a network; a record and its metadata may be apart meanwhile
    for member in (target, source):
        ask(member.port, "CLUSTER", "SETSLOT", str(number), "NODE", ids[target.port])


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_server_that_stands_still_costs_its_own_sessions_alone(
    members: list[RedisServer], api: str
) -> None:
    """They fail in bounded time, the others' are served, and afterwards all are."""
    opened = open_store if api == "sync" else lambda url: as_sync(open_async_store(url))
    store = opened(url_of(members, f"still-{api}:"))
    keys = [f"key {number}" for number in range(30)]
    for key in keys:
        store.set(key, record())
    silent = members[1]
    reached = {owner_of(members, f"still-{api}:{key}".encode()): key for key in keys}
    silent.pause()
    try:
        began = time.monotonic()
        with pytest.raises((StoreTimeout, StoreUnavailable)):
            store.get(reached[silent])
        assert time.monotonic() - began < 10
        assert settled(lambda: store.get(reached[members[0]])).data == b"x"
        assert time.monotonic() - began < 20
    finally:
        silent.resume()
    for key in keys:
        assert settled(lambda key=key: store.get(key)).data == b"x"
    store.close()


def owner_of(members: list[RedisServer], place: bytes) -> RedisServer:
    """Return whose a key is, as `cluster` has dealt the slots out."""
    return next(m for n, m in enumerate(members) if slot(place) < (n + 1) * 16384 // len(members))
