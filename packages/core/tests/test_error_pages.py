"""Error pages that use the session, inside the middleware and outside it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from webclient import SECRET, AsyncMemoryStore, FragileStore, SyncClient, wsgi_app

from coatcheck import AsyncStore, MemoryStore
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, LateWriteError, StoreError, StoreUnavailable
from coatcheck.wsgi import SessionMiddleware as WSGISessions

#: What the error page does, and what it shows.
Page = Callable[[Any], Any]


class WaitingStore(AsyncMemoryStore):
    """An asynchronous store that is waited for, on either event loop."""

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        return await super().call(operation, *args)


class BlockingStore(MemoryStore):
    """A synchronous store that is called in worker threads."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, blocking=True)


STORES: dict[str, Callable[[], Any]] = {
    "memory": MemoryStore,
    "waiting": WaitingStore,
    "blocking": BlockingStore,
}


def length(store: Any) -> int:
    return int((store.store if isinstance(store, AsyncStore) else store).length())


async def login(request: Request) -> PlainTextResponse:
    request.session["user"] = "ann"
    return PlainTextResponse("welcome")


async def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(dict(request.session)))


async def fail(request: Request) -> PlainTextResponse:
    request.session["dropped"] = 1
    raise ZeroDivisionError


def shop(page: Page, asynchronous: bool = True) -> Starlette:
    """Return an application whose error page is outside the middlewares that are added to it."""

    def answer(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(str(page(request.session)), 500)

    async def answer_asynchronously(request: Request, error: Exception) -> PlainTextResponse:
        shown = page(request.session)
        return PlainTextResponse(str(await shown if hasattr(shown, "send") else shown), 500)

    routes = [Route("/login", login), Route("/me", me), Route("/fail", fail)]
    handler = answer_asynchronously if asynchronous else answer
    return Starlette(routes=routes, exception_handlers={Exception: handler})


def browser(app: Any, backend: str = "asyncio") -> TestClient:
    """Return a logged in client. Each of its requests has an event loop of its own."""
    client = TestClient(app, raise_server_exceptions=False, backend=backend)
    client.get("/login")
    return client


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "thread"])
@pytest.mark.parametrize("make_store", STORES.values(), ids=STORES)
def test_an_error_page_outside_can_end_the_session(
    make_store: Callable[[], Any], asynchronous: bool, backend: str
) -> None:
    def page(session: Any) -> str:
        user = session["user"]
        session.destroy()
        return f"{user} {dict(session)}"

    app, store = shop(page, asynchronous), make_store()
    app.add_middleware(ASGISessions, secret=SECRET, store=store)
    client = browser(app, backend)
    response = client.get("/fail")
    assert (response.status_code, response.text) == (500, "ann {}")
    assert length(store) == 0
    assert client.get("/me").text == "{}"


@pytest.mark.parametrize("make_store", STORES.values(), ids=STORES)
def test_the_session_ends_although_the_event_loop_does(make_store: Callable[[], Any]) -> None:
    """`asyncio.run` cancels what has not ended with the request."""
    app, store = shop(lambda session: session.destroy()), make_store()
    app.add_middleware(ASGISessions, secret=SECRET, store=store)
    with SyncClient(app, raise_app_exceptions=False) as client:
        client.get("/login")
        assert client.get("/fail").status_code == 500
    assert length(store) == 0


def test_a_session_cannot_be_ended_after_its_event_loop() -> None:
    kept = []
    app = shop(kept.append)
    app.add_middleware(ASGISessions, secret=SECRET, store=WaitingStore())
    browser(app).get("/fail")
    with pytest.raises(LateWriteError, match="the event loop of the request has ended"):
        kept[0].destroy()


