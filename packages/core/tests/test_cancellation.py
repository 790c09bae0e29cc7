"""Requests that are cancelled, fail or end without a response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from trio.testing import MockClock
from webclient import AsyncMemoryStore, Client, SyncClient, asgi_app, set_cookies, wsgi_app

from coatcheck import ALWAYS, AsyncStore, MemoryStore, session_of
from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import StoreTimeout
from coatcheck.store import Condition
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio

both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


class GatedStore(AsyncMemoryStore):
    """A store whose operations wait at a gate, before or after they act.

    :ivar arrived: set when a call waits at the gate.
    :ivar opened: lets calls through.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gate: tuple[str, str] | None = None

    def shut(self, operation: str, when: str = "before") -> None:
        self._gate = (operation, when)
        self.arrived = anyio.Event()
        self.opened = anyio.Event()

    def open(self) -> None:
        self._gate = None
        self.opened.set()

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        await self._stop_at((operation.__name__, "before"))
        result = await super().call(operation, *args)
        await self._stop_at((operation.__name__, "after"))
        return result

    async def _stop_at(self, gate: tuple[str, str]) -> None:
        if self._gate == gate:
            self.arrived.set()
            await self.opened.wait()


class Failure(Exception):
    """What the application raises."""


async def signed_in(app: Any) -> Client:
    """Return a browser whose session holds ``user`` and ``count``."""
    browser = Client(app)
    await browser.get("/login")
    return browser


def data(store: MemoryStore) -> list[bytes]:
    return [record.data for _, record in store.all()]


async def act(session: Any, scope: dict[str, Any]) -> str:
    """Do what the path says; a second word of it says how the request ends."""
    action, _, end = scope["path"].strip("/").partition("/")
    match action:
        case "login":
            session.update(user="ann", count=0)
        case "count":
            session["count"] = session.get("count", 0) + 1
        case "logout":
            session.destroy()
        case "regenerate":
            session.regenerate()
            session["user"] = "bob"
        case "rotate":
            session.regenerate(keep_data=True)
    if end == "fail":
        raise Failure
    if end == "wait":
        await anyio.sleep_forever()
    return str(dict(session))


# Cancellation


@both_loops
@pytest.mark.parametrize("path", ["/logout", "/rotate", "/regenerate"])
async def test_a_request_cancelled_while_the_store_works_ends_the_session(path: str) -> None:
    """Cancelling a request while its destroy is under way does not keep the old session alive."""
    store = GatedStore()
    browser = await signed_in(asgi_app(act, store=store))
    (old_key, _), *_ = store.store.all()
    store.shut("destroy")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.get, path)
        await store.arrived.wait()
        tasks.cancel_scope.cancel()
        tasks.cancel_scope.shield = True
        store.open()
    assert store.store.get(old_key) is None


@both_loops
@pytest.mark.parametrize("path", ["/logout/wait", "/rotate/wait", "/regenerate/wait"])
async def test_a_request_cancelled_in_the_application_ends_the_session(path: str) -> None:
    """A requested end is carried out though the response never came about; nothing is created."""
    store = MemoryStore()
    browser = await signed_in(asgi_app(act, store=store))
    with anyio.move_on_after(0):
        await browser.get(path)
    assert data(store) == []


@both_loops
async def test_a_cancelled_request_drops_its_changes() -> None:
    """Data that were changed before the cancellation are not stored."""
    store = MemoryStore()
    browser = await signed_in(asgi_app(act, store=store))
    before = data(store)
    with anyio.move_on_after(0):
        await browser.get("/count/wait")
    assert data(store) == before


