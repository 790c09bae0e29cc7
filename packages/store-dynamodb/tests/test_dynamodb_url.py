"""URLs, and clients that are passed in."""

from __future__ import annotations

import os
from typing import Any

import boto3
import pytest
from dynamodb_backend import Backend

from coatcheck import Record, open_store
from coatcheck.errors import ConfigurationError, StoreClosed, StoreUnavailable
from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._url import Settings, parse


def test_everything_that_a_url_can_say() -> None:
    url = (
        "dynamodb://My-table.1?region=eu-west-1&endpoint_url=http://127.0.0.1:8000&profile=shop"
        "&prefix=s:&timeout=0.5&attempts=2&scan_units=50"
    )
    assert parse(url) == Settings(
        "My-table.1", "s:", "eu-west-1", "http://127.0.0.1:8000", "shop", 0.5, 2, 50
    )
    assert parse("dynamodb://sessions") == Settings("sessions")


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://", "dynamodb://ab", "dynamodb:sessions", "dynamodb://user:pw@sessions",
        "dynamodb://sessions:8000", "dynamodb://sessions/x", "dynamodb://ses%20sions",
        "dynamodb://sessions?table=x", "dynamodb://sessions?region=", "dynamodb://sessions?prefix=",
        "dynamodb://sessions?attempts=0", "dynamodb://sessions?timeout=0",
        "dynamodb://sessions?endpoint_url=localhost",
        "dynamodb://sessions?endpoint_url=http://h:x", "dynamodb://sessions?scan_units=0",
        "dynamodb://sessions?endpoint_url=http://me:secret@host/",
        "dynamodb://sessions?endpoint_url=http://me:pw@[secret]",
        "dynamodb://sessions?endpoint_url=http://me:secret@exa%E2%84%80mple.com",
        f"dynamodb://sessions?prefix={'x' * 1025}",
        "dynamodb://sessions?region=a&region=b", "dynamodb://sessions#x",
    ],
)  # fmt: skip
def test_what_cannot_be(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_no_region_is_an_error_of_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # they are looked for first
        monkeypatch.setenv(name, "any")
    store = open_store("dynamodb://sessions")
    with pytest.raises(StoreUnavailable, match="region"):
        store.get("key")
    store.close()


@pytest.mark.integration("dynamodb")
def test_credentials_that_come_later_are_found(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    given = os.environ["AWS_ACCESS_KEY_ID"]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    store = open_store(backend.url)
    with pytest.raises(StoreUnavailable, match="no AWS credentials"):
        store.get("key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given)
    assert store.get("key") is None
    store.close()


@pytest.mark.integration("dynamodb")
def test_the_callers_client_stays_open(backend: Backend) -> None:
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    store.set("key", Record(b"data", 4102444800.0))
    store.close()
    with pytest.raises(StoreClosed):
        store.get("key")
    assert backend.item("key") is not None


@pytest.mark.filterwarnings("ignore:This process .* multi-threaded:DeprecationWarning")  # it is
@pytest.mark.integration("dynamodb")
def test_a_used_client_is_not_taken_through_a_fork(backend: Backend) -> None:
    """Both processes would read each other's replies from one connection."""
    store = DynamoDBStore(backend.client, table=backend.table, prefix=backend.prefix)
    store.set("key", Record(b"data", 4102444800.0))
    child = os.fork()
    if child == 0:
        try:
            store.get("key")
        except ConfigurationError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("key") is not None


def test_a_table_that_cannot_be_is_told() -> None:
    with pytest.raises(ConfigurationError, match="3 to 255 letters"):
        open_store("dynamodb://ab?region=eu-west-1")


@pytest.mark.parametrize("client", [None, object(), boto3])
def test_another_client_is_refused(client: Any) -> None:
    with pytest.raises(ConfigurationError, match="boto3"):
        DynamoDBStore(client, table="sessions")


@pytest.mark.parametrize(
    "names",
    [
        {"table": "x"},
        {"table": "a b c"},
        {"prefix": ""},
        {"prefix": "\u00f3" * 513},
        {"scan_units": 0},
    ],
)
@pytest.mark.integration("dynamodb")
def test_names_that_cannot_be_are_refused(backend: Backend, names: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DynamoDBStore(backend.client, **{"table": "sessions", **names})
