"""Run two experiments on a session of their own, each with coatcheck and without its conditions.

Each experiment sends two requests whose handling overlaps: both have read the session before one of
them writes. A request waits where a slow connection waits, for the body of its form. The first run
is what the demo does with all requests. In the second one the store ignores the conditions of
writes, as a store does on which the last write wins; all else is the same, the backend too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from ._glass import ASGI, Call, Experiment, Trace, experiment

#: Seconds.
_TIMEOUT: Final = 30.0
_HOOK: Final = 6


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one step of one of the two requests.

    :ivar lane: 0 or 1.
    :ivar text: what happened.
    :ivar kind: ``read``, ``write``, ``refused``, ``end`` or ``wait``.
    :ivar seconds: how long the store took; None for what is no call of the store.
    """

    lane: int
    text: str
    kind: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Hold one run of an experiment.

    :ivar is_good: whether nothing was lost and nobody came back.
    :ivar state: what the session holds afterwards.
    """

    last_write_wins: bool
    steps: list[Step]
    is_good: bool
    state: Mapping[str, Any]


async def race(app: ASGI, base_url: str) -> list[Run]:
    """Let two tabs change different things of one session at the same moment.

    :param app: the demo.
    :param base_url: its URL.
    """
    return [await _run(app, base_url, wins, _race) for wins in (False, True)]


async def late_write(app: ASGI, base_url: str) -> list[Run]:
    """Log out while a slow request writes. See :func:`race` for the parameters."""
    return [await _run(app, base_url, wins, _late_write) for wins in (False, True)]


class SlowBody:
    """Hold the body of a form back until it is released."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._body = urlencode(fields).encode()
        self._released = asyncio.Event()
        #: Set when the application waits for the body: it has read the session then.
        self.is_read = asyncio.Event()

    @property
    def headers(self) -> dict[str, str]:
        return {
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(self._body)),
        }

    def release(self) -> None:
        self._released.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_read.set()
        await self._released.wait()
        yield self._body


async def _run(
    app: ASGI,
    base_url: str,
    last_write_wins: bool,
    scenario: Callable[[httpx.AsyncClient, Experiment], Awaitable[tuple[list[Step], bool, Any]]],
) -> Run:
    notes = Experiment(last_write_wins)
    token = experiment.set(notes)
    transport = httpx.ASGITransport(app=app)
    try:
        async with (
            asyncio.timeout(_TIMEOUT),
            httpx.AsyncClient(transport=transport, base_url=base_url) as http,
        ):
            steps, is_good, state = await scenario(http, notes)
    finally:
        experiment.reset(token)
    return Run(last_write_wins, steps, is_good, state)


async def _race(http: httpx.AsyncClient, notes: Experiment) -> tuple[list[Step], bool, Any]:
    token = (await http.get("/state")).json()["token"]
    first = SlowBody({"token": token, "item": "scarf"})
    second = SlowBody({"token": token, "hook": str(_HOOK)})
    cookies = dict(http.cookies)
    tabs = [_send(http, "/cart/add", first, cookies), _send(http, "/hooks", second, cookies)]
    tasks = [asyncio.ensure_future(tab) for tab in tabs]
    await asyncio.gather(first.is_read.wait(), second.is_read.wait())
    for slow, task in zip((first, second), tasks, strict=True):
        slow.release()
        await task
    lanes = _lanes(notes, "/cart/add", "/hooks")
    state = (await http.get("/state")).json()
    await http.post("/logout", data={"token": token})
    steps = _steps(lanes, ["writes the cart", "writes the hook"])
    return steps, state["cart"] == {"scarf": 1} and state["hooks"] == [_HOOK], state


async def _late_write(http: httpx.AsyncClient, notes: Experiment) -> tuple[list[Step], bool, Any]:
    token = (await http.get("/state")).json()["token"]
    await http.post("/login", data={"token": token, "name": "Ann"})
    token = (await http.get("/state")).json()["token"]
    cookies = dict(http.cookies)
    slow = SlowBody({"token": token, "item": "umbrella"})
    task = asyncio.ensure_future(_send(http, "/cart/add", slow, cookies))
    await slow.is_read.wait()
    await _send(http, "/logout", _ready({"token": token}), cookies)
    slow.release()
    await task
    lanes = _lanes(notes, "/cart/add", "/logout")
    http.cookies.clear()
    state = (await http.get("/state", headers=_cookie_header(cookies))).json()
    if state["user"]:
        fields = _ready({"token": state["token"]})
        await _send(http, "/logout", fields, cookies)
    steps = _steps(lanes, ["writes the cart", "ends the session"])
    return steps, state["user"] is None, state


def _ready(fields: Mapping[str, str]) -> SlowBody:
    """Return a body that is sent at once."""
    body = SlowBody(fields)
    body.release()
    return body


async def _send(
    http: httpx.AsyncClient, path: str, body: SlowBody, cookies: Mapping[str, str]
) -> httpx.Response:
    headers = {**body.headers, **_cookie_header(cookies)}
    return await http.post(path, content=body, headers=headers)


def _cookie_header(cookies: Mapping[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def _lanes(notes: Experiment, *paths: str) -> list[Trace]:
    """Return the two requests of the experiment: the last ones to their paths."""
    return [next(trace for trace in reversed(notes.traces) if trace.path == path) for path in paths]


def _steps(lanes: list[Trace], writes: list[str]) -> list[Step]:
    """Return what both requests did, in the order in which it happened."""
    found: list[tuple[float, Step]] = []
    for lane, trace in enumerate(lanes):
        was_refused = False
        for call in trace.calls:
            step = _step(lane, call, was_refused, writes[lane], trace.last_write_wins)
            was_refused = was_refused or step.kind == "refused"
            found.append((call.began, step))
        if "gone" in trace.kinds:
            text = "drops its change: the session has ended"
            found.append((trace.ended, Step(lane, text, "end")))
    return [step for _, step in sorted(found, key=lambda pair: pair[0])]


def _step(lane: int, call: Call, was_refused: bool, writes: str, last_write_wins: bool) -> Step:
    if call.operation == "get":
        text = "reads again" if was_refused else "reads the session"
        return Step(lane, text, "read", call.seconds)
    if call.operation == "destroy":
        return Step(lane, writes, "end", call.seconds)
    if call.operation == "touch":
        return Step(lane, "moves the expiry", "write", call.seconds)
    if not call.outcome:
        text = "must not write: the session is no longer what was read"
        return Step(lane, text, "refused", call.seconds)
    if last_write_wins:
        return Step(lane, f"{writes} over all that is there", "write", call.seconds)
    text = "writes both changes" if was_refused else writes
    return Step(lane, text, "write", call.seconds)
