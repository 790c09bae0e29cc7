"""What a request costs, counted by the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from mongo_backend import Backend

from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_mongo import AsyncMongoStore, MongoStore

SECRET = "a secret of the tests, of 32 bytes"

#: Makes one request, for a path, as a browser does.
Visit = Callable[[str], None]


def act(path: str, session: Any) -> None:
    if path == "/read":
        session.get("n")
    elif path == "/write":
        session["n"] = session.get("n", 0) + 1


@contextmanager
def sync_visits(url: str) -> Iterator[Visit]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        act(environ["PATH_INFO"], environ["coatcheck.session"])
        start_response("200 OK", [])
        return [b"ok"]

    store = MongoStore.from_url(url)
    transport = httpx.WSGITransport(WSGISessions(app, secret=SECRET, store=store))
    with httpx.Client(transport=transport, base_url="https://shop.test") as browser:
        yield lambda path: browser.get(path).raise_for_status() and None
    store.close()


@contextmanager
def async_visits(url: str) -> Iterator[Visit]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        act(scope["path"], scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    store = AsyncMongoStore.from_url(url)
    transport = httpx.ASGITransport(ASGISessions(app, secret=SECRET, store=store))
    browser = httpx.AsyncClient(transport=transport, base_url="https://shop.test")
    with asyncio.Runner() as runner:
        yield lambda path: runner.run(browser.get(path)).raise_for_status() and None
        runner.run(browser.aclose())
        runner.run(store.close())


@pytest.mark.parametrize("visits", [sync_visits, async_visits])
def test_the_trips_of_a_request(backend: Backend, visits: Any) -> None:
    """One to read or begin, two to write; none is added for a touch that is not due."""

    def operations() -> int:
        counters = backend.client.admin.command("serverStatus")["opcounters"]
        return sum(counters[kind] for kind in ("query", "insert", "update", "delete", "getmore"))

    with visits(backend.url) as first_visit:
        first_visit("/write")  # the store connects, and creates the indexes
    with visits(f"{backend.url}&indexes=false") as visit:
        for path, expected in (("/read", 0), ("/write", 1), ("/read", 1), ("/write", 2)):
            before = operations()
            visit(path)
            assert operations() == before + expected, path