@pytest.mark.parametrize("path", ["/logout", "/logout/wait", "/rotate", "/regenerate"])
@pytest.mark.parametrize("times", [1, 2, 5])
async def test_no_number_of_task_cancellations_stops_a_logout(path: str, times: int) -> None:
    """asyncio's `Task.cancel()`, however often, neither stops the removal nor is swallowed."""
    store = GatedStore()
    browser = await signed_in(asgi_app(act, store=store))
    (old_key, _), *_ = store.store.all()
    store.shut("destroy")
    task = asyncio.create_task(browser.get(path))
    if path.endswith("wait"):
        await asyncio.sleep(0)  # lets the request meet the cancellation
        task.cancel()
    await store.arrived.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)  # lets the request meet the cancellation
        await asyncio.sleep(0)  # lets the request meet the cancellation
    assert not task.done()
    store.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.store.get(old_key) is None


async def test_a_cancellation_during_the_removal_comes_afterwards() -> None:
    """The application failed, so nothing else tells those outside that the task was cancelled."""
    store = GatedStore()

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        try:
            await sessions(scope, receive, send)
        except Failure:
            went_on.append(scope["path"])
            await asyncio.sleep(0)  # takes the cancellation
            went_on.append("too far")

    went_on: list[str] = []
    sessions = asgi_app(act, store=store)
    browser = await signed_in(outside)
    store.shut("destroy")
    task = asyncio.create_task(browser.get("/logout/fail"))
    await store.arrived.wait()
    task.cancel()
    await asyncio.sleep(0)  # lets the request meet the cancellation
    store.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on == ["/logout/fail"]
    assert task.cancelling() == 1
    assert data(store.store) == []


@both_loops
async def test_a_cancelled_streaming_response_still_logs_out() -> None:
    """destroy() after the headers is carried out when the client goes away before the end."""
    store = MemoryStore()
    waiting = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = session_of(scope)
        if scope["path"] == "/login":
            session["user"] = "ann"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/logout":
            session.destroy()
            waiting.set()
            await anyio.sleep_forever()
        await send({"type": "http.response.body", "body": b""})

    browser = await signed_in(SessionMiddleware(app, secret="x" * 32, store=store))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.get, "/logout")
        await waiting.wait()
        tasks.cancel_scope.cancel()
    assert data(store) == []


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_a_store_that_hangs_holds_a_cancelled_request_for_five_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The removal is given up after 5 seconds, which is logged."""
    store = GatedStore()
    browser = await signed_in(asgi_app(act, store=store))
    store.shut("destroy")
    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(browser.get, "/logout")
        await store.arrived.wait()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - start == pytest.approx(5)
    assert "could not be ended within 5" in caplog.text


# A cancelled save


def saving(store: AsyncStore, outcome: Callable[[Any], None]) -> SessionMiddleware:
    """Return an application whose `/save` cancels its save and goes on with ``outcome``."""

    async def handle(session: Any, scope: dict[str, Any]) -> str:
        if scope["path"] == "/login":
            session["user"] = "ann"
        if scope["path"].endswith("/save"):
            session["draft"] = 1
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.save)
                await store.arrived.wait()  # type: ignore[attr-defined]  # a GatedStore
                tasks.cancel_scope.cancel()
            store.open()  # type: ignore[attr-defined]  # a GatedStore
            outcome(session)
        return str(dict(session))

    return asgi_app(handle, store=store)


def write_more(session: Any) -> None:
    session["more"] = 2


def take_back(session: Any) -> None:
    del session["draft"]


def log_out(session: Any) -> None:
    session.destroy()


def go_on(session: Any) -> None:
    """Change nothing after the save."""


@both_loops
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("then", "result"),
    [
        (go_on, {"user": "ann", "draft": 1}),
        (write_more, {"user": "ann", "draft": 1, "more": 2}),
        (take_back, {"user": "ann"}),
    ],
)
async def test_a_session_whose_save_was_cancelled_goes_on(
    when: str, then: Callable[[Any], None], result: dict[str, Any]
) -> None:
    """Whether or not the store applied it, the next save brings the store in line."""
    store = GatedStore()
    browser = await signed_in(saving(store, then))
    store.shut("set", when)
    response = await browser.get("/save")
    assert response.text == str(result)
    assert (await browser.get("/")).text == str(result)
    assert store.store.length() == 1


@both_loops
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("then", "result"), [(go_on, {"draft": 1}), (write_more, {"draft": 1, "more": 2})]
)
async def test_a_new_session_whose_save_was_cancelled_is_stored_once(
    when: str, then: Callable[[Any], None], result: dict[str, Any]
) -> None:
    """The second save of a new session knows the record of the first one."""
    store = GatedStore()
    browser = Client(saving(store, then))
    store.shut("set", when)
    assert len(set_cookies(await browser.get("/save"))) == 1
    assert (await browser.get("/")).text == str(result)
    assert store.store.length() == 1


@both_loops
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_logout_after_a_cancelled_save_is_a_logout(when: str) -> None:
    """A save whose fate is unknown does not bring the session back."""
    store = GatedStore()
    browser = await signed_in(saving(store, log_out))
    store.shut("set", when)
    await browser.get("/save")
    assert data(store.store) == []


@both_loops
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_new_session_that_ends_after_a_cancelled_save_leaves_nothing(when: str) -> None:
    """destroy() removes the record that the cancelled save may have left behind."""
    store = GatedStore()
    store.shut("set", when)
    await Client(saving(store, log_out)).get("/save")
    assert data(store.store) == []


@both_loops
async def test_a_cancelled_save_does_not_block_the_next_one() -> None:
    """The session's lock is free again, and so is the place in its queue."""
    store = GatedStore()

    async def handle(session: Any, scope: dict[str, Any]) -> str:
        session["draft"] = 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.save)
            await store.arrived.wait()
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(session.save)
                waiting.start_soon(session.save)
                await anyio.wait_all_tasks_blocked()
                waiting.cancel_scope.cancel()
            tasks.cancel_scope.cancel()
        store.open()
        await session.save()
        return "saved"

    store.shut("set")
    assert (await Client(asgi_app(handle, store=store)).get("/")).text == "saved"
    assert store.store.length() == 1


