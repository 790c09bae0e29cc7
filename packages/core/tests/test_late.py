"""Late changes of a session, and changes by other threads and tasks."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from webclient import (
    SECRET,
    Client,
    Clock,
    CountingStore,
    SyncClient,
    YieldingStore,
    asgi_app,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import (
    Capabilities,
    CookieOptions,
    JSONCodec,
    MemoryStore,
    Record,
    SessionOptions,
    Sessions,
    SessionState,
    Store,
)
from coatcheck._stores.runners import AsyncRunner
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import (
    LateWriteError,
    SerializationError,
    SessionUnavailable,
    StoreClosed,
    StoreTimeout,
)
from coatcheck.store import ABSENT, ALWAYS, Condition
from coatcheck.storekit import AsyncBridge, SyncBridge
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio


def act(session: Any, path: str) -> None:
    if path == "/login":
        session["user"] = "ann"
    elif path == "/read":
        session.get("user")


async def replaced_late(store: MemoryStore, replacement: Any, **options: Any) -> None:
    """Log in, and replace the session between the headers and the end of a response."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        act(scope["session"], scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/read":
            scope["session"] = replacement
        await send({"type": "http.response.body", "body": b""})

    browser = Client(ASGISessions(app, secret=SECRET, store=store, **options))
    await browser.get("/login")
    await browser.get("/read")


def replaced_late_under_wsgi(store: MemoryStore, replacement: Any, **options: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        act(environ["coatcheck.session"], environ["PATH_INFO"])
        start_response("200 OK", [])
        yield b"one"
        if environ["PATH_INFO"] == "/read":
            environ["coatcheck.session"] = replacement

    with SyncClient(WSGISessions(app, secret=SECRET, store=store, **options)) as browser:
        browser.get("/login")
        browser.get("/read")


@pytest.mark.parametrize(
    ("replacement", "options", "left"),
    [
        (None, {"unset": "destroy"}, 0),
        (None, {"unset": "keep"}, 1),
        (object(), {}, 1),
        ({"user": "bob"}, {}, 1),
    ],
)
async def test_none_after_the_headers_ends_the_session_and_nothing_else_does(
    driver: str, replacement: Any, options: dict[str, Any], left: int
) -> None:
    """An object that somebody else puts in the session's place is left alone."""
    store = MemoryStore()
    if driver == "asgi":
        await replaced_late(store, replacement, **options)
    else:
        replaced_late_under_wsgi(store, replacement, **options)
    assert store.length() == left
    assert all(b'"ann"' in record.data for _, record in store.all())


async def test_nothing_in_place_of_nothing_is_no_late_write() -> None:
    """A framework that clears a session which nobody has does not break the response."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"] = {}
        await send({"type": "http.response.body", "body": b"public"})

    answer = await Client(ASGISessions(app, secret=SECRET)).get("/")
    assert (answer.text, set_cookies(answer)) == ("public", [])


@pytest.fixture(params=["asgi", "wsgi"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_tasks_that_load_the_session_load_it_once() -> None:
    """A task that waited for another one's load keeps what that one has written since."""
    store = CountingStore()

    async def handle(session: Any, scope: Any) -> None:
        async def put(key: str) -> None:
            await session.load()
            session[key] = 1

        await asyncio.gather(put("a"), put("b"), put("c"))

    browser = Client(asgi_app(handle, store=YieldingStore(store), load="lazy"))
    await browser.get("/")
    store.taken()
    await browser.get("/")
    assert store.taken() == ["get"]
    (record,) = (record for _, record in store.all())
    assert all(f'"{key}":1'.encode() in record.data for key in "abc")


@pytest.mark.parametrize("known", [True, False])
def test_threads_of_one_request_share_its_session(known: bool) -> None:
    """The first use of a session by several threads at once loads it once and loses nothing."""
    store = CountingStore()

    def handle(session: Any, environ: Any) -> None:
        gate = threading.Barrier(4)

        def put(key: str) -> None:
            gate.wait()
            session[key] = 1

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(put, "abcd"))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            with SyncClient(wsgi_app(handle, store=store)) as browser:
                browser.get("/")
                if known:
                    store.taken()
                    browser.get("/")
                    assert store.taken() == ["get"]
        assert all(record.data.count(b":1") >= 4 for _, record in store.all())
    finally:
        sys.setswitchinterval(interval)


