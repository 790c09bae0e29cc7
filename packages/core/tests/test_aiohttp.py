"""Sessions of aiohttp: in handlers, streams, WebSockets and raised responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from webclient import SECRET, Clock, CountingStore, FragileStore, sessions_in

import coatcheck.aiohttp
from coatcheck import AsyncSession, CookieOptions, MemoryStore, Sessions, session_of
from coatcheck.aiohttp_session import CoatcheckStorage
from coatcheck.errors import ConfigurationError, SessionGone, SessionUnavailable
from coatcheck.testing import alogin, aread_session, find_sessions

Browse = Callable[[TestClient[Any, Any]], Coroutine[Any, Any, None]]


async def count(request: web.Request) -> web.Response:
    session = session_of(request)
    assert request[coatcheck.aiohttp.SESSION] is session
    session["n"] = session.get("n", 0) + 1
    return web.json_response(session)


async def show(request: web.Request) -> web.Response:
    return web.json_response(session_of(request))


async def login(request: web.Request) -> web.Response:
    session_of(request).regenerate()
    session_of(request)["user"] = "ann"
    raise web.HTTPFound("/show")


async def logout(request: web.Request) -> web.Response:
    session_of(request).destroy()
    return web.Response()


async def stream(request: web.Request) -> web.StreamResponse:
    """Change the session before the headers, and again before the last piece."""
    session_of(request)["before"] = True
    response = web.StreamResponse(headers={"X-Own": "kept"})
    await response.prepare(request)
    await response.write(b"piece")
    session_of(request)["late"] = True  # aiohttp ends the body when the handler has returned
    return response


async def socket(request: web.Request) -> web.WebSocketResponse:
    session = session_of(request)
    assert isinstance(session, AsyncSession)
    session["sockets"] = session.get("sockets", 0) + 1
    response = web.WebSocketResponse()
    await response.prepare(request)
    async for message in response:
        try:
            await session.reload()
            session["said"] = message.data
            await session.save()
            await response.send_str("saved")
        except SessionGone:
            await response.send_str("logged out")
    return response


async def fail(request: web.Request) -> web.Response:
    session_of(request)["user"] = "eve"
    raise ZeroDivisionError


def application(**options: Any) -> web.Application:
    app = web.Application()
    for handler in (count, show, login, stream, socket, fail):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/logout", logout)
    coatcheck.aiohttp.setup(app, secret=SECRET, **{"store": MemoryStore(), **options})
    return app


def browsing(app: web.Application) -> Callable[[Browse], None]:
    """Return a decorator that runs a test with a browser in front of a real server."""

    def run(browse: Browse) -> None:
        async def serve() -> None:
            async with TestClient(TestServer(app)) as browser:
                await browse(browser)

        asyncio.run(serve())

    return run


def test_a_session_is_kept_from_request_to_request() -> None:
    @browsing(application())
    async def browse(browser: TestClient[Any, Any]) -> None:
        answers = [await browser.get("/count") for _ in range(2)]
        assert [await answer.json() for answer in answers] == [{"n": 1}, {"n": 2}]
        assert answers[0].headers["Vary"] == "Cookie"
        assert "no-store" in answers[0].headers["Cache-Control"]
        assert "Set-Cookie" not in answers[1].headers


def test_a_redirect_that_is_raised_has_the_cookie() -> None:
    """The login is saved before the browser follows."""

    @browsing(application())
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/count")
        assert await (await browser.get("/login")).json() == {"user": "ann"}
        assert await aread_session(browser) == {"user": "ann"}
        await browser.get("/logout")
        assert await aread_session(browser) is None
        assert len(browser.session.cookie_jar) == 0


def test_a_stream_is_saved_before_its_headers_and_at_its_end() -> None:
    @browsing(application())
    async def browse(browser: TestClient[Any, Any]) -> None:
        answer = await browser.get("/stream")
        assert (await answer.read(), answer.headers["X-Own"]) == (b"piece", "kept")
        assert await aread_session(browser) == {"before": True, "late": True}


def test_a_websocket_has_the_session() -> None:
    """It starts one, saves in the middle, and hears of a logout."""

    @browsing(application())
    async def browse(browser: TestClient[Any, Any]) -> None:
        async with browser.ws_connect("/socket") as connection:
            await connection.send_str("hello")
            assert await connection.receive_str() == "saved"
            assert await aread_session(browser) == {"sockets": 1, "said": "hello"}
            await browser.get("/logout")
            await connection.send_str("again")
            assert await connection.receive_str() == "logged out"


def test_a_handler_that_fails_changes_nothing() -> None:
    @browsing(application())
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/count")
        assert (await browser.get("/fail")).status == 500
        assert await (await browser.get("/show")).json() == {"n": 1}


def test_a_store_that_fails_is_an_error_page() -> None:
    """Not a connection that breaks, and no cookie that leads nowhere."""
    store = FragileStore()

    @browsing(application(store=store))
    async def browse(browser: TestClient[Any, Any]) -> None:
        store.fail("set")
        for page in ("/count", "/login"):
            answer = await browser.get(page)
            assert (answer.status, "Set-Cookie" in answer.headers) == (500, False)


def test_a_page_without_a_session_costs_nothing() -> None:
    store = CountingStore()

    @browsing(application(store=store))
    async def browse(browser: TestClient[Any, Any]) -> None:
        answer = await browser.get("/nowhere")
        assert (answer.status, "Vary" in answer.headers) == (404, False)
        assert store.taken() == []


def test_other_middlewares_and_subapplications_have_the_session() -> None:
    """Those that were added before are inside, too."""

    @web.middleware
    async def mark(request: web.Request, handler: Any) -> web.StreamResponse:
        session_of(request)["marked"] = True
        return await handler(request)  # type: ignore[no-any-return]

    app = web.Application(middlewares=[mark])
    inner = web.Application()
    inner.router.add_get("/count", count)
    inner.router.add_get("/stream", stream)
    app.add_subapp("/inner", inner)
    coatcheck.aiohttp.setup(app, secret=SECRET, store=MemoryStore())

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert await (await browser.get("/inner/count")).json() == {"marked": True, "n": 1}
        await browser.get("/inner/stream")
        data = await aread_session(browser)
        assert data == {"marked": True, "n": 1, "before": True, "late": True}


@web.middleware
async def mark_outer(request: web.Request, handler: Any) -> web.StreamResponse:
    session_of(request, "sid")["marked"] = True
    response: web.StreamResponse = await handler(request)
    assert request[coatcheck.aiohttp.SESSION] is session_of(request) is session_of(request, "sid")
    return response


@pytest.mark.parametrize("page", ["count", "stream"])
def test_a_subapplication_has_a_session_of_its_own(page: str) -> None:
    """With another cookie. What the outer application stores is not lost, and both cookies go."""
    app, inner = web.Application(middlewares=[mark_outer]), web.Application()
    middlewares = [
        coatcheck.aiohttp.setup(each, secret=SECRET, store=MemoryStore(), name=name)
        for each, name in ((app, "sid"), (inner, "admin_sid"))
    ]
    inner.router.add_get("/count", count)
    inner.router.add_get("/stream", stream)
    app.add_subapp("/inner", inner)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        for cookies in ({"sid", "admin_sid"}, set()):
            answer = await browser.get(f"/inner/{page}")
            await answer.read()
            assert set(answer.cookies) == cookies
        assert [
            await aread_session(browser, sessions=Sessions(each.store, each.options))
            for each in middlewares
        ] == [{"marked": True}, {"n": 2} if page == "count" else {"before": True, "late": True}]


def test_a_name_that_there_is_not() -> None:
    async def look(request: web.Request) -> web.Response:
        with pytest.raises(
            SessionUnavailable, match="'admin': there are sessions of the name 'sid'"
        ):
            session_of(request, "admin")
        return web.Response()

    app = application()
    app.router.add_get("/look", look)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/look")).status == 200


def test_two_middlewares_need_two_names() -> None:
    app, inner = web.Application(), web.Application()
    errors: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[no-any-return]
        except ConfigurationError as error:
            errors.append(str(error))
            raise

    for each in (app, inner):
        coatcheck.aiohttp.setup(each, secret=SECRET, store=MemoryStore())
    app.middlewares.append(note)
    inner.router.add_get("/count", count)
    app.add_subapp("/inner", inner)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/inner/count")).status == 500
        assert "two session middlewares of the name 'sid'" in errors[0]


def test_options_get_the_request() -> None:
    """A path, a header of a proxy, and what keeps a session alive."""
    clock = Clock()
    seen: list[str] = []

    def cookie_of(request: Any) -> CookieOptions:
        return CookieOptions(path="/count" if request["request"].path == "/count" else "/")

    app = application(
        store=MemoryStore(clock=clock),
        clock=clock,
        cookie=cookie_of,
        trust_proxy=True,
        keeps_alive=lambda request: seen.append(request["request"].path) is not None,
        idle_timeout=100,
    )

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        secure = {"X-Forwarded-Proto": "https"}
        line = (await browser.get("/count", headers=secure)).headers["Set-Cookie"]
        assert "Path=/count" in line
        assert "Secure" in line
        clock.advance(60)
        cookie = line.partition(";")[0]
        await browser.get("/show", headers={"Cookie": cookie})
        assert "/show" in seen


def test_the_client_is_logged_in_and_the_application_found() -> None:
    app = application(owner="user")

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        made = await alogin(browser, {"user": "ann"})
        assert await (await browser.get("/show")).json() == {"user": "ann"}
        sessions = find_sessions(app)
        assert [entry.ref for entry in await sessions.alist("ann")] == [made.ref]
        assert await sessions.arevoke_all("ann") == 1
        assert await (await browser.get("/show")).json() == {}


def test_a_store_that_was_opened_is_closed(tmp_path: Any) -> None:
    """And opened again by the next request, as in a test suite."""
    app = web.Application()
    middleware = coatcheck.aiohttp.setup(app, secret=SECRET, store=f"file://{tmp_path}")
    app.router.add_get("/count", count)
    store = middleware.store

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/count")

    with pytest.raises(coatcheck.errors.StoreClosed):
        Sessions(store, middleware.options).list("ann")


@pytest.mark.parametrize("wrong", [None, web.RouteTableDef(), application])
def test_only_an_application_of_aiohttp_is_set_up(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"`app` must be an aiohttp\.web\.Application"):
        coatcheck.aiohttp.setup(wrong, secret=SECRET)


def test_an_application_is_set_up_once_and_before_it_starts() -> None:
    app = web.Application()
    coatcheck.aiohttp.setup(app, secret=SECRET)
    coatcheck.aiohttp.setup(app, secret=SECRET, name="admin_sid")
    with pytest.raises(ConfigurationError, match="has sessions of the name 'sid' already"):
        coatcheck.aiohttp.setup(app, secret=SECRET)
    app.freeze()
    with pytest.raises(ConfigurationError, match="the application has started"):
        coatcheck.aiohttp.setup(app, secret=SECRET, name="late_sid")


def test_the_middleware_alone_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """It would lose the session of a streaming response, and say nothing."""
    middleware = coatcheck.aiohttp.SessionMiddleware(secret=SECRET, store=MemoryStore())
    app = web.Application(middlewares=[middleware])
    app.router.add_get("/count", count)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/count")).status == 500

    assert "call `coatcheck.aiohttp.setup(app, ...)`, which adds the middleware" in caplog.text


def test_a_request_without_the_middleware_says_what_is_missing() -> None:
    async def look(request: web.Request) -> web.Response:
        with pytest.raises(SessionUnavailable, match=r"call `coatcheck\.aiohttp\.setup\(app"):
            session_of(request)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", look)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/")).status == 200


# aiohttp-session, whose keys of requests are strings

old_keys = pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")


def storage_application(store: MemoryStore) -> web.Application:
    async def visit(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session["n"] = session.get("n", 0) + 1
        session.setdefault("list", []).append(session["n"])
        return web.json_response({**session, "new": session.new})

    async def enter(request: web.Request) -> web.Response:
        session = await aiohttp_session.new_session(request)
        session["user"] = "ann"
        session.max_age = 3600
        raise web.HTTPFound("/show")

    async def leave(request: web.Request) -> web.Response:
        (await aiohttp_session.get_session(request)).invalidate()
        return web.Response()

    async def forget(request: web.Request) -> web.Response:
        del (await aiohttp_session.get_session(request))["n"]
        return web.Response()

    app = web.Application()
    aiohttp_session.setup(app, CoatcheckStorage())
    coatcheck.aiohttp.setup(app, secret=SECRET, store=store)
    app.router.add_get("/show", show)
    for handler in (visit, enter, leave, forget):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


@old_keys
def test_the_session_of_aiohttp_session_is_the_same() -> None:
    store = MemoryStore()

    @browsing(storage_application(store))
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert await (await browser.get("/visit")).json() == {"n": 1, "list": [1], "new": True}
        assert await (await browser.get("/visit")).json() == {"n": 2, "list": [1, 2], "new": False}
        await browser.get("/forget")
        assert await (await browser.get("/show")).json() == {"list": [1, 2]}
        [before] = sessions_in(store)
        answer = await browser.get("/enter", allow_redirects=False)
        assert "Max-Age=3600" in answer.headers["Set-Cookie"]
        assert await (await browser.get("/show")).json() == {"user": "ann"}
        assert before not in sessions_in(store)
        await browser.get("/leave")
        assert sessions_in(store) == {}
        assert await (await browser.get("/show")).json() == {}


@old_keys
def test_parallel_requests_of_aiohttp_session_are_merged() -> None:
    store = MemoryStore()
    app = storage_application(store)
    entered = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        entered.set()
        await browser_done.wait()
        session["slow"] = True
        return web.Response()

    browser_done = asyncio.Event()
    app.router.add_get("/slow", slow)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/visit")
        waiting = asyncio.create_task(browser.get("/slow"))
        await entered.wait()
        await browser.get("/visit")
        browser_done.set()
        await waiting
        assert await aread_session(browser) == {"n": 2, "list": [1, 2], "slow": True}


@old_keys
@pytest.mark.parametrize("how", ["pop", "invalidate", "clear"])
def test_showing_the_last_message_is_no_logout(how: str) -> None:
    """Another session's cookie came along, or another request has logged in meanwhile."""
    store = MemoryStore()
    app = storage_application(store)
    shown, may_go = asyncio.Event(), asyncio.Event()
    may_go.set()

    async def put(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session.update(request.query)
        return web.Response()

    async def empty(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        shown.set()
        await may_go.wait()
        session.pop("flash") if how == "pop" else getattr(session, how)()
        return web.Response()

    app.router.add_get("/put", put)
    app.router.add_get("/empty", empty)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        planted = (await browser.get("/put?flash=bye")).cookies["sid"].value
        browser.session.cookie_jar.clear()
        own = (await browser.get("/put?user=ann")).cookies["sid"].value
        browser.session.cookie_jar.clear()
        await browser.get("/empty", headers={"Cookie": f"sid={planted}; sid={own}"})
        shows = [await browser.get("/show", headers={"Cookie": f"sid={own}"})]
        shown.clear()
        may_go.clear()
        late = (await browser.get("/put?flash=bye")).cookies["sid"].value
        slow = asyncio.create_task(browser.get("/empty"))
        await shown.wait()
        await browser.get("/put?user=ann")
        may_go.set()
        await slow
        shows.append(await browser.get("/show", headers={"Cookie": f"sid={late}"}))
        found = [await each.json() for each in shows]
        assert found == [{"user": "ann"} if how == "pop" else {}] * 2


def mixed_application(store: MemoryStore, *new_code: Any) -> web.Application:
    """Old code in a middleware, and new code, which uses `session_of`, in handlers."""

    @web.middleware
    async def visits(request: web.Request, handler: Any) -> web.StreamResponse:
        session = await aiohttp_session.get_session(request)
        session["visits"] = session.get("visits", 0) + 1
        session.setdefault("user", {"name": "ann"})["seen"] = session["visits"]
        response: web.StreamResponse = await handler(request)
        if request.query.get("old") == "invalidate":
            session.invalidate()
        elif request.query.get("old") == "new":
            (await aiohttp_session.new_session(request))["fresh"] = True
        return response

    app = web.Application()
    coatcheck.aiohttp.setup(app, secret=SECRET, store=store)
    aiohttp_session.setup(app, CoatcheckStorage())
    app.middlewares.append(visits)
    app.router.add_get("/show", show)
    for handler in new_code:
        app.router.add_get(f"/{handler.__name__}", handler)
    return app


@old_keys
@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("destroy", {}),
        ("regenerate", {}),
        ("del", {"visits": 2}),
        ("add", {"user": {"name": "ann", "seen": 2}, "visits": 2, "cart": ["hat"]}),
        ("assign", {"user": "eve", "visits": 2}),
    ],
)
def test_what_session_of_does_wins(end: str, left: Any) -> None:
    """Over what code of aiohttp-session has changed in the same request."""

    async def act(request: web.Request) -> web.Response:
        session = session_of(request)
        if end == "del":
            del session["user"]
        elif end == "assign":
            session["user"] = "eve"
        elif end == "add":
            session["cart"] = ["hat"]
        else:
            getattr(session, end)()
        return web.Response()

    @browsing(mixed_application(MemoryStore(), act))
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/show")
        await browser.get("/act")
        assert (await aread_session(browser) or {}) == left


