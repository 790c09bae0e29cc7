"""The whole conformance kit on DynamoDB Local."""

from __future__ import annotations

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on
from testing.servers.dynamodb import server

pytestmark = pytest.mark.integration("dynamodb")


dynamodb_local = harness_on(server, "timeout=0.5")


@pytest.mark.usefixtures("dynamodb_local")
class TestDynamoDBLocal(StoreConformance):
    pass
