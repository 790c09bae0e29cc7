"""The cost of a request, counted by the server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from mongo_backend import Backend
from visiting import visits

from coatcheck import Record
from coatcheck_mongo import AsyncMongoStore, MongoStore
from testing.servers.mongo import MongoServer

pytestmark = pytest.mark.integration("mongo")


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server whose operations are counted, so that nobody else may use it."""
    with MongoServer() as started:
        yield started.url


def operations(backend: Backend) -> int:
    counters = backend.client.admin.command("serverStatus")["opcounters"]
    return sum(counters[kind] for kind in ("query", "insert", "update", "delete", "getmore"))


@pytest.mark.parametrize("kind", [AsyncMongoStore, MongoStore])
def test_the_trips_of_a_request(backend: Backend, kind: type[AsyncMongoStore | MongoStore]) -> None:
    """One to read or begin, two to write; none is added for a touch that is not due."""

    with visits(kind.from_url(backend.url)) as first_visit:
        first_visit("/write")  # the store connects, and creates the indexes
    with visits(kind.from_url(f"{backend.url}&indexes=false")) as visit:
        for path, expected in (("/read", 0), ("/write", 1), ("/read", 1), ("/write", 2)):
            before = operations(backend)
            visit(path)
            assert operations(backend) == before + expected, path


def test_requests_take_the_round_trips_they_should(backend: Backend) -> None:
    """Counted by the server: get, set over a record, set of a new one, touch, destroy."""
    store = MongoStore.from_url(backend.url)
    store.set("other", Record(b"data", time.time() + 3600))  # connects, and creates the indexes

    for call in (
        lambda: store.set("key", Record(b"data", time.time() + 3600)),
        lambda: store.get("key"),
        lambda: store.set("key", Record(b"data", time.time() + 3600)),
        lambda: store.touch("key", time.time() + 60),
        lambda: store.get("unknown"),
    ):
        before = operations(backend)
        call()
        assert operations(backend) == before + 1
    store.close()
