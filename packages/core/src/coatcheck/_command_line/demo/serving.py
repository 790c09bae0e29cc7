"""Start and stop the demo."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Final

import uvicorn

from ..._stores.registry import open_async_store
from ...errors import CoatcheckError, ConfigurationError
from ...store import AsyncStore, Capabilities
from .application import make_application
from .home import home

HOST: Final = "127.0.0.1"

_TRY: Final = """\
Try this:
  - reload the page: it counts your views; a private window counts its own
  - fill the cart, then log in: another session id, the same cart
  - tick "Remember me": the cookie stays for 30 days instead of until the browser closes
  - log out: the cookie is gone, and a copy of it no longer works"""
_TRY_OWNERS: Final = """\
  - log in with the same name in a second browser, then `My sessions`: log out everywhere else"""

_TRY_RESTART: Final = """\
  - stop the demo and start it again: nobody is logged out"""

_NO_RESTART: Final = """
A restart logs everybody out. With `pip install coatcheck-file`, or with a `--store` that lasts and
a secret in the environment variable SESSION_SECRET, it does not."""


class RunningDemo:
    """Hold a demo that accepts requests.

    :ivar url: the URL, without a slash at the end.
    :ivar capabilities: the capabilities of its store.
    """

    def __init__(self, url: str, capabilities: Capabilities, serving: Future[None]) -> None:
        self.url = url
        self.capabilities = capabilities
        self._serving = serving

    def wait(self) -> None:
        """Wait until the demo has stopped by itself. Ctrl-C interrupts."""
        # The waits are short, because on Windows nothing interrupts a long one.
        while not self._serving.done():
            wait([self._serving], timeout=0.5)
        self._serving.result()


@contextmanager
def running(store_url: str, secret: str, port: int = 0) -> Generator[RunningDemo, None, None]:
    """Serve the demo in a thread until the end of the block.

    With a durable store and the same secret, the sessions of one block go on in the next.

    :param store_url: the store to open; it is closed at the end.
    :param secret: signs the cookies.
    :param port: 0 takes a free one.
    :raises ConfigurationError: the store does not accept the URL, the secret is too short, or
        the port cannot be listened on.
    :raises StoreError: the store does not answer.
    """
    started: Future[None] = Future()
    store = _open(store_url)
    config = uvicorn.Config(
        make_application(store, secret),
        lifespan="off",
        ws="none",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, started)
    with _listen(port) as listener, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(asyncio.run, _serve(server, store, listener))
        try:
            wait((serving, started), return_when=FIRST_COMPLETED)
            if serving.done():
                serving.result()
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            yield RunningDemo(url, store.capabilities, serving)
        finally:
            server.should_exit = True


def serve(store_url: str | None, port: int) -> int:
    """Serve the demo until Ctrl-C, and return the exit status.

    :param store_url: the store to open; None for that of
        :func:`~coatcheck._command_line.demo.home.home`.
    :raises ConfigurationError: the store does not accept the URL, the secret is too short, or
        the port cannot be listened on.
    :raises StoreError: the store does not answer.
    """
    kept = home(store_url)
    try:
        with running(kept.store_url, kept.secret, port) as demo:
            print(f"The demo is at {demo.url} (store: {kept.described}; Ctrl-C stops it)\n")
            print(_TRY)
            if demo.capabilities.owners:
                print(_TRY_OWNERS)
            lasts = demo.capabilities.durable and kept.keeps_secret
            print(_TRY_RESTART if lasts else _NO_RESTART)
            print(flush=True)
            demo.wait()
    except KeyboardInterrupt:
        print("\nstopped")
    return 0


class _Server(uvicorn.Server):
    """Run a server that tells when it accepts requests."""

    def __init__(self, config: uvicorn.Config, started: Future[None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started.set_result(None)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on port {port}: {error.strerror}; choose another with `--port`"
        ) from error


async def _serve(server: uvicorn.Server, store: AsyncStore, listener: socket.socket) -> None:
    try:
        await store.ping()
        await server.serve(sockets=[listener])
    finally:
        await store.close()


def _open(store_url: str) -> AsyncStore:
    try:
        return open_async_store(store_url)
    except CoatcheckError:
        raise
    except Exception as error:
        # Only the type, because the message may quote the URL's password.
        raise ConfigurationError(
            f"the store {store_url.partition(':')[0].lower()!r} does not accept this URL: "
            f"{type(error).__name__}"
        ) from error
