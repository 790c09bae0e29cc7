"""Observe what other session libraries do where requests meet, with the real packages.

::

    python -m testing.interop.peers [NAME]

prints what was observed, as JSON. ``NAME`` is one of those in docs/explanation/comparison.md,
which has the results, and ``tests/test_peers.py`` compares them. Each library serves the same small
shop with its defaults, in the way in which its documentation shows it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import httpx

from testing.servers.node import NodeServer

SECRET: Final = "a secret of thirty-two bytes, more"
SITE: Final = "https://shop.test"
#: An id that no server has made, in the form that most libraries have.
PLANTED: Final = "0123456789abcdef" * 2

Data: TypeAlias = MutableMapping[str, Any]


def act(path: str, session: Data, end: Callable[[], object]) -> str:
    """Do what a path of the shop says, and return the page."""
    match path:
        case "login":
            session["user"] = "ann"
            session["list"] = []
        case "logout":
            end()
        case "cart" | "theme":
            session[path] = "here"
        case "append":
            session["list"].append("here")
        case "read":
            return json.dumps({key: session[key] for key in sorted(session.keys())})
    return path


def parts_of(path: str) -> tuple[str, str]:
    """Return what a request does, and what another request does while this one runs.

    ``/cart/while/theme`` reads the session, lets ``/theme`` be served, and then does what
    ``/cart`` does.
    """
    first, _, meanwhile = path.strip("/").partition("/while/")
    return first, meanwhile


class Peer:
    """One library, serving the shop.

    :ivar during: the responses to requests that were served while another one ran.
    """

    #: The names of the keys that the store has; None for a library whose cookie has the data.
    keys: Callable[[], list[str]] | None = None
    #: Removes what the library has stored.
    close: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self) -> None:
        self.during: list[httpx.Response] = []

    async def start(self) -> None:
        """Begin to serve."""

    async def stop(self) -> None:
        """End serving."""
        self.close()

    async def visit(self, path: str, cookie: str = "") -> httpx.Response:
        """Send a request with a Cookie header."""
        raise NotImplementedError


class AsyncPeer(Peer):
    """A library for ASGI.

    :param make: returns the application. It is given what serves requests: a function of the path,
        the Cookie header, a function that returns the session, and one that ends it.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.app = make(self.serve)

    async def serve(
        self, path: str, cookie: str, opened: Callable[[], Data], end: Callable[[], object]
    ) -> str:
        """Serve a request of the application, and return the page."""
        first, meanwhile = parts_of(path)
        session = opened()
        if meanwhile:
            session.get("user")
            self.during.append(await self.visit(f"/{meanwhile}", cookie))
        return act(first, session, end)

    async def visit(self, path: str, cookie: str = "") -> httpx.Response:
        """See :class:`Peer`."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=SITE) as client:
            return await client.get(path, headers={"cookie": cookie} if cookie else {})


class SyncPeer(Peer):
    """A library for WSGI; see :class:`AsyncPeer`."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.app = make(self.serve)

    def serve(self, path: str, cookie: str, session: Data, end: Callable[[], object]) -> str:
        """Serve a request of the application, and return the page."""
        first, meanwhile = parts_of(path)
        if meanwhile:
            session.get("user")
            self.during.append(self._visit(f"/{meanwhile}", cookie))
        return act(first, session, end)

    async def visit(self, path: str, cookie: str = "") -> httpx.Response:
        """See :class:`Peer`."""
        return self._visit(path, cookie)

    def _visit(self, path: str, cookie: str) -> httpx.Response:
        transport = httpx.WSGITransport(self.app)
        with httpx.Client(transport=transport, base_url=SITE) as client:
            return client.get(path, headers={"cookie": cookie} if cookie else {})


