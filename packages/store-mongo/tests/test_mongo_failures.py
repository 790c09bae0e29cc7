"""The behaviour of the store when MongoDB refuses, stands still or ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from mongo_backend import Backend
from pymongo import MongoClient, _csot

from coatcheck import Record
from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from coatcheck.storekit import as_sync
from coatcheck_mongo import AsyncMongoStore, MongoStore
from testing.servers.mongo import MongoServer
from testing.servers.process import PortReservation

pytestmark = pytest.mark.integration("mongo")


def record() -> Record:
    return Record(b"d4ta", time.time() + 3600, "0wner")


@pytest.fixture(scope="module")
def locked_server() -> Iterator[MongoServer]:
    """A server with users: one who may do all, one who may not create indexes, one who may read."""
    with MongoServer("--auth") as started:
        with started.client() as client:
            client.admin.command("createUser", "root", pwd="r00t", roles=["root"])
        with MongoClient(f"mongodb://root:r00t@127.0.0.1:{started.port}/") as client:
            shop = {"db": "shop", "collection": ""}
            actions = ["find", "insert", "update", "remove"]
            client.shop.command(
                "createRole", "sessions", privileges=[{"resource": shop, "actions": actions}],
                roles=[],
            )  # fmt: skip
            client.shop.command("createUser", "app", pwd="s3cret", roles=["sessions"])
            client.shop.command("createUser", "reader", pwd="s3cret", roles=["read"])
        yield started


def test_errors_name_the_servers_and_nobody_s_password() -> None:
    nobody = PortReservation()
    address = f"127.0.0.1:{nobody.port}"
    url = f"mongodb://app:s3cret@{address},localhost:{nobody.port}/shop?timeoutMS=300"
    opened = MongoStore.from_url(url)
    with MongoClient(url) as client:
        for store in (opened, MongoStore(client, database="shop")):
            with pytest.raises(StoreError, match=f"MongoDB at {address}, localhost:") as caught:
                store.get("key")
            assert "s3cret" not in str(caught.value)
    opened.close()
    nobody.end()


def test_a_wrong_password(locked_server: MongoServer) -> None:
    store = MongoStore.from_url(f"mongodb://app:wr0ng@127.0.0.1:{locked_server.port}/shop")
    for call in (lambda: store.set("key", record()), lambda: store.get("key"), store.ping):
        with pytest.raises(StoreUnavailable, match="password") as failure:
            call()
        assert "wr0ng" not in str(failure.value)
    store.close()


def test_a_user_without_a_name(locked_server: MongoServer) -> None:
    """A probe of readiness needs what sessions need."""
    store = MongoStore.from_url(f"mongodb://127.0.0.1:{locked_server.port}/shop")
    with pytest.raises(StoreError, match="lacks a permission"):
        store.ping()
    store.close()


def test_the_first_write_waits_for_indexes_once(own_server: MongoServer) -> None:
    store = MongoStore.from_url(f"{own_server.url}?timeoutMS=1500")
    own_server.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.set("key", record())
    assert time.monotonic() - began < 4.5  # two seconds for both, and a call's own
    own_server.start()
    assert store.set("key", record())
    store.close()


def test_a_user_who_may_only_read(locked_server: MongoServer) -> None:
    store = MongoStore.from_url(f"mongodb://reader:s3cret@127.0.0.1:{locked_server.port}/shop")
    assert store.get("key") is None
    with pytest.raises(StoreError, match="lacks a permission"):
        store.set("key", record())
    store.close()


def test_a_user_who_may_not_create_indexes(
    locked_server: MongoServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = MongoStore.from_url(f"mongodb://app:s3cret@127.0.0.1:{locked_server.port}/shop")
    for _ in range(2):
        assert store.set("k3y", record())
    assert [key for key, _ in store.owned_by("0wner")] == ["k3y"]
    assert store.touch("k3y", time.time() + 60)
    assert store.length() == 1
    assert store.destroy("k3y")
    store.clear()
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "coatcheck"]
    assert len(warnings) == 2
    assert all("createIndex" in warning for warning in warnings)
    store.close()


def test_a_server_that_ends_and_comes_back(own_server: MongoServer) -> None:
    store = MongoStore.from_url(f"{own_server.url}?timeoutMS=1000")
    store.set("key", record())
    own_server.kill()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        assert time.monotonic() - began < 3
    own_server.start()
    found = store.get("key")
    assert found is not None  # acknowledged, and there after kill -9
    assert found.data == b"d4ta"
    store.close()


def test_a_server_that_stands_still(own_server: MongoServer) -> None:
    store = MongoStore.from_url(f"{own_server.url}?timeoutMS=1000")
    store.set("key", record())
    own_server.pause()
    try:
        for call in (lambda: store.get("key"), lambda: store.set("key", record()), store.ping):
            began = time.monotonic()
            with pytest.raises(StoreTimeout):
                call()
            assert time.monotonic() - began < 3
    finally:
        own_server.resume()
    assert store.get("key") is not None
    store.close()


def test_a_write_that_is_cancelled_leaves_no_time_limit_behind(own_server: MongoServer) -> None:
    """The first write creates the indexes, within a shorter limit than that of a call."""

    async def story() -> None:
        store = AsyncMongoStore.from_url(f"{own_server.url}?timeoutMS=2500")
        assert await store.get("key") is None
        own_server.pause()
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(store.set("key", record()), 0.2)
            gc.collect()  # the rest of the cancelled call, if there is one
            assert _csot.get_timeout() is None
        finally:
            own_server.resume()
        await store.close()

    asyncio.run(story())


@pytest.mark.parametrize("api", ["sync", "async"])
def test_a_server_that_never_answered(own_server: MongoServer, api: str) -> None:
    own_server.pause()
    url = f"{own_server.url}?timeoutMS=1000"
    store = MongoStore.from_url(url) if api == "sync" else as_sync(AsyncMongoStore.from_url(url))
    try:
        with pytest.raises(StoreTimeout):
            store.get("key")
    finally:
        own_server.resume()
    assert store.get("key") is None
    store.close()


def test_commands_of_sessions_are_not_logged(
    store: MongoStore, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """PyMongo's log of the application's other clients stays as it is."""
    caplog.set_level(logging.DEBUG)
    store.set("k3y", record())
    store.get("k3y")
    assert not [entry for entry in caplog.records if entry.name == "pymongo.command"]
    assert not [
        text for text in caplog.messages if any(x in text for x in ("k3y", "d4ta", "0wner"))
    ]
    backend.client.coatcheck.command("ping")
    assert [entry for entry in caplog.records if entry.name == "pymongo.command"]
