"""redis-py's clients: one for each process and, in the async API, for each event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

import redis
from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    BorrowedClient,
    ClientPerLoop,
    ClientPerProcess,
    SingleLoopClient,
    close_socket,
)

from ._borrowed import AsyncBorrowedServer, BorrowedServer
from ._cluster import AsyncCluster, Cluster
from ._pools import AsyncPool, Pool
from ._url import Settings, format_address


@dataclass(frozen=True, slots=True)
class API:
    """One of the two APIs of redis-py.

    :ivar kinds: the classes of its clients.
    :ivar borrow: returns the provider of a client that the caller made and closes.
    :ivar open: returns the provider of the clients of a URL. They are made when they are first
        needed, because redis-py's cluster client connects when it is made.
    """

    kinds: tuple[type[Any], ...]
    borrow: Callable[[Any], Any]
    open: Callable[[Settings], Any]

    def check(self, client: Any) -> None:
        """Check that an object is a client of this API and does not decode replies.

        :raises ConfigurationError: it is not, or it does.
        """
        if not isinstance(client, self.kinds):
            names = " or ".join(
                f"{kind.__module__.partition('.client')[0]}.{kind.__name__}" for kind in self.kinds
            )
            raise ConfigurationError(f"the client must be a {names}, not {type(client).__name__}")
        if client.get_encoder().decode_responses:
            raise ConfigurationError(
                "the client must not decode replies, because sessions are bytes: make it without "
                "`decode_responses`"
            )


def is_cluster(client: object) -> bool:
    """Tell whether a client of redis-py is one for clusters."""
    return isinstance(client, RedisCluster | AsyncRedisCluster)


def where(client: Any) -> str:
    """Return the name in errors of the server of a client that the caller made."""
    if is_cluster(client):
        nodes = client.get_nodes()
        named = sorted(format_address((str(node.host), int(node.port))) for node in nodes)
        return f"Redis at the cluster of {named[0]}" if named else "Redis"
    pool = client.connection_pool
    if (service := getattr(pool, "service_name", None)) is not None:
        return f"Redis, the master {service!r} of the Sentinels"
    about: dict[str, Any] = pool.connection_kwargs
    if "path" in about:
        return f"Redis at {about['path']}"
    host: str = about.get("host", "localhost")
    port: int = about.get("port", 6379)
    return f"Redis at {format_address((host, port))}"


def _borrow(client: Any) -> BorrowedClient[BorrowedServer | Cluster]:
    return BorrowedClient(Cluster(client) if is_cluster(client) else BorrowedServer(client))


def _open(settings: Settings) -> ClientPerProcess[Pool | Cluster]:
    return ClientPerProcess(
        lambda: Cluster.of(settings) if settings.cluster else Pool(settings),
        lambda client: client.close(),
        # redis-py's cluster client has pools of its own, which an interruption may break.
        fragile=settings.cluster,
    )


def _borrow_async(client: Any) -> SingleLoopClient[AsyncBorrowedServer | AsyncCluster]:
    return SingleLoopClient(
        AsyncCluster(client) if is_cluster(client) else AsyncBorrowedServer(client),
        "the Redis client",
    )


def _open_async(settings: Settings) -> ClientPerLoop[AsyncPool | AsyncCluster]:
    return ClientPerLoop(
        lambda: AsyncCluster.of(settings) if settings.cluster else AsyncPool(settings),
        lambda client: client.aclose(),
        _abandon,
    )


def _abandon(client: Any) -> None:
    """Close the sockets of a client whose event loop no longer runs."""
    connections = client.connections
    client.closed = True
    for connection in list(connections):
        writer = getattr(connection, "_writer", None)
        if writer is None:
            continue
        connection._writer = connection._reader = None
        with suppress(RuntimeError):  # the loop is closed and cannot call anybody back
            writer.transport.abort()
        close_socket(writer.transport)


SYNC: Final = API((redis.Redis, RedisCluster), _borrow, _open)
ASYNC: Final = API((redis.asyncio.Redis, AsyncRedisCluster), _borrow_async, _open_async)
