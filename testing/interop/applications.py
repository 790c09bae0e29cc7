"""The Express application, and ASGI and WSGI applications that do the same with coatcheck.

Each application gets a list of actions, as ``[["set", ["cart", "n"], 2], ["touch"]]``. It does them
with its session, and returns the session.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from coatcheck import AsyncStore, SessionOptions, Store
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.cookie import SETTINGS
from coatcheck.events import Observer
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_express import express_options
from testing.servers.node import NodeServer

SCRIPT: Final = Path(__file__).parent / "express" / "server.js"
SECRET: Final = "keyboard cat"
NAME: Final = "connect.sid"

#: The options of express-session for sessions below each path, under their names in Express.
PATHS: Final[dict[str, dict[str, Any]]] = {
    "/plain": {"resave": False, "saveUninitialized": False},
    "/rolling": {"resave": False, "saveUninitialized": False, "rolling": True},
    "/resave": {"resave": True, "saveUninitialized": False},
    "/lasting": {"resave": False, "saveUninitialized": False, "cookie": {"maxAge": 600_000}},
}

#: An operation and its arguments.
Action: TypeAlias = list[Any]
#: A session: its id, its data, its cookie's settings.
View: TypeAlias = dict[str, Any]
#: Returns the options for sessions below a path.
OptionsOf: TypeAlias = Callable[[str], SessionOptions]


def express_application(kind: str, url: str, **more: Any) -> NodeServer:
    """Return the Express application, ready to be started.

    :param kind: the kind of its store, by the names of server.js.
    :param url: the URL of the store's server.
    :param more: other options of this kind of store.
    """
    options = {"store": {"kind": kind, "url": url, **more}, "secret": SECRET, "paths": PATHS}
    return NodeServer(SCRIPT, json.dumps(options))


def options_of(
    path: str, store: Store | AsyncStore, observers: Sequence[Observer] = (), **more: Any
) -> SessionOptions:
    """Return coatcheck's options for sessions below a path.

    :param more: options that Express does not have.
    """
    own = PATHS[path]
    cookie: Any = {"max_age_ms": own["cookie"]["maxAge"]} if "cookie" in own else {}
    return express_options(
        secret=SECRET,
        store=store,
        name=NAME,
        cookie=cookie,
        resave=own["resave"],
        rolling=own.get("rolling", False),
        save_uninitialized=own["saveUninitialized"],
        touch_interval=0,
        observers=observers,
        **more,
    )


def _date_of_node(value: datetime) -> str:
    """Return a date in the form of Node's JSON."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _perform(session: Any, name: str, *given: Any) -> None:
    """Do the actions that need no I/O."""
    if name == "set":
        path, value = given
        place = session
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
    elif name == "set_date":
        key, milliseconds = given
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)
        session[key] = moment.isoformat(timespec="milliseconds") + "Z"
    elif name == "delete":
        session.pop(given[0], None)
    elif name == "max_age":
        session.cookie.max_age = None if given[0] is None else given[0] / 1000
    else:
        getattr(session, name)()


def _view(session: Any) -> View:
    cookie = {name: getattr(session.cookie, name) for name in SETTINGS}
    return {"id": session.id, "data": dict(session), "cookie": cookie}


def asgi_application(options: SessionOptions) -> ASGISessions:
    """Return an ASGI application."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        session = scope["session"]
        for action in json.loads(body):
            if action[0] in ("save", "reload"):
                await getattr(session, action[0])()
            else:
                _perform(session, *action)
        answer = json.dumps(_view(session), default=_date_of_node).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    return ASGISessions(application, options)


def wsgi_application(options: SessionOptions) -> WSGISessions:
    """Return a WSGI application."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["coatcheck.session"]
        for action in json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))):
            _perform(session, *action)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_view(session), default=_date_of_node).encode()]

    return WSGISessions(application, options)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextlib.contextmanager
def wsgi_server(options: OptionsOf) -> Iterator[str]:
    """Serve WSGI applications with the options of all paths, and yield the URL."""
    applications = {path: wsgi_application(options(path)) for path in PATHS}

    def choose(environ: Any, start_response: Any) -> Any:
        return applications[environ["PATH_INFO"]](environ, start_response)

    server = make_server("127.0.0.1", 0, choose, _ThreadingWSGIServer, _QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def asgi_server(options: OptionsOf) -> Iterator[str]:
    """Serve ASGI applications with the options of all paths, and yield the URL."""
    applications = {path: asgi_application(options(path)) for path in PATHS}

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await applications[scope["path"]](scope, receive, send)

    config = uvicorn.Config(choose, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    # Without its protocol number asyncio keeps Nagle's algorithm, which costs 40 ms a request.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
