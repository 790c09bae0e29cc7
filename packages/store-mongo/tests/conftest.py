"""One server for all tests of a process, and a collection of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from mongo_backend import Backend
from pymongo import MongoClient

from coatcheck_mongo import MongoStore
from testing.conformance import at_night
from testing.servers.mongo import MongoServer, server

#: Each of their cases waits for a server that is away, up to a minute.
BY_DAY = ("FAULT-1", "FAULT-2", "FAULT-3", "FAULT-6", "FAULT-8", "FAULT-9", "SECRET-1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run at night most of the kit's cases with a server that is away, and those on both APIs."""
    waiting = ("FAULT", "SECRET")
    at_night(
        items,
        __file__,
        lambda clause, api: clause.startswith(waiting) and (clause not in BY_DAY or api == "async"),
    )


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture
def backend(server_url: str) -> Iterator[Backend]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    with MongoClient[dict[str, Any]](server_url) as client:
        backend = Backend(f"{server_url}coatcheck?collection={name}", server_url, name, client)
        yield backend
        backend.collection.drop()


@pytest.fixture
def store(backend: Backend) -> Iterator[MongoStore]:
    store = MongoStore.from_url(backend.url)
    yield store
    store.close()


@pytest.fixture
def own_server() -> Iterator[MongoServer]:
    """A server for a test that does to it what others must not notice."""
    with MongoServer() as started:
        yield started
