"""A small store with a server of its own: what the kit's network cases are tried on.

A message is a length of four bytes and JSON. A connection begins with the password.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from weakref import WeakKeyDictionary

from coatcheck import (
    ALWAYS,
    AsyncStore,
    Capabilities,
    Condition,
    MemoryStore,
    Record,
    Store,
    Unchanged,
)
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from coatcheck.storekit import Presence, check_key, check_owner, check_record
from coatcheck_conformance import ClientStore, Harness

PASSWORD: Final = "s3cret-of-the-net"
#: Records that one reply lists.
PAGE: Final = 20
_LARGEST: Final = 64 * 2**20
_CAPABILITIES: Final = Capabilities(
    enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
)


class ProtocolError(Exception):
    """A reply that is none: the client library's own exception."""


# The messages


def packed(message: object) -> bytes:
    """Return the bytes of a message."""
    content = json.dumps(message).encode()
    return struct.pack("!I", len(content)) + content


def length_of(head: bytes) -> int:
    """Return how many bytes follow."""
    (length,) = struct.unpack("!I", head)
    if length > _LARGEST:
        raise ProtocolError("the reply has an impossible length")
    return int(length)


def result_of(content: bytes) -> Any:
    """Return what a reply holds."""
    try:
        reply = json.loads(content)
    except ValueError as error:
        raise ProtocolError("the reply is no JSON") from error
    if not isinstance(reply, dict) or "result" not in reply:
        raise ProtocolError("the server refused")
    return reply["result"]


def row_of(record: Record) -> list[Any]:
    """Return a record for a message."""
    return [base64.b64encode(record.data).decode(), record.expires_at, record.owner]


def record_of(row: Any) -> Record | None:
    """Return the record of a message."""
    if row is None:
        return None
    return Record(base64.b64decode(row[0]), row[1], row[2])


def item_of(row: Any) -> tuple[str, Record]:
    """Return what a listing yields."""
    return row[0], Record(base64.b64decode(row[1][0]), row[1][1], row[1][2])


def condition_row(only_if: Condition) -> Any:
    """Return a condition for a message."""
    if isinstance(only_if, Unchanged):
        return [base64.b64encode(only_if.data).decode()]
    return only_if.value


def condition_of(row: Any) -> Condition:
    """Return the condition of a message."""
    return Unchanged(base64.b64decode(row[0])) if isinstance(row, list) else Presence(row)


# The server


class Space:
    """The records of one namespace; each request brings the time with it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()
        self.store = MemoryStore(clock=lambda: self.now)

    def perform(self, operation: str, now: float, args: list[Any]) -> Any:
        """Do what a request says."""
        with self.lock:
            self.now = now
            return getattr(self, f"_{operation}")(*args)

    def _get(self, key: str) -> Any:
        found = self.store.get(key)
        return None if found is None else row_of(found)

    def _set(self, key: str, row: Any, only_if: Any) -> bool:
        record = record_of(row)
        assert record is not None, "a request without a record"
        return self.store.set(key, record, condition_of(only_if))

    def _destroy(self, key: str, only_if: Any) -> bool:
        return self.store.destroy(key, condition_of(only_if))

    def _touch(self, key: str, expires_at: float) -> bool:
        return self.store.touch(key, expires_at)

    def _page(self, owner: str | None, after: str) -> Any:
        found = self.store.all() if owner is None else self.store.owned_by(owner)
        items = sorted((item for item in found if item[0] > after), key=lambda item: item[0])
        return [[key, row_of(record)] for key, record in items[:PAGE]]

    def _length(self) -> int:
        return self.store.length()

    def _clear(self) -> None:
        self.store.clear()

    def _prune(self, limit: int | None) -> int:
        return self.store.prune(limit)

    def _ping(self) -> None:
        pass


class _Connection(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.joined(self.request)
        try:
            if self._message() != self.server.password:
                self.request.sendall(packed({"error": "wrong password"}))
                return
            self.request.sendall(packed({"result": None}))
            while True:
                namespace, operation, now, args = self._message()
                result = self.server.space(namespace).perform(operation, now, args)
                self.request.sendall(packed({"result": result}))
        except (OSError, EOFError):
            pass  # the client has left
        finally:
            self.server.left(self.request)

    def _message(self) -> Any:
        return json.loads(self._exactly(length_of(self._exactly(4))))

    def _exactly(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            more = self.request.recv(size - len(content))
            if not more:
                raise EOFError
            content += more
        return bytes(content)


class Server(socketserver.ThreadingTCPServer):
    """Keeps the records of all namespaces in its memory.

    :ivar connections: the sockets of those who are connected.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, password: str = PASSWORD) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.password = password
        self.connections: set[socket.socket] = set()
        self._spaces: dict[str, Space] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self.server_address[1])

    def space(self, namespace: str) -> Space:
        """Return a namespace, which is made where it was never used."""
        with self._lock:
            return self._spaces.setdefault(namespace, Space())

    def joined(self, connection: socket.socket) -> None:
        """Note that somebody has connected."""
        with self._lock:
            self.connections.add(connection)

    def left(self, connection: socket.socket) -> None:
        """Note that somebody has gone."""
        with self._lock:
            self.connections.discard(connection)

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()


# The clients


class Idle(list[socket.socket]):
    """Connections that nobody uses at the moment; they end with the list."""

    def __del__(self) -> None:
        for link in self:
            link.close()


