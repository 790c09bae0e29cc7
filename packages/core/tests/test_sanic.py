"""Sanic's sessions in its own server and in one of ASGI: streams, WebSockets and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as numbers
from typing import Any

import httpx
import pytest
from sanic import Request, Sanic, json
from sanic.exceptions import Forbidden
from sanic.response import redirect, text
from serving import sanic_server, uvicorn_server
from webclient import SECRET, Clock, CountingStore, FragileStore, sessions_in
from websockets.sync.client import connect

import coatcheck.sanic
from coatcheck import CookieOptions, MemoryStore, Sessions, session_of
from coatcheck.errors import ConfigurationError, SessionGone, StoreClosed
from coatcheck.testing import login, read_session

AnyRequest = Request[Any, Any]

_names = numbers()


async def count(request: AnyRequest) -> Any:
    session = session_of(request)
    assert request.ctx.session is session
    session["n"] = session.get("n", 0) + 1
    return json(dict(session))


async def show(request: AnyRequest) -> Any:
    return json(dict(request.ctx.session))


async def enter(request: AnyRequest) -> Any:
    request.ctx.session.regenerate()
    request.ctx.session["user"] = "ann"
    return redirect("/show")


async def leave(request: AnyRequest) -> Any:
    request.ctx.session.destroy()
    return text("bye")


async def stream(request: AnyRequest) -> None:
    """Change the session before the headers, and again before the last piece."""
    session = request.ctx.session
    session["before"] = True
    response = await request.respond(headers={"X-Own": "kept"})
    assert response is not None
    await response.send("piece")
    session["late"] = True  # Sanic ends the body when the handler has returned


async def fail(request: AnyRequest) -> Any:
    request.ctx.session["user"] = "eve"
    raise ZeroDivisionError


async def refuse(request: AnyRequest) -> Any:
    request.ctx.session["refused"] = True
    raise Forbidden("no")


async def break_off(request: AnyRequest) -> None:
    """Fail after the headers."""
    request.ctx.session["before"] = True
    response = await request.respond()
    assert response is not None
    await response.send("piece")
    request.ctx.session["late"] = True
    raise ZeroDivisionError


async def public(request: AnyRequest) -> Any:
    return text("hello")


async def socket(request: AnyRequest, ws: Any) -> None:
    session = request.ctx.session
    async for message in ws:
        try:
            await session.reload()
            session["said"] = message
            await session.save()
            await ws.send("saved")
        except SessionGone:
            await ws.send("logged out")


PAGES = [count, show, enter, leave, stream, fail, refuse, break_off, public]


def named() -> Sanic[Any, Any]:
    """Return an application with a name of its own."""
    app = Sanic(f"site{next(_names)}", configure_logging=False)
    app.config.TOUCHUP = False  # it rewrites Sanic's code, once in a process
    return app


def site(**options: Any) -> tuple[Sanic[Any, Any], coatcheck.sanic.SanicSessions]:
    app = named()
    for page in PAGES:
        app.add_route(page, f"/{page.__name__}")
    app.add_websocket_route(socket, "/socket")
    sessions = coatcheck.sanic.setup(app, secret=SECRET, **{"store": MemoryStore(), **options})
    return app, sessions


Serve = Callable[[Any], Any]


@contextmanager
def browsing(
    serve: Serve = sanic_server, **options: Any
) -> Iterator[tuple[httpx.Client, Sessions]]:
    """Yield a browser in front of a server, and the sessions of the application."""
    app, made = site(**options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=60) as browser:
        yield browser, Sessions(made.store, made.options)


@pytest.mark.parametrize("serve", [sanic_server, uvicorn_server])
def test_a_session_from_its_beginning_to_its_end(serve: Serve) -> None:
    """Sanic serves itself, or is served as an application of ASGI."""
    store = CountingStore()
    with browsing(serve, store=store) as (browser, _):
        answers = [browser.get("/count") for _ in range(2)]
        assert [answer.json() for answer in answers] == [{"n": 1}, {"n": 2}]
        assert answers[0].headers["Vary"] == "Cookie"
        assert "set-cookie" not in answers[1].headers
        answer = browser.get("/enter", follow_redirects=True)
        assert answer.json() == {"user": "ann"}
        store.taken()
        browser.get("/leave")
        assert sessions_in(store) == {}
        assert list(browser.cookies) == []
        store.taken()
        assert "Vary" not in browser.get("/public").headers
        assert browser.get("/nowhere").status_code == 404
        assert store.taken() == []


@pytest.mark.parametrize("serve", [sanic_server, uvicorn_server])
def test_a_stream_is_saved_before_its_headers_and_at_its_end(serve: Serve) -> None:
    with browsing(serve) as (browser, sessions):
        answer = browser.get("/stream")
        assert (answer.text, answer.headers["X-Own"]) == ("piece", "kept")
        assert read_session(browser, sessions=sessions) == {"before": True, "late": True}


async def both(request: AnyRequest) -> Any:
    session_of(request, "sid")["visitor"] = True
    session_of(request, "admin_sid")["staff"] = True
    return text("both")


@pytest.mark.parametrize("serve", [sanic_server, uvicorn_server])
def test_an_application_has_sessions_of_two_names(serve: Serve) -> None:
    """Each has its cookie and its store, also in a stream."""
    app = named()
    for page in (both, stream):
        app.add_route(page, f"/{page.__name__}")
    several = [
        coatcheck.sanic.setup(app, secret=SECRET, store=MemoryStore(), name=name)
        for name in ("sid", "admin_sid")
    ]
    with serve(app) as url, httpx.Client(base_url=url, timeout=60) as browser:
        browser.get("/both")
        assert sorted(browser.cookies) == ["admin_sid", "sid"]
        browser.get("/stream")
        data = [
            read_session(browser, sessions=Sessions(each.store, each.options)) for each in several
        ]
    assert data == [{"visitor": True}, {"staff": True, "before": True, "late": True}]


def test_a_handler_that_fails_changes_nothing() -> None:
    """A response that it raises is one, and keeps its changes."""
    with browsing() as (browser, _):
        browser.get("/count")
        assert browser.get("/fail").status_code == 500
        assert browser.get("/show").json() == {"n": 1}
        assert browser.get("/refuse").status_code == 403
        assert browser.get("/show").json() == {"n": 1, "refused": True}
        assert browser.get("/break_off").text == "piece"
        assert browser.get("/show").json() == {"n": 1, "refused": True, "before": True}


def test_a_store_that_fails_is_an_error_page() -> None:
    """Sanic only logs what its response middlewares raise."""
    store = FragileStore()
    with browsing(store=store) as (browser, _):
        store.fail("set")
        for page in ("/count", "/enter"):
            answer = browser.get(page)
            assert (answer.status_code, "set-cookie" in answer.headers) == (500, False)
        store.fail()
        assert browser.get("/count").json() == {"n": 1}


def test_a_websocket_has_the_session_of_its_user() -> None:
    with browsing() as (browser, sessions):
        browser.get("/count")
        cookie = f"sid={browser.cookies['sid']}"
        address = str(browser.base_url.copy_with(scheme="ws", path="/socket"))
        with connect(address, additional_headers={"Cookie": cookie}) as connection:
            connection.send("hello")
            assert connection.recv() == "saved"
            assert read_session(browser, sessions=sessions) == {"n": 1, "said": "hello"}
            browser.get("/leave")
            connection.send("again")
            assert connection.recv() == "logged out"


def test_other_middlewares_have_the_session() -> None:
    """Those that were added before are inside, too; one that answers itself has the cookie."""
    app = named()

    @app.on_request
    async def mark(request: AnyRequest) -> Any:
        request.ctx.session["marked"] = True
        return text("closed") if request.path == "/closed" else None

    @app.on_response
    async def count_up(request: AnyRequest, response: Any) -> None:
        request.ctx.session["answers"] = request.ctx.session.get("answers", 0) + 1

    app.add_route(show, "/show")
    app.add_route(show, "/closed", name="closed")
    made = coatcheck.sanic.setup(app, secret=SECRET, store=MemoryStore())
    sessions = Sessions(made.store, made.options)
    with sanic_server(app) as url, httpx.Client(base_url=url, timeout=60) as browser:
        assert browser.get("/closed").text == "closed"
        assert read_session(browser, sessions=sessions) == {"marked": True, "answers": 1}
        assert browser.get("/show").json() == {"marked": True, "answers": 1}
        assert read_session(browser, sessions=sessions) == {"marked": True, "answers": 2}


def test_options_get_the_request() -> None:
    clock = Clock()
    seen: list[str] = []

    def keeps_alive(mapping: Any) -> bool:
        seen.append(mapping["request"].path)
        return True

    options = {
        "clock": clock,
        "store": MemoryStore(clock=clock),
        "trust_proxy": True,
        "keeps_alive": keeps_alive,
        "idle_timeout": 100,
        "cookie": CookieOptions(path="/"),
        "owner": "user",
    }
    with browsing(**options) as (browser, sessions):
        line = browser.get("/count", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
        assert "Secure" in line
        clock.advance(60)
        browser.get("/show", headers={"Cookie": line.partition(";")[0]})
        assert "/show" in seen
        login(browser, {"user": "ann"}, sessions=sessions)
        assert browser.get("/show").json() == {"user": "ann"}
        assert sessions.revoke_all("ann") == 1
        assert browser.get("/show").json() == {}


def test_a_store_that_was_opened_is_closed_with_the_server(tmp_path: Any) -> None:
    app, made = site(store=f"file://{tmp_path}")
    store = made.store
    with sanic_server(app) as url:
        assert httpx.get(f"{url}/count", timeout=60).json() == {"n": 1}
    with pytest.raises(StoreClosed):
        Sessions(store, made.options).list("ann")


def test_an_application_is_set_up_once() -> None:
    app, _ = site()
    coatcheck.sanic.setup(app, secret=SECRET, name="admin_sid")
    with pytest.raises(ConfigurationError, match="has sessions of the name 'sid' already"):
        coatcheck.sanic.setup(app, secret=SECRET)


@pytest.mark.parametrize("wrong", [None, site, object()])
def test_only_an_application_of_sanic_is_set_up(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"`app` must be a sanic\.Sanic"):
        coatcheck.sanic.setup(wrong, secret=SECRET)
