"""A proxy that loses single replies: the server has done what it was asked, and nobody hears it."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading


class _Link(socketserver.BaseRequestHandler):
    server: LosingProxy

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as there:
            back = threading.Thread(target=self._back, args=(there,), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while content := self.request.recv(65536):
                    if self.server.to_lose and b"EVALSHA" in content:
                        self.server.to_lose -= 1
                        self.lost = True
                    there.sendall(content)
            with contextlib.suppress(OSError):
                there.shutdown(socket.SHUT_RDWR)
            back.join()

    lost = False

    def _back(self, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := there.recv(65536):
                if self.lost:
                    break
                self.request.sendall(content)
            self.request.shutdown(socket.SHUT_RDWR)


class LosingProxy(socketserver.ThreadingTCPServer):
    """Passes on everything but the replies to the next ``to_lose`` scripts.

    :param target: the server's host and port.
    :ivar port: where it listens, on 127.0.0.1.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Link)
        self.target = target
        self.to_lose = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __exit__(self, *details: object) -> None:
        self.shutdown()
        self.server_close()
