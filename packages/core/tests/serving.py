"""Real servers for the tests: started on a free port of 127.0.0.1, and always stopped.

A listening socket exists before its server does, so a client that connects early waits for the
server instead of failing, and nobody can take the port in between.
"""

from __future__ import annotations

import asyncio
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import anyio
import uvicorn
import waitress.server
import waitress.wasyncore
from aiohttp import web
from hypercorn.config import Config
from hypercorn.trio import serve as serve_with_hypercorn
from sanic import Sanic

HERE = Path(__file__).parent
_TIMEOUT = 10.0


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Yield a listening socket and the URL that reaches it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def in_thread(run: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Run a server in a thread; stop it and await its end."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(_TIMEOUT)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def uvicorn_server(app: Any, **config: Any) -> Iterator[str]:
    """Serve an ASGI application with uvicorn on asyncio."""
    settings = {"log_level": "critical", "timeout_graceful_shutdown": 1, **config}
    with listening() as (server_socket, url):
        server = uvicorn.Server(uvicorn.Config(app, **settings))

        def stop() -> None:
            server.should_exit = True

        with in_thread(partial(server.run, [server_socket]), stop):
            yield url


@contextmanager
def hypercorn_server(app: Any) -> Iterator[str]:
    """Serve an ASGI application with hypercorn on trio."""
    with listening() as (_, url):
        pass
    config = Config()
    config.bind = [url.removeprefix("http://")]
    config.errorlog = None
    config.graceful_timeout = 1
    stopping = threading.Event()

    async def until_stopped() -> None:
        await anyio.to_thread.run_sync(stopping.wait, abandon_on_cancel=True)

    serve = partial(serve_with_hypercorn, app, config, shutdown_trigger=until_stopped)
    with in_thread(partial(anyio.run, serve, backend="trio"), stopping.set):
        _await_connection(url)
        yield url


def _await_connection(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=_TIMEOUT).close()
        except OSError:
            assert time.monotonic() < deadline, "the server did not start"
            threading.Event().wait(0.01)
        else:
            return


@contextmanager
def aiohttp_server(app: web.Application) -> Iterator[str]:
    """Serve an application of aiohttp with its own server."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)

    async def start(server_socket: socket.socket) -> None:
        await runner.setup()
        await web.SockSite(runner, server_socket).start()

    def run() -> None:
        loop.run_until_complete(start(server_socket))
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    def stop() -> None:
        loop.call_soon_threadsafe(loop.stop)

    with listening() as (server_socket, url), in_thread(run, stop):
        yield url


@contextmanager
def sanic_server(app: Sanic[Any, Any]) -> Iterator[str]:
    """Serve an application of Sanic with its own server."""
    app.config.TOUCHUP = False  # it rewrites Sanic's code, once in a process
    loop = asyncio.new_event_loop()

    async def serve(server_socket: socket.socket) -> None:
        server = await app.create_server(
            sock=server_socket, return_asyncio_server=True, access_log=False
        )
        assert server is not None
        await server.startup()
        await server.start_serving()
        await server.before_start()
        await server.after_start()
        await stopping.wait()
        await server.before_stop()
        await server.close()
        await server.after_stop()
        Sanic.unregister_app(app)

    stopping = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(serve(server_socket))
        loop.close()

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    with listening() as (server_socket, url), in_thread(run, stop):
        yield url


@contextmanager
def waitress_server(app: Any) -> Iterator[str]:
    """Serve a WSGI application with waitress."""
    with listening() as (server_socket, url):
        channels: dict[int, Any] = {}
        server = waitress.server.create_server(
            app, map=channels, sockets=[server_socket], threads=8
        )

        def stop() -> None:
            # The trigger runs this in the server's own loop, which ends with its last channel.
            server.trigger.pull_trigger(partial(waitress.wasyncore.close_all, channels))

        try:
            with in_thread(server.run, stop):
                yield url
        finally:
            server.task_dispatcher.shutdown()


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def wsgiref_server(app: Any) -> Iterator[str]:
    """Serve a WSGI application with the standard library's server, a thread a connection."""
    with make_server(
        "127.0.0.1", 0, app, server_class=_ThreadingServer, handler_class=_QuietHandler
    ) as server:
        run = partial(server.serve_forever, poll_interval=0.02)
        with in_thread(run, server.shutdown):
            yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def gunicorn_server(app: str) -> Iterator[str]:
    """Serve a WSGI application, named ``module:attribute``, with gunicorn in a child process."""
    threads = ("--worker-class", "gthread", "--threads", "8", "--log-level", "critical")
    with server_process("gunicorn", *GUNICORN, *threads, app) as (url, _):
        yield url


#: Options of gunicorn for a listening socket, and for a quick end.
GUNICORN = (
    "--bind", "fd://{fd}", "--no-control-socket", "--graceful-timeout", "1", "--chdir", str(HERE),
)  # fmt: skip


@contextmanager
def server_process(module: str, *options: str) -> Iterator[tuple[str, Path]]:
    """Serve with a module that is run as a program.

    :param options: the command line; ``{fd}`` is replaced by the descriptor of a listening socket.
    :return: the URL, and the file with what the server writes to stderr.
    """
    with listening() as (server_socket, url), tempfile.TemporaryDirectory() as folder:
        descriptor = server_socket.fileno()
        words = [word.replace("{fd}", str(descriptor)) for word in options]
        errors = Path(folder, "stderr")
        with errors.open("wb") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                pass_fds=[descriptor], cwd=HERE, stderr=file,
            )  # fmt: skip
        try:
            yield url, errors
        finally:
            child.terminate()
            try:
                child.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
