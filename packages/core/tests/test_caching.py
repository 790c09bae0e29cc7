"""The headers that caches get, by RFC 9111. test_caches.py asks real ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import httpx
import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    FragileStore,
    SyncClient,
    asgi_app,
    set_cookies,
    wsgi_app,
)

from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import SessionUnavailable
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio

Headers = list[tuple[str, str]]

FUTURE, PAST = "Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 01 Jan 2010 00:00:00 GMT"


def cached(value: str) -> Headers:
    return [("Cache-Control", value)]


#: What a cache may keep for several visitors.
SHARED: list[Headers] = [
    cached("public"),
    cached("Public"),
    cached("max-age=60"),
    cached("max-age = 60"),
    cached('max-age="60"'),
    cached("max-age=0, s-maxage=60"),
    [*cached("public"), *cached("max-age=60")],
    cached('private="set-cookie", max-age=60'),
    cached('no-cache="set-cookie", public'),
    cached('ext="private, no-store", max-age=060'),
    [("Expires", FUTURE)],
    [*cached("must-revalidate"), ("expires", FUTURE)],
    [*cached("public"), ("Vary", "Accept, Origin")],
    [*cached("no-store"), ("CDN-Cache-Control", "max-age=60")],
    [*cached("private"), ("Example-CDN-Cache-Control", "public")],
    [*cached("no-store"), ("Surrogate-Control", 'content="ESI/1.0", max-age=3600+600')],
    [*cached("private"), ("X-Accel-Expires", "60")],
    [*cached("private"), ("X-Accel-Expires", "@4102444800")],
]
#: What it may not, or what says nothing.
NOT_SHARED: list[Headers] = [
    [],
    cached("private, max-age=60"),
    cached("public, no-store"),
    [*cached("public"), *cached("no-cache")],
    cached("max-age=0"),
    cached("s-maxage=0, max-age=60"),
    cached("max-age=soon"),
    cached("no-cache"),
    [("Expires", "0")],
    [("Expires", PAST)],
    [("Expires", FUTURE), *cached("private")],
    [("Expires", FUTURE), *cached("max-age=0")],
    [("Last-Modified", PAST), ("ETag", '"1"')],
    [*cached("public"), ("Vary", "Accept, cookie")],
    [*cached("public"), ("Vary", "*")],
    [("CDN-Cache-Control", "no-store"), ("Surrogate-Control", "max-age=0")],
    [("X-Accel-Expires", "0")],
]


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers]


@pytest.fixture(params=["asgi", "wsgi"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each interface in turn."""
    return str(request.param)


