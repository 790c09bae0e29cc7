"""The stores: one for the sync API and one for the async API of redis-py."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Self

from coatcheck import Capabilities
from coatcheck.errors import StoreError
from coatcheck.storekit import AsyncGeneratorStore, BaseGeneratorStore, GeneratorStore

from ._clients import API, ASYNC, SYNC, is_cluster, where
from ._failures import PACKAGES, translated
from ._layout import DEFAULT_PREFIX, Layout
from ._operations import OnNode, RedisOperations
from ._url import parse


class _BaseRedisStore(BaseGeneratorStore):
    """The constructors and the errors of both stores."""

    capabilities: Capabilities = Capabilities(
        native_expiry=True,
        enumerable=True,
        clearable=True,
        owners=True,
        multi_process=True,
        durable=True,
    )
    backend: ClassVar[str] = "Redis"
    client_packages: ClassVar[Collection[str]] = PACKAGES
    _api: ClassVar[API]

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api.check(client)
        self._where = where(client)
        operations = RedisOperations(Layout(prefix), clock, cluster=is_cluster(client))
        self.set_up(self._api.borrow(client), operations)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ``redis://user:password@host:port/database?option=value``, without I/O.

        ``docs/redis.md`` lists the schemes and options. Each process has its own client; in the
        async API, so has each event loop.

        :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
        """
        settings = parse(url)
        store = cls.__new__(cls)
        store._where = settings.where
        operations = RedisOperations(Layout(settings.prefix), clock, cluster=settings.cluster)
        store.set_up(cls._api.open(settings), operations)
        return store

    def translate_error(self, error: Exception) -> StoreError:
        """See :meth:`coatcheck.storekit.BaseGeneratorStore.translate_error`."""
        return translated(error, self._where)


class RedisStore(_BaseRedisStore, GeneratorStore):
    """Sessions in Redis or Valkey.

    :param client: a ``redis.Redis`` or ``redis.cluster.RedisCluster`` without
        ``decode_responses``. The caller keeps it: ``close`` leaves it open.
    :param prefix: the start of each record's key.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes or is another object; the prefix is empty.
    """

    _api = SYNC

    def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.GeneratorStore.send_request`."""
        if isinstance(request, tuple):
            return client.execute_command(*request)
        if isinstance(request, OnNode):
            return request.node.execute_command(*request.command)
        return client.primaries()


class AsyncRedisStore(_BaseRedisStore, AsyncGeneratorStore):
    """Sessions in Redis or Valkey, for event loops of asyncio.

    :param client: a ``redis.asyncio.Redis`` or ``redis.asyncio.cluster.RedisCluster`` without
        ``decode_responses``. The caller keeps it: ``close`` leaves it open. It belongs to the
        event loop that runs when the store is made or, if none runs, to the first that uses it.
    :param prefix: the start of each record's key.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes or is another object; the prefix is empty.
    """

    _api = ASYNC

    async def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.AsyncGeneratorStore.send_request`."""
        if isinstance(request, tuple):
            return await client.execute_command(*request)
        if isinstance(request, OnNode):
            return await request.node.execute_command(*request.command)
        return await client.primaries()
