"""What a request costs at the server, and what many at once do to one session."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
from redis_backend import Backend

import redis
from coatcheck import AsyncStore
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_redis import AsyncRedisStore, RedisStore

SECRET = "a secret of the tests, of 32 bytes"


def act(path: str, session: Any) -> None:
    """What the applications do: nothing, look, or write."""
    if path == "/read":
        session.get("n")
    elif path == "/write":
        session["n"] = session.get("n", 0) + 1
    elif path.startswith("/put/"):
        session[path.removeprefix("/put/")] = 1


def asgi(store: Any, **options: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        act(scope["path"], scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return ASGISessions(app, secret=SECRET, store=store, **options)


def wsgi(store: Any, **options: Any) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        act(environ["PATH_INFO"], environ["coatcheck.session"])
        start_response("200 OK", [])
        return [b"ok"]

    return WSGISessions(app, secret=SECRET, store=store, **options)


def trips(server_url: str, visit: Callable[[str], None], path: str) -> int:
    """Return how many commands clients send in a visit, but for a connection's greeting.

    MONITOR tells them from those of scripts, which INFO commandstats does not.
    """
    end = "the end of this visit"
    watching, marking = redis.Redis.from_url(server_url), redis.Redis.from_url(server_url)
    with watching, marking, watching.monitor() as monitor:
        visit(path)
        marking.echo(end)
        seen = 0
        for command in monitor.listen():
            words = command["command"].split()
            if end in command["command"]:
                return seen
            greeting = words[0].upper() in ("CLIENT", "HELLO", "SELECT", "AUTH")
            seen += command["client_type"] != "lua" and not greeting
    raise AssertionError("MONITOR ended")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_trips_of_a_request(backend: Backend, kind: str) -> None:
    """None without a cookie or for a touch that is not due, one to read or begin, two to write."""
    cookies: dict[str, str] = {}

    def count(path: str) -> int:
        return trips(backend.server_url, visit, path)

    with asyncio.Runner() as runner:
        if kind == "sync":
            store = RedisStore.from_url(backend.url)
            app = wsgi(store)

            def visit(path: str) -> None:
                with httpx.Client(transport=httpx.WSGITransport(app), cookies=cookies) as client:
                    cookies.update(client.get(f"https://shop.test{path}").cookies)

        else:
            other = AsyncRedisStore.from_url(backend.url)
            app = asgi(other)

            def visit(path: str) -> None:
                async def visited() -> httpx.Response:
                    transport = httpx.ASGITransport(app)
                    async with httpx.AsyncClient(transport=transport, cookies=cookies) as client:
                        return await client.get(f"https://shop.test{path}")

                cookies.update(runner.run(visited()).cookies)

        assert count("/nothing") == 0
        assert count("/read") == 0
        visit("/write")
        visit("/write")  # the server has the scripts now, that of changes, too
        cookies.clear()
        assert count("/write") == 1
        assert count("/nothing") == (
            0 if kind == "sync" else 1
        )  # ASGI loads before the application
        assert count("/read") == 1  # the touch is not due
        assert count("/write") == 2
        if kind == "sync":
            store.close()
        else:
            runner.run(other.close())


def test_32_tasks_on_one_session_lose_nothing_and_take_few_attempts(backend: Backend) -> None:
    """In one process they take turns: at most three attempts each."""
    attempts: Counter[str] = Counter()
    writer = ContextVar("writer", default="first")

    class Store(AsyncRedisStore):
        async def set(self, *args: Any, **more: Any) -> bool:
            attempts[writer.get()] += 1
            return await super().set(*args, **more)

    async def story() -> None:
        store: AsyncStore = Store.from_url(backend.url)
        transport = httpx.ASGITransport(asgi(store))
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.test") as client:
            await client.get("/put/first")  # the client keeps the cookie

            async def write(path: str) -> int:
                writer.set(path)
                return (await client.get(path)).status_code

            paths = [f"/put/key{number}" for number in range(32)]
            assert set(await asyncio.gather(*map(write, paths))) == {200}
        ((_, found),) = [item async for item in store.all()]
        assert set(json.loads(found.data)["d"]) == {"first"} | {f"key{n}" for n in range(32)}
        assert set(attempts) == {"first", *paths}
        assert max(attempts.values()) <= 3
        await store.close()

    asyncio.run(story())
