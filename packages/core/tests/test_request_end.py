"""The end of a request whatever went wrong in it, and threads that use its session meanwhile."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from webclient import SECRET, FragileStore, SyncClient, asgi_app, sessions_in, set_cookies, wsgi_app

from coatcheck import CookieOptions, MemoryStore, session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, LateWriteError

pytestmark = pytest.mark.anyio

#: What an ASGI application that answers nothing needs of a request.
SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "scheme": "http", "path": "/"}


class RefusingStore(MemoryStore):
    """A store that refuses to end sessions, once it is told to."""

    refuses = False

    def destroy(self, key: str, *args: Any) -> bool:
        if self.refuses:
            raise ConfigurationError("no permission")
        return super().destroy(key, *args)


def start(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


async def test_a_request_is_over_although_its_session_could_not_be_ended() -> None:
    """A session that was stored and not sent has to end, and the store refuses that."""
    store = RefusingStore()
    held: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        held.append(scope["session"])
        scope["session"]["user"] = "ann"
        await scope["session"].save()
        store.refuses = True

    with pytest.raises(ConfigurationError, match="no permission"):
        await ASGISessions(app, secret=SECRET, store=store)({**SCOPE, "headers": []}, None, None)
    with pytest.raises(LateWriteError, match="the request is over"):
        held[0]["late"] = 1


async def test_the_session_outside_is_back_although_that_inside_could_not_be_ended() -> None:
    """A logout of the application outside is not lost."""
    store = RefusingStore()

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        session = session_of(scope, name="inside")
        session["x"] = 1
        await session.save()
        store.refuses = True

    inner = ASGISessions(inside, secret=SECRET, store=store, name="inside")

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(ConfigurationError):
            await inner(scope, receive, send)
        assert scope["session"] is session_of(scope, name="outside")

    outer = ASGISessions(outside, secret=SECRET, store=MemoryStore(), name="outside")
    await outer({**SCOPE, "headers": []}, None, None)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("driver", ["asgi", "wsgi"])
async def test_what_interrupts_the_choice_of_a_cookie_reaches_the_server(
    driver: str, kind: type[BaseException]
) -> None:
    """The request has no cookie yet, and still lets go of its session."""

    def cookie(request: Any) -> CookieOptions:
        raise kind("stop")

    with pytest.raises(kind, match="stop"):
        if driver == "asgi":
            app = asgi_app(lambda session, scope: None, cookie=cookie)
            await app({**SCOPE, "headers": []}, None, None)
        else:
            environ = {"PATH_INFO": "/", "wsgi.url_scheme": "http"}
            wsgi_app(lambda session, environ: None, cookie=cookie)(environ, lambda *_: None)


def test_a_callable_cookie_leaves_nothing_to_the_garbage_collector() -> None:
    """The settings that it returns are prepared once, however many requests there are."""

    def requests(count: int) -> int:
        for _ in range(count):
            app({"PATH_INFO": "/", "wsgi.url_scheme": "http"}, lambda *_: None)
        return gc.collect()

    app: Callable[..., Any] = wsgi_app(
        lambda session, environ: session.get("a"), cookie=lambda request: CookieOptions(path="/")
    )
    requests(3)
    gc.disable()
    try:
        assert requests(20) < 20
    finally:
        gc.enable()


def test_an_id_that_a_thread_reads_while_the_session_is_stored_is_that_of_the_record() -> None:
    """Both make one, and the first that is there counts."""
    store = MemoryStore()
    asked, go = threading.Event(), threading.Event()
    read: list[str] = []
    made: list[str] = []

    def generate_id(request: Any) -> str:
        made.append(f"{len(made)}" * 32)
        mine = made[-1]
        if threading.current_thread() is not threading.main_thread():
            asked.set()
            go.wait(5)
        return mine

    def handle(session: Any, environ: Any) -> None:
        session["user"] = "ann"
        thread = threading.Thread(target=lambda: read.append(f"{session.id}"))
        thread.start()
        asked.wait(5)
        session.save()
        go.set()
        thread.join(5)

    app = wsgi_app(handle, store=store, generate_id=generate_id)
    with SyncClient(app) as browser:
        [line] = set_cookies(browser.get("/"))
    assert len(made) == 2
    assert line.startswith(f"sid={read[0]}.")
    assert [*sessions_in(store)] == [hashlib.sha256(read[0].encode()).hexdigest()]


def test_a_taken_id_is_not_ended_by_a_session_that_gets_another_one() -> None:
    """A thread renames the session while the store says that another visitor has the id."""
    ids = iter(["a" * 32, "a" * 32, "b" * 32, "c" * 32])
    held: list[Any] = []

    class Store(MemoryStore):
        def set(self, key: str, *args: Any) -> bool:
            written = super().set(key, *args)
            if not written:
                thread = threading.Thread(target=lambda: held[-1].regenerate(keep_data=True))
                thread.start()
                thread.join(5)
            return written

    def handle(session: Any, environ: Any) -> None:
        held.append(session)
        session["path"] = environ["PATH_INFO"]

    store = Store()
    for path in ("/first", "/second"):  # two visitors
        with SyncClient(
            wsgi_app(handle, store=store, generate_id=lambda request: next(ids))
        ) as browser:
            browser.get(path)
    assert sorted(record.data.count(b"first") for record in sessions_in(store).values()) == [0, 1]


def test_an_answer_of_a_store_that_counts_as_false_means_that_nothing_was_written() -> None:
    """A store that returns an empty string has refused the write: the changes are merged."""

    class Store(FragileStore):
        def set(self, key: str, *args: Any) -> Any:
            return super().set(key, *args) or ""

    store = Store()

    def handle(session: Any, environ: Any) -> None:
        session[environ["PATH_INFO"]] = 1
        if environ["PATH_INFO"] == "/slow":
            other.get("/fast")

    app = wsgi_app(handle, store=store)
    with SyncClient(app) as browser, SyncClient(app) as other:
        browser.get("/login")
        other.cookies = browser.cookies
        browser.get("/slow")
        [record] = sessions_in(store).values()
        assert b"/fast" in record.data
        assert b"/slow" in record.data


async def test_a_body_that_is_complete_can_be_followed_by_the_first_use_of_a_session() -> None:
    """A file that the server sends by itself has no part that could show the session."""
    store = MemoryStore()
    line: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/login":
            scope["session"]["user"] = "ann"
        headers = [(b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": "/a"})
        assert scope["session"]["user"] == "ann"

    async def send(message: Any) -> None:
        line.extend(value for name, value in message.get("headers", ()) if name == b"set-cookie")

    middleware = ASGISessions(app, secret=SECRET, store=store)
    await middleware({**SCOPE, "path": "/login", "headers": []}, None, send)
    cookie = line[0].partition(b";")[0]
    await middleware({**SCOPE, "headers": [(b"cookie", cookie)]}, None, send)
