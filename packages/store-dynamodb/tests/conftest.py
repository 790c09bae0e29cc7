"""One service for all tests of a process, and a namespace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from dynamodb_backend import Backend

from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb.url import parse
from testing.servers.dynamodb import server


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the kit's cases on the async API at night, but for those that are about having both.

    The async API of this store is the core's bridge, which the kit checks on the file store by day.
    """
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue  # it is not this store's
        clause = item.get_closest_marker("clause")
        if clause and item.name.endswith("-async]") and not clause.args[0].startswith("PARITY"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def service_url() -> Iterator[str]:
    with server() as url:
        store = DynamoDBStore.from_url(url)
        store.ensure_table()
        store.close()
        yield url


@pytest.fixture
def backend(service_url: str) -> Iterator[Backend]:
    settings = parse(service_url)
    client = boto3.session.Session().client(
        "dynamodb", region_name=settings.region, endpoint_url=settings.endpoint_url
    )
    prefix = f"test-{uuid.uuid4().hex[:8]}:"
    yield Backend(f"{service_url}&prefix={prefix}", settings.table, prefix, client)
    client.close()


@pytest.fixture
def store(backend: Backend) -> Iterator[DynamoDBStore]:
    store = DynamoDBStore.from_url(backend.url)
    yield store
    store.close()
