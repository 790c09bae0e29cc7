"""The whole conformance kit on DynamoDB Local."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on
from testing.servers.dynamodb import server

pytestmark = pytest.mark.integration("dynamodb")


@contextlib.contextmanager
def own_table() -> Iterator[str]:
    """A table for this process: the kit lists often, and a listing reads the whole table."""
    with server() as url:
        yield url.replace("dynamodb://sessions", f"dynamodb://kit-{uuid.uuid4().hex}")


dynamodb_local = harness_on(own_table, "timeout=1")


@pytest.mark.usefixtures("dynamodb_local")
class TestDynamoDBLocal(StoreConformance):
    pass
