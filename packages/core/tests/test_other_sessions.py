"""Several session middlewares: other libraries', our own, and WSGI inside ASGI."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import asgiref.wsgi
import fastapi
import flask
import litestar
import litestar.exceptions
import litestar.middleware.session.client_side
import litestar.response
import litestar.testing
import pytest
import sqladmin.authentication
import starlette.applications
import starlette.middleware.sessions
import starlette.responses
import starlette.routing
from a2wsgi import WSGIMiddleware as A2WSGI
from sqlalchemy import create_engine
from webclient import SECRET, AsyncMemoryStore, Client, set_cookies

from coatcheck import AsyncSession, MemoryStore, SyncSession, session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, SessionUnavailable
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio

Foreign = starlette.middleware.sessions.SessionMiddleware
Text = starlette.responses.PlainTextResponse


@pytest.fixture
def store() -> MemoryStore:
    """Keeps the sessions of the site."""
    return MemoryStore()


def shop(store: MemoryStore, **mounts: Any) -> Client:
    """Return a visitor of a shop where people log in, with applications mounted in it."""

    async def login(request: Any) -> Any:
        request.session["user"] = "ann"
        return Text("")

    async def who(request: Any) -> Any:
        return Text(str(dict(request.session)))

    routes: list[Any] = [
        starlette.routing.Route("/login", login),
        starlette.routing.Route("/", who),
    ]
    routes += [starlette.routing.Mount(f"/{name}", app) for name, app in mounts.items()]
    app = starlette.applications.Starlette(routes=routes)
    return Client(ASGISessions(app, secret=SECRET, store=store))


def visits(request: Any) -> Any:
    """Count in whatever session a request shows, and show ours beside."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return Text(f"{request.session['visits']} {dict(session_of(request))}")


def visits_of(session: Any) -> int:
    """Count in a session."""
    session["visits"] = session.get("visits", 0) + 1
    return int(session["visits"])


def starlette_app(**options: Any) -> Any:
    """Return a Starlette application with Starlette's session middleware."""
    app = starlette.applications.Starlette(routes=[starlette.routing.Route("/", visits)])
    app.add_middleware(Foreign, secret_key="another secret", **options)
    return app


class Login(sqladmin.authentication.AuthenticationBackend):
    """Lets everybody into the administration, and remembers it in sqladmin's session."""

    async def login(self, request: Any) -> bool:
        request.session["admin"] = "yes"
        return True

    async def logout(self, request: Any) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Any) -> bool:
        return "admin" in request.session


def administration() -> Any:
    """Return sqladmin with a login of its own, mounted in nothing."""
    app = starlette.applications.Starlette()
    sqladmin.Admin(app, create_engine("sqlite://"), authentication_backend=Login("admin's secret"))
    return app