@old_keys
@pytest.mark.parametrize(
    ("query", "left"),
    [("old=invalidate", {"cart": ["hat"]}), ("old=new", {"fresh": True})],
)
def test_a_logout_of_aiohttp_session_ends_the_session(query: str, left: Any) -> None:
    """New code may have changed it, and nothing of the user stays."""

    async def act(request: web.Request) -> web.Response:
        session_of(request)["cart"] = ["hat"]
        session_of(request)["user"] = "eve"
        return web.Response()

    store = MemoryStore()

    @browsing(mixed_application(store, act))
    async def browse(browser: TestClient[Any, Any]) -> None:
        await browser.get("/show")
        [before] = sessions_in(store)
        await browser.get(f"/act?{query}")
        assert await aread_session(browser) == left
        assert before not in sessions_in(store)


@old_keys
def test_the_lifetime_of_aiohttp_session() -> None:
    """It is read again, None goes back to that of the middleware, and 0 ends the session."""
    ages: list[Any] = []

    async def visit(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        ages.append(session.max_age)
        session["n"] = session.get("n", 0) + 1
        if "age" in request.query:
            session.max_age = eval(request.query["age"], {})
        return web.Response()

    app = web.Application()
    coatcheck.aiohttp.setup(
        app, secret=SECRET, store=MemoryStore(), cookie=CookieOptions(max_age=600)
    )
    aiohttp_session.setup(app, CoatcheckStorage())
    app.router.add_get("/", visit)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        lines = [
            (await browser.get(f"/{query}")).headers.get("Set-Cookie", "")
            for query in ("", "?age=60", "", "?age=None", "", "?age=0")
        ]
        assert ages == [600, 600, 60, 60, 600, 600]
        assert "Max-Age=600" in lines[0]
        assert "Max-Age=60;" in lines[1]
        assert "Max-Age=600" in lines[3]
        assert "1970" in lines[5]
        assert await aread_session(browser) is None


@old_keys
def test_without_the_middleware_the_storage_says_so() -> None:
    app = web.Application()
    aiohttp_session.setup(app, CoatcheckStorage())

    async def visit(request: web.Request) -> web.Response:
        with pytest.raises(coatcheck.errors.SessionUnavailable):
            await aiohttp_session.get_session(request)
        return web.Response()

    app.router.add_get("/visit", visit)

    @browsing(app)
    async def browse(browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/visit")).status == 200
