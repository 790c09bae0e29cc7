"""The kinds of servers by name; one call starts a server and yields a URL for a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

from . import mariadb, postgresql, redis

#: Starts a server of the first of these kinds that is here; only Redis has kinds.
Starter: TypeAlias = Callable[..., AbstractContextManager[str]]


@contextlib.contextmanager
def _redis(*kinds: str) -> Iterator[str]:
    with redis.RedisServer(executable=redis.program(*kinds)) as server:
        yield server.url


@contextlib.contextmanager
def _redis_cluster(*kinds: str) -> Iterator[str]:
    with redis.cluster(executable=redis.program(*kinds)) as members:
        yield f"redis+cluster://127.0.0.1:{members[0].port}"


@contextlib.contextmanager
def _mongo() -> Iterator[str]:
    from . import mongo  # needs pymongo, which the tests of Redis do not need

    with mongo.MongoServer() as server:
        yield server.url


@contextlib.contextmanager
def _mongo_replica_set() -> Iterator[str]:
    from . import mongo

    with mongo.replica_set() as members:
        yield members.url


@contextlib.contextmanager
def _dynamodb() -> Iterator[str]:
    from . import dynamodb  # needs boto3

    with dynamodb.server() as url:
        yield url


@contextlib.contextmanager
def _mariadb() -> Iterator[str]:
    with mariadb.MariaDBServer() as server:
        yield server.url


@contextlib.contextmanager
def _postgresql() -> Iterator[str]:
    with postgresql.PostgreSQLServer() as server:
        yield server.url


@contextlib.contextmanager
def _postgresql_pair() -> Iterator[str]:
    with postgresql.pair() as servers:
        yield servers.url


@contextlib.contextmanager
def _pgbouncer() -> Iterator[str]:
    with postgresql.PostgreSQLServer() as server, postgresql.PgBouncer(server) as pool:
        yield pool.url


STARTERS: Final[dict[str, Starter]] = {
    "dynamodb": _dynamodb,
    "mariadb": _mariadb,
    "pgbouncer": _pgbouncer,
    "postgresql": _postgresql,
    "postgresql-pair": _postgresql_pair,
    "redis": _redis,
    "redis-cluster": _redis_cluster,
    "mongo": _mongo,
    "mongo-replica-set": _mongo_replica_set,
}
