"""Record what happens to each request: the glass wall beside the pages.

:class:`Glass` is around the application and begins a :class:`Trace` for each request. The session
events and the calls of the store are added to it. Nothing in a trace can be used to log in.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from coatcheck import SessionEvent

#: How many requests of a visitor are kept, and of how many visitors.
REQUESTS: Final = 8
VISITORS: Final = 500
#: The place of the wall in a page.
PLACE: Final = "<!--glass-->"

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}

#: The request that is being handled.
current: Final[ContextVar[Trace | None]] = ContextVar("current", default=None)
#: Where traces go instead of a visitor's wall, and whether the last write wins: experiments.
experiment: Final[ContextVar[Experiment | None]] = ContextVar("experiment", default=None)

ASGI = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one call of the store.

    :ivar began: seconds of :func:`time.perf_counter`, as ``seconds``, which is how long it took.
    :ivar outcome: what the store returned, as True or False; None where it raised.
    """

    operation: str
    began: float
    seconds: float
    outcome: bool | None


@dataclass(slots=True)
class Trace:
    """Hold what happened to one request.

    :ivar cookie_in: how many characters the session cookie had; 0 where none came.
    :ivar is_signed: whether the framework signs its session cookie.
    :ivar cookie_out: what the response did with the cookie, in words; empty where it sent none.
    :ivar session: the name under which the session is listed, which cannot be used to log in; None
        where no stored session was used.
    :ivar changed: the keys of the session that the request changed.
    :ivar merged_with: the numbers of the requests whose changes were stored meanwhile.
    """

    number: int
    method: str
    path: str
    cookie_in: int
    is_signed: bool = True
    last_write_wins: bool = False
    began: float = field(default_factory=time.perf_counter)
    ended: float = 0.0
    status: int = 0
    events: list[SessionEvent] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    session: str | None = None
    changed: list[str] = field(default_factory=list)
    merged_with: list[int] = field(default_factory=list)
    cookie_out: str = ""

    @property
    def kinds(self) -> set[str]:
        """The kinds of its events."""
        return {event.kind for event in self.events}

    @property
    def ref(self) -> str | None:
        """A short name for the session, which cannot be used to log in; the last one it had."""
        return next((event.ref for event in reversed(self.events) if event.ref), None)

    @property
    def stored(self) -> float:
        """When its change was stored, by :func:`time.perf_counter`."""
        written = [each for each in self.calls if each.operation == "set" and each.outcome]
        return written[-1].began + written[-1].seconds if written else self.ended

    def was_merged_with(self, other: Trace) -> bool:
        """Tell whether another request changed the same session while this one was handled."""
        return (
            other is not self
            and bool(other.changed)
            and other.ref == self.ref
            and self.began < other.stored <= self.stored
        )

    @property
    def store_seconds(self) -> float:
        """How long the request waited for the store."""
        return sum(call.seconds for call in self.calls)


@dataclass(slots=True)
class Experiment:
    """Collect the requests of an experiment.

    :ivar last_write_wins: whether the store ignores the condition of a write.
    """

    last_write_wins: bool
    traces: list[Trace] = field(default_factory=list)


@dataclass(slots=True)
class Visitor:
    """Hold what one visitor sees on the wall.

    :ivar results: the last result of each experiment, by its path.
    """

    traces: deque[Trace] = field(default_factory=lambda: deque(maxlen=REQUESTS))
    results: dict[str, Any] = field(default_factory=dict)
    requests: int = 0

    def next_number(self) -> int:
        """Count a request that begins."""
        self.requests += 1
        return self.requests

    def shown(self) -> list[Trace]:
        """Return the requests, the newest first, and find out with which each was merged."""
        for trace in self.traces:
            if "merged" in trace.kinds:
                trace.merged_with = sorted(
                    other.number for other in self.traces if trace.was_merged_with(other)
                )
        return sorted(self.traces, key=lambda trace: -trace.number)


class Visitors:
    """Keep the visitors in memory. Those who come back least are forgotten first."""

    def __init__(self) -> None:
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()

    def find(self, name: str | None) -> Visitor | None:
        """Return the visitor whose cookie this is."""
        found = self._visitors.get(name or "")
        if found is not None:
            self._visitors.move_to_end(name or "")
        return found

    def add(self, visitor: Visitor) -> str:
        """Keep a visitor, and return the value of a cookie for it."""
        name = secrets.token_urlsafe(18)
        self._visitors[name] = visitor
        if len(self._visitors) > VISITORS:
            self._visitors.popitem(last=False)
        return name


def observe(event: SessionEvent) -> None:
    """Add an event to the present request: an observer, as applications have them."""
    trace = current.get()
    if trace is not None:
        trace.events.append(event)


