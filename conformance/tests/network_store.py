"""The net store, and its harness: what the kit's network cases are tried on."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from network_clients import AsyncNetClient, NetClient
from network_messages import (
    ProtocolError,
    condition_row,
    item_of,
    record_of,
    row_of,
)
from network_server import PASSWORD, Server

from coatcheck import (
    ALWAYS,
    AsyncStore,
    Capabilities,
    Condition,
    Record,
    Store,
)
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from coatcheck.storekit import check_key, check_owner, check_record
from coatcheck_conformance import ClientStore, Harness

_CAPABILITIES: Final = Capabilities(
    enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
)


def translated(error: Exception) -> StoreError:
    """Return what a store raises for an exception of the client library."""
    if isinstance(error, TimeoutError):
        return StoreTimeout("the net server did not reply in time")
    if isinstance(error, OSError):
        return StoreUnavailable("the net server cannot be reached")
    return StoreError("the net server's reply makes no sense")


def parsed(url: str) -> tuple[str, int, str, str, float]:
    """Return host, port, password, namespace and time limit of a URL.

    :raises ConfigurationError: it cannot be understood.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The error's text quotes a part of the URL, which may be from the password.
        raise ConfigurationError("the net store's URL cannot be understood") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    timeout = options.pop("timeout", "5")
    namespace = parts.path.removeprefix("/")
    right = parts.scheme == "net" and parts.hostname and port and not parts.fragment
    if not right or options or not re.fullmatch(r"[a-z0-9]+", namespace):
        raise ConfigurationError("a net store's URL is `net://host:port/namespace?timeout=N`")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", timeout) or not float(timeout):
        raise ConfigurationError("`timeout` must be seconds, more than zero")
    host = parts.hostname or ""
    return host, port or 0, unquote(parts.password or ""), namespace, float(timeout)


