"""The Redis store behind the middleware, against a floor of plain redis-py.

The floor is what one would write by hand: verify the cookie, GET, decode; encode, SET with a time
to live. It overwrites what parallel requests wrote, and revives what was logged out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis.asyncio

import redis
from benchmarks.floor import sign, verify
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_redis import AsyncRedisStore, RedisStore
from servers.redis import server

SECRET = "benchmark secret of 32 bytes or more"
#: The budgets: ratios to the floor.
BUDGETS = {
    "async": {"read": 1.35, "write": 1.4, "new": 1.3},
    "sync": {"read": 1.6, "write": 1.6, "new": 1.6},
}
#: Seconds.
LIFETIME = 86_400
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


class Floor:
    """What both floors share; `data` is None where nothing is to be written."""

    def place(self, session_id: str) -> str:
        return f"floor:{hashlib.sha256(session_id.encode()).hexdigest()}"

    def known(self, header: str | None) -> str | None:
        return None if header is None else verify(header)

    def decoded(self, stored: bytes | None) -> dict[str, Any]:
        return {} if stored is None else json.loads(stored)

    def changed(self, stored: bytes | None, data: dict[str, Any]) -> bytes | None:
        encoded = json.dumps(data, separators=(",", ":")).encode()
        return None if encoded == (stored or b"{}") else encoded

    def fresh(self) -> tuple[str, str]:
        session_id = secrets.token_urlsafe(24)
        return session_id, f"sid={sign(session_id)}; Path=/; HttpOnly; SameSite=Lax"


class ASGIFloor(Floor):
    def __init__(self, app: Any, client: Any) -> None:
        self.app, self.client = app, client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        header = None
        for name, value in scope["headers"]:
            if name == b"cookie":
                header = value.decode("latin-1")
        session_id = self.known(header)
        stored = None if session_id is None else await self.client.get(self.place(session_id))
        data = scope["session"] = self.decoded(stored)

        async def send_with_cookie(message: Any) -> None:
            nonlocal session_id
            if message["type"] == "http.response.start":
                encoded = self.changed(stored, data)
                if encoded is not None:
                    cookie = None
                    if stored is None:
                        session_id, cookie = self.fresh()
                    await self.client.set(self.place(session_id), encoded, ex=LIFETIME)
                    if cookie is not None:
                        headers = [*message["headers"], (b"set-cookie", cookie.encode())]
                        message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


class WSGIFloor(Floor):
    def __init__(self, app: Any, client: Any) -> None:
        self.app, self.client = app, client

    def __call__(self, environ: Any, start_response: Any) -> Any:
        session_id = self.known(environ.get("HTTP_COOKIE"))
        stored = None if session_id is None else self.client.get(self.place(session_id))
        data = environ["coatcheck.session"] = self.decoded(stored)

        def start_with_cookie(status: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal session_id
            encoded = self.changed(stored, data)
            if encoded is not None:
                if stored is None:
                    session_id, cookie = self.fresh()
                    headers = [*headers, ("Set-Cookie", cookie)]
                self.client.set(self.place(session_id), encoded, ex=LIFETIME)
            return start_response(status, headers)

        return self.app(environ, start_with_cookie)


def act(scenario: str, session: Any, filling: dict[str, Any]) -> None:
    if scenario == "read":
        session["user_id"]
    elif scenario == "write":
        session["visits"] += 1
    else:
        session.update(filling)


def against_the_floor(data: dict[str, Any], rounds: int) -> None:
    """Print µs per request, and the medians of each round's ratio."""
    print(f"\n{'redis store':16}{'floor':>9}{'coatcheck':>11}{'ratio':>7}  budget")
    with server() as url, asyncio.Runner() as runner:
        for face, rows in (
            ("async", _asynchronous(runner, url, data, rounds)),
            ("sync", _synchronous(url, data, rounds)),
        ):
            for scenario, pairs in rows:
                floor, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratio = statistics.median(our / low for low, our in pairs)
                budget = BUDGETS[face][scenario]
                met = f"<= {budget}" + " MISSED" * (ratio > budget)
                label = f"{face} {scenario}"
                print(f"{label:16}{floor:9.1f}{ours:11.1f}{ratio:7.2f}  {met}", flush=True)
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(match="floor:*", count=1000):
                client.unlink(key)
        RedisStore.from_url(f"{url}?prefix=benchmark:").clear()


_Rows = Iterator[tuple[str, list[tuple[float, float]]]]


def _asynchronous(runner: asyncio.Runner, url: str, data: dict[str, Any], rounds: int) -> _Rows:
    store = AsyncRedisStore.from_url(f"{url}?prefix=benchmark:")
    client = runner.run(_made(url))

    async def seconds(app: Any, cookie: str | None, calls: int) -> tuple[float, str]:
        headers = [(b"host", b"shop.test")]
        if cookie is not None:
            headers.append((b"cookie", cookie.encode()))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent[:1] = [message] if message["type"] == "http.response.start" else sent[:1]

        start = time.perf_counter()
        for _ in range(calls):
            await app(
                {"type": "http", "scheme": "http", "path": "/", "headers": headers}, None, send
            )
        taken = time.perf_counter() - start
        line = dict(sent[0]["headers"]).get(b"set-cookie", b"").decode()
        return taken / calls * 1e6, line.partition(";")[0]

    def application(scenario: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            act(scenario, scope["session"], data)
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b"ok"})

        return app

    yield from _measured(
        lambda scenario: ASGIFloor(application(scenario), client),
        lambda scenario: ASGISessions(application(scenario), secret=SECRET, store=store),
        lambda *case: runner.run(seconds(*case)),
        rounds,
    )
    runner.run(client.aclose())
    runner.run(store.close())


async def _made(url: str) -> Any:
    return redis.asyncio.Redis.from_url(url)


def _synchronous(url: str, data: dict[str, Any], rounds: int) -> _Rows:
    store = RedisStore.from_url(f"{url}?prefix=benchmark:")
    client = redis.Redis.from_url(url)

    def seconds(app: Any, cookie: str | None, calls: int) -> tuple[float, str]:
        seen: dict[str, str] = {}

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            seen.update({name.lower(): value for name, value in headers})

        start = time.perf_counter()
        for _ in range(calls):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
            if cookie is not None:
                environ["HTTP_COOKIE"] = cookie
            list(app(environ, start_response))
        taken = time.perf_counter() - start
        return taken / calls * 1e6, seen.get("set-cookie", "").partition(";")[0]

    def application(scenario: str) -> Any:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            act(scenario, environ["coatcheck.session"], data)
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        return app

    yield from _measured(
        lambda scenario: WSGIFloor(application(scenario), client),
        lambda scenario: WSGISessions(application(scenario), secret=SECRET, store=store),
        seconds,
        rounds,
    )
    client.close()
    store.close()


def _measured(
    floor: Callable[[str], Any],
    ours: Callable[[str], Any],
    seconds: Callable[[Any, str | None, int], tuple[float, str]],
    rounds: int,
) -> _Rows:
    both = floor, ours
    cookies = [seconds(make("new"), None, 20)[1] for make in both]
    for scenario in ("read", "write", "new"):
        used = cookies if scenario != "new" else [None, None]
        apps = [make(scenario) for make in both]
        pairs = []
        for _ in range(rounds):
            low, our = (
                seconds(app, cookie, 100)[0] for app, cookie in zip(apps, used, strict=True)
            )
            pairs.append((low, our))
        yield scenario, pairs
