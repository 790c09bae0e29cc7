"""The tools for tests of applications: each client logs in and shows its session."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastapi
import fastapi.testclient
import flask
import httpx
import httpx2
import litestar
import litestar.testing
import pytest
import starlette.applications
import starlette.testclient
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer as AiohttpServer
from playwright.sync_api import sync_playwright
from serving import uvicorn_server
from starlette.requests import Request
from starlette.responses import JSONResponse
from webclient import SECRET, AsyncMemoryStore, asgi_app, wsgi_app

from coatcheck import CookieOptions, MemoryStore, SessionOptions, Sessions, open_store, session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError
from coatcheck.litestar import SessionConfig
from coatcheck.testing import (
    Clock,
    alogin,
    aread_session,
    find_sessions,
    login,
    read_session,
    storage_state,
)
from coatcheck.wsgi import SessionMiddleware as WSGISessions


def visit(session: Any, path: str) -> dict[str, Any]:
    """Do what the path says, and return what the session has."""
    if path == "/buy":
        session.setdefault("cart", []).append("umbrella")
    if path == "/logout":
        session.destroy()
    return dict(session)


# The applications


def starlette_app(**options: Any) -> Any:
    async def page(request: Request) -> JSONResponse:
        return JSONResponse(visit(session_of(request), request.url.path))

    app = starlette.applications.Starlette()
    app.add_route("/{path:path}", page)
    app.add_middleware(ASGISessions, secret=SECRET, **options)
    return app


def fastapi_app(**options: Any) -> Any:
    app = fastapi.FastAPI()

    @app.get("/{path:path}")
    async def page(request: fastapi.Request) -> dict[str, Any]:
        return visit(session_of(request), request.url.path)

    app.add_middleware(ASGISessions, secret=SECRET, **options)
    return app


def litestar_app(**options: Any) -> Any:
    @litestar.get(["/", "/buy", "/logout"])
    async def page(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return visit(session_of(request), request.url.path)

    site: Any = litestar.Litestar([page], logging_config=None)
    return ASGISessions(site, secret=SECRET, **options)


def litestar_plugin(store: str) -> Any:
    @litestar.get("/")
    async def page(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return visit(session_of(request), request.url.path)

    return litestar.Litestar([page], plugins=[SessionConfig(secret=SECRET, store=store)])


def flask_app(**options: Any) -> Any:
    app = flask.Flask("shop")

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def page(path: str) -> dict[str, Any]:
        return visit(session_of(flask.request), flask.request.path)

    app.wsgi_app = WSGISessions(app.wsgi_app, secret=SECRET, **options)  # type: ignore[method-assign]
    return app


def plain_asgi(**options: Any) -> Any:
    return asgi_app(lambda session, scope: json.dumps(visit(session, scope["path"])), **options)


def plain_wsgi(**options: Any) -> Any:
    return wsgi_app(
        lambda session, environ: json.dumps(visit(session, environ["PATH_INFO"])), **options
    )


def over_wsgi(library: Any) -> Callable[[Any], Any]:
    return lambda app: library.Client(
        transport=library.WSGITransport(app=app), base_url="http://shop.test"
    )


CLIENTS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "starlette": (starlette_app, starlette.testclient.TestClient),
    "fastapi": (fastapi_app, fastapi.testclient.TestClient),
    "litestar": (litestar_app, litestar.testing.TestClient),
    "flask": (flask_app, lambda app: app.test_client()),
    "httpx": (plain_wsgi, over_wsgi(httpx)),
    "httpx2": (plain_wsgi, over_wsgi(httpx2)),
}


def data_of(answer: Any) -> Any:
    return answer.json() if callable(answer.json) else answer.json


@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_is_logged_in(name: str) -> None:
    """The application finds the session, its changes are seen, and its logout ends it."""
    make_app, make_client = CLIENTS[name]
    with make_client(make_app(store=MemoryStore(), owner="user")) as client:
        assert read_session(client) is None
        made = login(client, {"user": 42})
        assert data_of(client.get("/buy")) == {"user": 42, "cart": ["umbrella"]}
        assert read_session(client) == {"user": 42, "cart": ["umbrella"]}
        sessions = find_sessions(getattr(client, "app", None) or application_of(client))
        assert [entry.ref for entry in sessions.list(42)] == [made.ref]
        client.get("/logout")
        assert read_session(client) is None
        assert data_of(client.get("/")) == {}


def application_of(client: Any) -> Any:
    return client.application if hasattr(client, "application") else client._transport.app


@pytest.mark.parametrize("name", CLIENTS)
def test_another_login_takes_the_place_of_the_first(name: str) -> None:
    """A client has one session, also where the application sends its cookie again."""
    make_app, make_client = CLIENTS[name]
    clock = Clock()
    app = make_app(store=MemoryStore(), clock=clock, cookie=CookieOptions(max_age=3600))
    with make_client(app) as client:
        login(client, {"user": "ann"})
        clock.advance(timedelta(minutes=10))
        client.get("/buy")  # sends the cookie with its new end
        login(client, {"user": "bob"}, owner="bob")
        assert data_of(client.get("/buy")) == {"user": "bob", "cart": ["umbrella"]}
        clock.advance(3601)
        assert read_session(client) is None


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("store", [MemoryStore, AsyncMemoryStore])
def test_an_asynchronous_client_is_logged_in(library: Any, store: Any) -> None:
    app = plain_asgi(store=store())

    async def shop() -> None:
        transport = library.ASGITransport(app=app)
        async with library.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            await alogin(client, {"user": "ann"}, owner=42)
            assert (await client.get("/buy")).json() == {"user": "ann", "cart": ["umbrella"]}
            assert await aread_session(client) == {"user": "ann", "cart": ["umbrella"]}
            assert read_session(client) == {"user": "ann", "cart": ["umbrella"]}

    asyncio.run(shop())


def test_the_client_of_aiohttp_is_logged_in() -> None:
    """Its test client and its ClientSession take the cookie for the server that is tested."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))

    async def page(request: web.Request) -> web.Response:
        entry = await sessions.afind(request.headers.get("cookie", ""))
        return web.json_response(entry and entry.data)

    async def shop() -> None:
        app = web.Application()
        app.router.add_get("/", page)
        async with AiohttpClient(AiohttpServer(app)) as client:
            assert await (await client.get("/")).json() is None
            await alogin(client, {"user": "ann"}, sessions=sessions)
            assert await (await client.get("/")).json() == {"user": "ann"}
            assert await aread_session(client, sessions=sessions) == {"user": "ann"}
            url = str(client.make_url("/"))
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
                await alogin(browser, {"user": "bob"}, sessions=sessions, url=url)
                assert await (await browser.get(url)).json() == {"user": "bob"}
                with pytest.raises(ConfigurationError, match="which application it tests"):
                    await alogin(browser, {"user": "bob"}, url=url)

    asyncio.run(shop())


