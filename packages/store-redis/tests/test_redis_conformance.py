"""The whole conformance kit, on each kind of server."""

from __future__ import annotations

import pytest

from coatcheck_conformance import StoreConformance
from testing.backends import backend_of
from testing.conformance import harness_on
from testing.servers.redis import server

pytestmark = pytest.mark.integration("redis")

QUICK = "socket_timeout=0.5"


one_server = harness_on(server, QUICK)
redis_62 = harness_on(backend_of("redis-6.2").start, QUICK)
server_of_the_system = harness_on(backend_of("redis-system").start, QUICK)
cluster_of_three = harness_on(backend_of("redis-valkey-cluster").start)


@pytest.mark.usefixtures("one_server")
class TestOneServer(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.integration("redis-6.2")
@pytest.mark.usefixtures("redis_62")
class TestRedis62(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.integration("redis-server")
@pytest.mark.usefixtures("server_of_the_system")
class TestServerOfTheSystem(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("cluster_of_three")
class TestCluster(StoreConformance):
    pass