class NetStore(Store):
    """Keep sessions on a net server.

    :param client: a client that belongs to the caller unless ``owns`` says otherwise.
    """

    capabilities = _CAPABILITIES
    client_class: ClassVar[type[NetClient]] = NetClient

    def __init__(
        self, namespace: str, client: NetClient, *, owns: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._namespace, self._client, self._owns, self._clock = namespace, client, owns, clock
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> NetStore:
        """Open ``net://user:password@host:port/namespace?timeout=5``."""
        host, port, password, namespace, timeout = parsed(url)
        client = cls.client_class(host, port, password, timeout)
        return cls(namespace, client, owns=True, clock=clock)

    def get(self, key: str) -> Record | None:
        return record_of(self._call("get", check_key(key)))

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return bool(
            self._call("set", check_key(key), row_of(check_record(record)), condition_row(only_if))
        )

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return bool(self._call("destroy", check_key(key), condition_row(only_if)))

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return bool(self._call("touch", check_key(key), expires_at))

    def all(self) -> Iterator[tuple[str, Record]]:
        return self._listed(None)

    def length(self) -> int:
        return int(self._call("length"))

    def clear(self) -> None:
        self._call("clear")

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return self._listed(check_owner(owner))

    def prune(self, limit: int | None = None) -> int:
        return int(self._call("prune", limit))

    def ping(self) -> None:
        self._call("ping")

    def close(self) -> None:
        self._closed = True
        if self._owns:
            self._client.close()

    def _listed(self, owner: str | None) -> Iterator[tuple[str, Record]]:
        after = ""
        while page := self._call("page", owner, after):
            for row in page:
                if self._closed:
                    raise StoreClosed("this net store is closed")
                yield item_of(row)
            after = page[-1][0]

    def _call(self, operation: str, *args: Any) -> Any:
        if self._closed:
            raise StoreClosed("this net store is closed")
        try:
            return self._client.call([self._namespace, operation, self._clock(), args])
        except (OSError, ProtocolError) as error:
            raise translated(error) from error


class AsyncNetStore(AsyncStore):
    """Keep sessions on a net server, for event loops.

    :param client: a client that belongs to the caller unless ``owns`` says otherwise.
    """

    capabilities = _CAPABILITIES
    client_class: ClassVar[type[AsyncNetClient]] = AsyncNetClient

    def __init__(
        self, namespace: str, client: AsyncNetClient, *, owns: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._namespace, self._client, self._owns, self._clock = namespace, client, owns, clock
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> AsyncNetStore:
        """Open ``net://user:password@host:port/namespace?timeout=5``."""
        host, port, password, namespace, timeout = parsed(url)
        client = cls.client_class(host, port, password, timeout)
        return cls(namespace, client, owns=True, clock=clock)

    async def get(self, key: str) -> Record | None:
        return record_of(await self._call("get", check_key(key)))

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return bool(
            await self._call(
                "set", check_key(key), row_of(check_record(record)), condition_row(only_if)
            )
        )

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return bool(await self._call("destroy", check_key(key), condition_row(only_if)))

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return bool(await self._call("touch", check_key(key), expires_at))

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        return self._listed(None)

    async def length(self) -> int:
        return int(await self._call("length"))

    async def clear(self) -> None:
        await self._call("clear")

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        return self._listed(check_owner(owner))

    async def prune(self, limit: int | None = None) -> int:
        return int(await self._call("prune", limit))

    async def ping(self) -> None:
        await self._call("ping")

    async def close(self) -> None:
        self._closed = True
        if self._owns:
            await self._client.close()

    async def _listed(self, owner: str | None) -> AsyncIterator[tuple[str, Record]]:
        after = ""
        while page := await self._call("page", owner, after):
            for row in page:
                if self._closed:
                    raise StoreClosed("this net store is closed")
                yield item_of(row)
            after = page[-1][0]

    async def _call(self, operation: str, *args: Any) -> Any:
        if self._closed:
            raise StoreClosed("this net store is closed")
        try:
            return await self._client.call([self._namespace, operation, self._clock(), args])
        except (OSError, ProtocolError) as error:
            raise translated(error) from error


class NetworkHarness(Harness):
    """Start a server, and open net stores on it.

    :param store_class: the sync API.
    :param async_class: the async API; None: the core's bridge.
    """

    unsupported: ClassVar = {
        "malformed": "the server holds Record objects, which cannot be damaged",
        "garbled": "the server holds Record objects, which cannot be damaged",
        "stored": "the layout is a dictionary of Record objects",
        "folder": "there are no files",
    }

    def __init__(
        self, store_class: type[NetStore] = NetStore,
        async_class: type[AsyncNetStore] | None = AsyncNetStore, server: Server | None = None,
        port: int | None = None, timeout: float = 1,
    ) -> None:  # fmt: skip
        self.server = server or Server()
        self._owns = server is None
        self._classes = store_class, async_class
        self._timeout = timeout
        at = f"user:{PASSWORD}@127.0.0.1:{port or self.server.port}"
        super().__init__(
            f"net://{at}/{{namespace}}?timeout={timeout}",
            opener=f"{store_class.__module__}:{store_class.__qualname__}.from_url",
        )

    def open_async(self, namespace: str, clock: Callable[[], float]) -> Store | AsyncStore:
        store_class, async_class = self._classes
        return (async_class or store_class).from_url(self.url(namespace) or "", clock=clock)

    def at(self, host: str, port: int) -> Harness:
        return NetworkHarness(*self._classes, self.server, port, self._timeout)

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        client = NetClient("127.0.0.1", self.server.port, PASSWORD, 1)
        store = NetStore(namespace, client, clock=clock)
        return ClientStore(store, lambda: not client.closed, client.close)

    async def with_async_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        loop = asyncio.get_running_loop()
        client = AsyncNetClient("127.0.0.1", self.server.port, PASSWORD, 1, loop)
        store = AsyncNetStore(namespace, client, clock=clock)
        return ClientStore(store, lambda: not client.closed, client.close)

    def finish(self) -> None:
        super().finish()
        if self._owns:
            self.server.stop()
