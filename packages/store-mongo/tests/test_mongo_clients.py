"""Clients: the caller's and the store's own."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest
from mongo_backend import Backend
from pymongo import AsyncMongoClient, MongoClient, ReadPreference

from coatcheck import Record
from coatcheck.errors import ConfigurationError, StoreClosed
from coatcheck_mongo import AsyncMongoStore, MongoStore
from testing.interrupts import interrupted
from testing.servers.mongo import MongoServer

pytestmark = pytest.mark.integration("mongo")


def record() -> Record:
    return Record(b"data", time.time() + 3600)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server whose connections are counted, so that nobody else may connect."""
    with MongoServer() as started:
        yield started.url


def connections(backend: Backend) -> int:
    """Return how many connections stores have; the tests' own client makes some when it likes."""
    with backend.client.admin.aggregate(
        [{"$currentOp": {"idleConnections": True, "allUsers": True}}]
    ) as found:
        names = [one.get("clientMetadata", {}).get("driver", {}).get("name", "") for one in found]
    return sum("coatcheck" in name for name in names)


def test_the_concerns(backend: Backend) -> None:
    store = MongoStore.from_url(backend.url)
    used = store._client.get().collection
    assert used.write_concern.document == {"w": "majority", "j": True}
    assert used.read_concern.level == "local"
    assert used.read_preference == ReadPreference.PRIMARY
    store.close()


def test_a_client_that_a_signal_handler_interrupted_is_given_up(backend: Backend) -> None:
    """PyMongo has conditions, which are locks in Python code."""
    interrupted(backend.url, 40, "slow")


def test_concerns_of_the_caller_are_kept(backend: Backend) -> None:
    options = "w=1&journal=false&readConcernLevel=linearizable"
    store = MongoStore.from_url(f"{backend.url}&{options}")
    used = store._client.get().collection
    assert used.write_concern.document == {"w": 1, "j": False}
    assert used.read_concern.level == "linearizable"
    assert store.set("key", record())
    store.close()


def test_a_client_that_reads_from_others_reads_sessions_from_the_primary(backend: Backend) -> None:
    with MongoClient(backend.server_url, readPreference="secondaryPreferred") as client:
        store = MongoStore(client, database="coatcheck", collection=backend.name)
        assert store._client.get().collection.read_preference == ReadPreference.PRIMARY


@pytest.mark.parametrize(
    ("store_class", "client_class"),
    [(MongoStore, AsyncMongoClient), (AsyncMongoStore, MongoClient), (MongoStore, dict)],
)
def test_another_client_is_refused(store_class: type, client_class: type) -> None:
    client = client_class() if client_class is dict else client_class(connect=False)
    with pytest.raises(ConfigurationError, match=r"pymongo\."):
        store_class(client, database="shop")


def test_a_client_without_acknowledgements_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="w=0"):
        MongoStore(MongoClient(w=0, connect=False), database="shop")


@pytest.mark.parametrize(
    "names", [{"database": ""}, {"database": "a.b"}, {"database": "x", "collection": "$x"}]
)
def test_names_that_cannot_be_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        MongoStore(MongoClient(connect=False), **names)


def test_the_callers_client_stays_open(backend: Backend) -> None:
    store = MongoStore(backend.client, database="coatcheck", collection=backend.name)
    store.set("key", record())
    store.close()
    with pytest.raises(StoreClosed):
        store.get("key")
    assert backend.client.admin.command("ping")


def test_close_lets_go_of_all_connections(backend: Backend) -> None:
    before = connections(backend)
    store = MongoStore.from_url(backend.url)
    store.set("key", record())
    assert connections(backend) > before
    store.close()
    _expect_soon(backend, before)


def test_a_loop_that_ends_lets_go_of_its_connections(backend: Backend) -> None:
    before = connections(backend)
    store = AsyncMongoStore.from_url(backend.url)
    for _ in range(3):
        asyncio.run(store.set("key", record()))
    assert not list(store._client._made)
    _expect_soon(backend, before)


def test_a_loop_that_is_closed_without_a_word_does_so_too(backend: Backend) -> None:
    before = connections(backend)
    store = AsyncMongoStore.from_url(backend.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.set("key", record()))
    for task in asyncio.all_tasks(loop):  # the driver's own
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    asyncio.run(store.set("key", record()))  # the next loop's first use cleans up
    del loop
    gc.collect()
    _expect_soon(backend, before)


def _expect_soon(backend: Backend, count: int) -> None:
    deadline = time.monotonic() + 10
    while connections(backend) > count and time.monotonic() < deadline:
        time.sleep(0.02)  # the server notices a little later
    assert connections(backend) <= count
