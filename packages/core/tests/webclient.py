"""The applications and clients that the tests are told with."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import httpx

from coatcheck import AsyncStore, MemoryStore, Record, session_of
from coatcheck._records.succession import is_succession
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import StoreUnavailable
from coatcheck.store import ALWAYS, Condition
from coatcheck.wsgi import SessionMiddleware as WSGISessions

SECRET = "a secret of thirty-two bytes, more"


def sessions_in(store: MemoryStore) -> dict[str, Record]:
    """Return the records of sessions, without those that lead from one to the next."""
    return {key: record for key, record in store.all() if not is_succession(key)}


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class CountingStore(MemoryStore):
    """A memory store that notes which operations were called."""

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

    def note(self, operation: str) -> None:
        """Note a call that begins."""
        self.calls.append(operation)

    def taken(self) -> list[str]:
        """Return the calls since the last time, and forget them."""
        calls, self.calls = self.calls, []
        return calls


class FragileStore(CountingStore):
    """A memory store whose operations fail when the test says so.

    :ivar broken: what each operation that fails raises.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.broken: dict[str, Exception] = {}

    def fail(self, *operations: str) -> None:
        """Let these operations fail from now on, and the others work."""
        self.broken = {operation: StoreUnavailable("refused") for operation in operations}

    def note(self, operation: str) -> None:
        super().note(operation)
        if operation in self.broken:
            raise self.broken[operation]


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

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Call an operation of the memory store."""
        return operation(*args)


class YieldingStore(AsyncMemoryStore):
    """An asynchronous store whose operations yield to the event loop before and after they act."""

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)  # lets other requests run
        result = await super().call(operation, *args)
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
        result = handler(session_of(scope), scope)
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
        body = str(handler(session_of(environ), environ)).encode()
        start_response(status, list(headers or [("Content-Type", "text/plain")]))
        return [body]

    return WSGISessions(app, **{"secret": SECRET, **options})


class _AwaitedWSGI(httpx.AsyncBaseTransport):
    """Sends awaited requests to a WSGI application. They never yield to the event loop."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._wsgi = httpx.WSGITransport(app, **options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        response = self._wsgi.handle_request(request)
        try:
            body = b"".join(response.iter_raw())
        finally:
            response.close()
        return _with_body(response, body)


class _EachInItsOwnLoop(httpx.BaseTransport):
    """Runs each request to an ASGI application on an event loop of its own, in a thread."""

    def __init__(self, app: Any, **options: Any) -> None:
        self._asgi = httpx.ASGITransport(app, **options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._answer(request)).result()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._asgi.handle_async_request(request)
        body = b"".join([part async for part in response.aiter_raw()])
        return _with_body(response, body)


def _with_body(response: httpx.Response, body: bytes) -> httpx.Response:
    """Return a response whose body is read, for clients of both kinds."""
    return httpx.Response(
        response.status_code, headers=response.headers, stream=httpx.ByteStream(body)
    )


class _CookieJar:
    """Methods of both clients, except those that send requests.

    :ivar cookies: the cookies. Assign those of another client to share its session from here on.
    """

    cookies: httpx.Cookies
    base_url: httpx.URL
    get: Callable[..., Any]
    asgi_transport: Callable[..., Any]
    wsgi_transport: Callable[..., Any]

    def __init__(
        self,
        app: Any,
        base_url: str = "http://shop.test",
        cookies: httpx.Cookies | None = None,
        *,
        raise_app_exceptions: bool = True,
    ) -> None:
        self._app = app
        self._raise = raise_app_exceptions
        is_asgi = any(map(inspect.iscoroutinefunction, (app, app.__call__)))
        make = self.asgi_transport if is_asgi else self.wsgi_transport
        transport = make(app, raise_app_exceptions=raise_app_exceptions)
        super().__init__(  # type: ignore[call-arg]
            transport=transport, base_url=base_url, cookies=cookies
        )

    @property
    def cookie(self) -> str:
        """The value of the one cookie in the jar: what a thief of the session needs."""
        [cookie] = self.cookies.jar
        return cookie.value or ""

    @property
    def id(self) -> str:
        """The session id in the cookie."""
        return self.cookie.partition(".")[0]

    def tab(self) -> Self:
        """Return another tab: it starts with the same cookies, and keeps its own from then on."""
        other = self.stranger()
        other.cookies = self.cookies
        return other

    def stranger(self) -> Self:
        """Return somebody else, without cookies."""
        return type(self)(self._app, str(self.base_url), raise_app_exceptions=self._raise)

    def present(self, cookie: str, path: str = "/") -> Any:
        """Send a request with this Cookie header. The jar is not used and does not change."""
        return self.stranger().get(path, headers={"cookie": cookie})


class Client(_CookieJar, httpx.AsyncClient):
    """A browser with a cookie jar, in front of either middleware. Its requests are awaited.

    Use it in asynchronous tests: requests to an ASGI application run on the test's event loop, so
    several can be under way at once.
    """

    asgi_transport = httpx.ASGITransport
    wsgi_transport = _AwaitedWSGI


class SyncClient(_CookieJar, httpx.Client):
    """The same browser for synchronous code, in front of either middleware.

    Use it in tests with threads or without an event loop, and where a synchronous handler sends a
    request in the middle of another one. Each request to an ASGI application runs on an event loop
    of its own, so the application must not keep anything that belongs to one loop.
    """

    asgi_transport = _EachInItsOwnLoop
    wsgi_transport = httpx.WSGITransport


def finished(result: Any) -> Any:
    """Return what a handler returns whose saves and reloads are done when it yields them.

    It may also yield a request of a `Client` to a WSGI application.
    """
    if not isinstance(result, Generator):
        return result
    return _completed(_driven(result, _done))


async def awaited(result: Any) -> Any:
    """Return what a handler returns, awaiting the saves, reloads and requests that it yields."""
    if not isinstance(result, Generator):
        return result
    return await _driven(result, _awaited)


async def _driven(result: Generator[Any], wait: Callable[[Any], Awaitable[Any]]) -> Any:
    """Return what a handler returns, giving it the outcome of each thing that it yields."""
    resume: Any = result.send
    outcome: Any = None
    while True:
        try:
            pending = resume(outcome)
        except StopIteration as stop:
            return stop.value
        try:
            outcome, resume = await wait(pending), result.send
        except Exception as error:
            outcome, resume = error, result.throw


async def _awaited(pending: Any) -> Any:
    return await pending


async def _done(outcome: Any) -> Any:
    return await outcome if inspect.iscoroutine(outcome) else outcome


def _completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never yields to an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a synchronous handler waited for an event loop")


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
