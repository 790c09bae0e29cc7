"""What goes wrong at the server, and which error it is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import redis
from coatcheck import Record, Unchanged
from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from coatcheck_redis import AsyncRedisStore, RedisStore
from testing.servers.process import PortReservation
from testing.servers.programs import ServerMissing
from testing.servers.redis import KINDS, RedisServer, ask, program

pytestmark = pytest.mark.integration("redis")


def record(data: bytes = b"x", owner: str | None = None) -> Record:
    return Record(data, time.time() + 1000, owner)


def programs() -> Iterator[object]:
    """Name the servers that are here: they do not all say the same in the same words."""
    for kind in KINDS:
        with contextlib.suppress(ServerMissing):
            yield pytest.param(program(kind), id=kind)


@pytest.fixture(params=list(programs()))
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(executable=request.param) as started:
        yield started


@pytest.fixture
def both(own_server: RedisServer) -> Iterator[Callable[..., list[BaseException | None]]]:
    """Perform an operation through both APIs, and return what each raised."""

    def performed(operation: str, *args: Any, options: str = "", user: str = "") -> Any:
        url = own_server.url.replace("//", f"//{user}") + options
        caught: list[BaseException | None] = []
        store = RedisStore.from_url(url)
        try:
            getattr(store, operation)(*args)
            caught.append(None)
        except Exception as error:
            caught.append(error)
        store.close()

        async def other() -> None:
            store = AsyncRedisStore.from_url(url)
            try:
                await getattr(store, operation)(*args)
                caught.append(None)
            except Exception as error:
                caught.append(error)
            await store.close()

        asyncio.run(other())
        return caught

    return performed


def check(caught: list[BaseException | None], kind: type[StoreError], message: str) -> None:
    assert len(caught) == 2
    for error in caught:
        assert type(error) is kind, error
        assert message in str(error)
        assert isinstance(error.__cause__, redis.RedisError)


def test_nobody_listens(own_server: RedisServer, both: Any) -> None:
    own_server.kill()
    address = f"Redis at 127.0.0.1:{own_server.port} cannot be reached"
    check(both("get", "key"), StoreUnavailable, address)
    client = redis.Redis(host="localhost", port=own_server.port, password="s3cret")
    with pytest.raises(StoreUnavailable, match=f"Redis at localhost:{own_server.port} ") as caught:
        RedisStore(client).get("key")
    assert "s3cret" not in str(caught.value)
    client.close()


def test_a_server_that_stands_still_is_a_timeout_in_bounded_time(
    own_server: RedisServer, both: Any
) -> None:
    """With the defaults: once for the connection's greeting, never more than ten seconds."""
    own_server.pause()
    try:
        began = time.monotonic()
        address = f"Redis at 127.0.0.1:{own_server.port} did not answer in time"
        check(both("set", "key", record()), StoreTimeout, address)
        assert time.monotonic() - began < 2 * 10
    finally:
        own_server.resume()


def test_a_full_memory_loses_nothing_and_still_lets_people_log_out(
    own_server: RedisServer, both: Any
) -> None:
    store = RedisStore.from_url(own_server.url)
    for key in ("a", "b", "c", "d"):
        store.set(key, record(owner="ada"))
    ask(own_server.port, "CONFIG", "SET", "maxmemory", "1")
    check(both("set", "new", record(b"new", "ada")), StoreError, "no memory left")
    check(both("set", "a", record(b"new")), StoreError, "no memory left")
    assert store.get("new") is None
    found = store.get("a")
    assert found is not None
    assert found.data == b"x"
    assert store.destroy("a") is True
    assert store.set("b", Record(b"x", time.time() - 1)) is True
    assert store.touch("c", time.time() + 5, "ada") is True
    assert sorted(key for key, _ in store.owned_by("ada")) == ["c", "d"]
    store.clear()
    ask(own_server.port, "CONFIG", "SET", "maxmemory", "0")
    assert store.set("a", record()) is True
    store.close()


def test_a_replica_takes_no_writes(own_server: RedisServer, both: Any) -> None:
    with RedisServer(executable=own_server.executable) as primary:
        ask(own_server.port, "REPLICAOF", "127.0.0.1", str(primary.port))
        deadline = time.monotonic() + 30
        while b"master_link_status:up" not in ask(own_server.port, "INFO", "replication"):
            assert time.monotonic() < deadline
            time.sleep(0.02)  # what is waited for is another process's
        check(both("set", "key", record()), StoreUnavailable, "cannot serve now")


