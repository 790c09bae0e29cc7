"""The net store's server: keeps the records of all namespaces in its memory."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from typing import Any, Final

from network_messages import (
    condition_of,
    length_of,
    packed,
    record_of,
    row_of,
)

from coatcheck import (
    MemoryStore,
)

PASSWORD: Final = "s3cret-of-the-net"
#: Records that one reply lists.
PAGE: Final = 20


class Space:
    """Keep the records of one namespace; each request says what time it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()
        self.store = MemoryStore(clock=lambda: self.now)

    def perform(self, operation: str, now: float, args: list[Any]) -> Any:
        """Carry out a request."""
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
    """Keep the records of all namespaces in memory.

    :ivar connections: the sockets of the connected clients.
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
        """Return the port on which it listens."""
        return int(self.server_address[1])

    def space(self, namespace: str) -> Space:
        """Return a namespace; make it if it was never used."""
        with self._lock:
            return self._spaces.setdefault(namespace, Space())

    def joined(self, connection: socket.socket) -> None:
        """Note that a client has connected."""
        with self._lock:
            self.connections.add(connection)

    def left(self, connection: socket.socket) -> None:
        """Note that a client has gone."""
        with self._lock:
            self.connections.discard(connection)

    def stop(self) -> None:
        """Stop the server."""
        self.shutdown()
        self.server_close()
