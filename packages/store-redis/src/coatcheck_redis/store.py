"""The two faces of the store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from coatcheck import ALWAYS, AsyncStore, Capabilities, Condition, Record, Store
from coatcheck.errors import StoreError

from .clients import asynchronous, check_client, given, given_asynchronous, synchronous
from .failures import closed, translated
from .layout import DEFAULT_PREFIX, Layout
from .scripts import Steps
from .url import parse
from .verbs import Listing, On, Verbs

_CAPABILITIES: Final = Capabilities(
    native_expiry=True,
    enumerable=True,
    clearable=True,
    owners=True,
    multi_process=True,
    durable=True,
)


class _Face:
    """What both faces are made of."""

    capabilities = _CAPABILITIES

    def _open(self, client: Any, prefix: str, clock: Callable[[], float], *, cluster: bool) -> None:
        self._client = client
        self._verbs = Verbs(Layout(prefix), clock, cluster=cluster)
        self._closed = False


class RedisStore(_Face, Store):
    """Sessions in Redis or Valkey.

    :param client: a ``redis.Redis`` or ``redis.cluster.RedisCluster`` without
        ``decode_responses``. It stays the caller's: ``close`` leaves it open.
    :param prefix: what the records' keys begin with.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes, or is not one of these; the prefix is empty.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_client(client, asynchronous=False)
        self._open(given(client), prefix, clock, cluster=isinstance(client, RedisCluster))

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> RedisStore:
        """Open ``redis://user:password@host:port/database?option=value``.

        Without I/O. ``docs/redis.md`` lists the schemes and options.

        :raises ConfigurationError: the URL cannot be understood, or has an unknown option.
        """
        settings = parse(url)
        store = cls.__new__(cls)
        store._open(synchronous(settings), settings.prefix, clock, cluster=settings.cluster)
        return store

    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return self._run(self._verbs.get(key))  # type: ignore[no-any-return]

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        return self._run(self._verbs.set(key, record, only_if))  # type: ignore[no-any-return]

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        return self._run(self._verbs.destroy(key, only_if))  # type: ignore[no-any-return]

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        return self._run(self._verbs.touch(key, expires_at, owner))  # type: ignore[no-any-return]

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._verbs.all())

    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return self._run(self._verbs.length())  # type: ignore[no-any-return]

    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        self._run(self._verbs.clear())

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._verbs.owned_by(owner))

    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        self._run(self._verbs.ping())

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        self._client.close()

    def _listed(self, steps: Listing) -> Iterator[tuple[str, Record]]:
        while (page := self._run(steps)) is not None:
            for item in page:
                if self._closed:
                    raise closed()
                yield item

    def _run(self, steps: Steps | Listing) -> Any:
        """Have done what a verb asks for; return its result, or the next page of a listing."""
        if self._closed:
            raise closed()
        try:
            step = steps.send(None)
            while not isinstance(step, list):
                try:
                    reply = self._reply(step)
                except NoScriptError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as done:
            return done.value
        except StoreError:
            raise
        except Exception as error:
            raise closed() if self._closed else translated(error) from error
        return step

    def _reply(self, step: Any) -> Any:
        if isinstance(step, tuple):
            return self._client.now().execute_command(*step)
        if isinstance(step, On):
            return step.node.execute_command(*step.command)
        return self._client.now().primaries()


class AsyncRedisStore(_Face, AsyncStore):
    """Sessions in Redis or Valkey, for event loops of asyncio.

    :param client: a ``redis.asyncio.Redis`` or ``redis.asyncio.cluster.RedisCluster`` without
        ``decode_responses``. It stays the caller's: ``close`` leaves it open. It belongs to the
        event loop that runs at the construction or, if there is none, at the first use.
    :param prefix: what the records' keys begin with.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client decodes, or is not one of these; the prefix is empty.
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_client(client, asynchronous=True)
        cluster = isinstance(client, AsyncRedisCluster)
        self._open(given_asynchronous(client), prefix, clock, cluster=cluster)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> AsyncRedisStore:
        """See :meth:`RedisStore.from_url`. Each event loop has a client of its own."""
        settings = parse(url)
        store = cls.__new__(cls)
        store._open(asynchronous(settings), settings.prefix, clock, cluster=settings.cluster)
        return store

    async def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return await self._run(self._verbs.get(key))  # type: ignore[no-any-return]

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        return await self._run(self._verbs.set(key, record, only_if))  # type: ignore[no-any-return]

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        return await self._run(self._verbs.destroy(key, only_if))  # type: ignore[no-any-return]

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        steps = self._verbs.touch(key, expires_at, owner)
        return await self._run(steps)  # type: ignore[no-any-return]

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._verbs.all())

    async def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return await self._run(self._verbs.length())  # type: ignore[no-any-return]

    async def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        await self._run(self._verbs.clear())

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._verbs.owned_by(owner))

    async def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        await self._run(self._verbs.ping())

    async def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        await self._client.close()

    async def _listed(self, steps: Listing) -> AsyncIterator[tuple[str, Record]]:
        while (page := await self._run(steps)) is not None:
            for item in page:
                if self._closed:
                    raise closed()
                yield item

    async def _run(self, steps: Steps | Listing) -> Any:
        """Have done what a verb asks for; return its result, or the next page of a listing."""
        if self._closed:
            raise closed()
        client = self._client.now()
        try:
            step = steps.send(None)
            while not isinstance(step, list):
                try:
                    reply = await self._reply(client, step)
                except NoScriptError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as done:
            return done.value
        except StoreError:
            raise
        except Exception as error:
            raise closed() if self._closed else translated(error) from error
        return step

    async def _reply(self, client: Any, step: Any) -> Any:
        if isinstance(step, tuple):
            return await client.execute_command(*step)
        if isinstance(step, On):
            return await step.node.execute_command(*step.command)
        return await client.primaries()
