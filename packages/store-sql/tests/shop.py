"""A shop: requests of both middlewares that order in a transaction of the application's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import httpx
from sql_backend import Backend, engine_of
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from coatcheck import SessionOptions, Sessions, session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.events import SessionEvent
from coatcheck.sessions import CreatedSession
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_sql import AsyncSQLStore, SQLStore

SECRET: Final = "a secret of the tests, of 32 bytes"
ASYNC_DRIVERS: Final = {
    "sqlite+aiosqlite": "aiosqlite",
    "postgresql": "psycopg",
    "postgresql+asyncpg": "asyncpg",
    "mariadb": "asyncmy",
}

#: What a request does. It yields what the async API has to await.
Handler: TypeAlias = Callable[["Shop", Any], Generator[Any, Any, Any]]


@dataclass
class Shop:
    """An application with a table of orders, in the database of its sessions.

    :ivar engine: of the application, for the API of the test.
    :ivar store: on that engine.
    :ivar left_open: connections that are rolled back after the response.
    """

    backend: Backend
    orders: str
    engine: Any
    store: Any
    options: SessionOptions
    events: list[SessionEvent]
    left_open: list[Any] = field(default_factory=list)

    def order(self, connection: Any) -> Any:
        return connection.execute(text(f"INSERT INTO {self.orders} VALUES ('hat')"))

    def save(self, session: Any, connection: Any) -> Any:
        """Save the session in the transaction of a connection."""
        return session.save(store=self.store.bind(connection))


@contextmanager
def orders_in(backend: Backend) -> Iterator[str]:
    """Yield the name of a table of the application's."""
    name = f"{backend.table}_o"
    backend.sql(f"CREATE TABLE {name} (what VARCHAR(20))")
    yield name
    backend.sql(f"DROP TABLE {name}")


def engine(backend: Backend) -> Any:
    """Return an engine of the application's, for the API of the test."""
    url = engine_of(backend.server_url).url
    if not backend.is_async:
        return create_engine(url)
    return create_async_engine(
        url.set(drivername=f"{backend.database}+{ASYNC_DRIVERS[backend.scheme]}")
    )


def sessions(store: Any) -> Sessions:
    return Sessions(store, SessionOptions(secret=SECRET, store=store))


def create(backend: Backend, data: dict[str, Any]) -> CreatedSession:
    store = backend.store()
    made = sessions(store).create(data, owner=data.get("user"))
    store.close()
    return made


def stored(backend: Backend, ref: str) -> dict[str, Any] | None:
    store = backend.store()
    found = sessions(store).get(ref)
    store.close()
    return None if found is None else found.data


def count(backend: Backend, orders: str) -> int:
    return int(backend.sql(f"SELECT count(*) FROM {orders}")[0][0])


@asynccontextmanager
async def opened(backend: Backend, orders: str, settings: dict[str, Any]) -> AsyncIterator[Shop]:
    own = engine(backend)
    kind = AsyncSQLStore if backend.is_async else SQLStore
    store = kind(own, table=backend.table)
    events: list[SessionEvent] = []
    options = SessionOptions(secret=SECRET, store=store, observers=(events.append,), **settings)
    shop = Shop(backend, orders, own, store, options, events)
    try:
        yield shop
    finally:
        for connection in shop.left_open:
            await _maybe(connection.close())
        await _maybe(own.dispose())


async def _maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def play(story: Generator[Any, Any, Any]) -> Any:
    """Do what a request does, with the sync API."""
    try:
        value = story.send(None)
        while True:
            value = story.send(value)
    except StopIteration as done:
        return done.value


async def play_async(story: Generator[Any, Any, Any]) -> Any:
    """Do what a request does, with the async API."""
    step = story.send
    value: Any = None
    while True:
        try:
            waited = step(value)
        except StopIteration as done:
            return done.value
        step = story.send
        try:
            value = await _maybe(waited)
        except BaseException as error:
            value, step = error, story.throw


def request(shop: Shop, handler: Handler, cookie: str) -> Any:
    """Return a coroutine of one request, which returns its response."""
    headers = {"cookie": cookie} if cookie else {}

    def wsgi(environ: Any, start_response: Any) -> Any:
        play(handler(shop, session_of(environ)))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await play_async(handler(shop, session_of(scope)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def asynchronous() -> httpx.Response:
        transport = httpx.ASGITransport(ASGISessions(asgi, shop.options))
        async with httpx.AsyncClient(transport=transport, base_url="https://shop") as client:
            return await client.get("/", headers=headers)

    async def synchronous() -> httpx.Response:
        transport = httpx.WSGITransport(WSGISessions(wsgi, shop.options))
        with httpx.Client(transport=transport, base_url="https://shop") as client:
            return client.get("/", headers=headers)

    return (asynchronous if shop.backend.is_async else synchronous)()


def serve(
    backend: Backend, orders: str, handler: Handler, cookie: str = "", **settings: Any
) -> tuple[httpx.Response, Shop]:
    """Serve one request."""

    async def story() -> tuple[httpx.Response, Shop]:
        async with opened(backend, orders, settings) as shop:
            return await request(shop, handler, cookie), shop

    return asyncio.run(story())


def cookie_of(made: CreatedSession) -> str:
    return f"{made.cookie_name}={made.cookie_value}"
