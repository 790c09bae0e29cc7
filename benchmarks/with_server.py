"""Stores with servers behind the middleware, against a baseline of their plain client libraries.

The baseline is the code that one would write by hand: verify the cookie, read, decode; encode,
write with a time to live. It overwrites the changes of parallel requests, and revives ended
sessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.baseline import sign, verify
from coatcheck import AsyncStore, Store
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions

SECRET = "benchmark secret of 32 bytes or more"
#: Seconds that a session lives.
LIFETIME = 86_400
#: Ratios to the baseline, by API and scenario.
Budgets = dict[str, dict[str, float]]
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


@dataclass(frozen=True)
class Candidate:
    """A store that is measured, and its client library.

    :ivar name: the store's.
    :ivar budgets: the allowed ratios.
    :ivar store: the synchronous store.
    :ivar async_store: the asynchronous one.
    :ivar get: reads the data under a key, or None, with the plain client.
    :ivar set: writes the data, for :data:`LIFETIME`.
    :ivar async_get: the same with the asynchronous client, on a running event loop.
    :ivar async_set: the same.
    :ivar timer: returns seconds: real time, or the process's CPU time if a slow server would hide
        all other costs.
    """

    name: str
    budgets: Budgets
    store: Store
    async_store: AsyncStore
    get: Callable[[str], bytes | str | None]
    set: Callable[[str, bytes], object]
    async_get: Callable[[str], Awaitable[bytes | str | None]]
    async_set: Callable[[str, bytes], Awaitable[object]]
    timer: Callable[[], float] = time.perf_counter


class Baseline:
    """Sign, encode and compare, for both baselines."""

    def place(self, session_id: str) -> str:
        """Return the key under which the client library stores a session."""
        return f"baseline:{hashlib.sha256(session_id.encode()).hexdigest()}"

    def known(self, header: str | None) -> str | None:
        """Return the id in a Cookie header, or None."""
        return None if header is None else verify(header)

    def decoded(self, stored: bytes | str | None) -> dict[str, Any]:
        """Return the stored data, or an empty dictionary."""
        return {} if stored is None else json.loads(stored)

    def changed(self, stored: bytes | str | None, data: dict[str, Any]) -> bytes | None:
        """Return what to write, or None if the data are as they were."""
        text = json.dumps(data, separators=(",", ":"))
        before = stored.decode() if isinstance(stored, bytes) else stored
        return None if text == (before or "{}") else text.encode()

    def fresh(self) -> tuple[str, str]:
        """Return a new id and its cookie."""
        session_id = secrets.token_urlsafe(24)
        return session_id, f"sid={sign(session_id)}; Path=/; HttpOnly; SameSite=Lax"


class ASGIBaseline(Baseline):
    """Keep sessions for an ASGI application with the asynchronous client."""

    def __init__(self, app: Any, candidate: Candidate) -> None:
        self.app, self.candidate = app, candidate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        header = None
        for name, value in scope["headers"]:
            if name == b"cookie":
                header = value.decode("latin-1")
        session_id = self.known(header)
        stored = (
            None if session_id is None else await self.candidate.async_get(self.place(session_id))
        )
        data = scope["session"] = self.decoded(stored)

        async def send_with_cookie(message: Any) -> None:
            nonlocal session_id
            if message["type"] == "http.response.start":
                encoded = self.changed(stored, data)
                if encoded is not None:
                    cookie = None
                    if stored is None:
                        session_id, cookie = self.fresh()
                    await self.candidate.async_set(self.place(session_id), encoded)
                    if cookie is not None:
                        headers = [*message["headers"], (b"set-cookie", cookie.encode())]
                        message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


class WSGIBaseline(Baseline):
    """Keep sessions for a WSGI application with the synchronous client."""

    def __init__(self, app: Any, candidate: Candidate) -> None:
        self.app, self.candidate = app, candidate

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Handle one request."""
        session_id = self.known(environ.get("HTTP_COOKIE"))
        stored = None if session_id is None else self.candidate.get(self.place(session_id))
        data = environ["coatcheck.session"] = self.decoded(stored)

        def start_with_cookie(status: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal session_id
            encoded = self.changed(stored, data)
            if encoded is not None:
                if stored is None:
                    session_id, cookie = self.fresh()
                    headers = [*headers, ("Set-Cookie", cookie)]
                self.candidate.set(self.place(session_id), encoded)
            return start_response(status, headers)

        return self.app(environ, start_with_cookie)


def act(scenario: str, session: Any, filling: dict[str, Any]) -> None:
    """Do what the scenario's application does with its session."""
    if scenario == "read":
        session["user_id"]
    elif scenario == "write":
        session["visits"] += 1
    else:
        session.update(filling)


def against_the_baseline(
    candidate: Candidate, runner: asyncio.Runner, data: dict[str, Any], rounds: int
) -> None:
    """Print µs per request, and the medians of each round's ratio.

    :param runner: the runner of the event loop for the candidate's asynchronous store.
    """
    print(f"\n{candidate.name + ' store':16}{'baseline':>9}{'coatcheck':>11}{'ratio':>7}  budget")
    for api, rows in (
        ("async", _asynchronous(candidate, runner, data, rounds)),
        ("sync", _synchronous(candidate, data, rounds)),
    ):
        for scenario, pairs in rows:
            baseline, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(our / low for low, our in pairs)
            budget = candidate.budgets[api].get(scenario)
            met = "" if budget is None else f"<= {budget}" + " MISSED" * (ratio > budget)
            label = f"{api} {scenario}"
            print(f"{label:16}{baseline:9.1f}{ours:11.1f}{ratio:7.2f}  {met}", flush=True)


_Rows = Iterator[tuple[str, list[tuple[float, float]]]]


def _asynchronous(
    candidate: Candidate, runner: asyncio.Runner, data: dict[str, Any], rounds: int
) -> _Rows:
    async def seconds(app: Any, cookie: str | None, calls: int) -> tuple[float, str]:
        headers = [(b"host", b"shop.test")]
        if cookie is not None:
            headers.append((b"cookie", cookie.encode()))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent[:1] = [message] if message["type"] == "http.response.start" else sent[:1]

        start = candidate.timer()
        for _ in range(calls):
            await app(
                {"type": "http", "scheme": "http", "path": "/", "headers": headers}, None, send
            )
        taken = candidate.timer() - start
        line = dict(sent[0]["headers"]).get(b"set-cookie", b"").decode()
        return taken / calls * 1e6, line.partition(";")[0]

    def application(scenario: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            act(scenario, scope["session"], data)
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b"ok"})

        return app

    yield from _measured(
        lambda scenario: ASGIBaseline(application(scenario), candidate),
        lambda scenario: ASGISessions(
            application(scenario), secret=SECRET, store=candidate.async_store
        ),
        lambda *case: runner.run(seconds(*case)),
        rounds,
    )


def _synchronous(candidate: Candidate, data: dict[str, Any], rounds: int) -> _Rows:
    def seconds(app: Any, cookie: str | None, calls: int) -> tuple[float, str]:
        seen: dict[str, str] = {}

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            seen.update({name.lower(): value for name, value in headers})

        start = candidate.timer()
        for _ in range(calls):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
            if cookie is not None:
                environ["HTTP_COOKIE"] = cookie
            list(app(environ, start_response))
        taken = candidate.timer() - start
        return taken / calls * 1e6, seen.get("set-cookie", "").partition(";")[0]

    def application(scenario: str) -> Any:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            act(scenario, environ["coatcheck.session"], data)
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        return app

    yield from _measured(
        lambda scenario: WSGIBaseline(application(scenario), candidate),
        lambda scenario: WSGISessions(application(scenario), secret=SECRET, store=candidate.store),
        seconds,
        rounds,
    )


def _measured(
    baseline: Callable[[str], Any],
    ours: Callable[[str], Any],
    seconds: Callable[[Any, str | None, int], tuple[float, str]],
    rounds: int,
) -> _Rows:
    both = baseline, ours
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
