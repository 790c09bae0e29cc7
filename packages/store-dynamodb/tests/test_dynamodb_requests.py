"""What a request costs, and which permissions it needs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from dynamodb_backend import Backend, counted
from visiting import visits

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck.storekit import as_async
from coatcheck_dynamodb import DynamoDBStore

pytestmark = pytest.mark.integration("dynamodb")

PAGE = Path(__file__).parents[3] / "docs/dynamodb.md"


@pytest.mark.parametrize("api", [as_async, lambda store: store], ids=["async", "sync"])
def test_the_trips_of_a_request(backend: Backend, api: Any) -> None:
    """One to read or begin, two to write; none is added for a touch that is not due."""
    counts = counted(backend.client)
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    with visits(api(store)) as visit:
        for path, expected in (
            ("/read", {}),
            ("/write", {"PutItem": 1}),
            ("/read", {"GetItem": 1}),
            ("/write", {"GetItem": 1, "UpdateItem": 1}),
        ):
            counts.clear()
            visit(path)
            assert counts == expected, path


@pytest.mark.parametrize("api", [as_async, lambda store: store], ids=["async", "sync"])
def test_a_touch_that_is_due_is_one_more(backend: Backend, api: Any) -> None:
    counts = counted(backend.client)
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    with visits(api(store), touch_interval=0) as visit:
        visit("/write")
        counts.clear()
        visit("/read")
    assert counts == {"GetItem": 1, "UpdateItem": 1}


def test_the_permissions_are_those_that_the_page_grants(backend: Backend) -> None:
    """No more, and no less, than what is sent."""
    counts = counted(backend.client)
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    record = Record(b"data", time.time() + 3600, "ann")
    for condition in (ABSENT, PRESENT, Unchanged(b"data")):
        assert store.set("key", record, condition)
    assert store.touch("key", time.time() + 7200)
    assert store.get("key")
    assert [key for key, _ in store.owned_by("ann")] == ["key"]
    assert store.destroy("key", PRESENT)
    assert not store.destroy("key")
    store.ping()
    of_the_application = set(counts)
    counts.clear()
    store.set("key", record)
    assert store.length() == len(list(store.all())) == 1
    store.clear()
    of_listings = set(counts) - of_the_application
    counts.clear()
    store.ensure_table()
    for_the_table = set(counts)
    [policy] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    granted = {
        statement["Sid"]: {action.removeprefix("dynamodb:") for action in statement["Action"]}
        for statement in json.loads(policy)["Statement"]
    }
    assert granted["Application"] == of_the_application
    assert granted["Listings"] == of_listings
    # Those that make the table need more; a table that is there is looked at alone.
    assert granted["CreateTable"] - for_the_table == {
        "CreateTable", "UpdateTable", "UpdateTimeToLive",
    }  # fmt: skip
    assert for_the_table <= granted["CreateTable"]