def test_a_client_of_a_server_elsewhere_is_logged_in() -> None:
    """Where no application is at hand, the test says which sessions they are."""
    app = plain_asgi(store=MemoryStore())
    sessions = Sessions(app.store, app.options)
    with uvicorn_server(app) as url, httpx.Client(timeout=60) as client:
        with pytest.raises(ConfigurationError, match="which application it tests"):
            login(client, {"user": "ann"}, url=url)
        with pytest.raises(ConfigurationError, match="no base URL"):
            login(client, {"user": "ann"}, sessions=sessions)
        login(client, {"user": "ann"}, sessions=sessions, url=url)
        assert client.get(url).json() == {"user": "ann"}
        assert read_session(client, sessions=sessions, url=url) == {"user": "ann"}


# The cookie


@pytest.mark.parametrize("name", CLIENTS)
def test_a_cookie_of_a_path_is_sent_there(name: str) -> None:
    make_app, make_client = CLIENTS[name]
    app = make_app(store=MemoryStore(), cookie=CookieOptions(path="/buy"))
    with make_client(app) as client:
        login(client, {"user": "ann"})
        assert data_of(client.get("/buy")) == {"user": "ann", "cart": ["umbrella"]}
        assert read_session(client) == {"user": "ann", "cart": ["umbrella"]}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_cookie_that_the_client_would_not_send_is_an_error(name: str) -> None:
    """A test that is not logged in, without knowing, would test something else."""
    make_app, make_client = CLIENTS[name]
    foreign = make_app(store=MemoryStore(), cookie=CookieOptions(domain="elsewhere.example"))
    secure = make_app(store=MemoryStore(), cookie=CookieOptions(secure=True))
    if name != "flask":  # it looks for the cookie's own domain
        with make_client(foreign) as client, pytest.raises(ConfigurationError, match="domain or"):
            login(client, {"user": "ann"})
    with make_client(secure) as client:
        with pytest.raises(ConfigurationError, match="over http"):
            login(client, {"user": "ann"})
        host = "localhost" if name == "flask" else client.base_url.host
        login(client, {"user": "ann"}, url=f"https://{host}/")