class Browser:
    """Keeps one cookie, as a browser does.

    :ivar cookie: what it sends; empty if it has no cookie.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer, self.cookie = peer, ""
        self.name = ""

    async def visit(self, path: str) -> httpx.Response:
        """Send a request, and take the cookies of all responses in the order in which they came."""
        self.peer.during.clear()
        response = await self.peer.visit(path, self.cookie)
        for each in (*self.peer.during, response):
            if each.is_server_error:
                raise RuntimeError(f"{path}: the shop answers {each.status_code}")
            for line in each.headers.get_list("set-cookie"):
                ((name, morsel),) = SimpleCookie(line).items()
                ended = morsel["max-age"] == "0" or "1970" in morsel["expires"]
                self.name = name
                self.cookie = "" if ended or morsel.value == "null" else f"{name}={morsel.value}"
        return response

    async def data(self, cookie: str | None = None) -> dict[str, Any]:
        """Return the session that a cookie opens, which is its own unless another is given."""
        response = await self.peer.visit("/read", self.cookie if cookie is None else cookie)
        return dict(json.loads(response.text))


async def observe(peer: Peer) -> dict[str, str]:
    """Return what a library does."""

    async def logged_in() -> Browser:
        browser = Browser(peer)
        await browser.visit("/login")
        return browser

    seen = {}
    browser = await logged_in()
    await browser.visit("/cart/while/theme")
    kept = {"cart", "theme"} & set(await browser.data())
    seen["two requests change different keys"] = "both kept" if len(kept) == 2 else "one lost"

    browser = await logged_in()
    before = browser.cookie
    response = await browser.visit("/cart/while/logout")
    users = [(await browser.data(cookie)).get("user") for cookie in (browser.cookie, before)]
    ended = "logged out" if response.is_success else f"logged out, answer {response.status_code}"
    seen["logout while a slow request writes"] = "logged in again" if any(users) else ended

    browser = await logged_in()
    before = browser.cookie
    await browser.visit("/logout")
    user = (await browser.data(before)).get("user")
    seen["copy of the cookie after a logout"] = "logged in" if user else "nobody"

    browser = await logged_in()
    planted = f"{browser.name}={PLANTED}"
    await peer.visit("/theme", planted)
    seen["id that the server has not made"] = (
        "accepted" if "theme" in await browser.data(planted) else "refused"
    )
    value = browser.cookie.partition("=")[2]
    if peer.keys is None:
        seen["ids in the store"] = "no store"
    else:
        ids = (value, unquote(value).removeprefix("s:").partition(".")[0])
        names = peer.keys()
        in_clear = any(each in name for name in names for each in ids)
        seen["ids in the store"] = "as they are" if in_clear else "hashed"

    await browser.visit("/append")
    seen["change inside a value"] = "noticed" if (await browser.data())["list"] else "not noticed"
    reading = await browser.visit("/read")
    seen["cookie with each read"] = "yes" if reading.headers.get("set-cookie") else "no"
    return seen


def coatcheck() -> Peer:
    """Return coatcheck, with its store in memory."""
    from starlette.applications import Starlette

    from coatcheck import MemoryStore
    from coatcheck.asgi import SessionMiddleware

    store = MemoryStore()

    def make(serve: Any) -> Any:
        app = Starlette(routes=_starlette_routes(serve, lambda request: request.session.destroy()))
        app.add_middleware(SessionMiddleware, secret=SECRET, store=store)
        return app

    peer = AsyncPeer(make)
    peer.keys = lambda: [key for key, _ in store.all()]
    return peer


def starlette() -> Peer:
    """Return Starlette's own middleware, whose cookie has the data."""
    from starlette.applications import Starlette
    from starlette.middleware.sessions import SessionMiddleware

    def make(serve: Any) -> Any:
        app = Starlette(routes=_starlette_routes(serve, lambda request: request.session.clear()))
        app.add_middleware(SessionMiddleware, secret_key=SECRET)
        return app

    return AsyncPeer(make)


def starsessions() -> Peer:
    """Return starsessions, with its store in memory."""
    from starlette.applications import Starlette
    from starsessions import InMemoryStore, SessionAutoloadMiddleware, SessionMiddleware

    store = InMemoryStore()

    def make(serve: Any) -> Any:
        app = Starlette(routes=_starlette_routes(serve, lambda request: request.session.clear()))
        app.add_middleware(SessionAutoloadMiddleware)
        app.add_middleware(SessionMiddleware, store=store)
        return app

    peer = AsyncPeer(make)
    peer.keys = lambda: [*store.data]
    return peer


def _starlette_routes(serve: Any, end: Callable[[Any], object]) -> list[Any]:
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(request: Request) -> PlainTextResponse:
        path, cookie = request.url.path, request.headers.get("cookie", "")
        text = await serve(path, cookie, lambda: request.session, lambda: end(request))
        return PlainTextResponse(text)

    return [Route("/{path:path}", page)]


def litestar() -> Peer:
    """Return Litestar's sessions on the server, with its store in memory."""
    from litestar import Litestar, Request, get
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.stores.memory import MemoryStore

    store = MemoryStore()

    def make(serve: Any) -> Any:
        @get(["/{path:path}"], media_type="text/plain")
        async def page(request: Request[Any, Any, Any]) -> str:
            path, cookie = request.url.path, request.headers.get("cookie", "")
            text = await serve(path, cookie, lambda: request.session, request.clear_session)
            return str(text)

        config = ServerSideSessionConfig()
        return Litestar([page], middleware=[config.middleware], stores={"sessions": store})

    peer = AsyncPeer(make)
    peer.keys = lambda: [*store._store]
    return peer


def flask() -> Peer:
    """Return Flask's own sessions, whose cookie has the data."""
    return SyncPeer(_flask_shop)


def flask_session() -> Peer:
    """Return Flask-Session, with its files."""
    import flask_session as package  # type: ignore[import-untyped]
    from cachelib import FileSystemCache

    # The names of the files are hashes; the keys that the cache is given are what counts.
    given: set[str] = set()

    class Cache(FileSystemCache):
        def set(self, key: str, *args: Any, **kwargs: Any) -> Any:
            given.add(key)
            return super().set(key, *args, **kwargs)

    folder = tempfile.TemporaryDirectory()

    def make(serve: Any) -> Any:
        app = _flask_shop(serve)
        cache = Cache(f"{folder.name}/sessions")
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)
        package.Session(app)
        return app

    peer = SyncPeer(make)
    peer.close = folder.cleanup
    peer.keys = lambda: sorted(given)
    return peer