def test_wrong_passwords_are_not_tried_again_and_not_told(
    own_server: RedisServer, both: Any
) -> None:
    ask(own_server.port, "ACL", "SETUSER", "ada", "on", ">right", "~*", "+@all")
    assert both("set", "key", record(), user="ada:right@") == [None, None]
    check(both("get", "key", user="ada:wr0ng@"), StoreUnavailable, "user name or the password")
    for error in both("get", "key", user="ada:wr0ng@"):
        assert "wr0ng" not in f"{error!r} {error.__cause__!r}"
    ask(own_server.port, "CONFIG", "SET", "requirepass", "secret")
    check(both("get", "key"), StoreUnavailable, "user name or the password")
    assert both("ping", user=":secret@") == [None, None]


def test_the_permissions_that_the_docs_name_are_enough(own_server: RedisServer, both: Any) -> None:
    ask(
        own_server.port, "ACL", "SETUSER", "shop", "on", ">pw", "resetkeys", "~sess:*",
        "~coatcheck:metadata:*", "~coatcheck:overwritten:*", "~coatcheck:owner:*", "resetchannels",
        "-@all", "+zscore", "+time",
        "+ping", "+mget", "+set", "+del", "+unlink", "+pttl", "+pexpire", "+zadd", "+zrange",
        "+zrem", "+zremrangebyscore", "+scan", "+evalsha", "+eval", "+client", "+hello",
    )  # fmt: skip
    store = RedisStore.from_url(own_server.url.replace("//", "//shop:pw@") + "?client_name=x")
    store.ping()
    assert store.set("key", record(b"x", "ada"))
    assert store.set("key", record(b"y", "ada"), Unchanged(b"x"))
    assert not store.set("key", record(b"z", "ada"), Unchanged(b"x"))
    assert store.touch("key", time.time() + 50)
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    assert store.length() == len(list(store.all())) == 1
    assert store.destroy("key")
    store.clear()
    store.close()
    elsewhere = own_server.url.replace("//", "//shop:pw@").removesuffix("0") + "3"
    with (
        contextlib.closing(RedisStore.from_url(elsewhere)) as store,
        pytest.raises(StoreError, match="lacks"),
    ):
        store.ping()
    ask(own_server.port, "ACL", "SETUSER", "shop", "+select")
    with contextlib.closing(RedisStore.from_url(elsewhere)) as store:
        store.ping()
    ask(own_server.port, "ACL", "SETUSER", "shop", "-evalsha")
    check(both("set", "key", record(), user="shop:pw@"), StoreError, "lacks a permission")


def test_too_many_clients_is_unavailable_and_passes(own_server: RedisServer, both: Any) -> None:
    ask(own_server.port, "CONFIG", "SET", "maxclients", "3")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            other = stack.enter_context(
                redis.Redis(port=own_server.port, single_connection_client=True)
            )
            other.ping()
        check(both("get", "key"), StoreUnavailable, "cannot be reached")
    assert both("get", "key") == [None, None]


def test_a_server_that_somebody_s_script_keeps_busy_is_unavailable(
    own_server: RedisServer,
) -> None:
    ask(own_server.port, "CONFIG", "SET", "lua-time-limit", "50")
    store = RedisStore.from_url(own_server.url)
    store.set("key", record())
    endless = redis.Redis(port=own_server.port, socket_timeout=None, retry=None)

    def run() -> None:
        with contextlib.suppress(redis.RedisError):
            endless.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while True:
            try:
                store.get("key")
            except StoreUnavailable:
                break
    finally:
        ask(own_server.port, "SCRIPT", "KILL")
        thread.join()
    assert store.get("key") is not None
    store.close()
    endless.close()


def test_a_cluster_reached_by_the_wrong_scheme_says_so(own_server: RedisServer) -> None:
    with RedisServer("--cluster-enabled", "yes") as alone:
        store = RedisStore.from_url(alone.url)
        with pytest.raises(StoreUnavailable):
            store.get("key")
        store.close()


# The servers of these tests


def test_servers_that_start_at_the_same_time_get_different_ports() -> None:
    """Before they listen, nobody sees that a port is taken."""
    state = random.getstate()
    first = PortReservation()
    random.setstate(state)
    second = PortReservation()
    try:
        assert first.port != second.port
    finally:
        first.end()
        second.end()