# Exceptions


@both_loops
@pytest.mark.parametrize("path", ["/logout/fail", "/rotate/fail", "/regenerate/fail"])
async def test_an_exception_does_not_undo_a_requested_end(path: str) -> None:
    """The old record is removed, nothing new is stored, and the exception comes out unchanged."""
    store = MemoryStore()
    browser = await signed_in(asgi_app(act, store=store))
    with pytest.raises(Failure) as raised:
        await browser.get(path)
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert data(store) == []


async def test_an_exception_drops_the_changes_and_does_not_touch() -> None:
    """After an exception the record is what it was, its expiry included."""
    store = MemoryStore()
    browser = await signed_in(asgi_app(act, store=store, touch_interval=0))
    before = dict(store.all())
    for path in ("/count/fail", "/read/fail"):
        with pytest.raises(Failure):
            await browser.get(path)
    assert dict(store.all()) == before


async def test_an_exception_stores_no_new_session() -> None:
    """What a visitor without a session wrote is dropped."""
    store = MemoryStore()
    with pytest.raises(Failure):
        await Client(asgi_app(act, store=store)).get("/login/fail")
    assert data(store) == []


class UnreachableStore(GatedStore):
    """A store whose destroy fails."""

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        raise StoreTimeout("no answer")


async def test_a_removal_that_fails_does_not_hide_the_applications_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The application's exception comes out, and the store's is logged."""
    browser = await signed_in(asgi_app(act, store=UnreachableStore()))
    with pytest.raises(Failure):
        await browser.get("/logout/fail")
    assert "StoreTimeout" in caplog.text


async def test_an_exception_of_a_save_is_the_applications_to_handle() -> None:
    """After a failed logout the error response of the application passes untouched."""
    store = UnreachableStore()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        try:
            await sessions(scope, receive, send)
        except StoreTimeout:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"later"})

    sessions = asgi_app(act, store=store)
    response = await (await signed_in(handler)).get("/logout")
    assert (response.status_code, response.text, set_cookies(response)) == (503, "later", [])


# No response


@both_loops
@pytest.mark.parametrize("path", ["/logout", "/rotate", "/regenerate"])
async def test_an_application_without_a_response_still_ends_the_session(path: str) -> None:
    """Returning without a response drops changes, but not a requested end."""
    store = MemoryStore()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await act(session_of(scope), scope)

    browser = await signed_in(asgi_app(act, store=store))
    mute = SessionMiddleware(silent, secret="a secret of thirty-two bytes, more", store=store)
    cookie = f"sid={browser.cookie}".encode()
    scope = {"type": "http", "path": path, "headers": [(b"cookie", cookie)], "scheme": "http"}
    await mute(scope, None, None)  # type: ignore[arg-type]  # neither is called
    assert data(store) == []


@both_loops
async def test_an_application_without_a_response_stores_nothing() -> None:
    """Changes of a request that was never answered are dropped."""
    store = MemoryStore()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        session_of(scope)["user"] = "ann"

    mute = SessionMiddleware(silent, secret="a secret of thirty-two bytes, more", store=store)
    await mute({"type": "http", "path": "/", "headers": [], "scheme": "http"}, None, None)  # type: ignore[arg-type]  # neither is called
    assert data(store) == []


# WSGI


def end(session: Any, path: str) -> None:
    if path.startswith("/logout"):
        session.destroy()
    elif path.startswith("/rotate"):
        session.regenerate(keep_data=True)
    elif path.startswith("/regenerate"):
        session.regenerate()
        session["user"] = "bob"
    else:
        session["user"] = "ann"


@pytest.mark.parametrize("path", ["/logout", "/rotate", "/regenerate"])
def test_an_exception_under_wsgi_does_not_undo_a_requested_end(path: str) -> None:
    """The old record is removed, nothing new is stored, and the exception comes out unchanged."""
    store = MemoryStore()

    def handle(session: Any, environ: dict[str, Any]) -> str:
        end(session, environ["PATH_INFO"])
        if environ["QUERY_STRING"] == "fail":
            raise Failure
        return ""

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/login")
        with pytest.raises(Failure):
            browser.get(path + "?fail")
    assert data(store) == []


def test_an_exception_under_wsgi_drops_the_changes() -> None:
    """After an exception the record is what it was."""
    store = MemoryStore()

    def handle(session: Any, environ: dict[str, Any]) -> str:
        session["path"] = environ["PATH_INFO"]
        if environ["PATH_INFO"] == "/fail":
            raise Failure
        return ""

    with SyncClient(wsgi_app(handle, store=store)) as browser:
        browser.get("/login")
        before = data(store)
        with pytest.raises(Failure):
            browser.get("/fail")
    assert data(store) == before


def iterate_and_fail(body: Any) -> None:
    with pytest.raises(Failure):
        list(body)
    body.close()


def close_unread(body: Any) -> None:
    body.close()


@pytest.mark.parametrize("path", ["/logout", "/rotate", "/regenerate"])
@pytest.mark.parametrize("server", [iterate_and_fail, close_unread])
def test_a_wsgi_response_that_never_began_still_ends_the_session(
    path: str, server: Callable[[Any], None]
) -> None:
    """A body that fails before its first byte, or that nobody reads, keeps no session alive."""
    store = MemoryStore()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        end(environ["coatcheck.session"], environ["PATH_INFO"])
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/login":
            return iter([b""])
        return failing()

    def failing() -> Iterator[bytes]:
        raise Failure
        yield b""

    middleware = WSGISessions(app, secret="x" * 32, store=store)
    with SyncClient(middleware) as browser:
        browser.get("/login")
        cookie = browser.cookies["sid"]
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "HTTP_COOKIE": f"sid={cookie}",
        "wsgi.url_scheme": "http",
    }
    server(middleware(environ, lambda *start: lambda item: None))
    assert data(store) == []
