"""Express with connect-dynamodb and coatcheck with its DynamoDB store, on one table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import boto3
import pytest

from coatcheck.storekit import as_async
from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._url import parse
from testing.interop.applications import express_application
from testing.interop.both import each_length, random_walk_on_both
from testing.servers.dynamodb import server

pytestmark = pytest.mark.integration("express", "dynamodb")


@pytest.fixture
def url() -> Iterator[str]:
    with server() as started:
        with contextlib.closing(DynamoDBStore.from_url(started)) as store:
            store.ensure_table()
        yield started


@each_length
def test_both_sides_see_the_same_sessions(steps: int, url: str) -> None:
    """The random walk uses every kind of text and number that JSON has."""
    settings = parse(url)
    service = boto3.session.Session().resource(
        "dynamodb", region_name=settings.region, endpoint_url=settings.endpoint_url
    )
    table = service.Table(settings.table)

    def expire(session_id: str) -> None:
        table.update_item(
            Key={"id": f"sess:{session_id}"},
            ConditionExpression="attribute_exists(id)",
            UpdateExpression="SET expires = :past",
            ExpressionAttributeValues={":past": int(time.time()) - 1},
        )

    def remaining(session_id: str) -> float:
        found = table.get_item(Key={"id": f"sess:{session_id}"}, ConsistentRead=True)
        return float(found["Item"]["expires"]) - time.time()

    asynchronous, plain = as_async(DynamoDBStore.from_url(url)), DynamoDBStore.from_url(url)
    node = {"region": settings.region, "table": settings.table}
    with express_application("dynamodb", str(settings.endpoint_url), **node) as express:
        random_walk_on_both(express, asynchronous, plain, expire, remaining, steps)
    plain.close()
    service.meta.client.close()
