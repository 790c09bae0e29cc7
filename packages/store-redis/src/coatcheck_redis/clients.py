"""redis-py's clients: one for each process and, if asynchronous, for each event loop."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import redis.asyncio
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

import redis
from coatcheck.errors import ConfigurationError

from .senders import AsyncCluster, AsyncPool, AsyncSingle, Cluster, Pool, Single
from .url import Settings

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


class Client:
    """The synchronous client of a URL, for each process its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Made when it is needed: redis-py's cluster client connects when it is made.
        self._made: dict[int, Pool | Cluster] = {}

    def now(self) -> Pool | Cluster:
        """Return the client of this process."""
        pid = os.getpid()
        client = self._made.get(pid)
        if client is None:
            settings = self._settings
            ours = Cluster.of(settings) if settings.cluster else Pool(settings)
            client = self._made.setdefault(pid, ours)
            if client is not ours:
                ours.close()  # another thread was faster
        return client

    def close(self) -> None:
        """Let go of the connections."""
        client = self._made.get(os.getpid())
        if client is not None:
            client.close()


class GivenClient:
    """A client that the caller made, and closes."""

    def __init__(self, client: Any) -> None:
        self._client = Cluster(client) if isinstance(client, RedisCluster) else Single(client)

    def now(self) -> Any:
        """Return it."""
        return self._client

    def close(self) -> None:
        """Leave it open."""


class AsyncClient:
    """The asynchronous clients of a URL: one for each event loop, closed with the loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pid = os.getpid()
        self._made: _ByLoop = WeakKeyDictionary()
        self._inherited: list[object] = []

    def now(self) -> Any:
        """Return the client of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._forked()
        made = self._made.get(loop)
        if made is None:
            self._forget_closed()
            settings = self._settings
            client = AsyncCluster.of(settings) if settings.cluster else AsyncPool(settings)
            made = self._made[loop] = client, _closed_with_loop(self._made, loop, client)
        return made[0]

    async def close(self) -> None:
        """Let go of the connections of all event loops."""
        if self._pid != os.getpid():
            self._forked()
        here = asyncio.get_running_loop()
        for loop, (client, end) in _all(self._made):
            if loop is here:
                await end.aclose()
            elif loop.is_running():
                with suppress(RuntimeError):  # it has been closed this moment
                    asyncio.run_coroutine_threadsafe(end.aclose(), loop)
            else:
                self._made.pop(loop, None)
                _abandon(client)

    def _forked(self) -> None:
        # Their sockets are the parent's too, and so is the selector of its event loop: whatever
        # closes one here takes it from the parent. So they are kept, and never touched.
        self._inherited.append(list(self._made.values()))
        self._pid, self._made = os.getpid(), WeakKeyDictionary()

    def _forget_closed(self) -> None:
        for loop, (client, _) in _all(self._made):
            if loop.is_closed():
                self._made.pop(loop, None)
                _abandon(client)


_Made: TypeAlias = tuple[Any, AsyncGenerator[None, None]]
_ByLoop: TypeAlias = WeakKeyDictionary[asyncio.AbstractEventLoop, _Made]


def _all(made: _ByLoop) -> list[tuple[asyncio.AbstractEventLoop, _Made]]:
    # `keyrefs` is a list at once; other threads add theirs meanwhile.
    loops = [reference() for reference in made.keyrefs()]
    return [
        (loop, found)
        for loop in loops
        if loop is not None and (found := made.get(loop)) is not None
    ]


def _closed_with_loop(
    made: _ByLoop, loop: asyncio.AbstractEventLoop, client: Any
) -> AsyncGenerator[None, None]:
    """Return an asynchronous generator whose end closes a client.

    `asyncio.run` and servers end all such generators before they close an event loop: there is no
    other hook for that.
    """
    reference = weakref.ref(loop)

    async def lifetime() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            here = reference()
            if here is not None:
                made.pop(here, None)
            await client.aclose()

    started = lifetime()
    with suppress(StopIteration):  # it yields at once: nothing has to be awaited
        started.__anext__().send(None)
    return started


class GivenAsyncClient:
    """A client that the caller made, and closes. It belongs to one event loop."""

    def __init__(self, client: Any) -> None:
        cluster = isinstance(client, AsyncRedisCluster)
        self._client = AsyncCluster(client) if cluster else AsyncSingle(client)
        self._loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # made before there is a loop
            self._loop = asyncio.get_running_loop()

    def now(self) -> Any:
        """Return it.

        :raises ConfigurationError: another event loop than the client's is running.
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if loop is not self._loop:
            raise ConfigurationError(
                "the Redis client that was passed in belongs to another event loop; "
                "open the store by a URL to use it on several"
            )
        return self._client

    async def close(self) -> None:
        """Leave it open."""


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
        _close_socket(writer.transport)


def _close_socket(transport: Any) -> None:
    """Close the socket that asyncio's own transports leave open when their loop is closed."""
    tls = getattr(transport, "_ssl_protocol", None)
    if tls is not None:
        transport = getattr(tls, "_transport", None)
    loop, socket = getattr(transport, "_loop", None), getattr(transport, "_sock", None)
    if loop is not None and loop.is_closed() and socket is not None:
        socket.close()
        transport._sock = None
