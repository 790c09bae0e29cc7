"""One service for all tests of a process, and a namespace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest
from dynamodb_backend import Backend

from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._url import parse
from testing.conformance import at_night
from testing.servers.dynamodb import give_credentials, server

# Now, and not with the server: the kit uses processes again that it started for other stores.
give_credentials()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the kit's cases on the async API at night.

    The async API of this store is the core's bridge, which the kit checks on the file store by day.
    """
    at_night(items, __file__, lambda clause, api: api == "async")


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
