"""The two faces of the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

from coatcheck import Capabilities
from coatcheck.errors import StoreError
from coatcheck.faces import AsyncSteppedStore, SteppedStore

from .clients import asynchronous, check_client, given, given_asynchronous, synchronous, where
from .failures import PACKAGES, translated
from .layout import DEFAULT_PREFIX, Layout
from .url import parse
from .verbs import On, RedisVerbs

_CAPABILITIES: Final = Capabilities(
    native_expiry=True,
    enumerable=True,
    clearable=True,
    owners=True,
    multi_process=True,
    durable=True,
)


class RedisStore(SteppedStore):
    """Sessions in Redis or Valkey.

    :param client: a ``redis.Redis`` or ``redis.cluster.RedisCluster`` without
        ``decode_responses``. It stays the caller's: ``close`` leaves it open.
    :param prefix: what the records' keys begin with.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes, or is not one of these; the prefix is empty.
    """

    capabilities = _CAPABILITIES
    backend = "Redis"
    client_packages = PACKAGES

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_client(client, asynchronous=False)
        cluster = isinstance(client, RedisCluster)
        self._where = where(client)
        self._use(given(client), RedisVerbs(Layout(prefix), clock, cluster=cluster))

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> RedisStore:
        """Open ``redis://user:password@host:port/database?option=value``.

        Without I/O. ``docs/redis.md`` lists the schemes and options.

        :raises ConfigurationError: the URL cannot be understood, or has an unknown option.
        """
        settings = parse(url)
        verbs = RedisVerbs(Layout(settings.prefix), clock, cluster=settings.cluster)
        store = cls.__new__(cls)
        store._where = settings.where
        store._use(synchronous(settings), verbs)
        return store

    def _translated(self, error: Exception) -> StoreError:
        return translated(error, self._where)

    def _reply(self, client: Any, step: Any) -> Any:
        if isinstance(step, tuple):
            return client.execute_command(*step)
        if isinstance(step, On):
            return step.node.execute_command(*step.command)
        return client.primaries()


class AsyncRedisStore(AsyncSteppedStore):
    """Sessions in Redis or Valkey, for event loops of asyncio.

    :param client: a ``redis.asyncio.Redis`` or ``redis.asyncio.cluster.RedisCluster`` without
        ``decode_responses``. It stays the caller's: ``close`` leaves it open. It belongs to the
        event loop that runs at the construction or, if there is none, at the first use.
    :param prefix: what the records' keys begin with.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes, or is not one of these; the prefix is empty.
    """

    capabilities = _CAPABILITIES
    backend = "Redis"
    client_packages = PACKAGES

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_client(client, asynchronous=True)
        cluster = isinstance(client, AsyncRedisCluster)
        self._where = where(client)
        self._use(given_asynchronous(client), RedisVerbs(Layout(prefix), clock, cluster=cluster))

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> AsyncRedisStore:
        """See :meth:`RedisStore.from_url`. Each event loop has a client of its own."""
        settings = parse(url)
        verbs = RedisVerbs(Layout(settings.prefix), clock, cluster=settings.cluster)
        store = cls.__new__(cls)
        store._where = settings.where
        store._use(asynchronous(settings), verbs)
        return store

    def _translated(self, error: Exception) -> StoreError:
        return translated(error, self._where)

    async def _reply(self, client: Any, step: Any) -> Any:
        if isinstance(step, tuple):
            return await client.execute_command(*step)
        if isinstance(step, On):
            return await step.node.execute_command(*step.command)
        return await client.primaries()
