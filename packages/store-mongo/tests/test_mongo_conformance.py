"""The whole conformance kit, on one server and on a replica set."""

from __future__ import annotations

import pytest

from coatcheck_conformance import StoreConformance
from testing.backends import backend_of
from testing.conformance import harness_on
from testing.servers.mongo import server

pytestmark = [
    pytest.mark.integration("mongo"),
    # A cancelled attempt of PyMongo's to connect leaves its socket to the garbage collector.
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


one_server = harness_on(server, "timeoutMS=1000")
replica_set_of_three = harness_on(backend_of("mongo-replica-set").start)


@pytest.mark.usefixtures("one_server")
class TestOneServer(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("replica_set_of_three")
class TestReplicaSet(StoreConformance):
    pass