def _flask_shop(serve: Any) -> Any:
    import flask as package

    app = package.Flask("shop")
    app.secret_key = SECRET

    @app.get("/<path:path>")
    def page(path: str) -> str:
        session = package.session
        cookie = package.request.headers.get("cookie", "")
        return str(serve(path, cookie, session, session.clear))

    return app


#: The pages of Django's shop: it imports this module for them.
urlpatterns: list[Any] = []


def django() -> Peer:
    """Return Django's sessions in a database, its default. Settings are those of the process."""
    import django as package
    from django.conf import settings

    # These requests come from an event loop, as those of the other libraries do.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    from django.core.handlers.wsgi import WSGIHandler

    settings.configure(
        SECRET_KEY=SECRET,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.sessions"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LOGGING_CONFIG=None,
    )
    package.setup()
    from django.contrib.sessions.models import Session
    from django.db import connection
    from django.http import HttpResponse
    from django.urls import path as route

    with connection.schema_editor() as editor:
        editor.create_model(Session)

    def make(serve: Any) -> Any:
        def page(request: Any, path: str) -> HttpResponse:
            cookie = request.headers.get("cookie", "")
            return HttpResponse(serve(path, cookie, request.session, request.session.flush))

        urlpatterns[:] = [route("<path:path>", page)]
        return WSGIHandler()

    peer = SyncPeer(make)
    peer.keys = lambda: [str(key) for key in Session.objects.values_list("pk", flat=True)]
    return peer


class AiohttpPeer(AsyncPeer):
    """aiohttp-session, on Redis and behind a real server: it has no other store.

    :param url: of a Redis server.
    """

    def __init__(self, url: str) -> None:
        super().__init__(lambda _: None)
        self.url = url

    async def start(self) -> None:
        """See :class:`Peer`."""
        import aiohttp_session
        from aiohttp import web
        from aiohttp.test_utils import TestServer
        from redis.asyncio import Redis

        self.redis = Redis.from_url(self.url)
        names: list[str] = []

        async def page(request: web.Request) -> web.Response:
            session = await aiohttp_session.get_session(request)
            cookie = request.headers.get("cookie", "")
            text = await self.serve(request.path, cookie, lambda: session, session.invalidate)
            names[:] = [key.decode() async for key in self.redis.scan_iter("AIOHTTP_SESSION_*")]
            return web.Response(text=text)

        from aiohttp_session.redis_storage import RedisStorage

        app = web.Application()
        aiohttp_session.setup(app, RedisStorage(self.redis))
        app.router.add_get("/{path:.*}", page)
        self.server = TestServer(app)
        await self.server.start_server()
        self.keys = lambda: names

    async def stop(self) -> None:
        """See :class:`Peer`."""
        await self.server.close()
        await self.redis.aclose()

    async def visit(self, path: str, cookie: str = "") -> httpx.Response:
        """See :class:`Peer`."""
        async with httpx.AsyncClient(base_url=str(self.server.make_url("/"))) as client:
            return await client.get(path, headers={"cookie": cookie} if cookie else {})


class ExpressPeer(Peer):
    """express-session, with its store in memory, behind a real server."""

    async def start(self) -> None:
        """See :class:`Peer`."""
        server = NodeServer(Path(__file__).parent / "express" / "shop.js", SECRET)
        server.__enter__()
        self.close = lambda: server.__exit__(None, None, None)
        self.url = f"http://127.0.0.1:{server.port}"
        self.keys = lambda: list(httpx.get(f"{self.url}/keys").json())

    async def visit(self, path: str, cookie: str = "") -> httpx.Response:
        """See :class:`Peer`."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            response = await client.get(path, headers={"cookie": cookie} if cookie else {})
        lines = json.loads(response.headers.get("during", "[]"))
        self.during.append(httpx.Response(200, headers=[("set-cookie", line) for line in lines]))
        return response


#: The libraries that need no server, by the names of the page.
PEERS: Final[dict[str, Callable[[], Peer]]] = {
    "coatcheck": coatcheck,
    "Starlette": starlette,
    "starsessions": starsessions,
    "Litestar": litestar,
    "Flask": flask,
    "Flask-Session": flask_session,
    "Django": django,
}


def observed(make: Callable[[], Peer]) -> dict[str, str]:
    """Return what a library does; its event loop is this call's."""

    async def run() -> dict[str, str]:
        peer = make()
        await peer.start()
        try:
            return await observe(peer)
        finally:
            await peer.stop()

    return asyncio.run(run())


if __name__ == "__main__":
    print(json.dumps({each: observed(PEERS[each]) for each in sys.argv[1:] or PEERS}, indent=2))