@contextmanager
def calling(operation: str) -> Iterator[list[object]]:
    """Add a call of the store to the present request. The block appends what it returned."""
    trace, began = current.get(), time.perf_counter()
    outcome: list[object] = []
    try:
        yield outcome
    finally:
        if trace is not None:
            result = bool(outcome[0]) if outcome else None
            trace.calls.append(Call(operation, began, time.perf_counter() - began, result))


@contextmanager
def watching(session: Mapping[str, Any], ref_of: Callable[[], str | None]) -> Iterator[list[str]]:
    """Note which keys of a session the block changes, and give their names when it has ended.

    :param ref_of: returns the name of the session, which was read by then.
    """
    before, changed = _values(session), list[str]()
    trace = current.get()
    if trace is not None:
        trace.session = ref_of()
    yield changed
    after = _values(session)
    changed += sorted(
        key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    )
    if trace is not None:
        trace.changed = changed


class Glass:
    """Record each request, and put the wall into each page.

    :param app: the application, with its sessions.
    :param cookie_name: the name of the session cookie.
    :param https: whether the demo is served over https.
    :param is_signed: whether the framework signs its session cookie.
    :param render: makes the wall's HTML from the requests, the newest first.
    :param experiments: run after a POST to their path was accepted.
    """

    def __init__(
        self,
        app: ASGI,
        *,
        cookie_name: str,
        https: bool,
        is_signed: bool,
        render: Callable[[list[Trace]], str],
        experiments: Mapping[str, Callable[[ASGI], Awaitable[object]]],
    ) -> None:
        self._app = app
        self._cookie_name = cookie_name
        self._name = "__Host-glass" if https else "glass"
        self._secure = "; Secure" if https else ""
        self._is_signed = is_signed
        self._render = render
        self._experiments = experiments
        self._visitors = Visitors()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cookies = _cookies(scope)
        running = experiment.get()
        known = None if running else self._visitors.find(cookies.get(self._name))
        visitor = known or Visitor()
        given = cookies.get(self._cookie_name, "")
        number = visitor.next_number()
        trace = Trace(number, scope["method"], scope["path"], len(given), self._is_signed)
        trace.last_write_wins = running is not None and running.last_write_wins
        token = current.set(trace)
        shown = _shown.set(visitor)
        try:
            start, body = await _response(self._app, scope, receive)
        finally:
            current.reset(token)
            _shown.reset(shown)
        headers = [*start["headers"], *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
        trace.status, trace.ended = start["status"], time.perf_counter()
        trace.cookie_out = _sent(headers, self._cookie_name, given)
        if running is not None:
            running.traces.append(trace)
        else:
            visitor.traces.append(trace)
            run = self._experiments.get(trace.path)
            if run is not None and trace.method == "POST" and trace.status == 303:
                visitor.results[trace.path] = await run(self)
            if known is None and trace.cookie_out:
                line = f"{self._name}={self._visitors.add(visitor)}; Path=/; HttpOnly; "
                headers.append((b"set-cookie", f"{line}SameSite=Lax{self._secure}".encode()))
        if body and PLACE.encode() in body:
            wall = self._render(visitor.shown())
            body = body.replace(PLACE.encode(), wall.encode())
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_shown: Final[ContextVar[Visitor | None]] = ContextVar("visitor", default=None)


def result_of(path: str) -> Any:
    """Return the present visitor's last result of an experiment, or None."""
    visitor = _shown.get()
    return visitor.results.get(path) if visitor else None


async def _response(
    app: ASGI, scope: MutableMapping[str, Any], receive: Any
) -> tuple[MutableMapping[str, Any], bytes]:
    """Return the whole response of an application: its start and its body."""
    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return start, b"".join(parts)


def _values(session: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): json.dumps(value, default=str) for key, value in session.items()}


def _cookies(scope: Mapping[str, Any]) -> dict[str, str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    pairs = (pair.strip().partition("=") for line in lines for pair in line.split(";"))
    return {name: value for name, _, value in pairs}


def _sent(headers: list[tuple[bytes, bytes]], name: str, given: str) -> str:
    """Say what a response does with the session cookie."""
    for key, value in headers:
        cookie: SimpleCookie = SimpleCookie()
        try:
            if key.lower() == b"set-cookie":
                cookie.load(value.decode("latin-1"))
        except CookieError:
            continue
        if name in cookie:
            return _described(cookie[name], given)
    return ""


def _described(cookie: Any, given: str) -> str:
    if cookie["max-age"] == "0" or "1970" in cookie["expires"]:
        return "removed"
    kind = "sent again" if cookie.value == given else "a new id"
    lasts = cookie["max-age"]
    how_long = f"for {int(lasts) // 86400} days" if lasts else "until the browser closes"
    flags = ("httponly", "HttpOnly"), ("secure", "Secure")
    marks = [mark for key, mark in flags if cookie[key]]
    if cookie["samesite"]:
        marks.append(f"SameSite={cookie['samesite']}")
    return ", ".join([kind, how_long, *marks])
