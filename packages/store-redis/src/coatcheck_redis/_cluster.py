"""The clients of a cluster, which are redis-py's."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

import redis
from coatcheck.errors import StoreError
from coatcheck.storekit import interruption
from redis import exceptions

from ._failures import PACKAGES
from ._retries import Retries
from ._url import Settings


class Cluster(Retries):
    """redis-py's client of a cluster.

    :param client: redis-py's client.
    :param retries: how often to repeat a command after redis-py has given up.
    """

    def __init__(self, client: Any, retries: int = 0) -> None:
        super().__init__(retries)
        self._client = client

    @classmethod
    def of(cls, settings: Settings) -> Cluster:
        """Make the client of a URL, and connect it.

        :raises redis.RedisError: no server of the cluster can be reached.
        """
        return cls(RedisCluster(**_cluster_arguments(settings, Retry)), settings.retries)

    def execute_command(self, *words: Any) -> Any:
        """See :meth:`coatcheck_redis._pools.Pool.execute_command`."""
        failures = 0
        while True:
            try:
                return self._client.execute_command(*words)
            except Exception as error:
                failures += 1
                pause = self.pause_after(error, failures)
                if pause is None:
                    raise
                time.sleep(pause)

    def primaries(self) -> list[Any]:
        """See :meth:`coatcheck_redis._pools.Pool.primaries`."""
        return [node.redis_connection for node in self._client.get_primaries()]

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        self._client.close()


class AsyncCluster(Retries):
    """redis-py's async client of a cluster.

    :param client: redis-py's client.
    :param retries: how often to repeat a command after redis-py has given up.
    """

    def __init__(self, client: Any, retries: int = 0) -> None:
        super().__init__(retries)
        self._client = client
        self._learning = asyncio.Lock()
        self._is_ready = False

    @classmethod
    def of(cls, settings: Settings) -> AsyncCluster:
        """Make the client of a URL. It connects when it is first used."""
        arguments = _cluster_arguments(settings, AsyncRetry)
        return cls(redis.asyncio.RedisCluster(**arguments), settings.retries)

    @property
    def connections(self) -> list[Any]:
        """Return all connections."""
        return [link for node in self._client.get_nodes() for link in node._connections]

    async def execute_command(self, *words: Any) -> Any:
        """See :meth:`coatcheck_redis._pools.Pool.execute_command`."""
        failures = 0
        while True:
            try:
                await self._ready()
                return await self._client.execute_command(*words)
            except Exception as error:
                failures += 1
                pause = self.pause_after(error, failures)
                if pause is None:
                    if interruption(error, PACKAGES) is not None or isinstance(error, _TELLING):
                        raise
                    raise exceptions.ConnectionError(
                        "redis-py has closed the connection"
                    ) from error
                await asyncio.sleep(pause)

    async def primaries(self) -> list[Any]:
        """See :meth:`coatcheck_redis._pools.Pool.primaries`."""
        await self._ready()
        return list(self._client.get_primaries())

    async def aclose(self) -> None:
        """Close all connections."""
        self.closed = True
        await self._client.aclose()

    async def _ready(self) -> None:
        """Have redis-py discover the cluster before many tasks ask it to at once."""
        if not self._is_ready:
            async with self._learning:
                await self._client.initialize()
                self._is_ready = True


def _is_old() -> bool:
    """Tell whether redis-py is older than 6.0."""
    return int(redis.__version__.partition(".")[0]) < 6


#: Errors that say what happened. When redis-py discovers the cluster again, it closes connections
#: that other tasks are using, and these tasks see any other error.
_TELLING: Final = (exceptions.RedisError, StoreError, OSError)


def _cluster_arguments(settings: Settings, retry: Any) -> dict[str, Any]:
    # Before 6.0 redis-py ignores `retry` and tries again.
    old = {"cluster_error_retry_attempts": 0} if _is_old() else {}
    return {
        **old,
        **settings.client,
        "ssl": settings.tls,
        "max_connections": settings.max_connections,
        # By default redis-py would also try again after a timeout. `Retries` decides instead.
        "retry": retry(NoBackoff(), 0, supported_errors=(exceptions.ConnectionError,)),
    }
