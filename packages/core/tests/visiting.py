"""A browser that visits an application with sessions in a store, for tests of what that costs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from webclient import Client, SyncClient

from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions

SECRET = "a secret of the tests, of 32 bytes"

#: Makes one request, for a path.
Visit: TypeAlias = Callable[[str], None]


def act(path: str, session: Any) -> None:
    """The acts of the applications: nothing, look, write, or log in."""
    if path == "/read":
        session.get("n")
    elif path == "/write":
        session["n"] = session.get("n", 0) + 1
    elif path.startswith("/put/"):
        session[path.removeprefix("/put/")] = 1
    elif path == "/login":
        session.regenerate(keep_data=True)


def asgi(store: Any, **options: Any) -> ASGISessions:
    """Return an ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        act(scope["path"], scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return ASGISessions(app, secret=SECRET, store=store, **options)


def wsgi(store: Any, **options: Any) -> WSGISessions:
    """Return a WSGI application."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        act(environ["PATH_INFO"], environ["coatcheck.session"])
        start_response("200 OK", [])
        return [b"ok"]

    return WSGISessions(app, secret=SECRET, store=store, **options)


@contextmanager
def visits(store: Any, **options: Any) -> Iterator[Visit]:
    """Yield what visits an application, ASGI if the store is asynchronous; close the store."""
    is_async = inspect.iscoroutinefunction(store.get)
    yield from (_async_visits if is_async else _sync_visits)(store, options)


def _sync_visits(store: Any, options: dict[str, Any]) -> Iterator[Visit]:
    with SyncClient(wsgi(store, **options), "https://shop.test") as browser:
        yield lambda path: browser.get(path).raise_for_status() and None
    store.close()


def _async_visits(store: Any, options: dict[str, Any]) -> Iterator[Visit]:
    browser = Client(asgi(store, **options), "https://shop.test")
    with asyncio.Runner() as runner:
        yield lambda path: runner.run(browser.get(path)).raise_for_status() and None
        runner.run(browser.aclose())
        runner.run(store.close())
