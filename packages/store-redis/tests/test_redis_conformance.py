"""The whole conformance kit, on each kind of server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on
from testing.servers.redis import RedisServer, cluster, program, server

pytestmark = pytest.mark.integration("redis")

QUICK = "socket_timeout=0.5"


def of_kind(kind: str) -> Callable[[], AbstractContextManager[str]]:
    """Return what starts a server of a kind."""

    @contextlib.contextmanager
    def start() -> Iterator[str]:
        with RedisServer(executable=program(kind)) as started:
            yield started.url

    return start


@contextlib.contextmanager
def valkey_cluster() -> Iterator[str]:
    with cluster(executable=program("valkey")) as members:
        yield f"redis+cluster://127.0.0.1:{members[0].port}"


one_server = harness_on(server, QUICK)
redis_62 = harness_on(of_kind("redis-6.2"), QUICK)
server_of_the_system = harness_on(of_kind("system"), QUICK)
cluster_of_three = harness_on(valkey_cluster)


@pytest.mark.usefixtures("one_server")
class TestOneServer(StoreConformance):
    pass


@pytest.mark.slow
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
