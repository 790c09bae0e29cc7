"""The pages in docs/explanation and their pictures show what happens."""

from __future__ import annotations

import base64
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from webclient import Client, Clock, CountingStore, SyncClient, asgi_app, set_cookies, wsgi_app

from coatcheck import CookieOptions, MemoryStore
from testing.pictures import Bar, Conversation, Mark, Message, Timeline

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[3] / "docs"
OPERATIONS = re.compile("`(get|set|touch|destroy)`")
MINUTES = 60.0


def picture(name: str) -> Any:
    return runpy.run_path(str(DOCS / "pictures" / f"{name}.py"))["PICTURE"]


def operations(name: str) -> list[str]:
    """Return the operations that a picture shows, from top to bottom."""
    shown = picture(name)
    assert isinstance(shown, Conversation)
    asked = [step for step in shown.steps if isinstance(step, Message) and step.receiver == "store"]
    return ["".join(OPERATIONS.findall(message.text)) for message in asked]


def marks(name: str, heading: str) -> list[Mark]:
    return [item for item in _row(name, heading) if isinstance(item, Mark)]


def bars(name: str, heading: str) -> list[Bar]:
    return [item for item in _row(name, heading) if isinstance(item, Bar)]


def _row(name: str, heading: str) -> Any:
    shown = picture(name)
    assert isinstance(shown, Timeline)
    (row,) = (row for row in shown.rows if row.heading.startswith(heading))
    return row.items


class Shop:
    """A shop whose requests can meet: while one runs, another process serves a second one."""

    def __init__(self, slow: str, fast: str) -> None:
        self.store = CountingStore()
        self.slow, self.fast = slow, fast
        self.elsewhere = SyncClient(wsgi_app(self.page, store=self.store))
        self.visitor = SyncClient(wsgi_app(self.page, store=self.store))
        self.visitor.get("/login")
        self.store.taken()

    def page(self, session: Any, environ: dict[str, Any]) -> object:
        path = environ["PATH_INFO"]
        if path == self.slow:
            session.load()
            self.elsewhere.present(f"sid={self.visitor.cookie}", self.fast)
        match path:
            case "/login":
                session["user"] = "ann"
            case "/logout":
                session.destroy()
            case "/cart" | "/report":
                session[path.strip("/")] = 1
            case "/theme":
                session["theme"] = "dark"
            case "/show":
                return dict(session)
        return session.get("user")


def test_a_changing_request_reads_and_writes_once() -> None:
    shop = Shop("", "")
    shop.visitor.get("/cart")
    assert shop.store.taken() == operations("request") == ["get", "set"]


#: What the requests of the table in request.md do, in its order, and seconds before it.
STEPS: list[tuple[str, float]] = [
    ("/", 0),
    ("/read", 0),
    ("/begin", 0),
    ("/read", 0),
    ("/read", 70),
    ("/change", 0),
    ("/login", 0),
    ("/rotate", 0),
    ("/logout", 0),
]


def test_what_a_request_costs() -> None:
    """Each row of the table has the calls and the cookie of a real request."""
    page = (DOCS / "explanation" / "request.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| ((?:`|none).*?) \| (.+?) \|$", page, re.MULTILINE)
    clock = Clock()
    store = CountingStore(clock=clock)

    def shop(session: Any, environ: dict[str, Any]) -> None:
        match environ["PATH_INFO"]:
            case "/read":
                session.get("user")
            case "/begin" | "/change":
                session["n"] = session.get("n", 0) + 1
            case "/login":
                session.regenerate()
                session["user"] = 42
            case "/rotate":
                session.regenerate(keep_data=True)
            case "/logout":
                session.destroy()

    visitor = SyncClient(wsgi_app(shop, store=store, clock=clock))
    seen = []
    for path, pause in STEPS:
        clock.advance(pause)
        cookies = set_cookies(visitor.get(path))
        sets = "removes it" if "Max-Age=0" in str(cookies) else "yes" if cookies else "no"
        seen.append((", ".join(f"`{call}`" for call in store.taken()) or "none", sets))
    assert seen == [(calls, sets) for _, calls, sets in rows]


def test_a_logout_meets_a_slow_request() -> None:
    shop = Shop("/report", "/logout")
    response = shop.visitor.get("/report")
    assert shop.store.taken() == operations("race_logout")
    assert set_cookies(response) == []
    assert shop.store.length() == 0


def test_two_requests_change_one_session() -> None:
    shop = Shop("/cart", "/theme")
    shop.visitor.get("/cart")
    assert shop.store.taken() == operations("race_merge")
    stored = shop.visitor.get("/show").text
    assert stored == "{'user': 'ann', 'theme': 'dark', 'cart': 1}"


