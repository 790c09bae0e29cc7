"""The applications that tests tell behind real servers.

They are apart from the tests, because servers in other processes load them, and need not wait for
pytest and the other servers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread

from coatcheck import MemoryStore, Session, SessionEvent, session_of
from coatcheck import asgi as coatcheck_asgi
from coatcheck import wsgi as coatcheck_wsgi

SECRET = "a secret of thirty-two bytes, more"
TIMEOUT = 10.0

# One status and one header list for all responses: what is appended to them in place would go
# from one user to the next.
STATUSES = {200: "200 OK", 204: "204 No Content", 303: "303 See Other", 304: "304 Not Modified"}
HEADERS = [("Content-Type", "text/plain"), ("ETag", '"1"')]
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS]
TO_ME_HEADERS = [*HEADERS, ("Location", "/me")]
RAW_TO_ME_HEADERS = [*RAW_HEADERS, (b"location", b"/me")]


class Gates:
    """Events by name: the end of a response waits until another request opens its gate."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._gates: dict[str, threading.Event] = {}

    def __getitem__(self, name: str) -> threading.Event:
        with self._guard:
            return self._gates.setdefault(name, threading.Event())


GATES = Gates()
WATCHERS: list[tuple[str, threading.Event]] = []


def note(event: SessionEvent) -> None:
    """Tell those who wait for a session event of this kind."""
    for kind, happened in tuple(WATCHERS):
        if kind == event.kind:
            happened.set()


@contextmanager
def awaiting(kind: str) -> Iterator[None]:
    """Go on after the block when something of that kind has happened to a session."""
    watcher = (kind, threading.Event())
    WATCHERS.append(watcher)
    try:
        yield
        assert watcher[1].wait(TIMEOUT), f"no session was {kind}"
    finally:
        WATCHERS.remove(watcher)


def answer(session: Session, path: str, query: dict[str, str]) -> tuple[int, str]:
    """Answer the short requests of the stories: visits, login, logout and their like."""
    if path == "/visits":
        session["visits"] = session.get("visits", 0) + 1
        return 200, str(session["visits"])
    if path == "/login":
        session.regenerate()
        session["user"] = query["user"]
        return 303, ""
    if path == "/me":
        return 200, str(session.get("user"))
    if path == "/late":
        return 200, str(session.get("late"))
    if path == "/logout":
        session.destroy()
        return 200, "bye"
    if path in ("/204", "/304"):
        session["seen"] = path
        return int(path[1:]), ""
    if path == "/open":
        GATES[query["gate"]].set()
        return 200, "opened"
    return 200, "nothing"


async def asgi_stories(scope: Any, receive: Any, send: Any) -> None:
    """Tell the stories as an ASGI application."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    session, path = session_of(scope), scope["path"]
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    if path == "/stream":
        session["streamed"] = True
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS})
        await send_part(send, b"first\n")
        await anyio.to_thread.run_sync(GATES[query["gate"]].wait, TIMEOUT)
        late_change(session, query["then"])
        await send_part(send, b"last\n")
        await send({"type": "http.response.body", "body": b""})
        return
    status, body = answer(session, path, query)
    headers = RAW_TO_ME_HEADERS if status == 303 else RAW_HEADERS
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


async def send_part(send: Any, body: bytes) -> None:
    """Send a part of a body, as a server-sent event for instance."""
    await send({"type": "http.response.body", "body": body, "more_body": True})


def wsgi_stories(environ: Any, start_response: Any) -> Any:
    """Tell the stories as a WSGI application."""
    session, path = session_of(environ), environ["PATH_INFO"]
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if path == "/stream":
        session["streamed"] = True
        start_response(STATUSES[200], HEADERS)
        return stream(session, query)
    status, body = answer(session, path, query)
    start_response(STATUSES[status], TO_ME_HEADERS if status == 303 else HEADERS)
    # A WSGI server need not cut the body off for HEAD.
    return [body.encode()] if body and environ["REQUEST_METHOD"] != "HEAD" else []


def stream(session: Session, query: dict[str, str]) -> Iterator[bytes]:
    """Yield the first part, and the last one when its gate is opened."""
    yield b"first\n"
    GATES[query["gate"]].wait(TIMEOUT)
    late_change(session, query["then"])
    yield b"last\n"


def late_change(session: Session, change: str) -> None:
    """Change the session after the headers are out."""
    if change == "write":
        session["late"] = "written"
    elif change == "logout":
        session.destroy()


class BlockingStore(MemoryStore):
    """A memory store that is called in worker threads, as one behind a network would be."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, blocking=True)


def new_asgi_app() -> coatcheck_asgi.SessionMiddleware:
    """Return the stories behind the ASGI middleware, with a store of their own."""
    return coatcheck_asgi.SessionMiddleware(
        asgi_stories, secret=SECRET, store=BlockingStore(), observers=[note]
    )


def new_wsgi_app() -> coatcheck_wsgi.SessionMiddleware:
    """Return the stories behind the WSGI middleware, with a store of their own."""
    return coatcheck_wsgi.SessionMiddleware(
        wsgi_stories, secret=SECRET, store=BlockingStore(), observers=[note]
    )


async def socket_stories(scope: Any, receive: Any, send: Any) -> None:
    """Serve sockets and, for the story around them, short requests."""
    if scope["type"] != "websocket":
        await asgi_stories(scope, receive, send)
        return
    session = session_of(scope)
    await receive()
    if scope["path"] == "/denied":
        session["denied"] = True
        start = {"type": "websocket.http.response.start", "status": 403, "headers": []}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"no"})
        return
    if scope["path"] == "/closed":
        await send({"type": "websocket.close", "code": 1008})
        return
    session["sockets"] = session.get("sockets", 0) + 1
    await send({"type": "websocket.accept", "headers": []})
    await send({"type": "websocket.send", "text": f"{session['sockets']} {session.get('user')}"})
    while (message := await receive())["type"] == "websocket.receive":
        session["late"] = message["text"]
        await send({"type": "websocket.send", "text": "noted"})


def new_sockets_app() -> coatcheck_asgi.SessionMiddleware:
    """Return the stories of sockets behind the ASGI middleware, with a store of their own."""
    return coatcheck_asgi.SessionMiddleware(
        socket_stories, secret=SECRET, store=BlockingStore(), observers=[note]
    )