class Streaming:
    """An application on both interfaces that uses the session after its headers are out.

    :param use: called with the session after the first part of the body.
    """

    def __init__(self, driver: str, headers: Headers, use: Any, **options: Any) -> None:
        self.headers, self.use = headers, use
        options = {"secret": SECRET, "clock": Clock(), **options}
        self.app = (
            ASGISessions(self.asgi, **options)
            if driver == "asgi"
            else WSGISessions(self.wsgi, **options)
        )

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/login":
            session["user"] = "ann"
        # Headers may be good for one reading.
        headers = iter(raw(self.headers))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        body = b"" if scope["path"] == "/login" else self.answer(session)
        await send({"type": "http.response.body", "body": body})
        if scope["path"] == "/after":
            self.afterwards = session.get("user")

    def wsgi(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        session = environ["coatcheck.session"]
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        start_response("200 OK", list(self.headers))
        yield b" "
        if environ["PATH_INFO"] != "/login":
            yield self.answer(session)

    def answer(self, session: Any) -> bytes:
        try:
            return str(self.use(session)).encode()
        except SessionUnavailable as error:
            # Until the session is used once more and refuses, nobody has been shown anything.
            with pytest.raises(SessionUnavailable):
                bool(session)
            return f"refused: {error}".encode()

    async def seen(self, *, login: bool = True, path: str = "/") -> httpx.Response:
        visitor = Client(self.app)
        if login:
            headers, self.headers = self.headers, []
            await visitor.get("/login")
            self.headers = headers
        return await visitor.get(path)


def user(session: Any) -> object:
    return session.get("user")


@pytest.mark.parametrize("load", ["eager", "lazy"])
@pytest.mark.parametrize("headers", SHARED, ids=str)
async def test_a_late_first_use_is_refused_where_caches_may_share(
    driver: str, headers: Headers, load: str
) -> None:
    """The headers do not say that the response depends on the session, and cannot any more."""
    if (driver, load) == ("asgi", "lazy"):
        return  # it is `await session.load()` that comes first there: see below
    response = await Streaming(driver, headers, user, load=load).seen()
    assert "refused: the response headers are sent" in response.text
    assert "read the session before the response starts" in response.text
    assert set_cookies(response) == []


@pytest.mark.parametrize("headers", NOT_SHARED, ids=str)
async def test_a_late_first_use_is_fine_where_caches_may_not_share(
    driver: str, headers: Headers
) -> None:
    """Server-sent events and the like may read the session when they need it."""
    assert (await Streaming(driver, headers, user).seen()).text.strip() == "ann"


USES: dict[str, Any] = {
    "degraded": lambda session: session.degraded,
    "id": lambda session: session.id,
    "bool": bool,
    "in": lambda session: "user" in session,
    "write": lambda session: session.update(late=1),
    "is_new": lambda session: session.is_new,
    "owner": lambda session: session.owner,
}


@pytest.mark.parametrize("use", USES)
async def test_each_kind_of_use_is_refused(driver: str, use: str) -> None:
    """Each attribute that tells something of the session counts, `degraded` as well."""
    response = await Streaming(driver, cached("public"), USES[use]).seen()
    assert response.text.strip().startswith("refused")


async def test_a_visitor_without_a_session_is_served(driver: str) -> None:
    """Without a cookie of ours there is nothing that the response could tell."""
    streaming = Streaming(driver, cached("public"), user)
    assert (await streaming.seen(login=False)).text.strip() == "None"
    headers = {"cookie": "sid=forged.signature"}
    assert (await Client(streaming.app).get("/", headers=headers)).text.strip() == "None"


async def test_a_late_logout_works_all_the_same(driver: str) -> None:
    """`destroy()` shows nothing, and must not fail."""
    store = FragileStore()

    def logout(session: Any) -> str:
        session.destroy()
        return f"out, {session.get('user')}"

    streaming = Streaming(driver, cached("public"), logout, store=store)
    assert (await streaming.seen()).text.strip() == "out, None"
    assert store.length() == 0


async def test_the_session_can_be_read_when_the_response_is_complete() -> None:
    """Background tasks show nothing to anybody."""
    streaming = Streaming("asgi", cached("public"), lambda session: "page")
    assert (await streaming.seen(path="/after")).text == "page"
    assert streaming.afterwards == "ann"


@pytest.mark.parametrize("parts", [1, 3])
def test_the_session_can_be_read_when_the_body_is_closed(parts: int) -> None:
    """The same under WSGI, also where the client left before the end of the body."""
    told: list[object] = []

    class Body:
        def __init__(self, session: Any) -> None:
            self.session = session
            self.left = 2

        def __iter__(self) -> Body:
            return self

        def __next__(self) -> bytes:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return b"x"

        def close(self) -> None:
            told.append(self.session.get("user"))

    def app(environ: Any, start_response: Any) -> Any:
        session = environ["coatcheck.session"]
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        start_response("200 OK", cached("public"))
        return Body(session)

    sessions = WSGISessions(app, secret=SECRET)
    with SyncClient(sessions) as visitor:
        visitor.get("/login")
        environ = {"HTTP_COOKIE": f"sid={visitor.cookie}", "PATH_INFO": "/"}
    body: Any = sessions(environ, lambda *_: None)
    assert len(list(islice(body, parts))) == min(parts, 2)
    body.close()
    assert told == ["ann", "ann"]


async def test_a_late_load_is_refused() -> None:
    """With `load="lazy"` it is `await session.load()` that comes too late."""
    told: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/login":
            await session.load()
            session["user"] = "ann"
        headers = [] if scope["path"] == "/login" else raw(cached("public"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            await session.load()
            told.append(session["user"])
        except SessionUnavailable as error:
            told.append(str(error)[:25])
        await send({"type": "http.response.body", "body": b""})

    visitor = Client(ASGISessions(app, secret=SECRET, load="lazy"))
    await visitor.get("/login")
    await visitor.get("/")
    assert told == ["ann", "the response headers are "]


def test_after_write_it_is_too_late() -> None:
    """Under WSGI the headers may go out by `write()`."""
    told: list[object] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = environ["coatcheck.session"]
        if environ["PATH_INFO"] == "/login":
            session["user"] = "ann"
        start_response("200 OK", cached("public"))(b"x")
        try:
            told.append(session["user"])
        except SessionUnavailable as error:
            told.append(str(error)[:25])
        return []

    with SyncClient(WSGISessions(app, secret=SECRET)) as visitor:
        visitor.get("/login")
        visitor.get("/")
    assert told == ["ann", "the response headers are "]


# Responses that set the cookie


RESTRICTED: list[tuple[Headers, Headers]] = [
    ([], cached("no-store")),
    (cached("public, max-age=60"), cached("no-store")),
    (cached("s-maxage=60, immutable, stale-while-revalidate=9"), cached("no-store")),
    (cached("private, max-age=0"), cached("private, no-store")),
    (cached("no-cache, must-revalidate"), cached("no-cache, must-revalidate, no-store")),
    (cached("No-Store, public"), cached("No-Store")),
    (cached("must-understand, no-store"), cached("no-store")),
    (
        cached('no-cache="set-cookie, x", private="y", proxy-revalidate, no-transform'),
        cached('no-cache="set-cookie, x", private="y", proxy-revalidate, no-transform, no-store'),
    ),
    ([*cached("public"), *cached("private")], cached("private, no-store")),
    ([*cached('x="a, no-store", public')], cached("no-store")),
    (
        [("Expires", FUTURE), ("CDN-Cache-Control", "max-age=60"), ("X-Accel-Expires", "60")],
        [("Expires", "0"), ("CDN-Cache-Control", "no-store"), ("X-Accel-Expires", "0"),
         *cached("no-store")],
    ),
    (
        [("Surrogate-Control", "max-age=60"), ("Example-CDN-Cache-Control", "public")],
        [("Surrogate-Control", "no-store"), ("Example-CDN-Cache-Control", "no-store"),
         *cached("no-store")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sent"), RESTRICTED, ids=str)
async def test_what_sets_the_cookie_is_stored_nowhere(
    driver: str, given: Headers, sent: Headers
) -> None:
    """Directives that restrict caches stay, all others make room for `no-store`."""

    def login(session: Any, request: Any) -> None:
        session["user"] = "ann"

    own: Any = raw(given) if driver == "asgi" else list(given)
    app: Any = (asgi_app if driver == "asgi" else wsgi_app)(login, headers=own)
    first = await Client(app).get("/")
    second = await Client(app).get("/")
    assert len({*set_cookies(first), *set_cookies(second)}) == 2
    for response in (first, second):
        told = {
            (name, value)
            for name, value in response.headers.multi_items()
            if name not in ("set-cookie", "vary", "content-type", "content-length")
        }
        assert told == {(name.lower(), value) for name, value in sent}


async def test_a_page_that_reads_keeps_its_cache_control(driver: str) -> None:
    """Without our cookie the application's header is kept, beside `Vary: Cookie`."""
    own: Any = cached("public, max-age=60")
    if driver == "asgi":
        own = raw(own)
    app: Any = (asgi_app if driver == "asgi" else wsgi_app)(lambda s, r: s.get("x"), headers=own)
    headers = (await Client(app).get("/")).headers
    assert (headers["cache-control"], headers["vary"]) == ("public, max-age=60", "Cookie")


async def test_a_public_page_that_sets_the_cookie_is_told_once(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what was replaced, the first time; what was private is nothing to tell."""
    caplog.set_level(logging.WARNING, "coatcheck")
    make: Any = asgi_app if driver == "asgi" else wsgi_app

    async def told(value: str) -> list[str]:
        own: Any = raw(cached(value)) if driver == "asgi" else cached(value)
        app = make(lambda s, r: s.update(a=1), headers=own, store=FragileStore())
        caplog.clear()
        for _ in range(3):
            await Client(app).get("/")
        return [record.getMessage() for record in caplog.records]

    assert await told("private, max-age=60") == []
    [message] = await told("public, max-age=60")
    assert "`no-store` instead" in message


async def test_headers_that_are_good_for_one_reading_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """ASGI allows any iterable. The cookie, the other headers and the warning are the same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["user"] = "ann"
        headers = (each for each in raw(cached("public, max-age=60")))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    sessions = ASGISessions(app, secret=SECRET, store=FragileStore())
    response = await Client(sessions).get("/")
    assert response.headers["cache-control"] == "no-store"
    assert [text for text in caplog.messages if "caches may share it" in text]
