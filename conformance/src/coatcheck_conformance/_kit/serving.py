"""An application with sessions behind a real server, and browsers that use it."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

from coatcheck import CookieOptions, SessionOptions, session_of
from coatcheck import asgi as coatcheck_asgi
from coatcheck import wsgi as coatcheck_wsgi

from .context import Context
from .failure import HarnessError

#: Seconds that a request may take.
_TIMEOUT: Final = 30.0
_SECRET: Final = "a secret of the conformance kit's own"


def handle_request(path: str, query: MutableMapping[str, str], session: Any) -> str:
    """Do what a request asks for, and return the body of the response.

    This is the application; both servers call it.
    """
    if path in ("/login", "/put"):
        session.update(query)
    elif path == "/rotate":
        session.regenerate(keep_data=True)
    elif path == "/logout":
        session.destroy()
        return "{}"
    return json.dumps(dict(session))


def count(data: dict[str, Any]) -> None:
    """Add one to the session's counter."""
    data["count"] = data.get("count", 0) + 1


def wsgi_app(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve the application over WSGI."""
    session = session_of(environ)
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    if environ["PATH_INFO"] == "/count":
        session.change(count)
    body = handle_request(environ["PATH_INFO"], query, session).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


async def asgi_app(scope: Any, _receive: Any, send: Any) -> None:
    """Serve the application over ASGI."""
    session = session_of(scope)
    query = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/count":
        await session.change(count)
    body = handle_request(scope["path"], query, session).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Browser:
    """Keep a cookie, and send it with each request.

    :param port: the port of the server.
    :ivar cookie: the value of the Cookie header.
    """

    def __init__(self, port: int, cookie: str = "") -> None:
        self._port = port
        self.cookie = cookie

    def copy(self, other: Browser | None = None) -> Browser:
        """Return another browser with the same cookie: a second tab, or a thief.

        :param other: a browser whose server the new one uses.
        """
        return Browser((other or self)._port, self.cookie)

    def get(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        """Request a path, and return the status and the contents of the session."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            headers = {"Cookie": self.cookie} if self.cookie else {}
            connection.request("GET", f"{path}?{urlencode(query)}", headers=headers)
            response = connection.getresponse()
            body = response.read()
            self._keep(response)
        finally:
            connection.close()
        is_right = response.status == http.client.OK
        return response.status, json.loads(body) if is_right else {}

    def _keep(self, response: http.client.HTTPResponse) -> None:
        for line in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                is_over = morsel["max-age"] == "0" or not morsel.value
                self.cookie = "" if is_over else f"{name}={morsel.coded_value}"


def options_of(context: Context) -> SessionOptions:
    """Return the options of an application on the context's store and clock."""
    return SessionOptions(
        secret=_SECRET,
        store=context.store.native,
        cookie=CookieOptions(secure=False),
        owner="user",
        clock=context.clock,
    )


@contextmanager
def serving(context: Context) -> Iterator[Callable[[], Browser]]:
    """Serve the application with the API under test, and give a function that makes browsers.

    A threaded WSGI server, which also checks the protocol, serves the sync API. Uvicorn serves the
    async API, on an event loop of its own.
    """
    serve = _wsgi_server if context.api == "sync" else _asgi_server
    context.steps.note(f"an application is served by {'WSGI' if context.api == 'sync' else 'ASGI'}")
    with serve(options_of(context)) as port:
        yield lambda: Browser(port)


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def get_stderr(self) -> Any:
        # The tracebacks of a faulty store are noise: the case says what is wrong.
        return io.StringIO()


@contextmanager
def _wsgi_server(options: SessionOptions) -> Iterator[int]:
    app = validator(coatcheck_wsgi.SessionMiddleware(wsgi_app, options))
    server = make_server(
        "127.0.0.1", 0, app, server_class=_ThreadedServer, handler_class=_SilentHandler
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_TIMEOUT)


@contextmanager
def _asgi_server(options: SessionOptions) -> Iterator[int]:
    import uvicorn

    app = coatcheck_asgi.SessionMiddleware(asgi_app, options)
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, lifespan="off", loop="asyncio"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        work = threading.Thread(target=server.run, args=([listener],), daemon=True)
        work.start()
        _wait_for_start(server, work)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            work.join(_TIMEOUT)


def _wait_for_start(server: Any, work: threading.Thread) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not server.started:
        if not work.is_alive() or time.monotonic() > deadline:
            raise HarnessError("uvicorn does not start")
        time.sleep(0.005)
