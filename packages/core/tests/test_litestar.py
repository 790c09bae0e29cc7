"""Litestar with a plugin, a middleware of its own list, guards, SessionAuth and its test client."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.middleware._internal.cors import CORSMiddleware
from litestar.response import Redirect, Response, Stream
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient
from webclient import SECRET, Clock, CountingStore, sessions_in, set_cookies

from coatcheck import (
    ALWAYS,
    AsyncSession,
    CookieOptions,
    MemoryStore,
    Record,
    Sessions,
    session_of,
)
from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import ConfigurationError, StoreClosed, StoreUnavailable
from coatcheck.litestar import SessionConfig
from coatcheck.store import Condition
from coatcheck.testing import find_sessions, login, read_session

AnyRequest = Request[Any, Any, Any]


@get("/count", sync_to_thread=False)
def count(request: AnyRequest) -> dict[str, Any]:
    request.session["n"] = request.session.get("n", 0) + 1
    return dict(request.session)


@get("/show")
async def show(request: AnyRequest) -> dict[str, Any]:
    return dict(request.session)


@post("/login")
async def log_in(request: AnyRequest) -> Redirect:
    session_of(request).regenerate(keep_data=True)
    request.set_session({**request.session, "user": "ann"})
    return Redirect("/show")


@post("/logout", status_code=204)
async def log_out(request: AnyRequest) -> None:
    request.clear_session()


@get("/late")
async def late(request: AnyRequest) -> Stream:
    session = session_of(request)
    session["before"] = True

    async def parts() -> AsyncIterator[str]:
        session["late"] = True
        yield "piece"

    return Stream(parts())


@get("/fail")
async def fail(request: AnyRequest) -> None:
    request.session["user"] = "eve"
    raise ZeroDivisionError


@get("/public", skip_session=True)
async def public(request: AnyRequest) -> bool:
    return "session" in request.scope


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    session = socket.session
    assert isinstance(session, AsyncSession)
    session["sockets"] = 1
    await socket.accept()
    session["said"] = await socket.receive_text()
    await session.save()
    await socket.send_text("saved")
    await socket.close()


ROUTES = [count, show, log_in, log_out, late, fail, public, socket]


def config_of(**options: Any) -> SessionConfig:
    return SessionConfig(secret=SECRET, **{"store": MemoryStore(), **options})


def as_plugin(config: SessionConfig, **more: Any) -> Litestar:
    return Litestar(ROUTES, plugins=[config], logging_config=None, **more)


def as_middleware(config: SessionConfig, **more: Any) -> Litestar:
    return Litestar(ROUTES, middleware=[config.middleware], logging_config=None, **more)


@pytest.mark.parametrize("make", [as_plugin, as_middleware])
def test_all_routes_share_the_session(make: Any) -> None:
    """Litestar makes a middleware for each route, and all of them have one store."""
    config = config_of()
    with TestClient(make(config)) as client:
        assert [client.get("/count").json() for _ in range(2)] == [{"n": 1}, {"n": 2}]
        before = client.cookies["sid"]
        assert client.post("/login").json() == {"n": 2, "user": "ann"}
        assert client.cookies["sid"] != before
        client.post("/logout")
        assert client.get("/show").json() == {}
        assert sessions_in(config.store) == {}


def test_a_stream_a_failure_and_a_websocket() -> None:
    with TestClient(as_plugin(config_of()), raise_server_exceptions=False) as client:
        assert client.get("/late").text == "piece"
        assert read_session(client) == {"before": True, "late": True}
        assert client.get("/fail").status_code == 500
        with client.websocket_connect("/socket") as connection:
            connection.send_text("hello")
            assert connection.receive_text() == "saved"
        data = read_session(client)
        assert data is not None
        assert (data["sockets"], data["said"]) == (1, "hello")


def test_a_route_or_a_path_without_a_session_asks_no_store() -> None:
    store = CountingStore()
    with TestClient(as_plugin(config_of(store=store, exclude="/show"))) as client:
        client.get("/count")
        store.taken()
        assert client.get("/public").json() is False
        assert client.get("/show").status_code == 500
        assert store.taken() == []


def test_guards_see_the_session() -> None:
    def only_users(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if "user" not in connection.session:
            raise NotAuthorizedException

    @get("/account", guards=[only_users])
    async def account(request: AnyRequest) -> str:
        return str(request.session["user"])

    routes = [account, log_in, show]
    app = Litestar(routes, plugins=[config_of()], logging_config=None)
    with TestClient(app) as client:
        assert client.get("/account").status_code == 401
        client.post("/login")
        assert client.get("/account").text == "ann"


def test_session_auth_finds_the_user_in_the_session() -> None:
    """Litestar's own authentication takes the configuration as its backend."""
    config = config_of(owner="user_id")

    async def retrieve(session: dict[str, Any], _: Any) -> str | None:
        return f"user {session['user_id']}" if "user_id" in session else None

    @post("/enter")
    async def enter(request: AnyRequest) -> None:
        request.set_session({"user_id": 42})

    @get("/me")
    async def me(request: AnyRequest) -> str:
        return str(request.user)

    auth = SessionAuth[str, Any](
        retrieve_user_handler=retrieve, session_backend_config=config, exclude=["/enter", "/schema"]
    )
    app = Litestar([enter, me], on_app_init=[auth.on_app_init], logging_config=None)
    with TestClient(app) as client:
        assert client.get("/me").status_code == 401
        login(client, {"user_id": 42}, sessions=find_sessions(config))
        assert client.get("/me").text == "user 42"
        assert find_sessions(config).revoke_all(42) == 1
        assert client.get("/me").status_code == 401