class Failing(MemoryStore):
    """A store that fails while told so."""

    failing: str = ""

    def get(self, key: str) -> Record | None:
        if self.failing == "get":
            raise StoreTimeout("no reply")
        return super().get(key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if self.failing == "set":
            raise StoreTimeout("no reply")
        return done


def test_a_rotation_of_a_degraded_session_is_a_logout() -> None:
    """Where nobody knows what the cookie opens, regenerate() makes sure that it opens nothing."""
    store = Failing()

    def handle(session: Any, environ: Any) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        elif environ["PATH_INFO"] == "/rotate":
            session.regenerate()
        return session.get("user")

    with SyncClient(wsgi_app(handle, store=store, on_store_error="anonymous")) as browser:
        browser.get("/login")
        store.failing = "get"
        assert "Max-Age=0" in set_cookies(browser.get("/rotate"))[0]
        store.failing = ""
        assert store.length() == 0


@pytest.mark.parametrize("path", ["/save", "/rotate", "/unconfirmed"])
def test_a_session_whose_cookie_never_went_out_is_not_left(path: str) -> None:
    """An exception after save(), or a reply that was lost, leaves no record without a cookie."""
    store = Failing()

    def handle(session: Any, environ: Any) -> Any:
        match environ["PATH_INFO"]:
            case "/login":
                session["user"] = "ann"
                return ""
            case "/rotate":
                session.regenerate(keep_data=True)
            case "/unconfirmed":
                session.regenerate(keep_data=True)
                store.failing = "set"
            case _:
                session.destroy()
                session["user"] = "bob"
        session.save()
        raise ZeroDivisionError

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/login")
        with pytest.raises((ZeroDivisionError, StoreTimeout)):
            browser.get(path)
    store.failing = ""
    assert sessions_in(store) == {}


@pytest.mark.parametrize("body", [[], iter(())], ids=["list", "iterator"])
@pytest.mark.parametrize("path", ["/write", "/rotate"])
def test_an_application_without_a_response_changes_nothing(path: str, body: Any) -> None:
    """Data changes are dropped; an old id ends if that was asked for."""
    store = MemoryStore()

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        match environ["PATH_INFO"]:
            case "/login":
                session["user"] = "ann"
                start_response("200 OK", [])
            case "/write":
                session["lost"] = 1
            case "/rotate":
                session.regenerate()
        return body

    sessions = WSGISessions(app, secret=SECRET, store=store)
    with SyncClient(sessions) as browser:
        browser.get("/login")
        environ = {
            "PATH_INFO": path,
            "wsgi.url_scheme": "http",
            "HTTP_COOKIE": f"sid={browser.cookies['sid']}",
        }
        answer = sessions(environ, lambda *args: None)
        list(answer)
        getattr(answer, "close", lambda: None)()
    assert [record.data.count(b"lost") for _, record in store.all()] == (
        [0] if path == "/write" else []
    )


def test_an_error_page_after_the_first_empty_item_keeps_the_cookie() -> None:
    """A server that has sent nothing yet takes the new headers, and the cookie with them."""
    store, started = MemoryStore(), []

    def app(environ: Any, start_response: Any) -> Any:
        environ["coatcheck.session"]["user"] = "ann"
        start_response("200 OK", [])
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oops", [("X-Page", "error")], sys.exc_info())
        yield b"sorry"

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append((status, [name.lower() for name, _ in headers]))
        return lambda data: None

    environ = {"PATH_INFO": "/", "wsgi.url_scheme": "http"}
    list(WSGISessions(app, secret=SECRET, store=store)(environ, start_response))
    assert [status for status, _ in started] == ["200 OK", "500 Oops"]
    assert all("set-cookie" in names for _, names in started)
    assert store.length() == 1


async def test_a_save_that_waited_for_the_end_of_the_request_is_too_late() -> None:
    """A background task that saves when the request is over is told so."""
    late: list[asyncio.Task[None]] = []

    async def handle(session: Any, scope: Any) -> None:
        async def save() -> None:
            await asyncio.sleep(0)  # behind the request, which is ready to go on
            await session.save()

        session["a"] = 1
        late.append(asyncio.ensure_future(save()))

    await Client(asgi_app(handle)).get("/")
    with pytest.raises(LateWriteError, match="the request is over"):
        await late[0]


class GatedStore(MemoryStore):
    """A store that waits before it reads or touches the session whose id is given."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, blocking=True)
        self.held: str | None = None
        self.waits, self.gate = threading.Event(), threading.Event()

    def wait(self, key: str) -> None:
        if self.held is not None and key == sha256(self.held.encode()).hexdigest():
            self.waits.set()
            assert self.gate.wait(10)

    def get(self, key: str) -> Record | None:
        self.wait(key)
        return super().get(key)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        self.wait(key)
        return super().touch(key, expires_at, owner)


#: What is still under way when the request ends.
UNDER_WAY: dict[str, Callable[[Any], Any]] = {
    "load": lambda session: session.load(),
    "reload": lambda session: session.reload(),
    "save": lambda session: (session.touch(), session.save())[1],
}


@pytest.mark.parametrize("name", UNDER_WAY)
async def test_what_the_end_of_the_request_meets_stays_its_visitor_s(name: str) -> None:
    """A task that loads or saves is not torn off, and tells no other visitor what it read."""
    store, seen, tasks = GatedStore(), [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session, path = scope["session"], scope["path"]
        if path != "/busy" or name != "load":
            await session.load()
        if path not in ("/busy", "/read"):
            session["user"] = path
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        if path == "/busy":
            store.held = ann.id
            tasks.append(asyncio.ensure_future(UNDER_WAY[name](session)))
            assert await asyncio.to_thread(store.waits.wait, 10)
        seen.append(session)

    made = ASGISessions(app, secret=SECRET, store=store, load="lazy")
    ann, bob = Client(made), Client(made)
    await ann.get("/ann")
    await bob.get("/bob")
    await ann.get("/busy")
    store.gate.set()
    await tasks[0]
    await bob.get("/read")
    *_, hers, his = seen
    assert his.copy() == {"user": "/bob"}
    assert hers.copy() == dict(hers) == {"user": "/ann"}


@pytest.mark.parametrize("name", [*UNDER_WAY, "first use"])
def test_what_the_end_of_the_request_meets_in_a_thread_stays_its_visitor_s(name: str) -> None:
    store, seen, results = GatedStore(), [], []

    def use(session: Any) -> None:
        results.append(UNDER_WAY[name](session) if name in UNDER_WAY else session["user"])

    def app(environ: Any, start_response: Any) -> Any:
        session, path = environ["coatcheck.session"], environ["PATH_INFO"]
        if path != "/busy" or name in ("reload", "save"):
            session.load()
        if path not in ("/busy", "/read"):
            session["user"] = path
        start_response("200 OK", [])
        yield b"one"
        if path == "/busy":
            store.held = ann.id
            threads.submit(use, session)
            assert store.waits.wait(10)
        seen.append(session)

    made = WSGISessions(app, secret=SECRET, store=store)
    with SyncClient(made) as ann, SyncClient(made) as bob, ThreadPoolExecutor(1) as threads:
        ann.get("/ann")
        bob.get("/bob")
        ann.get("/busy")
        store.gate.set()
        threads.submit(int).result()
        bob.get("/read")
    *_, hers, his = seen
    assert len(results) == 1
    assert his.copy() == {"user": "/bob"}
    assert hers.copy() == dict(hers) == {"user": "/ann"}


def test_a_write_after_a_failed_save_says_that_it_is_lost() -> None:
    """The error page cannot store what the response could not."""
    store = Failing()

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        session["n"] = session.get("n", 0) + 1
        write = start_response("200 OK", [])
        try:
            write(b"page")
        except StoreTimeout:
            start_response("500 Oops", [], sys.exc_info())
            with pytest.raises(LateWriteError, match="could not be saved"):
                session["flash"] = "sorry"
        return [b"sorry"]

    sessions = WSGISessions(app, secret=SECRET, store=store)
    with SyncClient(sessions, raise_app_exceptions=False) as browser:
        browser.get("/")
        store.failing = "set"
        assert browser.get("/").status_code == 500


def test_a_derived_owner_is_that_of_the_merged_data() -> None:
    """An owner that follows from two keys is found when two requests set one each."""
    store = MemoryStore()
    options = SessionOptions(
        secret=SECRET, store=store, owner=lambda data: data.get("as") or data.get("user")
    )
    inner: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        if environ["PATH_INFO"] == "/as":
            session["as"] = "victim"
            inner[0].get("/user")
        else:
            session["user"] = "u2" if environ["PATH_INFO"] == "/user" else "u1"
        start_response("200 OK", [])
        return [b""]

    sessions = WSGISessions(app, options)
    with SyncClient(sessions) as browser, SyncClient(sessions) as other:
        browser.get("/")
        other.cookies = browser.cookies
        inner.append(other)
        browser.get("/as")
    assert [entry.owner for entry in Sessions(store, options).list("victim")] == ["victim"]
    assert Sessions(store, options).list("u2") == []


async def test_a_nested_value_is_still_the_session_s_after_a_merge() -> None:
    """Values that nobody else changed stay the objects that the application holds."""
    store, inner = MemoryStore(), []

    async def handle(session: Any, scope: Any) -> None:
        if scope["path"] == "/other":
            session["other"] = 1
        elif scope["path"] == "/merge":
            cart = session["cart"]
            session["x"] = 1
            await inner[0].get("/other")
            await session.save()
            cart.append("late")
        else:
            session["cart"] = []

    browser = Client(asgi_app(handle, store=store))
    await browser.get("/")
    inner.append(browser.tab())
    await browser.get("/merge")
    (record,) = (record for _, record in store.all())
    assert b'"cart":["late"]' in record.data
    assert b'"other":1' in record.data


def test_resave_alone_sends_no_cookie(driver: str) -> None:
    """A session that is stored without having changed keeps its cookie."""

    def handle(session: Any, environ: Any) -> None:
        session.setdefault("a", 1)

    app = wsgi_app(handle, resave=True, cookie=CookieOptions(max_age=600))
    with SyncClient(app) as browser:
        assert len(set_cookies(browser.get("/"))) == 1
        assert set_cookies(browser.get("/")) == []


def test_held_cookie_settings_follow_the_session() -> None:
    """Settings that were looked up before a rotation are those of the new session."""

    def handle(session: Any, environ: Any) -> None:
        cookie = session.cookie
        session.regenerate()
        session["a"] = 1
        cookie.max_age = 50

    with SyncClient(wsgi_app(handle)) as browser:
        assert "Max-Age=50" in set_cookies(browser.get("/"))[0]


def test_cookie_settings_of_a_failed_save_go_out_with_the_next_one() -> None:
    """The browser does not know them yet."""
    store = Failing()

    def handle(session: Any, environ: Any) -> None:
        if environ["PATH_INFO"] == "/login":
            session["a"] = 1
            return
        session.cookie.same_site = "strict"
        store.failing = "set"
        with pytest.raises(StoreTimeout):
            session.save()
        store.failing = ""

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/login")
        assert "SameSite=Strict" in set_cookies(browser.get("/"))[0]


def test_reload_shows_the_cookie_settings_that_others_stored() -> None:
    """The next cookie of this request has them too."""

    def handle(session: Any, environ: Any) -> Any:
        if environ["PATH_INFO"] == "/strict":
            session.cookie.same_site = "strict"
        elif environ["PATH_INFO"] == "/reload":
            assert session["a"] == 1
            other.get("/strict")
            session.reload()
            return session.cookie.same_site
        else:
            session["a"] = 1
        return None

    app = wsgi_app(handle)
    with SyncClient(app) as browser:
        browser.get("/login")
        with SyncClient(app, cookies=browser.cookies) as other:
            assert browser.get("/reload").text == "strict"


def test_reload_shows_no_key_that_others_deleted() -> None:
    """Otherwise the next save would store it again."""

    def handle(session: Any, environ: Any) -> Any:
        if environ["PATH_INFO"] == "/delete":
            del session["a"]
        elif environ["PATH_INFO"] == "/reload":
            assert session["a"] == 1
            other.get("/delete")
            session.reload()
            return str(dict(session))
        else:
            session.update(a=1, b=2)
        return None

    app = wsgi_app(handle)
    with SyncClient(app) as browser:
        browser.get("/login")
        with SyncClient(app, cookies=browser.cookies) as other:
            assert browser.get("/reload").text == "{'b': 2}"


def test_a_session_that_cannot_be_stored_keeps_its_id() -> None:
    """The application may have logged it before it saved."""
    ids: list[str] = []

    def handle(session: Any, environ: Any) -> None:
        session["a"] = 1
        ids.append(session.id)
        session.save()
        ids.append(session.id)

    with SyncClient(wsgi_app(handle, cookie=CookieOptions(secure=True))) as browser:
        assert set_cookies(browser.get("http://shop.test/")) == []
    assert ids[0] == ids[1]


def test_a_removal_names_what_the_browser_has() -> None:
    """A path that was assigned and never sent is not the path of the cookie to remove."""

    def handle(session: Any, environ: Any) -> None:
        if environ["PATH_INFO"] == "/end":
            session.cookie.path = "/end"
            session.destroy()
        else:
            session["a"] = 1

    with SyncClient(wsgi_app(handle)) as browser:
        browser.get("/")
        assert "; Path=/;" in set_cookies(browser.get("/end"))[0]


def test_a_full_memory_store_examines_a_few_records() -> None:
    """However many have expired, one request removes a bounded number of them."""
    clock = Clock()
    store = MemoryStore(max_sessions=1000, clock=clock)
    for number in range(1000):
        store.set(str(number), Record(b"x", clock.now + 10))
    clock.advance(20)
    store.set("new", Record(b"x", clock.now + 10))
    assert store.prune() > 800
    assert store.get("new") is not None


class SlowToList(MemoryStore):
    """A blocking store that works before it returns its iterator."""

    capabilities = Capabilities(enumerable=True, owners=True)

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def owned_by(self, owner: str) -> Any:
        self.threads.append(threading.get_ident())
        return super().owned_by(owner)

    def all(self) -> Any:
        self.threads.append(threading.get_ident())
        return super().all()


async def test_a_blocking_store_lists_in_a_worker_thread() -> None:
    """Nothing of a blocking store runs on the event loop."""
    store = SlowToList()
    bridge = AsyncBridge(store)
    assert [item async for item in bridge.owned_by("ann")] == []
    assert [item async for item in bridge.all()] == []
    assert threading.get_ident() not in store.threads


async def test_a_bridge_is_not_bridged_back() -> None:
    """The event loop calls the asynchronous store itself, not its synchronous bridge."""
    store = YieldingStore()
    assert AsyncRunner(SyncBridge(store))._store is store


def test_an_absolute_timeout_ends_what_is_listed() -> None:
    """A session that is over for the middleware is not shown as somebody's."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    options = SessionOptions(secret=SECRET, store=store, clock=clock, owner="user")
    with SyncClient(
        wsgi_app(lambda s, e: act(s, "/login"), **{"store": store, "clock": clock, "owner": "user"})
    ) as browser:
        browser.get("/")
    clock.advance(100)
    assert len(Sessions(store, options).list("ann")) == 1
    limited = SessionOptions(
        secret=SECRET, store=store, clock=clock, owner="user", absolute_timeout=60
    )
    assert Sessions(store, limited).list("ann") == []


@pytest.mark.parametrize("owner", [None, "", True, 4.2])
def test_sessions_of_nobody_are_no_empty_list(owner: Any) -> None:
    """A question that cannot be meant is an error, and no "there are none"."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET))
    with pytest.raises(TypeError, match="`owner` must be a non-empty string or an integer"):
        sessions.list(owner)
    with pytest.raises(TypeError, match="`owner` must be"):
        sessions.revoke_all(owner)


def test_an_integer_names_its_sessions() -> None:
    """An owner that the data give as a number is asked for as that number."""
    store = MemoryStore()
    app = wsgi_app(lambda s, e: s.update(user=42), store=store, owner="user")
    with SyncClient(app) as browser:
        browser.get("/")
    sessions = Sessions(store, SessionOptions(secret=SECRET, owner="user"))
    assert len(sessions.list(42)) == 1
    assert sessions.revoke_all(42) == 1


async def test_an_application_that_starts_again_has_a_store_again() -> None:
    """A store that the middleware opened is closed at shutdown and opened at the next startup."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def quiet(message: Any) -> None:
        pass

    sessions = ASGISessions(app, secret=SECRET, store="memory:")

    async def starts_and_stops() -> None:
        await sessions({"type": "lifespan"}, None, quiet)

    await starts_and_stops()
    sent: list[Any] = []

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        """An application that is asked while it runs."""
        await send({"type": "lifespan.startup.complete"})
        assert len(set_cookies(await Client(sessions).get("/"))) == 1
        sent.append("served")

    sessions.app, running = lifespan, sessions.app

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await (lifespan if scope["type"] == "lifespan" else running)(scope, receive, send)

    sessions.app = serve
    await starts_and_stops()
    assert sent == ["served"]


@pytest.mark.parametrize("store", ["memory:", None])
@pytest.mark.parametrize("inner", [False, True], ids=["around", "added"])
def test_a_store_that_one_test_client_closed_is_opened_again_by_the_next(
    store: str | None, inner: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one may run the lifespan or not."""

    async def visit(request: Any) -> PlainTextResponse:
        request.session["n"] = request.session.get("n", 0) + 1
        return PlainTextResponse(str(request.session["n"]))

    starlette = Starlette(routes=[Route("/", visit)])
    app: Any = starlette
    if inner:
        starlette.add_middleware(ASGISessions, secret=SECRET, store=store)
    else:
        app = ASGISessions(starlette, secret=SECRET, store=store)
    for runs_lifespan in (True, True, False):
        client = TestClient(app)
        with client if runs_lifespan else nullcontext():
            assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    assert len(caplog.records) == (store is None)  # of sessions in memory, told once


def test_a_wsgi_store_that_was_closed_is_opened_again() -> None:
    app = wsgi_app(lambda session, environ: session.update(n=1), store="memory:")
    for _ in range(2):
        with SyncClient(app) as browser, ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda path: browser.stranger().get(path), "////")
            assert all(len(set_cookies(answer)) == 1 for answer in answers)
        assert app.store.length() == 4
        app.close()
        app.close()


def test_a_store_object_stays_closed_that_its_owner_closed() -> None:
    store = MemoryStore()
    app = wsgi_app(lambda session, environ: session.update(n=1), store=store)
    app.close()
    with SyncClient(app) as browser:
        browser.get("/")
        assert store.length() == 1
        store.close()
        with pytest.raises(StoreClosed):
            browser.get("/")


async def test_a_callable_cookie_cannot_use_the_session() -> None:
    """The settings are needed before there is a session; asking for it says so."""

    def settings(scope: Any) -> CookieOptions:
        scope["session"].get("a")
        return CookieOptions()

    with pytest.raises(SessionUnavailable, match="the callable `cookie`"):
        await Client(asgi_app(lambda s, r: "", cookie=settings)).get("/")


class Blind(Store):
    """A store with something under each key that it cannot read."""

    capabilities = Capabilities(blocking=False)

    def get(self, key: str) -> Record | None:
        return None

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return only_if is not ABSENT

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return False

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return False

    def ping(self) -> None: ...

    def close(self) -> None: ...


def test_a_key_that_is_neither_free_nor_there_is_given_up() -> None:
    """Creating a session ends in an error where the store contradicts itself, and not never."""
    app = wsgi_app(lambda session, environ: session.update(a=1), store=Blind())
    with SyncClient(app) as browser, pytest.raises(Exception, match="ids of other sessions"):
        browser.get("/")


class BusyCodec(JSONCodec):
    """A codec during whose encoding somebody else writes to the session, once."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None

    def dumps(self, state: SessionState) -> bytes:
        content = super().dumps(state)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return content


@pytest.mark.parametrize("known", [True, False])
def test_what_is_written_while_the_session_is_encoded_is_saved(known: bool) -> None:
    """A thread that writes at that moment is not overlooked."""
    store, codec = MemoryStore(), BusyCodec()

    def handle(session: Any, environ: Any) -> None:
        if environ["PATH_INFO"] == "/save":
            session["z"] = 1
            codec.meanwhile = lambda: session.update(late=1)
            session.save()

    with SyncClient(
        wsgi_app(lambda s, e: act(s, e["PATH_INFO"]) or handle(s, e), store=store, codec=codec)
    ) as browser:
        if known:
            browser.get("/login")
        browser.get("/save")
    (record,) = (record for _, record in store.all())
    assert b'"z":1,"late":1' in record.data


def test_asking_whether_it_is_modified_changes_nothing() -> None:
    """A nested change that was asked about is saved nevertheless, and so is its last state."""
    store = MemoryStore()

    def handle(session: Any, environ: Any) -> Any:
        seen = []
        cart = session.setdefault("cart", [])
        seen.append(session.is_modified)
        if environ["PATH_INFO"] == "/append":
            cart.append(1)
            seen += [session.is_modified, session.is_modified]
            cart.append(2)
        return seen

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/")
        assert browser.get("/append").text == "[False, True, True]"
    (record,) = (record for _, record in store.all())
    assert b'"cart":[1,2]' in record.data


@pytest.mark.parametrize("kept", [True, False])
def test_holding_a_value_is_no_change(kept: bool) -> None:
    """References that come and go while a session is only read cost no write."""
    store = CountingStore()
    held: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        cart = session.setdefault("cart", [{"sku": "a-long-number", "quantity": 10**9}])
        start_response("200 OK", [])
        held.extend([cart, cart[0], *cart[0].values()])
        yield b"one"
        if not kept:
            held.clear()
            del cart

    with SyncClient(WSGISessions(app, secret=SECRET, store=store)) as browser:
        browser.get("/")
        held.clear()
        store.taken()
        browser.get("/")
        assert store.taken() == ["get"]


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
async def test_what_changes_after_the_headers_is_saved(parts: int, nested: bool) -> None:
    """In a body of several parts it is saved before the last one goes out, nested changes too.

    In a body of one part a nested change may be saved when the application has ended.
    """
    store = CountingStore()
    at_the_end: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        cart = session.setdefault("cart", [])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if nested:
            cart.append(1)
        else:
            session["cart"] = [1]
        for number in range(parts):
            more = number < parts - 1
            await send({"type": "http.response.body", "body": b"x", "more_body": more})
        at_the_end.append(store.calls.count("set"))

    await Client(ASGISessions(app, secret=SECRET, store=store)).get("/")
    [(_, record)] = store.all()
    assert JSONCodec().loads(record.data, "").data == {"cart": [1]}
    assert at_the_end == [1 if nested and parts == 1 else 2]
    assert store.calls.count("set") == 2


@pytest.mark.parametrize("nested", [False, True])
def test_what_changes_after_write_is_saved(nested: bool) -> None:
    """A WSGI application that used `write()` and returns a list has not come to its end before."""
    store = MemoryStore()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["coatcheck.session"]
        cart = session.setdefault("cart", [])
        start_response("200 OK", [("Content-Type", "text/plain")])(b"x")
        if nested:
            cart.append(1)
        else:
            session["cart"] = [1]
        return []

    SyncClient(WSGISessions(app, secret=SECRET, store=store)).get("/")
    [(_, record)] = store.all()
    assert JSONCodec().loads(record.data, "").data == {"cart": [1]}


def test_a_value_that_a_save_refused_is_refused_with_the_response() -> None:
    """An application that forgives the first error does not lose the change in silence."""

    def handle(session: Any, environ: Any) -> None:
        session["a"] = 1
        if environ["PATH_INFO"] == "/nan":
            session["a"] = float("nan")
            with pytest.raises(SerializationError):
                session.save()

    with SyncClient(wsgi_app(handle)) as browser:
        browser.get("/")
        with pytest.raises(SerializationError):
            browser.get("/nan")


def test_a_value_that_gets_what_has_no_fingerprint_has_changed() -> None:
    """Lists of numbers have one, and dates have none."""

    def handle(session: Any, environ: Any) -> str:
        session.setdefault("dates", [1])
        if environ["PATH_INFO"] == "/add":
            session["dates"].append(datetime(2026, 1, 2, tzinfo=UTC))
        return str(len(session["dates"]))

    with SyncClient(wsgi_app(handle)) as browser:
        browser.get("/")
        browser.get("/add")
        assert browser.get("/").text == "2"
