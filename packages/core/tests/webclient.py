"""The applications and clients that the tests are told with."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import httpx

from coatcheck import AsyncStore, MemoryStore, Record
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.asgi import session_of as asgi_session_of
from coatcheck.errors import StoreUnavailable
from coatcheck.store import ALWAYS, Condition
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck.wsgi import session_of as wsgi_session_of

SECRET = "a secret of thirty-two bytes, more"


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class CountingStore(MemoryStore):
    """A memory store that notes which verbs were called."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls: list[str] = []

    def get(self, key: str) -> Record | None:
        self.note("get")
        return super().get(key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.note("set")
        return super().set(key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        self.note("destroy")
        return super().destroy(key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        self.note("touch")
        return super().touch(key, expires_at, owner)

    def note(self, verb: str) -> None:
        """Note a call that begins."""
        self.calls.append(verb)

    def taken(self) -> list[str]:
        """Return the calls since the last time, and forget them."""
        calls, self.calls = self.calls, []
        return calls


class FragileStore(CountingStore):
    """A memory store whose verbs fail when the test says so.

    :ivar broken: what each verb that fails raises.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.broken: dict[str, Exception] = {}

    def fail(self, *verbs: str) -> None:
        """Let these verbs fail from now on, and the others work."""
        self.broken = {verb: StoreUnavailable("refused") for verb in verbs}

    def note(self, verb: str) -> None:
        super().note(verb)
        if verb in self.broken:
            raise self.broken[verb]


class AsyncMemoryStore(AsyncStore):
    """An asynchronous store on a memory store; subclasses say what else a call does."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.capabilities = self.store.capabilities

    async def get(self, key: str) -> Record | None:
        return await self.call(self.store.get, key)

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return await self.call(self.store.set, key, record, only_if)

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return await self.call(self.store.destroy, key, only_if)

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return await self.call(self.store.touch, key, expires_at, owner)

    async def ping(self) -> None:
        self.store.ping()

    async def close(self) -> None:
        self.store.close()

    async def call(self, verb: Callable[..., Any], *args: Any) -> Any:
        """Call a verb of the memory store."""
        return verb(*args)


class YieldingStore(AsyncMemoryStore):
    """An asynchronous store whose verbs yield to the event loop before and after they act."""

    async def call(self, verb: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)  # lets other requests run
        result = await super().call(verb, *args)
        await asyncio.sleep(0)  # lets other requests run
        return result


def asgi_app(
    handler: Callable[[Any, dict[str, Any]], Awaitable[Any] | Any],
    *,
    status: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
    **options: Any,
) -> ASGISessions:
    """Return a middleware over an application that calls ``handler(session, scope)``.

    What the handler returns is the body.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = handler(asgi_session_of(scope), scope)
        if isinstance(result, Awaitable):
            result = await result
        body = str(result).encode()
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        await send({"type": "http.response.body", "body": body})

    return ASGISessions(app, **{"secret": SECRET, **options})


def wsgi_app(
    handler: Callable[[Any, dict[str, Any]], Any],
    *,
    status: str = "200 OK",
    headers: list[tuple[str, str]] | None = None,
    **options: Any,
) -> WSGISessions:
    """Return a middleware over an application that calls ``handler(session, environ)``."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = str(handler(wsgi_session_of(environ), environ)).encode()
        start_response(status, list(headers or [("Content-Type", "text/plain")]))
        return [body]

    return WSGISessions(app, **{"secret": SECRET, **options})


class Browser:
    """A client with a cookie jar, in front of an ASGI application."""

    def __init__(self, app: Any, base_url: str = "http://shop.test") -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=base_url, follow_redirects=False
        )

    async def get(self, path: str = "/", **kwargs: Any) -> httpx.Response:
        return await self.http.get(path, **kwargs)

    def cookie(self, name: str = "sid") -> str | None:
        return self.http.cookies.get(name)

    def clone(self) -> Browser:
        """Return another tab: the same cookies, from here on apart."""
        other = Browser(None, str(self.http.base_url))
        other.http = httpx.AsyncClient(
            transport=self.http._transport, base_url=self.http.base_url, cookies=self.http.cookies
        )
        return other


def wsgi_browser(app: Any, base_url: str = "http://shop.test") -> httpx.Client:
    """Return a client with a cookie jar, in front of a WSGI application."""
    return httpx.Client(transport=httpx.WSGITransport(app), base_url=base_url)


def client_of(app: Any, base_url: str = "http://shop.test") -> httpx.Client | httpx.AsyncClient:
    """Return a client with a cookie jar, in front of an application of either kind."""
    is_asgi = any(map(inspect.iscoroutinefunction, (app, app.__call__)))
    return Browser(app, base_url).http if is_asgi else wsgi_browser(app, base_url)


def finished(result: Any) -> Any:
    """Return what a handler returns whose saves and reloads are done when it yields them."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            next(result)
        except StopIteration as stop:
            return stop.value


async def awaited(result: Any) -> Any:
    """Return what a handler returns, awaiting the saves and reloads that it yields."""
    if not isinstance(result, Generator):
        return result
    resume: Any = result.send
    outcome: Any = None
    while True:
        try:
            pending = resume(outcome)
        except StopIteration as stop:
            return stop.value
        try:
            outcome, resume = await pending, result.send
        except Exception as error:
            outcome, resume = error, result.throw


def set_cookies(response: httpx.Response) -> list[str]:
    """Return each Set-Cookie line of a response."""
    return response.headers.get_list("set-cookie")


def attributes(response: httpx.Response) -> dict[str, str]:
    """Return the attributes of the one Set-Cookie line, names in lower case."""
    (line,) = set_cookies(response)
    pairs = [part.strip().partition("=") for part in line.split(";")[1:]]
    assert len({name.lower() for name, _, _ in pairs}) == len(pairs)
    return {name.lower(): value for name, _, value in pairs}


def each(*items: Any) -> Iterator[Any]:
    """Yield the items: a body in pieces."""
    yield from items