class MisconfiguredStore(WaitingStore):
    """A store that cannot destroy, and says so with what is no error of a store."""

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        result = await super().call(operation, *args)
        if operation == self.store.destroy:
            raise ConfigurationError("a client of another loop, with a password")
        return result


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_whatever_fails_beside_the_error_page_is_logged(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on, and the log has the kind of the error, not its text."""

    async def page(session: Any) -> str:
        session.destroy()
        await anyio.wait_all_tasks_blocked()
        return "sorry"

    app = shop(page)
    app.add_middleware(ASGISessions, secret=SECRET, store=MisconfiguredStore())
    with TestClient(app, raise_server_exceptions=False, backend=backend) as client:
        client.get("/login")
        assert client.get("/fail").text == "sorry"
        assert client.get("/me").status_code == 200
    assert "a session could not be ended: ConfigurationError" in caplog.messages
    assert "password" not in caplog.text


WRITES: dict[str, Page] = {
    "write": lambda session: session.update(n=1),
    "nested": lambda session: session.setdefault("n", []),
    "regenerate": lambda session: session.regenerate(),
    "owner": lambda session: setattr(session, "owner", "ann"),
    "cookie": lambda session: setattr(session.cookie, "max_age", 60),
    "save": lambda session: session.save(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_an_error_page_outside_cannot_write(write: Page) -> None:
    """The request's changes are dropped, and the error says where the middleware belongs."""

    async def page(session: Any) -> str:
        with pytest.raises(LateWriteError, match="around the whole application") as caught:
            result = write(session)
            if hasattr(result, "send"):
                await result
        return str(caught.value)

    app, store = shop(page), MemoryStore()
    app.add_middleware(ASGISessions, secret=SECRET, store=store)
    client = browser(app)
    assert "`destroy()` works" in client.get("/fail").text
    assert client.get("/me").text == "{'user': 'ann'}"


def test_an_error_page_outside_can_wait_for_the_end() -> None:
    async def page(session: Any) -> int:
        session.destroy()
        await session.save()
        return length(store)

    app, store = shop(page), WaitingStore()
    app.add_middleware(ASGISessions, secret=SECRET, store=store)
    assert browser(app).get("/fail").text == "0"


def test_an_error_page_inside_writes_as_any_other() -> None:
    """The middleware around the whole application saves what it writes, and ends sessions."""

    def page(session: Any) -> str:
        session["failed"] = session.get("failed", 0) + 1
        return "sorry"

    client = browser(ASGISessions(shop(page), secret=SECRET))
    for _ in range(2):
        assert client.get("/fail").text == "sorry"
    assert client.get("/me").text == "{'user': 'ann', 'dropped': 1, 'failed': 2}"
    client = browser(ASGISessions(shop(lambda session: session.destroy()), secret=SECRET))
    assert "Max-Age=0" in client.get("/fail").headers["set-cookie"]


def outside(app: Any, page: Page) -> Any:
    """Return a WSGI application that answers the exceptions of another one."""

    def caught(environ: Any, start_response: Any) -> Any:
        try:
            yield from app(environ, start_response)
        except ZeroDivisionError:
            shown = str(page(environ["coatcheck.session"])).encode()
            start_response("500 Oops", [("Content-Type", "text/plain")])
            yield shown

    return caught


def wsgi_shop(used: bool, late: bool, store: Any, page: Page) -> SyncClient:
    """Return a logged in client.

    :param used: whether the request uses the session before it fails.
    :param late: whether it fails in the body.
    """

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        elif environ["PATH_INFO"] == "/me":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(dict(session)).encode()]
        elif used:
            session["dropped"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body(environ) if late else [*body(environ)]

    def body(environ: Any) -> Any:
        if environ["PATH_INFO"] == "/fail":
            raise ZeroDivisionError
        yield b"ok"

    client = SyncClient(outside(WSGISessions(app, secret=SECRET, store=store), page))
    client.get("/login")
    return client


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_a_wsgi_error_page_outside_can_end_the_session(used: bool, late: bool) -> None:
    """Also if it is the first to use it."""

    def page(session: Any) -> str:
        user = session["user"]
        session.destroy()
        return f"{user} {dict(session)} {store.length()}"

    store = MemoryStore()
    client = wsgi_shop(used, late, store, page)
    assert client.get("/fail").text == "ann {} 0"
    assert client.get("/me").text == "{}"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_wsgi_error_page_outside_cannot_write(write: Page, used: bool, late: bool) -> None:
    def page(session: Any) -> str:
        with pytest.raises(LateWriteError, match="around the whole application"):
            write(session)
        return "sorry"

    client = wsgi_shop(used, late, MemoryStore(), page)
    assert client.get("/fail").text == "sorry"
    assert client.get("/me").text == "{'user': 'ann'}"


def test_a_logout_by_an_error_page_that_fails_is_an_error() -> None:
    def page(session: Any) -> None:
        store.fail("destroy")
        with pytest.raises(Exception, match="refused"):
            session.destroy()

    store = FragileStore()
    assert wsgi_shop(True, False, store, page).get("/fail").text == "None"


@pytest.mark.parametrize("outside", [False, True])
def test_an_error_page_can_drop_what_a_new_visitor_s_request_wrote(outside: bool) -> None:
    async def page(session: Any) -> Any:
        await session.reload()
        return dict(session)

    app, store = shop(page), MemoryStore()
    if outside:
        app.add_middleware(ASGISessions, secret=SECRET, store=store)
    client = TestClient(
        app if outside else ASGISessions(app, secret=SECRET, store=store),
        raise_server_exceptions=False,
    )
    response = client.get("/fail")
    assert (response.status_code, response.text) == (500, "{}")
    assert "set-cookie" not in response.headers
    assert store.length() == 0


#: What the request asked for, and what a reload shows then.
ASKED: dict[str, tuple[Callable[[Any], object], str]] = {
    "nothing": (lambda session: None, "{'user': 'ann'}"),
    "regenerate": (lambda session: session.regenerate(), "{}"),
    "rotate": (lambda session: session.regenerate(keep_data=True), "{'user': 'ann'}"),
    "destroy": (lambda session: session.destroy(), "{}"),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("asked", ASKED)
def test_dropped_changes_leave_what_was_asked_for(asked: str, known: bool) -> None:
    """A requested new id is given, and a requested end happens."""
    ask, shown = ASKED[asked]

    def handle(session: Any, environ: Any) -> Any:
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        elif environ["PATH_INFO"] == "/drop":
            session["dropped"] = 1
            ask(session)
            session["dropped"] = 2
            session.owner = "ann"
            session.reload()
            assert session.owner is None
        return dict(session)

    store = MemoryStore()
    client = SyncClient(wsgi_app(handle, store=store))
    old = ""
    if known:
        client.get("/login")
        old = f"sid={client.cookie}"
    assert client.get("/drop").text == (shown if known else "{}")
    assert client.get("/").text == (shown if known else "{}")
    assert client.present(old).text == (shown if known and asked == "nothing" else "{}")
    assert store.length() == 0 if not known or asked == "destroy" else 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_page_after_a_failed_save_is_for_its_visitor_alone(asynchronous: bool) -> None:
    """A cache must not hand it to others, and it carries no cookie."""
    headers = {"cache-control": "public, max-age=60"}

    def handle(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        session["n"] = session.get("n", 0) + 1
        try:
            start_response("200 OK", [])(b"page")
        except StoreUnavailable:
            start_response("404 Not Found", [*headers.items()], sys.exc_info())
        return [str(dict(session)).encode()]

    async def handle_asynchronously(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        session["n"] = session.get("n", 0) + 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except StoreUnavailable:
            response = PlainTextResponse(str(dict(session)), 404, headers)
            await response(scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": b"page"})

    store = FragileStore()
    if asynchronous:
        client: Any = TestClient(ASGISessions(handle_asynchronously, secret=SECRET, store=store))
    else:
        sessions = WSGISessions(handle, secret=SECRET, store=store)
        client = SyncClient(sessions, raise_app_exceptions=False)
    client.get("/")
    store.fail("set")
    response = client.get("/")
    assert (response.status_code, response.text) == (404, "{'n': 2}")
    assert response.headers["vary"] == "Cookie"
    assert "set-cookie" not in response.headers


def test_an_error_page_inside_can_drop_what_the_request_wrote() -> None:
    async def page(session: Any) -> None:
        await session.reload()
        session["failed"] = 1

    client = browser(ASGISessions(shop(page), secret=SECRET))
    client.get("/fail")
    assert client.get("/me").text == "{'user': 'ann', 'failed': 1}"


# When saving fails: what the guide says


@pytest.mark.parametrize(
    ("caught", "around", "seen", "status"),
    [
        ((Exception,), False, ["StoreUnavailable"], 503),
        ((StoreError,), False, [], 500),
        ((StoreError, Exception), False, ["RuntimeError"], 503),
        ((Exception,), True, ["StoreUnavailable"], 500),
    ],
)
def test_an_error_of_saving_comes_from_the_middleware(
    caught: tuple[type[Exception], ...], around: bool, seen: list[str], status: int
) -> None:
    """Only an error page outside the middleware can answer it."""
    found: list[str] = []

    def busy(request: Request, error: Exception) -> PlainTextResponse:
        found.append(type(error).__name__)
        assert isinstance(error, StoreError) or isinstance(error.__cause__, StoreError)
        return PlainTextResponse("try again", 503)

    app, store = Starlette(routes=[Route("/login", login)]), FragileStore()
    for kind in caught:
        app.add_exception_handler(kind, busy)
    if not around:
        app.add_middleware(ASGISessions, secret=SECRET, store=store)
    store.fail("set")
    served = ASGISessions(app, secret=SECRET, store=store) if around else app
    with SyncClient(served, raise_app_exceptions=False) as client:
        assert client.get("/login").status_code == status
    assert found == seen


@pytest.mark.parametrize("give_up", ["reload", "destroy"])
def test_a_handler_answers_an_error_of_saving_itself(give_up: str) -> None:
    """It saves itself and drops its changes, so the middleware does not try again."""
    store = FragileStore()

    async def buy(request: Request) -> PlainTextResponse:
        session = request.session
        session["order"] = 1
        store.fail("set")
        try:
            await session.save()  # type: ignore[attr-defined]
        except StoreError:
            gave_up = getattr(session, give_up)()
            if gave_up is not None:
                await gave_up
            return PlainTextResponse("try again", 503)
        return PlainTextResponse("thanks")

    app = Starlette(routes=[Route("/login", login), Route("/buy", buy), Route("/me", me)])
    client = browser(ASGISessions(app, secret=SECRET, store=store))
    assert client.get("/buy").status_code == 503
    store.fail()
    assert client.get("/me").text == ("{'user': 'ann'}" if give_up == "reload" else "{}")


def test_a_new_session_that_cannot_be_stored_is_given_up_by_destroy() -> None:
    store = FragileStore()
    store.fail("set")

    async def buy(request: Request) -> PlainTextResponse:
        request.session["order"] = 1
        with pytest.raises(StoreError):
            await request.session.save()  # type: ignore[attr-defined]
        request.session.destroy()  # type: ignore[attr-defined]
        return PlainTextResponse("try again", 503)

    app = ASGISessions(Starlette(routes=[Route("/buy", buy)]), secret=SECRET, store=store)
    assert TestClient(app).get("/buy").status_code == 503
