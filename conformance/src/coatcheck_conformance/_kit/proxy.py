"""A proxy between a store and its server, which breaks and counts the traffic."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

#: What is done to the traffic:
#: ``pass``: nothing.
#: ``refuse``: new connections are refused, and existing ones are reset.
#: ``reset``: the reply to each request is a reset.
#: ``cut``: the reply to each request is cut in half, and a reset follows.
#: ``half-close``: the reply to each request is cut in half, and the connection ends.
#: ``lost``: the server gets the request, and a reset replaces the reply.
#: ``stall``: nothing gets through.
#: ``late``: requests get through, and replies follow when the mode ends.
#: ``garbage``: the reply is in another protocol.
#: ``noise``: the reply is random bytes.
#: ``drip``: replies come byte by byte.
Mode: TypeAlias = Literal[
    "pass", "refuse", "reset", "cut", "half-close", "lost", "stall", "late", "garbage", "noise",
    "drip",
]  # fmt: skip

_CHUNK: Final = 65536
_GARBAGE: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 31\r\n"
    b"Connection: close\r\n\r\n<html>502 Bad Gateway</html>\r\n\r\n"
)
_NOISE: Final = bytes((7 * number + 129) % 256 for number in range(512))
#: Only so many bytes of a reply are sent one by one.
_DRIPPED: Final = 2000
#: Closing the socket sends a reset to the other side.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Traffic:
    """Counts of the traffic.

    :ivar turns: how often a request followed a reply, or was the first on a connection.
    :ivar sent: bytes of requests.
    :ivar received: bytes of replies.
    :ivar connections: how many connections were made.
    """

    def __init__(self) -> None:
        self.turns = self.sent = self.received = self.connections = 0

    def copy(self) -> Traffic:
        """Return the present counts."""
        copied = Traffic()
        copied.__dict__.update(self.__dict__)
        return copied

    def since(self, before: Traffic) -> Traffic:
        """Return the counts since another point in time."""
        passed = Traffic()
        for name, count in self.__dict__.items():
            setattr(passed, name, count - getattr(before, name))
        return passed


@dataclass(frozen=True, slots=True)
class _Loss:
    """A request or a reply that will be lost.

    :ivar what: ``"request"`` or ``"reply"``.
    :ivar meanwhile: is called before the client notices the loss.
    """

    what: Literal["request", "reply"]
    meanwhile: Callable[[], object]


class Proxy:
    """Listen at a port of this machine for a server at another address.

    :param address: the server's address.
    :param garbage: the reply to each request in the mode ``garbage``.
    :ivar port: the port on which the proxy listens.
    :ivar traffic: the counts of the traffic.
    """

    def __init__(self, address: tuple[str, int], garbage: bytes = _GARBAGE) -> None:
        self._address = address
        self.garbage = garbage
        self._mode: Mode = "pass"
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._loss: _Loss | None = None
        self.traffic = Traffic()
        self.port = 0
        self._listener = self._listen()
        self.port = self._listener.getsockname()[1]

    @property
    def mode(self) -> Mode:
        """Return what is done to the traffic."""
        return self._mode

    @contextmanager
    def doing(self, mode: Mode) -> Iterator[None]:
        """Do something to the traffic during the block."""
        self._mode = mode
        if mode == "refuse":
            self._stop_listening()
            self._reset_all()
        try:
            yield
        finally:
            self._end(mode)

    @contextmanager
    def losing(
        self, what: Literal["request", "reply"], meanwhile: Callable[[], object]
    ) -> Iterator[None]:
        """Lose the next request, or the reply to it.

        Its connection is reset, and all other traffic passes.

        :param meanwhile: is called when the server has replied, or would have got the request.
        """
        self._loss = _Loss(what, meanwhile)
        try:
            yield
        finally:
            self._loss = None

    def take_loss(self) -> _Loss | None:
        """Return the loss, to the first request that asks for it."""
        with self._lock:
            loss, self._loss = self._loss, None
            return loss

    def close(self) -> None:
        """End all connections, and stop listening."""
        with self._lock:
            self._closed = True
        self._stop_listening()
        self._reset_all()

    def left(self, link: _Link) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._links.discard(link)

    def _end(self, mode: Mode) -> None:
        self._mode = "pass"
        if mode == "refuse":
            self._listener = self._listen()
        for link in self._all_links():
            if link.is_stalled:
                # Delayed requests must not reach the server now, when nobody expects them.
                link.reset()
            link.release()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        work = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        work.start()
        return listener

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._closed or self._mode == "refuse":
                _reset(client)
                continue
            self._join(client)

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address, 10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        link = _Link(self, client, server)
        with self._lock:
            is_late = self._closed
            if not is_late:
                self._links.add(link)
                self.traffic.connections += 1
        if is_late:
            link.reset()
        else:
            link.start()

    def _all_links(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _reset_all(self) -> None:
        for link in self._all_links():
            link.reset()


class _Link:
    """A connection through the proxy, with a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._in_request = False
        self._directions = 2
        self._held = bytearray()
        self._losing: _Loss | None = None
        self._lock = threading.Lock()
        self.is_stalled = False
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Begin to pass traffic on."""
        for work in (self._requests, self._replies):
            threading.Thread(target=self._follow, args=(work,), daemon=True).start()

    def reset(self) -> None:
        """Reset both sides of the connection."""
        for side in (self._client, self._server):
            _reset(side)

    def release(self) -> None:
        """Pass on the replies that were held back."""
        with self._lock, suppress(OSError):
            self._client.sendall(self._held)
            self._held.clear()

    def _follow(self, direction: Callable[[], None]) -> None:
        try:
            direction()
        except OSError:
            self.reset()
        with self._lock:
            self._directions -= 1
            is_over = not self._directions
        if is_over:
            for side in (self._client, self._server):
                side.close()
            self._proxy.left(self)

    def _requests(self) -> None:
        while content := self._client.recv(_CHUNK):
            self._count_request(len(content))
            self._request(content)
        self._server.shutdown(socket.SHUT_WR)

    def _request(self, content: bytes) -> None:
        if (loss := self._proxy.take_loss()) is not None:
            if loss.what == "request":
                self._lose(loss)
                return
            self._losing = loss
        mode = self._proxy.mode
        if mode == "stall" or self.is_stalled:
            self.is_stalled = True
        elif mode == "reset":
            self.reset()
        elif mode in ("garbage", "noise"):
            self._client.sendall(self._proxy.garbage if mode == "garbage" else _NOISE)
            self._hang_up()
        else:
            self._server.sendall(content)

    def _replies(self) -> None:
        while content := self._server.recv(_CHUNK):
            self._in_request = False
            self._proxy.traffic.received += len(content)
            self._reply(content)
        self._client.shutdown(socket.SHUT_WR)

    def _reply(self, content: bytes) -> None:
        if self._losing is not None:
            self._lose(self._losing)
            return
        if self._hold(content):
            return
        mode = self._proxy.mode
        if mode == "lost":
            self.reset()
        elif mode in ("cut", "half-close"):
            self._client.sendall(content[: len(content) // 2])
            if mode == "cut":
                self.reset()
            else:
                self._hang_up()
        elif mode == "drip":
            self._drip(content)
        else:
            self._client.sendall(content)

    def _lose(self, loss: _Loss) -> None:
        self._losing = None
        try:
            loss.meanwhile()
        finally:
            self.reset()

    def _hold(self, content: bytes) -> bool:
        # The lock is held, so that nothing is added after the release.
        with self._lock:
            holds = self._proxy.mode in ("late", "stall")
            if holds:
                self._held += content
        return holds

    def _drip(self, content: bytes) -> None:
        for place in range(min(len(content), _DRIPPED)):
            self._client.sendall(content[place : place + 1])
            time.sleep(0.0002)  # so that the network does not join the bytes
        self._client.sendall(content[_DRIPPED:])

    def _hang_up(self) -> None:
        """Close the client's side in order, like a server that has sent everything."""
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)
        _reset(self._server)

    def _count_request(self, size: int) -> None:
        traffic = self._proxy.traffic
        traffic.sent += size
        traffic.turns += not self._in_request
        self._in_request = True


def _reset(side: socket.socket) -> None:
    with suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        # This wakes a thread that reads from it; closing alone does not.
        side.shutdown(socket.SHUT_RD)
    with suppress(OSError):
        side.close()
