"""redis-py's clients: one for each process and, if asynchronous, for each event loop."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import redis.asyncio
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

import redis
from coatcheck.clients import Given, OnOneLoop, PerLoop, PerProcess, close_socket
from coatcheck.errors import ConfigurationError

from .senders import AsyncCluster, AsyncPool, AsyncSingle, Cluster, Pool, Single
from .url import Settings, written

_KINDS: Final[dict[bool, tuple[Any, ...]]] = {
    False: (redis.Redis, RedisCluster),
    True: (redis.asyncio.Redis, AsyncRedisCluster),
}


def check_client(client: object, *, asynchronous: bool) -> None:
    """Refuse what is not one of redis-py's clients for a face, or gives text instead of bytes.

    :raises ConfigurationError: it is not, or it does.
    """
    kinds = _KINDS[asynchronous]
    if not isinstance(client, kinds):
        names = " or ".join(
            f"{kind.__module__.partition('.client')[0]}.{kind.__name__}" for kind in kinds
        )
        raise ConfigurationError(f"the client must be a {names}, not {type(client).__name__}")
    if client.get_encoder().decode_responses:
        raise ConfigurationError(
            "the client decodes replies, and sessions are bytes: make it without `decode_responses`"
        )


def where(client: Any) -> str:
    """Return how errors name the server of a client that the caller made."""
    if isinstance(client, RedisCluster | AsyncRedisCluster):
        named = sorted(written((str(node.host), int(node.port))) for node in client.get_nodes())
        return f"Redis at the cluster of {named[0]}" if named else "Redis"
    pool = client.connection_pool
    if (service := getattr(pool, "service_name", None)) is not None:
        return f"Redis, the master {service!r} of the Sentinels"
    about: dict[str, Any] = pool.connection_kwargs
    if "path" in about:
        return f"Redis at {about['path']}"
    host: str = about.get("host", "localhost")
    port: int = about.get("port", 6379)
    return f"Redis at {written((host, port))}"


def synchronous(settings: Settings) -> PerProcess[Pool | Cluster]:
    """Return the synchronous clients of a URL.

    They are made when they are needed: redis-py's cluster client connects when it is made.
    """
    return PerProcess(
        lambda: Cluster.of(settings) if settings.cluster else Pool(settings),
        lambda client: client.close(),
        # redis-py's client of a cluster has pools of redis-py's.
        fragile=settings.cluster,
    )


def asynchronous(settings: Settings) -> PerLoop[AsyncPool | AsyncCluster]:
    """Return the asynchronous clients of a URL."""
    return PerLoop(
        lambda: AsyncCluster.of(settings) if settings.cluster else AsyncPool(settings),
        lambda client: client.aclose(),
        _abandon,
    )


def given(client: Any) -> Given[Single | Cluster]:
    """Return a synchronous client that the caller made, and closes."""
    return Given(Cluster(client) if isinstance(client, RedisCluster) else Single(client))


def given_asynchronous(client: Any) -> OnOneLoop[AsyncSingle | AsyncCluster]:
    """Return an asynchronous client that the caller made, and closes."""
    cluster = isinstance(client, AsyncRedisCluster)
    return OnOneLoop(AsyncCluster(client) if cluster else AsyncSingle(client), "the Redis client")


def _abandon(client: Any) -> None:
    """Close the sockets of a client whose event loop does not run."""
    connections = client.connections
    client.closed = True
    for connection in list(connections):
        writer = getattr(connection, "_writer", None)
        if writer is None:
            continue
        connection._writer = connection._reader = None
        with suppress(RuntimeError):  # the loop is closed: nobody will be told
            writer.transport.abort()
        close_socket(writer.transport)
