"""The net store's client library, for threads and for tasks."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any
from weakref import WeakKeyDictionary

from network_messages import (
    length_of,
    packed,
    result_of,
)

from coatcheck.errors import (
    ConfigurationError,
)


class Idle(list[socket.socket]):
    """Connections that nobody uses at the moment; they are closed with the list."""

    def __del__(self) -> None:
        for link in self:
            link.close()


class NetClient:
    """The client library for threads; each process makes connections of its own.

    :ivar closed: whether it has been closed.
    """

    def __init__(self, host: str, port: int, password: str, timeout: float) -> None:
        self._address, self._password, self._timeout = (host, port), password, timeout
        self._idle: dict[int, Idle] = {}
        self.closed = False

    def call(self, request: Any) -> Any:
        """Send a request, and return the result.

        :raises OSError: the server cannot be reached, or does not reply in time.
        :raises ProtocolError: the reply makes no sense.
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
            link.close()  # a late reply on it would be taken for that of the next request
            self._drop_idle()
            raise
        if self.closed:
            link.close()
        else:
            idle.append(link)
        return result

    def close(self) -> None:
        """Close all idle connections."""
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
    """The client library for tasks; each event loop of a process has connections of its own.

    They are forgotten with the loop.

    :param only: the only event loop that may use it; None: any.
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
        """Send a request, and return the result.

        :raises ConfigurationError: the client belongs to another event loop.
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
        """Close all idle connections."""
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
