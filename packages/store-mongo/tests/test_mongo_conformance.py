"""The whole conformance kit, on one server and on a replica set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on
from testing.servers.mongo import replica_set, server

pytestmark = pytest.mark.integration("mongo")


@contextlib.contextmanager
def three_members() -> Iterator[str]:
    with replica_set() as members:
        yield members.url


one_server = harness_on(server, "timeoutMS=1000")
replica_set_of_three = harness_on(three_members)


@pytest.mark.usefixtures("one_server")
class TestOneServer(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("replica_set_of_three")
class TestReplicaSet(StoreConformance):
    pass
