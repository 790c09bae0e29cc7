"""Making the table."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dynamodb_backend import Backend

from coatcheck import Record
from coatcheck.errors import StoreError
from coatcheck_dynamodb import DynamoDBStore

pytestmark = pytest.mark.integration("dynamodb")


@pytest.fixture
def url(backend: Backend, service_url: str) -> Iterator[str]:
    """Of a table that is not there."""
    name = f"table-{uuid.uuid4().hex[:8]}"
    yield service_url.replace("://sessions?", f"://{name}?")
    if name in backend.client.list_tables()["TableNames"]:
        backend.client.delete_table(TableName=name)


def table_of(url: str) -> str:
    return url.partition("?")[0].removeprefix("dynamodb://")


def test_nothing_is_made_by_the_way(url: str, backend: Backend) -> None:
    store = DynamoDBStore.from_url(url)
    for call in (
        lambda: store.get("key"),
        lambda: store.set("key", Record(b"data", 4102444800.0)),
        lambda: list(store.owned_by("ann")),
        store.ping,
    ):
        with pytest.raises(StoreError, match="create-table"):
            call()
    store.close()
    assert table_of(url) not in backend.client.list_tables()["TableNames"]


def test_it_is_made_once(url: str, backend: Backend) -> None:
    store = DynamoDBStore.from_url(url)
    assert store.ensure_table()
    assert store.set("key", Record(b"data", 4102444800.0, "ann"))
    assert not store.ensure_table()
    assert [key for key, _ in store.owned_by("ann")] == ["key"]
    store.close()
    about = backend.client.describe_table(TableName=table_of(url))["Table"]
    assert about["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    removal = backend.client.describe_time_to_live(TableName=table_of(url))
    assert removal["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED", "AttributeName": "expires",
    }  # fmt: skip


def test_several_at_once_make_one(url: str) -> None:
    stores = [DynamoDBStore.from_url(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(DynamoDBStore.ensure_table, stores))
    assert stores[0].get("key") is None
    for store in stores:
        store.close()


ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}
#: What connect-dynamodb makes.
PROVISIONED = {"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}}


def make(url: str, backend: Backend, key: str = "id", billing: Any = ON_DEMAND) -> None:
    """Make a table, as another program does."""
    backend.client.create_table(
        TableName=table_of(url),
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        **billing,
    )


@pytest.mark.parametrize("billing", [ON_DEMAND, PROVISIONED], ids=["on-demand", "provisioned"])
def test_a_table_of_connect_dynamodbs_gets_what_it_lacks(
    url: str, backend: Backend, billing: Any
) -> None:
    make(url, backend, billing=billing)
    store = DynamoDBStore.from_url(url)
    assert store.set("key", Record(b"data", 4102444800.0, "ann"))
    with pytest.raises(StoreError, match="create-table"):
        list(store.owned_by("ann"))
    assert store.ensure_table()
    assert not store.ensure_table()
    assert [key for key, _ in store.owned_by("ann")] == ["key"]
    store.close()


def test_a_table_with_another_key_is_refused(url: str, backend: Backend) -> None:
    make(url, backend, key="pk")
    store = DynamoDBStore.from_url(url)
    with pytest.raises(StoreError, match="key is not"):
        store.ensure_table()
    store.close()


def test_an_index_of_other_keys_is_refused(url: str, backend: Backend) -> None:
    """Nothing would be found in it, and nobody logged out everywhere."""
    make(url, backend)
    kinds = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "owner", "at")]
    keys = [("owner", "HASH"), ("at", "RANGE")]
    index = {
        "IndexName": "owner-index",
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    backend.client.update_table(
        TableName=table_of(url),
        AttributeDefinitions=kinds,
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    store = DynamoDBStore.from_url(url)
    with pytest.raises(StoreError, match="must have the key"):
        store.ensure_table()
    store.close()


def test_removal_by_another_attribute_is_told(url: str, backend: Backend) -> None:
    """Nothing would ever be removed."""
    make(url, backend)
    backend.client.update_time_to_live(
        TableName=table_of(url),
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"},
    )
    store = DynamoDBStore.from_url(url)
    for _ in range(2):
        with pytest.raises(StoreError, match="must use the attribute"):
            store.ensure_table()
    store.close()


def test_the_command(url: str) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-m", "coatcheck", "create-table", url],
            capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert said == ["created\n", "it is there already\n"]