class NetClient:
    """A client library: connections for threads, made anew in each process.

    :ivar closed: whether it has been closed.
    """

    def __init__(self, host: str, port: int, password: str, timeout: float) -> None:
        self._address, self._password, self._timeout = (host, port), password, timeout
        self._idle: dict[int, Idle] = {}
        self.closed = False

    def call(self, request: Any) -> Any:
        """Ask, and return the answer.

        :raises OSError: the server cannot be reached, or gives no answer in time.
        :raises ProtocolError: the answer is none.
        """
        deadline = time.monotonic() + self._timeout
        idle = self._idle.setdefault(os.getpid(), Idle())
        try:
            link = idle.pop()
        except IndexError:
            link = self._connect(deadline)
        try:
            result = self._asked(link, request, deadline)
        except BaseException:
            link.close()  # whatever comes later on it answers another question
            self._drop_idle()
            raise
        if self.closed:
            link.close()
        else:
            idle.append(link)
        return result

    def close(self) -> None:
        """Let go of all connections."""
        self.closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        idle = self._idle.setdefault(os.getpid(), Idle())
        while idle:
            try:
                idle.pop().close()
            except IndexError:  # another thread was faster
                return

    def _connect(self, deadline: float) -> socket.socket:
        link = socket.create_connection(self._address, max(0.001, deadline - time.monotonic()))
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._asked(link, self._password, deadline)
        except BaseException:
            link.close()
            raise
        return link

    def _asked(self, link: socket.socket, request: Any, deadline: float) -> Any:
        link.settimeout(max(0.001, deadline - time.monotonic()))
        link.sendall(packed(request))
        length = length_of(self._exactly(link, 4, deadline))
        return result_of(self._exactly(link, length, deadline))

    def _exactly(self, link: socket.socket, size: int, deadline: float) -> bytes:
        content = bytearray()
        while len(content) < size:
            link.settimeout(max(0.001, deadline - time.monotonic()))
            more = link.recv(min(size - len(content), 65536))
            if not more:
                raise ConnectionResetError("the server has hung up")
            content += more
        return bytes(content)


class AsyncNetClient:
    """The same for tasks: connections of a process and an event loop, forgotten with the loop.

    :param only: the event loop that alone may use it.
    :ivar closed: whether it has been closed.
    """

    def __init__(
        self, host: str, port: int, password: str, timeout: float,
        only: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        self._address, self._password, self._timeout = (host, port), password, timeout
        self._only = only
        self._pid = os.getpid()
        self._idle: WeakKeyDictionary[asyncio.AbstractEventLoop, Idle]
        self._idle = WeakKeyDictionary()
        self.closed = False

    async def call(self, request: Any) -> Any:
        """Ask, and return the answer.

        :raises ConfigurationError: it belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._only is not None and loop is not self._only:
            raise ConfigurationError("the client that was passed in belongs to another event loop")
        async with asyncio.timeout(self._timeout):
            return await self._called(loop, request)

    async def _called(self, loop: asyncio.AbstractEventLoop, request: Any) -> Any:
        idle = self._idle_of(loop)
        link = idle.pop() if idle else await self._connect(loop)
        try:
            result = await self._asked(loop, link, request)
        except BaseException:
            link.close()
            self._drop(idle)
            raise
        if self.closed:
            link.close()
        else:
            idle.append(link)
        return result

    async def close(self) -> None:
        """Let go of all connections."""
        self.closed = True
        for idle in list(self._idle.values()):
            self._drop(idle)

    def _idle_of(self, loop: asyncio.AbstractEventLoop) -> Idle:
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), WeakKeyDictionary()
        for reference in self._idle.keyrefs():  # a list at once: other threads add theirs
            other = reference()
            if other is not None and other.is_closed():
                self._drop(self._idle.pop(other, Idle()))
        return self._idle.setdefault(loop, Idle())

    def _drop(self, idle: Idle) -> None:
        while idle:
            idle.pop().close()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            await loop.sock_connect(link, self._address)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._asked(loop, link, self._password)
        except BaseException:
            link.close()
            raise
        return link

    async def _asked(
        self, loop: asyncio.AbstractEventLoop, link: socket.socket, request: Any
    ) -> Any:
        await loop.sock_sendall(link, packed(request))
        length = length_of(await self._exactly(loop, link, 4))
        return result_of(await self._exactly(loop, link, length))

    async def _exactly(
        self, loop: asyncio.AbstractEventLoop, link: socket.socket, size: int
    ) -> bytes:
        content = bytearray()
        while len(content) < size:
            more = await loop.sock_recv(link, min(size - len(content), 65536))
            if not more:
                raise ConnectionResetError("the server has hung up")
            content += more
        return bytes(content)


# The stores


def translated(error: Exception) -> StoreError:
    """Return what a store raises for an exception of the client library."""
    if isinstance(error, TimeoutError):
        return StoreTimeout("the net server gave no answer in time")
    if isinstance(error, OSError):
        return StoreUnavailable("the net server cannot be reached")
    return StoreError("the net server's answer makes no sense")


def parsed(url: str) -> tuple[str, int, str, str, float]:
    """Return host, port, password, namespace and time limit of a URL.

    :raises ConfigurationError: it cannot be understood.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Its text has a part of the URL, which may be the password's.
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
    """Sessions on a net server.

    :param client: one that stays its caller's.
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
    """Sessions on a net server, for event loops.

    :param client: one that stays its caller's.
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
    """Starts a server, and opens net stores on it.

    :param store_class: the sync API.
    :param async_class: the async API; None: the core's bridge.
    """

    unsupported: ClassVar = {
        "malformed": "the server holds Record objects, and nothing else gets in",
        "garbled": "the server holds Record objects, and nothing else gets in",
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