def test_a_cookie_of_a_domain_is_sent_to_its_hosts() -> None:
    options = {"store": MemoryStore(), "cookie": CookieOptions(domain="shop.test")}
    client = over_wsgi(httpx)(plain_wsgi(**options))
    login(client, {"user": "ann"})
    assert client.get("http://www.shop.test/").json() == {"user": "ann"}
    app = flask_app(**options)
    app.config["SERVER_NAME"] = "shop.test"
    app.subdomain_matching = True
    client = app.test_client()
    login(client, {"user": "bob"})
    assert client.get("/").json == read_session(client) == {"user": "bob"}


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_cookie_that_the_client_had_before_is_an_error(library: Any) -> None:
    """One whose domain is another, so that both are sent, and the application takes the first."""
    app = plain_wsgi(store=MemoryStore())
    other = over_wsgi(library)(app)
    present = login(other, {"user": "ann"})
    client = over_wsgi(library)(app)
    client.cookies.set("sid", present.cookie_value)
    with pytest.raises(ConfigurationError, match="another cookie of the name 'sid'"):
        login(client, {"user": "bob"})
    client.cookies.set("sid", "of nobody")
    login(client, {"user": "bob"})
    assert client.get("/").json() == {"user": "bob"}

    async def shop() -> None:
        client.cookies.set("sid", present.cookie_value)
        with pytest.raises(ConfigurationError, match="another cookie of the name 'sid'"):
            await alogin(client, {"user": "bob"})

    asyncio.run(shop())


def test_a_cookie_that_is_a_function_of_the_request_says_what_to_do() -> None:
    app = plain_wsgi(store=MemoryStore(), cookie=lambda environ: CookieOptions())
    client = over_wsgi(httpx)(app)
    with pytest.raises(ConfigurationError, match=r"call `sessions\.create\(data, request="):
        login(client, {"user": "ann"})
    sessions = find_sessions(app)
    made = sessions.create({"user": "ann"}, https=False, request={"wsgi.url_scheme": "http"})
    client.cookies.set(made.cookie_name, made.cookie_value)
    assert client.get("/").json() == read_session(client) == {"user": "ann"}


@pytest.mark.parametrize("name", ["starlette", "fastapi", "litestar", "litestar plugin"])
def test_a_store_that_a_client_has_closed_is_opened_again(name: str, tmp_path: Path) -> None:
    """At its end, each client shuts the application down; the next one goes on."""
    if name == "litestar plugin":
        app, make_client = litestar_plugin(f"file://{tmp_path}"), litestar.testing.TestClient
    else:
        make_app, make_client = CLIENTS[name]
        app = make_app(store=f"file://{tmp_path}")
    with make_client(app) as client:
        login(client, {"user": "ann"})
    assert read_session(client) == {"user": "ann"}
    with make_client(app) as client:
        client.get("/")
    client = make_client(app)
    login(client, {"user": "bob"})
    assert data_of(client.get("/")) == {"user": "bob"}


# Finding the application


def test_what_has_no_sessions_of_coatcheck_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="no session middleware of coatcheck was found"):
        login(flask.Flask("shop").test_client(), {"user": "ann"})
    with pytest.raises(ConfigurationError, match="no session middleware of coatcheck was found"):
        find_sessions(starlette.applications.Starlette())


def test_of_several_middlewares_the_test_names_one() -> None:
    inner = plain_wsgi(store=MemoryStore(), name="inner")
    outer = WSGISessions(inner, secret=SECRET, store=MemoryStore(), name="outer")
    client = over_wsgi(httpx)(outer)
    with pytest.raises(ConfigurationError, match="cookies 'outer', 'inner'"):
        login(client, {"user": "ann"})
    login(client, {"user": "ann"}, sessions=find_sessions(inner))
    assert client.get("/").json() == {"user": "ann"}


@pytest.mark.parametrize("client", [None, "http://shop.test", object(), {}])
def test_a_client_of_another_kind_is_a_type_error(client: Any) -> None:
    with pytest.raises(TypeError, match="must be one of the test clients of Starlette"):
        login(client, {"user": "ann"})