async def read_at(times: list[float], **options: Any) -> tuple[list[str], list[float], Clock]:
    """Store a session, read it at times, and return what was read and when its record ends."""
    clock = Clock()
    store, start = MemoryStore(clock=clock), clock.now

    def page(session: Any, scope: Any) -> str:
        if scope["path"] == "/login":
            session["user"] = "ann"
        return str(session.get("user", "nobody"))

    visitor = Client(asgi_app(page, store=store, clock=clock, **options))
    read, ends = [], []
    for time in times:
        clock.now = start + time
        read.append((await visitor.get("/login" if time == 0 else "/")).text)
        ends += [record.expires_at - start for _, record in store.all()]
    return read, ends, clock


@pytest.mark.parametrize("visitor", ["Ann", "Bob"])
async def test_timeouts_end_sessions(visitor: str) -> None:
    """Both visitors of the picture have the ends that it shows."""
    requests = marks("lifetime", f"Requests of {visitor}")
    read, ends, _ = await read_at(
        [mark.at * MINUTES for mark in requests],
        idle_timeout=30 * MINUTES,
        absolute_timeout=120 * MINUTES,
    )
    assert read == ["nobody" if mark.tone == "bad" else "ann" for mark in requests]
    if visitor == "Ann":
        shown = [bar.end for bar in bars("lifetime", "How long each")]
        assert [end / MINUTES for end in ends] == shown
        (whole,) = bars("lifetime", "Absolute timeout")
        assert (whole.start, whole.end) == (0, ends[-1] / MINUTES)
    else:
        alive, _ = bars("lifetime", "His session")
        assert alive.end == ends[-1] / MINUTES


async def test_a_touch_is_due_after_a_minute() -> None:
    """The requests that touch are those of the picture, and move the end as it shows."""
    requests = marks("touch", "Requests that only read")
    _, ends, _ = await read_at([mark.at for mark in requests], idle_timeout=30 * MINUTES)
    touched = [mark.at for mark in requests if "touch" in mark.text]
    seen = [mark.at for mark, before, end in zip(requests[1:], ends, ends[1:], strict=False)
            if end != before]  # fmt: skip
    assert seen == touched
    shown = bars("touch", "The end that the record has")
    assert [bar.start for bar in shown] == [0, *touched]
    assert [clock_time(bar.start + 30 * MINUTES) for bar in shown] == [bar.text for bar in shown]
    assert sorted(set(ends)) == [bar.start + 30 * MINUTES for bar in shown]


def clock_time(seconds: float) -> str:
    return f"9:{int(seconds // 60):02}:{int(seconds % 60):02}"


async def test_a_cookie_with_a_lifetime_goes_along() -> None:
    clock = Clock()
    start = clock.now

    def page(session: Any, scope: Any) -> None:
        if scope["path"] == "/login":
            session["user"] = "ann"
        session.get("user")

    lasting = CookieOptions(max_age=30 * MINUTES)
    visitor = Client(asgi_app(page, store=MemoryStore(clock=clock), clock=clock, cookie=lasting))
    sent = []
    for mark in marks("touch", "Requests that only read"):
        clock.now = start + mark.at
        if set_cookies(await visitor.get("/login" if mark.at == 0 else "/")):
            sent.append(mark.at)
    assert sent == [mark.at for mark in marks("touch", "Responses that set the cookie")]


def test_the_page_shows_what_is_stored() -> None:
    """The cookie, the key and the record of the page are what this session has."""
    page = (DOCS / "explanation" / "what-is-stored.md").read_text("utf-8")
    clock = Clock()
    store = MemoryStore(clock=clock)
    session_id = base64.urlsafe_b64encode(b"the id of a session, 24b").decode()

    def login(session: Any, environ: Any) -> None:
        session["user"] = 42

    options = {"secret": "an example, and no secret at all", "owner": "user"}
    app = wsgi_app(login, store=store, clock=clock, generate_id=lambda _: session_id, **options)
    visitor = SyncClient(app, "https://shop.test")
    (line,) = set_cookies(visitor.get("/"))
    ((key, record),) = store.all()
    assert f"Set-Cookie: {line}\n" in page
    assert key in page
    assert record.data.decode() in page
    assert f"{record.expires_at:.0f}" in page
    drawn = (DOCS / "pictures" / "what_is_stored.svg").read_text("utf-8")
    signature = visitor.cookie.rpartition(".")[2]
    for whole in (session_id, signature, key):
        assert f"{whole[:10]}" in drawn