async def test_a_foreign_middleware_inside_leaves_our_session(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette's own middleware serves its cookie, ours keeps the login, and the log says who."""
    visitor = shop(store, sub=starlette_app())
    await visitor.get("/login")
    for number in "123":
        response = await visitor.get("/sub/")
        assert response.text == f"{number} {{'user': 'ann'}}"
    assert (await visitor.get("/")).text == "{'user': 'ann'}"
    assert {*visitor.cookies} == {"sid", "session"}
    [warning] = [text for text in caplog.messages if "left to it" in text]
    assert "starlette.middleware.sessions.SessionMiddleware" in warning
    assert store.length() == 1


async def test_a_visitor_of_the_application_inside_gets_no_session_of_ours(
    store: MemoryStore,
) -> None:
    """A session that is not ours is not stored by us."""
    response = await shop(store, sub=starlette_app()).get("/sub/")
    assert [line.partition("=")[0] for line in set_cookies(response)] == ["session"]
    assert store.length() == 0


async def test_the_administration_of_sqladmin(store: MemoryStore) -> None:
    """Logging in and out there leaves the visitor logged in here."""
    visitor = shop(store, site=administration())
    await visitor.get("/login")
    assert (await visitor.get("/site/admin/")).status_code == 302
    assert (await visitor.post("/site/admin/login", data={})).status_code == 302
    assert (await visitor.get("/site/admin/")).status_code == 200
    assert (await visitor.get("/site/admin/logout")).status_code == 302
    assert (await visitor.get("/site/admin/")).status_code == 302
    assert (await visitor.get("/")).text == "{'user': 'ann'}"


async def test_a_foreign_middleware_outside_keeps_its_place(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette's middleware finds its own session there when the response goes out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session_of(scope)["visits"] = session_of(scope).get("visits", 0) + 1
        scope["session"]["theirs"] = 1
        text = f"{session_of(scope)['visits']} {dict(scope['session'])}"
        await Text(text)(scope, receive, send)

    ours = ASGISessions(app, secret=SECRET, store=store)
    visitor = Client(Foreign(ours, secret_key="another secret"))
    for number in "12":
        assert (await visitor.get("/")).text == f"{number} {{'theirs': 1}}"
    assert {*visitor.cookies} == {"sid", "session"}
    assert len([text for text in caplog.messages if "left to it" in text]) == 1


@pytest.mark.parametrize("theirs", [{}, {"a": 1}, object(), [], False])
async def test_what_an_application_puts_there_is_no_order(
    store: MemoryStore, theirs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell it from another middleware's session; the warning says what to do."""

    async def replace(scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = theirs
        await Text("")(scope, receive, send)

    visitor = shop(store, replace=replace)
    await visitor.get("/login")
    assert set_cookies(await visitor.get("/replace/")) == []
    assert (await visitor.get("/")).text == "{'user': 'ann'}"
    [warning] = [text for text in caplog.messages if "left to it" in text]
    assert "`session.clear()`" in warning


# Litestar


def litestar_app(store: MemoryStore, **options: Any) -> Client:
    """Return a visitor of a Litestar application that uses Litestar's own calls."""

    @litestar.get("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> None:
        request.set_session({"user": "ann"})

    @litestar.get("/change")
    async def change(request: litestar.Request[Any, Any, Any]) -> None:
        request.set_session({"user": "bob"})
        request.session["more"] = [1]

    @litestar.get("/model")
    async def model(request: litestar.Request[Any, Any, Any]) -> None:
        request.set_session(object())  # type: ignore[arg-type]

    @litestar.get("/logout")
    async def logout(request: litestar.Request[Any, Any, Any]) -> None:
        request.clear_session()

    @litestar.get("/")
    async def who(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return dict(request.session)

    @litestar.get("/json")
    async def encoded(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return request.session

    mounts = options.pop("mounts", [])
    handlers = [login, change, model, logout, who, encoded, *mounts]
    app = litestar.Litestar(handlers, openapi_config=None, logging_config=None, **options)
    return Client(ASGISessions(app, secret=SECRET, store=store))


async def test_calls_of_litestar_replace_and_end_the_session(store: MemoryStore) -> None:
    """`set_session` and `clear_session` are meant for the session."""
    visitor = litestar_app(store)
    await visitor.get("/login")
    assert (await visitor.get("/")).json() == {"user": "ann"}
    assert (await visitor.get("/json")).json() == {"user": "ann"}
    await visitor.get("/change")
    assert (await visitor.get("/")).json() == {"user": "bob", "more": [1]}
    assert store.length() == 1
    response = await visitor.get("/logout")
    assert "Max-Age=0" in set_cookies(response)[0]
    assert store.length() == 0


async def test_a_replacement_that_is_no_dict_is_an_error(store: MemoryStore) -> None:
    """It neither ends the session nor is lost."""
    visitor = litestar_app(store)
    await visitor.get("/login")
    with pytest.raises(litestar.exceptions.LitestarException) as caught:
        await visitor.get("/model")
    assert "it takes a dict" in str(caught.value.__cause__)
    assert (await visitor.get("/")).json() == {"user": "ann"}


async def test_clear_session_ends_the_session_of_an_accepted_socket(store: MemoryStore) -> None:
    """Late, but before the socket is closed."""

    @litestar.websocket("/socket")
    async def socket(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.clear_session()
        await socket.close()

    @litestar.get("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> None:
        request.session["user"] = "ann"

    app = litestar.Litestar([socket, login], openapi_config=None, logging_config=None)
    wrapped: Any = ASGISessions(app, secret=SECRET, store=store)
    client = litestar.testing.TestClient(wrapped)
    assert client.get("/login").status_code == 200
    assert store.length() == 1
    with client.websocket_connect("/socket"):
        pass
    assert store.length() == 0


async def test_litestars_own_session_middleware_inside(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Litestar has sessions of its own, its calls are meant for those."""
    config = litestar.middleware.session.client_side.CookieBackendConfig(secret=b"s" * 16)
    visitor = litestar_app(store, middleware=[config.middleware])
    outside = Client(visitor_app := shop_with_login(store, visitor))
    await outside.get("/enter")
    await outside.get("/login")
    assert (await outside.get("/")).json() == {"user": "ann"}
    await outside.get("/logout")
    assert (await outside.get("/ours")).text == "{'ours': 1}"
    assert any("litestar.middleware.session" in text for text in caplog.messages)
    assert visitor_app


def shop_with_login(store: MemoryStore, inner: Client) -> Any:
    """Return our middleware around another application, with two pages in front of it."""
    wrapped = inner._transport.app  # type: ignore[attr-defined]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/enter":
            scope["session"]["ours"] = 1
            await Text("")(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/ours":
            await Text(str(dict(scope["session"])))(scope, receive, send)
        else:
            await wrapped.app(scope, receive, send)

    return ASGISessions(app, secret=SECRET, store=store)


async def test_starlettes_middleware_mounted_in_litestar(store: MemoryStore) -> None:
    """It is foreign there, too, though Litestar serves the request."""

    @litestar.asgi("/sub", is_mount=True, copy_scope=False)
    async def sub(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    inner = starlette_app()
    visitor = litestar_app(store, mounts=[sub])
    await visitor.get("/login")
    assert (await visitor.get("/sub/")).status_code == 200
    assert (await visitor.get("/")).json() == {"user": "ann"}


# Several of ours


@pytest.fixture(params=["asgi", "wsgi"])
def nested(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a function that puts middlewares of ours around a handler of a request."""
    asgi = request.param == "asgi"

    def nest(handler: Callable[[Any, Any], Any], *middlewares: dict[str, Any]) -> Client:
        async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
            await Text(str(handler(session_of, scope)))(scope, receive, send)

        def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
            body = str(handler(session_of, environ)).encode()
            start_response("200 OK", [])
            return [body]

        app: Any = asgi_app if asgi else wsgi_app
        for options in middlewares:
            app = (ASGISessions if asgi else WSGISessions)(app, secret=SECRET, **options)
        return Client(app)

    return nest


def count_all(find: Any, request: Any) -> str:
    """Count in each session, and show that the innermost is the one without a name."""
    counts = []
    for name in ("admin_sid", "sid"):
        session = find(request, name=name)
        session["n"] = session.get("n", 0) + 1
        counts.append(session["n"])
    place = request.get("session", request.get("coatcheck.session"))
    assert find(request) is place is find(request, "admin_sid")
    return str(counts)


async def test_middlewares_of_other_names_serve_each_its_own(nested: Callable[..., Any]) -> None:
    """Each with its cookie, its options and its store; the innermost is the session."""
    stores = MemoryStore(), MemoryStore()
    inner = {"name": "admin_sid", "store": stores[0], "idle_timeout": 60}
    visitor = nested(count_all, inner, {"store": stores[1]})
    for number in (1, 2):
        assert (await visitor.get("/")).text == f"[{number}, {number}]"
    assert {*visitor.cookies} == {"admin_sid", "sid"}
    lifetimes = [record.expires_at for store in stores for _, record in store.all()]
    assert len(lifetimes) == 2
    assert lifetimes[1] - lifetimes[0] > 80000


async def test_the_outer_session_comes_back(nested: Callable[..., Any], store: MemoryStore) -> None:
    """Who looks when the inner middleware is done finds what was there before."""
    seen: list[Any] = []

    async def around(scope: Any, receive: Any, send: Any) -> None:
        before = scope["session"]
        await inner(scope, receive, send)
        seen.extend([before is scope["session"], session_of(scope) is before])

    async def page(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["session"] is session_of(scope, "inner"))
        await Text("")(scope, receive, send)

    inner = ASGISessions(page, secret=SECRET, store=store, name="inner")
    await Client(ASGISessions(around, secret=SECRET, store=store)).get("/")
    assert seen == [True, True, True]


both_orders = pytest.mark.parametrize("outer", ["keep", "destroy"])


@both_orders
@pytest.mark.parametrize("inner", ["keep", "destroy"])
async def test_none_is_meant_for_the_innermost_session(
    nested: Callable[..., Any], inner: str, outer: str
) -> None:
    """It ends or keeps that one by its own `unset`; what the other one holds is saved."""

    def page(find: Any, request: Any) -> str:
        ours, admin = find(request, "sid"), find(request, "admin_sid")
        if request.get("path", request.get("PATH_INFO")) == "/unset":
            ours["cart"] = [*ours["cart"], "b"]
            admin["dropped"] = 1
            request["session" if "session" in request else "coatcheck.session"] = None
        elif not ours:
            ours["cart"], admin["user"] = ["a"], "ann"
        return f"{dict(ours)} {dict(admin)}"

    options = {"name": "admin_sid", "store": MemoryStore(), "unset": inner}
    visitor = nested(page, options, {"store": MemoryStore(), "unset": outer})
    await visitor.get("/")
    ended = set_cookies(await visitor.get("/unset"))
    kept = {"user": "ann"} if inner == "keep" else {}
    assert [line.partition("=")[0] for line in ended] == ["admin_sid"] * (not kept)
    assert (await visitor.get("/")).text == f"{{'cart': ['a', 'b']}} {kept}"


@both_orders
@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize("call", ["set", "clear"])
async def test_litestars_calls_are_meant_for_the_innermost_session(
    call: str, late: bool, outer: Any
) -> None:
    """No data get into the other middleware's session, and a logout ends one."""

    def order(request: Any) -> None:
        session_of(request, "sid")["cart"].append("b")
        if call == "set":
            request.set_session({"admin": 2})
        else:
            request.clear_session()

    @litestar.get("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> None:
        session_of(request, "sid")["cart"] = ["a"]
        session_of(request, "admin_sid")["admin"] = 1

    @litestar.get("/order")
    async def change(request: litestar.Request[Any, Any, Any]) -> litestar.response.Stream:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            if late:
                order(request)
            yield b"b"

        if not late:
            order(request)
        return litestar.response.Stream(body())

    @litestar.get("/")
    async def look(request: litestar.Request[Any, Any, Any]) -> list[Any]:
        return [dict(session_of(request, name)) for name in ("sid", "admin_sid")]

    site = litestar.Litestar([login, change, look], openapi_config=None, logging_config=None)
    stores = MemoryStore(), MemoryStore()
    inside = ASGISessions(site, secret=SECRET, store=stores[0], name="admin_sid")
    visitor = Client(ASGISessions(inside, secret=SECRET, store=stores[1], unset=outer))
    await visitor.get("/login")
    await visitor.get("/order")
    assert (await visitor.get("/")).json() == [
        {"cart": ["a", "b"]},
        {"admin": 2} if call == "set" else {},
    ]
    assert [store.length() for store in stores] == [call == "set", 1]


async def test_after_the_inner_request_the_outer_session_can_be_replaced(
    store: MemoryStore,
) -> None:
    """What is put there then is meant for the session outside, which came back."""

    async def around(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/logout":
            await inner(scope, receive, drop)
            assert scope["session"] is session_of(scope, "sid")
            scope["session"] = None
        await Text(str(visits_of(session_of(scope))))(scope, receive, send)

    async def page(scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = None
        await Text("")(scope, receive, send)

    async def drop(message: Any) -> None:
        """Nobody reads the inner response."""

    inner = ASGISessions(page, secret=SECRET, store=MemoryStore(), name="inner")
    outside = ASGISessions(around, secret=SECRET, store=store, unset="destroy")
    visitor = Client(outside)
    await visitor.get("/")
    assert store.length() == 1
    await visitor.get("/logout")
    assert store.length() == 0


async def test_in_another_librarys_place_nothing_is_meant_for_ours(store: MemoryStore) -> None:
    """In the place of its session, None ends that one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session_of(scope)["n"] = session_of(scope).get("n", 0) + 1
        scope["session"] = None
        await Text(str(session_of(scope)["n"]))(scope, receive, send)

    async def library(scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = {"theirs": 1}
        await ours(scope, receive, send)

    ours = ASGISessions(app, secret=SECRET, store=store)
    visitor = Client(library)
    assert [(await visitor.get("/")).text for _ in range(2)] == ["1", "2"]


async def test_the_same_name_twice_is_an_error(nested: Callable[..., Any]) -> None:
    """At the first request, and it says what to do."""
    visitor = nested(lambda find, request: "", {"store": MemoryStore()}, {"store": MemoryStore()})
    with pytest.raises(ConfigurationError, match=r"of the name 'sid'.*give it another `name`"):
        await visitor.get("/")


async def test_an_unknown_name_is_an_error(nested: Callable[..., Any], store: MemoryStore) -> None:
    """Which says that no middleware has it."""

    def handler(find: Any, request: Any) -> str:
        with pytest.raises(SessionUnavailable, match="of the name 'admin'"):
            find(request, name="admin")
        return "refused"

    assert (await nested(handler, {"store": store}).get("/")).text == "refused"


# One of ours, several times


class Flaky(Exception):
    """What an application raises the first time."""


def pages() -> Callable[[Any, str], str]:
    """Return what answers with the visitor's count, and fails at the first request."""
    failures = [Flaky()]

    def page(session: Any, path: str) -> str:
        session["n"] = session.get("n", 0) + 1
        if path == "/flaky" and failures:
            raise failures.pop()
        return str(session["n"])

    return page


async def test_a_request_is_served_again_after_an_exception(store: MemoryStore) -> None:
    """What the failed attempt wrote is dropped; the session in its place is that of the second."""
    page = pages()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["session"] is session_of(scope, "sid")
        await Text(page(scope["session"], scope["path"]))(scope, receive, send)

    async def retry(scope: Any, receive: Any, send: Any) -> None:
        try:
            await sessions(scope, receive, send)
        except Flaky:
            failed = scope["session"]
            await sessions(scope, receive, send)
            assert failed is not scope["session"] is session_of(scope)

    sessions = ASGISessions(app, secret=SECRET, store=store)
    visitor = Client(retry)
    assert [(await visitor.get(path)).text for path in ("/", "/flaky", "/")] == ["1", "2", "3"]


async def test_a_wsgi_request_is_served_again_after_an_exception(store: MemoryStore) -> None:
    """By the same application, or by another one with a middleware of its own: a cascade."""
    page = pages()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["coatcheck.session"]
        assert session is session_of(environ, "sid")
        text = page(session, environ["PATH_INFO"])
        start_response("200 OK", [])
        return [text.encode()]

    def cascade(environ: Any, start_response: Any) -> Any:
        try:
            return sessions[0](environ, start_response)
        except Flaky:
            return sessions[len(environ["QUERY_STRING"])](environ, start_response)

    sessions = [WSGISessions(app, secret=SECRET, store=store) for _ in range(2)]
    visitor = Client(cascade)
    assert (await visitor.get("/flaky")).text == "1"
    page = pages()
    assert (await visitor.get("/flaky?2")).text == "2"


async def test_a_request_is_served_again_after_its_load_was_cut_short(store: MemoryStore) -> None:
    """A time limit around the middleware; the second attempt finds the store in order."""
    gate = asyncio.Event()

    class Slow(AsyncMemoryStore):
        async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
            if operation == self.store.get:
                loading.set()
                await gate.wait()
            return await super().call(operation, *args)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Text(str(dict(scope["session"])))(scope, receive, send)

    async def limit(scope: Any, receive: Any, send: Any) -> None:
        attempt = asyncio.create_task(sessions(scope, receive, send))
        await loading.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        gate.set()
        await sessions(scope, receive, send)

    loading = asyncio.Event()
    sessions = ASGISessions(app, secret=SECRET, store=Slow(store))
    visitor = shop(store)
    await visitor.get("/login")
    assert (await Client(limit, cookies=visitor.cookies).get("/")).text == "{'user': 'ann'}"


async def test_a_cookie_function_that_raises_gives_the_place_back() -> None:
    """The page of the middleware outside finds its own session, and works with it."""

    def cookie(request: Any) -> Any:
        raise Flaky

    async def around(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(Flaky):
            await inner(scope, receive, send)
        assert scope["session"] is session_of(scope) is session_of(scope, "sid")
        await Text(str(visits_of(scope["session"])))(scope, receive, send)

    def wsgi_around(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(Flaky):
            wsgi_inner(environ, start_response)
        session = environ["coatcheck.session"]
        assert session is session_of(environ) is not None
        start_response("200 OK", [])
        return [str(visits_of(session)).encode()]

    options: Any = {"secret": SECRET, "store": MemoryStore()}
    inner = ASGISessions(around, name="inner", cookie=cookie, **options)
    wsgi_inner = WSGISessions(wsgi_around, name="inner", cookie=cookie, **options)
    for app in (ASGISessions(around, **options), WSGISessions(wsgi_around, **options)):
        visitor = Client(app)
        assert [(await visitor.get("/")).text for _ in range(2)] == ["1", "2"]
        assert {*visitor.cookies} == {"sid"}


async def test_without_another_session_the_failed_cookie_function_is_named() -> None:
    """An error page outside finds no session, and reads why."""

    def cookie(scope: Any) -> Any:
        raise Flaky

    async def page(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(Flaky):
            await sessions(scope, receive, send)
        with pytest.raises(SessionUnavailable, match="the callable `cookie` raised"):
            session_of(scope).get("user")
        await Text("sorry")(scope, receive, send)

    sessions = ASGISessions(page, secret=SECRET, store=MemoryStore(), cookie=cookie)
    assert (await Client(page).get("/")).text == "sorry"


@pytest.mark.parametrize("copies", [True, False], ids=["copy", "same"])
async def test_an_application_calls_its_own_stack(store: MemoryStore, copies: bool) -> None:
    """A batch: each part has a session of its own, the same one to the visitor."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/batch":
            part = dict(scope) if copies else scope
            for path in ("/a", "/b"):
                part["path"] = path
                await sessions(part, receive, drop)
            assert session is scope["session"] is session_of(scope, "sid")
            session["batch"] = 1
        elif scope["path"] != "/":
            session[scope["path"]] = 1
        await Text(str(sorted(session)))(scope, receive, send)

    async def drop(message: Any) -> None:
        """Nobody reads the parts' responses."""

    sessions = ASGISessions(app, secret=SECRET, store=store)
    visitor = shop(store)
    await visitor.get("/login")
    visitor = Client(sessions, cookies=visitor.cookies)
    await visitor.get("/batch")
    assert (await visitor.get("/")).text == "['/a', '/b', 'batch', 'user']"


# WSGI inside ASGI

BRIDGES = {
    "a2wsgi": A2WSGI,
    "asgiref": asgiref.wsgi.WsgiToAsgi,
}


@pytest.mark.parametrize("bridge", BRIDGES.values(), ids=BRIDGES)
async def test_wsgi_inside_asgi_has_one_session(bridge: Any, store: MemoryStore) -> None:
    """A new visitor gets one cookie and one record, in either application."""
    site = flask.Flask("inside")

    @site.get("/")
    def page() -> str:
        session = session_of(flask.request)
        session["inside"] = session.get("inside", 0) + 1
        return str(dict(session))

    site.wsgi_app = WSGISessions(site.wsgi_app, secret=SECRET, store=store)  # type: ignore[method-assign]
    bridged = bridge(site)

    async def around(scope: Any, receive: Any, send: Any) -> None:
        session = session_of(scope)
        session["around"] = session.get("around", 0) + 1
        await bridged(scope, receive, send)

    visitor = Client(ASGISessions(around, secret=SECRET, store=store))
    first = await visitor.get("/?a=1")
    assert first.text == "{'around': 1, 'inside': 1}"
    assert len(set_cookies(first)) == store.length() == 1
    assert (await visitor.get("/")).text == "{'around': 2, 'inside': 2}"
    assert store.length() == 1


@pytest.mark.parametrize("bridge", BRIDGES.values(), ids=BRIDGES)
async def test_wsgi_inside_asgi_with_another_name(bridge: Any, store: MemoryStore) -> None:
    """It has a session of its own then."""

    def inside(environ: Any, start_response: Any) -> list[bytes]:
        session = session_of(environ)
        assert isinstance(session, SyncSession)
        session["inside"] = 1
        start_response("200 OK", [])
        return [b""]

    bridged = bridge(WSGISessions(inside, secret=SECRET, store=store, name="inside"))

    async def around(scope: Any, receive: Any, send: Any) -> None:
        session_of(scope)["around"] = 1
        await bridged(scope, receive, send)

    await (visitor := Client(ASGISessions(around, secret=SECRET, store=store))).get("/")
    assert {*visitor.cookies} == {"sid", "inside"}
    assert store.length() == 2


# session_of


async def test_fastapi_depends_on_session_of(store: MemoryStore) -> None:
    """No query parameter takes the place of an argument, and the schema shows none."""
    app = fastapi.FastAPI()

    @app.get("/")
    def page(session: Annotated[AsyncSession, fastapi.Depends(session_of)]) -> dict[str, Any]:
        session["n"] = session.get("n", 0) + 1
        return session

    app.add_middleware(ASGISessions, secret=SECRET, store=store)
    visitor = Client(app)
    assert (await visitor.get("/?name=other&request=1")).json() == {"n": 1}
    assert (await visitor.get("/")).json() == {"n": 2}
    schema = (await visitor.get("/openapi.json")).json()
    assert "parameters" not in schema["paths"]["/"]["get"]


def test_session_of_has_a_signature_without_starlette() -> None:
    """Tools look at it in applications of any framework."""
    program = """
import sys
sys.modules["starlette"] = None  # as where it is not installed
import inspect, unittest.mock
from coatcheck import session_of
assert not hasattr(session_of, "__signature__")
assert [*inspect.signature(session_of).parameters] == ["request", "name"]
unittest.mock.create_autospec(session_of)
"""
    subprocess.run([sys.executable, "-I", "-c", program], timeout=60, check=True)


async def test_any_request_has_its_session(store: MemoryStore) -> None:
    """Scope and environ, a request of a framework, and the session itself."""

    def inside(environ: Any, start_response: Any) -> list[bytes]:
        session = session_of(environ)
        assert session_of(session) is session_of(flask.Request(environ)) is session
        start_response("200 OK", [])
        return []

    async def around(scope: Any, receive: Any, send: Any) -> None:
        session = session_of(scope)
        assert session_of(session) is session_of(fastapi.Request(scope)) is session
        await Text("")(scope, receive, send)

    assert (await Client(WSGISessions(inside, secret=SECRET, store=store)).get("/")).is_success
    assert (await Client(ASGISessions(around, secret=SECRET, store=store)).get("/")).is_success


async def test_falcons_requests(store: MemoryStore) -> None:
    """WSGI's have `env`, ASGI's have `scope`."""
    import falcon
    import falcon.asgi

    class Page:
        def on_get(self, request: Any, response: Any) -> None:
            session = session_of(request)
            response.text = str(session.setdefault("n", 1))

    class AsyncPage:
        async def on_get(self, request: Any, response: Any) -> None:
            response.text = str(session_of(request).setdefault("n", 1))

    app, async_app = falcon.App(), falcon.asgi.App()
    app.add_route("/", Page())
    async_app.add_route("/", AsyncPage())
    for wrapped in (
        WSGISessions(app, secret=SECRET, store=store),
        ASGISessions(async_app, secret=SECRET, store=store),
    ):
        response = await Client(wrapped).get("/")
        assert (response.text, len(set_cookies(response))) == ("1", 1)


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    """Catch warnings alone."""
    caplog.set_level(logging.WARNING, "coatcheck")