def test_sessions_are_sessions() -> None:
    client = over_wsgi(httpx)(plain_wsgi(store=MemoryStore()))
    with pytest.raises(TypeError, match="`sessions` must be `Sessions"):
        login(client, {"user": "ann"}, sessions=MemoryStore())  # type: ignore[arg-type]


# Playwright


@pytest.mark.parametrize("max_age", [None, 3600])
def test_playwright_takes_the_session(max_age: int | None, tmp_path: Path) -> None:
    """As a dict and from a file, for a host and for a domain."""
    app = plain_asgi(store=MemoryStore(), cookie=CookieOptions(max_age=max_age, same_site="strict"))
    sessions = Sessions(app.store, app.options)
    with uvicorn_server(app) as url, sync_playwright() as playwright:
        state = storage_state(sessions.create({"user": "ann"}, https=False), url)
        (tmp_path / "state.json").write_text(json.dumps(state))
        for given in (state, tmp_path / "state.json"):
            browser = playwright.request.new_context(storage_state=given)
            assert browser.get(url).json() == {"user": "ann"}
            [cookie] = browser.storage_state()["cookies"]
            assert cookie == state["cookies"][0]
            browser.dispose()
    assert (state["cookies"][0]["expires"] == -1) == (max_age is None)


def test_the_state_has_what_the_cookie_has() -> None:
    store = MemoryStore()
    cookie = CookieOptions(domain="shop.test", path="/shop", same_site="none", max_age=3600)
    clock = Clock(1_800_000_000.5)
    options = SessionOptions(secret=SECRET, store=store, cookie=cookie, clock=clock)
    made = Sessions(store, options).create({"user": "ann"})
    assert storage_state(made, "https://www.shop.test/") == {
        "cookies": [
            {
                "name": "sid",
                "value": made.cookie_value,
                "domain": ".shop.test",
                "path": "/shop",
                "expires": 1_800_003_600.0,
                "httpOnly": True,
                "secure": True,
                "sameSite": "None",
            }
        ],
        "origins": [],
    }
    for wrong in ("", "shop.test", "ftp://shop.test"):
        with pytest.raises(ValueError, match="`url` must be an http or https URL"):
            storage_state(made, wrong)


# Fixtures of pytest

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"


def run_pytest(folder: Path, **files: str) -> str:
    """Return what pytest prints about the tests in these files."""
    for name, code in files.items():
        (folder / f"{name}.py").write_text(code)
    options = ("-c", "/dev/null", "--rootdir", ".", "-q", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    return done.stdout


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """The page has an application, its fixtures and two tests."""
    pattern = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    files = dict(pattern.findall(PAGE.read_text("utf-8")))
    assert list(files) == ["conftest", "test_shop"]
    assert "2 passed" in run_pytest(tmp_path, **files)


CONFTEST = """
import pytest

pytest_plugins = ["coatcheck.testing.fixtures"]

@pytest.fixture
def session_store_url():
    return "file:///folder"
"""
TESTS = """
import pytest
from coatcheck import SessionOptions, Sessions

@pytest.mark.parametrize("n", [1, 2])
def test_the_store_is_empty(session_store, session_clock, n):
    assert session_store.length() == 0
    options = SessionOptions(secret="s" * 32, store=session_store, clock=session_clock)
    Sessions(session_store, options).create({"n": n})
"""


def test_the_fixtures_leave_nothing_behind(tmp_path: Path) -> None:
    """A store with sessions is left alone: it could be one that is in use."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    conftest = CONFTEST.replace("/folder", str(folder))
    assert "2 passed" in run_pytest(tmp_path, conftest=conftest, test_shop=TESTS)
    store = open_store(f"file://{folder}")
    assert store.length() == 0
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    made = sessions.create({"user": "ann"})
    printed = run_pytest(tmp_path)
    assert "has 1 sessions already" in printed
    assert "2 errors" in printed
    assert sessions.get(made.ref) is not None
    store.close()


@pytest.mark.parametrize("module", ["coatcheck", "coatcheck.testing"])
def test_pytest_and_frameworks_are_loaded_by_their_users_alone(module: str) -> None:
    program = (
        f"import sys, {module}; names = ('pytest', 'httpx', 'httpx2', 'werkzeug', 'aiohttp')"
        "; sys.exit(', '.join(name for name in names if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == "\n"