def test_the_test_client_sets_and_gets_the_session() -> None:
    config = config_of()
    app = as_plugin(config)
    with TestClient(app, session_config=config) as client:
        assert client.get_session_data() == {}
        client.set_session_data({"n": 41, "old": True})
        assert client.get("/count").json() == {"n": 42, "old": True}
        client.set_session_data({"n": 1})
        assert client.get_session_data() == {"n": 1}
        assert len(sessions_in(config.store)) == 1
        client.set_session_data({})
        assert client.get_session_data() == {}
        assert sessions_in(config.store) == {}


@pytest.mark.parametrize("make", [as_plugin, as_middleware])
def test_the_tools_for_tests_find_the_configuration(make: Any) -> None:
    config = config_of(owner="user")
    with TestClient(make(config)) as client:
        made = login(client, {"user": "ann"})
        assert client.get("/show").json() == {"user": "ann"}
        assert [entry.ref for entry in find_sessions(client.app).list("ann")] == [made.ref]


def test_a_store_that_was_opened_is_closed_with_the_application(tmp_path: Any) -> None:
    """And the next client opens it again."""
    config = SessionConfig(secret=SECRET, store=f"file://{tmp_path}")
    app = as_plugin(config)
    for n in (1, 2):
        with TestClient(app) as client:
            assert client.get("/count").json() == {"n": 1}
            store = config.store
            assert len(sessions_in(store.store)) == n  # type: ignore[union-attr]
        with pytest.raises(StoreClosed):
            Sessions(store, config.options).list("ann")


def test_options_are_those_of_the_other_middlewares() -> None:
    clock = Clock()
    options: dict[str, Any] = {
        "clock": clock,
        "store": MemoryStore(clock=clock),
        "name": "shop",
        "cookie": CookieOptions(max_age=600),
    }
    config = config_of(**options)
    assert config.key == "shop"
    with TestClient(as_plugin(config)) as client:
        [line] = set_cookies(client.get("/count"))
        assert line.startswith("shop=")
        assert "Max-Age=600" in line
    with pytest.raises(ConfigurationError, match="`secret` is required"):
        SessionConfig()


@pytest.mark.parametrize(("path", "status"), [("/count", 500), ("/show", 503)])
def test_exception_handlers_see_errors_of_loading_and_not_of_saving(path: str, status: int) -> None:
    """To Litestar a response has begun when it is about to be sent."""

    class Down(MemoryStore):
        def get(self, key: str) -> Record | None:
            if is_down and path == "/show":
                raise StoreUnavailable("down")
            return super().get(key)

        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            if is_down:
                raise StoreUnavailable("down")
            return super().set(key, record, only_if)

    def unavailable(request: AnyRequest, error: StoreUnavailable) -> Response[str]:
        return Response("try again", status_code=503)

    app = Litestar(
        ROUTES,
        plugins=[config_of(store=Down())],
        exception_handlers={StoreUnavailable: unavailable},
        logging_config=None,
    )
    is_down = False
    with TestClient(app, raise_server_exceptions=False) as client:
        client.get("/count")
        is_down = True
        assert client.get(path).status_code == status


def test_a_middleware_of_each_route_is_refused() -> None:
    """With a store of its own each, a login at one route would be none at the others."""

    def other(app: Any) -> Any:
        return CORSMiddleware(app, CORSConfig())

    ours = DefineMiddleware(SessionMiddleware, secret=SECRET)
    for middlewares in ([ours], [ours, other], [other, ours]):
        with pytest.raises(ConfigurationError, match=r"plugins=\[coatcheck\.litestar\.Session"):
            Litestar(ROUTES, middleware=middlewares, logging_config=None)


def test_the_middleware_around_the_application_is_not(caplog: Any) -> None:
    site: Any = Litestar(ROUTES, logging_config=None)
    app = SessionMiddleware(site, secret=SECRET, store=MemoryStore())
    with caplog.at_level(logging.WARNING, "coatcheck"), TestClient(app) as client:
        assert [client.get("/count").json() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert caplog.messages == []
