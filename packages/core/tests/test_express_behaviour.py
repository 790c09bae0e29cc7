"""The behaviour that users of express-session expect, told as HTTP stories.

Where coatcheck differs on purpose, the story is coatcheck's; ``test_differences.py`` has the list.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import anyio
import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    FragileStore,
    SyncClient,
    YieldingStore,
    asgi_app,
    attributes,
    awaited,
    finished,
    sessions_in,
    set_cookies,
    wsgi_app,
)

import coatcheck
from coatcheck import (
    Capabilities,
    CookieOptions,
    MemoryStore,
    Record,
    SessionOptions,
    Sessions,
)
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import (
    ConfigurationError,
    LateWriteError,
    SerializationError,
    SessionGone,
    SessionUnavailable,
    StoreError,
    StoreUnavailable,
)
from coatcheck.events import SessionEvent
from coatcheck.wsgi import SessionMiddleware as WSGISessions

Handler = Callable[[Any, Any], Any]
See = Callable[[Any], Any]

HEADERS = "the headers"
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


class Stack(ABC):
    """One of the middlewares, serving a synchronous ``handler(session, request)``.

    What the handler returns is the body. A handler that saves or reloads yields the call, which
    is awaited where it must be.
    """

    session_key: str

    @abstractmethod
    def app(self, handler: Handler, **options: Any) -> Any:
        """Return an application with this handler and these options."""

    @abstractmethod
    def streaming(self, handler: Handler, **options: Any) -> Any:
        """Return an application whose handler yields the pieces of its body."""

    @abstractmethod
    def nested(self, app: Any, **options: Any) -> Any:
        """Return a second middleware around an application that has one."""

    @abstractmethod
    def client(self, app: Any, base_url: str = "http://shop.test", see: See = id) -> SyncClient:
        """Return a visitor. ``see`` is told of what reaches the server: headers, then pieces."""

    @abstractmethod
    def mounted(self, app: Any, prefix: str) -> SyncClient:
        """Return a visitor of an application that another one mounts below a prefix."""

    def visitor(
        self, handler: Handler, base_url: str = "http://shop.test", **kw: Any
    ) -> SyncClient:
        """Return a visitor of an application with this handler and these options."""
        return self.client(self.app(handler, **kw), base_url)


class ASGIStack(Stack):
    session_key = "session"

    def app(
        self,
        handler: Handler,
        status: int = 200,
        headers: list[tuple[str, str]] | None = None,
        **options: Any,
    ) -> Any:
        async def run(session: Any, scope: Any) -> Any:
            return await awaited(handler(session, scope))

        raw = [(name.encode(), value.encode()) for name, value in headers or []]
        return asgi_app(run, status=status, headers=raw, **options)

    def streaming(self, handler: Handler, **options: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            pieces = handler(scope["session"], scope)
            first = next(pieces)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        return ASGISessions(app, **{"secret": SECRET, **options})

    def nested(self, app: Any, **options: Any) -> Any:
        return ASGISessions(app, **{"secret": SECRET, **options})

    def client(self, app: Any, base_url: str = "http://shop.test", see: See = id) -> SyncClient:
        async def server(scope: Any, receive: Any, send: Any) -> None:
            async def send_and_see(message: Any) -> None:
                see(message.get("body", HEADERS))
                await send(message)

            await app(scope, receive, send_and_see)

        return SyncClient(server, base_url)

    def mounted(self, app: Any, prefix: str) -> SyncClient:
        async def mount(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "root_path": prefix}, receive, send)

        return self.client(mount)


class WSGIStack(Stack):
    session_key = "coatcheck.session"

    def app(
        self,
        handler: Handler,
        status: int = 200,
        headers: list[tuple[str, str]] | None = None,
        **options: Any,
    ) -> Any:
        def run(session: Any, environ: Any) -> Any:
            return finished(handler(session, environ))

        line = f"{status} {HTTPStatus(status).phrase}"
        return wsgi_app(run, status=line, headers=headers, **options)

    def streaming(self, handler: Handler, **options: Any) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            return handler(environ["coatcheck.session"], environ)

        return WSGISessions(app, **{"secret": SECRET, **options})

    def nested(self, app: Any, **options: Any) -> Any:
        return WSGISessions(app, **{"secret": SECRET, **options})

    def client(self, app: Any, base_url: str = "http://shop.test", see: See = id) -> SyncClient:
        def server(environ: Any, start_response: Any) -> Iterator[bytes]:
            def start_and_see(status: str, headers: Any, exc_info: Any = None) -> Any:
                see(HEADERS)
                return start_response(status, headers, exc_info)

            pieces = app(environ, start_and_see)
            try:
                for piece in pieces:
                    see(piece)
                    yield piece
            finally:
                getattr(pieces, "close", list)()

        return SyncClient(server, base_url)

    def mounted(self, app: Any, prefix: str) -> SyncClient:
        def mount(environ: Any, start_response: Any) -> Any:
            path = environ["PATH_INFO"].removeprefix(prefix)
            return app({**environ, "SCRIPT_NAME": prefix, "PATH_INFO": path}, start_response)

        return self.client(mount)


def path_of(request: Any) -> str:
    return str(request["path"] if "path" in request else request["PATH_INFO"])


def routes(**handlers: Handler) -> Handler:
    """Return a handler that chooses by the last part of the path."""

    def handler(session: Any, request: Any) -> Any:
        return handlers[path_of(request).rsplit("/", 1)[1] or "root"](session, request)

    return handler


def login(session: Any, request: Any) -> str:
    session["user"] = "ada"
    return "welcome"


def logout(session: Any, request: Any) -> str:
    session.destroy()
    return "goodbye"


def visit(session: Any, request: Any) -> int:
    session["visits"] = session.get("visits", 0) + 1
    return int(session["visits"])


def page(session: Any, request: Any) -> str:
    """Read the session, and say whose it is."""
    return str(session.get("user", "nobody"))


def static(session: Any, request: Any) -> str:
    """Leave the session alone."""
    return "static"


def site(**handlers: Handler) -> Handler:
    """Return the handlers that most stories need, and some more."""
    usual: dict[str, Handler] = {
        "login": login,
        "logout": logout,
        "visit": visit,
        "page": page,
        "static": static,
        "root": visit,
    }
    return routes(**{**usual, **handlers})


def stored(store: MemoryStore) -> Record:
    """Return the only record of a store."""
    ((_, record),) = store.all()
    return record


@pytest.fixture(params=[ASGIStack, WSGIStack], ids=["asgi", "wsgi"])
def stack(request: pytest.FixtureRequest) -> Stack:
    made: Stack = request.param()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> FragileStore:
    return FragileStore(clock=clock)


class TestCookieOptions:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("path", "/"), ("http_only", True), ("max_age", None), ("expires", None)],
    )
    def test_defaults(self, name: str, value: object) -> None:
        """Without settings the cookie is for the whole site, not for scripts, and ends with the
        browser.
        """
        assert getattr(CookieOptions(), name) == value

    @pytest.mark.parametrize("options", [42, "strict", True, {"path": "/"}, None])
    def test_must_be_options(self, stack: Stack, options: object) -> None:
        """Anything but options, or a callable that makes them, is refused."""
        with pytest.raises(ConfigurationError, match="`cookie` must be"):
            stack.app(page, cookie=options)

    def test_unknown_setting(self) -> None:
        """A setting that does not exist is refused instead of ignored."""
        with pytest.raises(TypeError, match="data"):
            CookieOptions(data={})  # type: ignore[call-arg]

    @pytest.mark.parametrize("max_age", ["42", True, int, datetime(2030, 1, 1, tzinfo=UTC), 0, -1])
    def test_max_age_is_a_duration(self, max_age: Any) -> None:
        """A max_age is a number of seconds or a timedelta: no text, no function, and no date."""
        with pytest.raises(ConfigurationError, match="`max_age` must be"):
            CookieOptions(max_age=max_age)

    @pytest.mark.parametrize("max_age", [90, 90.0, timedelta(seconds=90)])
    def test_max_age_moves_the_end(self, stack: Stack, clock: Clock, max_age: Any) -> None:
        """A max_age sends Max-Age, and Expires at that distance from now."""
        visitor = stack.visitor(site(), clock=clock, cookie=CookieOptions(max_age=max_age))
        sent = attributes(visitor.get("/login"))
        assert sent["max-age"] == "90"
        assert parsedate_to_datetime(sent["expires"]).timestamp() == clock.now + 90

    def test_expires_implies_max_age(self, stack: Stack, clock: Clock) -> None:
        """With a fixed end, Max-Age and the time left shrink as it comes nearer."""
        visitor = stack.visitor(
            site(left=lambda s, r: s.expires_in),
            clock=clock,
            rolling=True,
            cookie=CookieOptions(expires=datetime.fromtimestamp(clock.now + 90, UTC)),
        )
        first = attributes(visitor.get("/login"))
        clock.advance(30)
        later = visitor.get("/left")
        assert (first["max-age"], attributes(later)["max-age"], later.text) == ("90", "60", "60.0")
        assert first["expires"] == attributes(later)["expires"]

    @pytest.mark.parametrize(
        ("options", "name", "value"),
        [
            ({"path": "/login"}, "path", "/login"),
            ({"priority": "high"}, "priority", "High"),
            ({"partitioned": True, "secure": True}, "partitioned", ""),
            ({"domain": "shop.test"}, "domain", "shop.test"),
            ({"same_site": "strict"}, "samesite", "Strict"),
        ],
    )
    def test_attributes(self, stack: Stack, options: Any, name: str, value: str) -> None:
        """Each setting becomes the attribute of its name."""
        visitor = stack.visitor(site(), "https://shop.test", cookie=CookieOptions(**options))
        assert attributes(visitor.get("/login"))[name] == value

    @pytest.mark.parametrize(("http_only", "sent"), [(True, True), (False, False)])
    def test_http_only(self, stack: Stack, http_only: bool, sent: bool) -> None:
        """HttpOnly is sent unless it is turned off."""
        visitor = stack.visitor(site(), cookie=CookieOptions(http_only=http_only))
        assert ("httponly" in attributes(visitor.get("/login"))) == sent


class TestBeginning:
    @pytest.mark.parametrize("name", ["Session", "Store", "AsyncStore", "MemoryStore"])
    def test_exports(self, name: str) -> None:
        """The classes that applications and stores are written against are at the top."""
        assert isinstance(getattr(coatcheck, name), type)

    def test_nested(
        self, stack: Stack, store: FragileStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A second middleware inside the first serves its own name, and says nothing of it."""
        other = MemoryStore()
        app = stack.nested(stack.app(site(), store=other, name="inner"), store=store)
        visitor = stack.client(app)
        with caplog.at_level(logging.WARNING, "coatcheck"):
            answers = [visitor.get("/visit") for _ in range(2)]
        assert [answer.text for answer in answers] == ["1", "2"]
        assert list(visitor.cookies) == ["inner"]
        assert (store.length(), other.length()) == (0, 1)
        assert caplog.messages == []

    @pytest.mark.parametrize("options", [{}, {"secret": None}, {"secret": ""}, {"secret": []}])
    def test_no_secret(self, stack: Stack, options: Any) -> None:
        """Without a secret there is no middleware: it fails at the start, not at a request."""
        make = ASGISessions if isinstance(stack, ASGIStack) else WSGISessions
        with pytest.raises(ConfigurationError, match="`secret`"):
            make(None, **options)  # type: ignore[arg-type]

    def test_first_write(self, stack: Stack, store: FragileStore) -> None:
        """The first write stores a session and sends its cookie."""
        answer = stack.visitor(site(), store=store).get("/login")
        assert len(set_cookies(answer)) == store.length() == 1

    def test_second_request(self, stack: Stack) -> None:
        """The cookie brings the session back."""
        visitor = stack.visitor(site())
        visitor.get("/login")
        assert visitor.get("/page").text == "ada"

    @pytest.mark.parametrize(
        "failure", [StoreUnavailable("refused"), FileNotFoundError(errno.ENOENT, "no such file")]
    )
    def test_failed_load(self, stack: Stack, store: FragileStore, failure: Exception) -> None:
        """A failed load raises at the first use; no kind of failure passes for 'not found'."""
        visitor = stack.visitor(site(), store=store)
        visitor.get("/login")
        store.broken = {"get": failure}
        with pytest.raises(StoreError):
            visitor.get("/page")
        assert visitor.get("/static").text == "static"

    def test_strangers(self, stack: Stack, store: FragileStore) -> None:
        """Parallel requests without a cookie get a session each."""

        def slow(session: Any, request: Any) -> str:
            session["user"] = "slow"
            other.get("/login")
            return "done"

        visitor = stack.visitor(site(slow=slow), store=store)
        other = visitor.stranger()
        visitor.get("/slow")
        assert visitor.id != other.id
        assert (visitor.get("/page").text, other.get("/page").text) == ("slow", "ada")

    def test_empty_path(self, stack: Stack) -> None:
        """The application at the root of its mount point has a session, too."""
        app = stack.app(lambda s, r: visit(s, r), cookie=CookieOptions(path="/shop"))
        visitor = stack.mounted(app, "/shop")
        assert [visitor.get("/shop").text for _ in range(2)] == ["1", "2"]

    def test_empty_body(self, stack: Stack, store: FragileStore) -> None:
        """A response without a body saves its session."""
        answer = stack.visitor(lambda s, r: login(s, r) and "", store=store).get("/")
        assert (answer.content, store.length()) == (b"", 1)

    @pytest.mark.parametrize("name", ["save", "destroy", "id", "cookie", "reload", "touch"])
    def test_key_like_a_method(self, stack: Stack, name: str) -> None:
        """A key that is spelt like a method is data, and hides nothing."""

        def put(session: Any, request: Any) -> str:
            session[name] = "mine"
            return "ok"

        def get(session: Any, request: Any) -> str:
            session.touch()
            return f"{session[name]} {session.id[:0]}"

        visitor = stack.visitor(routes(put=put, get=get))
        visitor.get("/put")
        assert visitor.get("/get").text == "mine "

    def test_only_data_is_listed(self, stack: Stack) -> None:
        """Iterating shows the application's keys, and nothing of the session's own."""
        visitor = stack.visitor(site(keys=lambda s, r: ",".join(s)))
        visitor.get("/login")
        assert visitor.get("/keys").text == "user"

    def test_id_is_read_only(self, stack: Stack) -> None:
        """Nobody sets the id: there is `regenerate()` for that."""

        def steal(session: Any, request: Any) -> None:
            session.id = "0123456789abcdef"

        with pytest.raises(AttributeError):
            stack.visitor(steal).get("/")

    def test_second_end(self, store: FragileStore) -> None:
        """A message after the end of the response saves nothing again."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["user"] = "ada"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b""})

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "scheme": "http", "path": "/", "headers": []}
        asyncio.run(ASGISessions(app, secret=SECRET, store=store)(scope, None, send))
        assert (store.taken(), len(sent)) == (["set"], 4)


class TestResponseEnd:
    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            ("hello", []),
            ("", [("Content-Length", "0")]),
            ("hello", [("Content-Length", "5")]),
        ],
        ids=["chunked", "empty", "with a length"],
    )
    def test_saved_before_the_headers(
        self, stack: Stack, store: FragileStore, body: str, headers: list[tuple[str, str]]
    ) -> None:
        """With any body, the session is stored before anything reaches the server."""

        def handler(session: Any, request: Any) -> str:
            session["user"] = "ada"
            return body

        seen: list[int] = []
        app = stack.app(handler, headers=headers, store=store)
        visitor = stack.client(app, see=lambda what: seen.append(store.length()))
        assert visitor.get("/").text == body
        assert set(seen) == {1}

    def test_saved_before_a_stream(self, stack: Stack, store: FragileStore) -> None:
        """A body in pieces leaves after the session was stored, and unchanged."""

        def handler(session: Any, request: Any) -> Iterator[bytes]:
            session["user"] = "ada"
            yield b"hel"
            yield b"lo"

        seen: list[int] = []
        app = stack.streaming(handler, store=store)
        visitor = stack.client(app, see=lambda what: seen.append(store.length()))
        assert visitor.get("/").text == "hello"
        assert set(seen) == {1}

    def test_cookie_and_record_agree(self, stack: Stack, store: FragileStore, clock: Clock) -> None:
        """The cookie and the record end at the same second, and later requests move both."""
        cookie = CookieOptions(max_age=600)
        visitor = stack.visitor(site(), store=store, clock=clock, cookie=cookie)
        ends = []
        for _ in range(2):
            sent = attributes(visitor.get("/visit"))
            ends.append(parsedate_to_datetime(sent["expires"]).timestamp())
            assert ends[-1] == stored(store).expires_at
            clock.advance(60)
        assert ends[1] - ends[0] == 60


class TestUnknownIds:
    @pytest.fixture
    def visitor(self, stack: Stack, store: FragileStore, clock: Clock) -> SyncClient:
        visitor = stack.visitor(site(), store=store, clock=clock)
        visitor.get("/login")
        store.taken()
        return visitor

    def test_not_in_the_store(self, visitor: SyncClient, store: FragileStore) -> None:
        """An id that the store does not know is not adopted: the new session gets a new one."""
        before = visitor.id
        store.clear()
        assert visitor.get("/page").text == "nobody"
        assert store.length() == 0
        visitor.get("/login")
        assert visitor.id != before

    @pytest.mark.parametrize("forge", [lambda v: v.split(".")[0], lambda v: v[:-1] + "~"])
    def test_not_signed(
        self, visitor: SyncClient, store: FragileStore, forge: Callable[[str], str]
    ) -> None:
        """Without a good signature there is a new session, and the store is not even asked."""
        answer = visitor.present(f"sid={forge(visitor.cookie)}", "/login")
        assert (answer.text, store.taken()) == ("welcome", ["set"])
        assert visitor.id not in set_cookies(answer)[0]

    def test_expired(self, visitor: SyncClient, store: FragileStore, clock: Clock) -> None:
        """After its lifetime a session is over, and the next one has a new id."""
        before = visitor.id
        clock.advance(86_400)
        assert visitor.get("/page").text == "nobody"
        assert list(store.all()) == []
        visitor.get("/login")
        assert visitor.id != before

    @pytest.mark.parametrize("data", [b"{}", b"not JSON", b'{"v":99,"t":0,"d":{}}'])
    def test_unreadable(
        self, visitor: SyncClient, stack: Stack, store: FragileStore, clock: Clock, data: bytes
    ) -> None:
        """A record that cannot be read leads to a new session, not to an error page."""
        ((key, record),) = store.all()
        store.set(key, Record(data, record.expires_at))
        assert visitor.get("/page").text == "nobody"
        before = visitor.id
        visitor.get("/login")
        assert visitor.id != before


SECURE = CookieOptions(secure=True)
FORWARDED = "X-Forwarded-Proto"


class TestTrustProxy:
    @pytest.mark.parametrize(
        ("trust", "forwarded", "scheme", "sent"),
        [
            (True, "https", "http", True),
            (True, "HTTPS", "http", True),
            (True, "https,http", "http", True),
            (True, "http, https", "http", False),
            (True, "http", "https", False),
            (True, None, "http", False),
            (True, None, "https", True),
            (False, "https", "http", False),
            (False, "http", "https", True),
            (None, "https", "http", False),
            (None, None, "https", True),
        ],
    )
    def test_secure_cookie(
        self, stack: Stack, trust: Any, forwarded: str | None, scheme: str, sent: bool
    ) -> None:
        """The first X-Forwarded-Proto counts if the proxy is trusted, else the server's scheme."""
        visitor = stack.visitor(site(), f"{scheme}://shop.test", cookie=SECURE, trust_proxy=trust)
        headers = {} if forwarded is None else {FORWARDED: forwarded}
        answer = visitor.get("/login", headers=headers)
        assert bool(set_cookies(answer)) == sent


class TestCookieOption:
    @pytest.mark.parametrize(
        ("url", "inside"),
        [
            ("http://shop.test/", False),
            ("http://foo/bar", False),
            ("http://shop.test/foo", False),
            ("http://shop.test/foo/barber", False),
            ("http://shop.test/FOO/bar", False),
            ("http://shop.test/foo/bar", True),
            ("http://shop.test/foo/bar/", True),
            ("http://shop.test/foo/bar/baz", True),
        ],
    )
    def test_path(self, stack: Stack, url: str, inside: bool) -> None:
        """There is a session at the cookie's path and below it; elsewhere using it raises."""
        visitor = stack.visitor(login, cookie=CookieOptions(path="/foo/bar"))
        if inside:
            assert len(set_cookies(visitor.get(url))) == 1
        else:
            with pytest.raises(SessionUnavailable, match="outside the session cookie's path"):
                visitor.get(url)

    def test_outside_the_path(self, stack: Stack) -> None:
        """A page outside the cookie's path that leaves the session alone works."""
        visitor = stack.visitor(site(), cookie=CookieOptions(path="/admin"))
        answer = visitor.get("/static")
        assert (answer.text, "vary" in answer.headers) == ("static", False)

    @pytest.mark.parametrize(("path", "inside"), [("/shop/cart", True), ("/cart", False)])
    def test_mounted(self, stack: Stack, path: str, inside: bool) -> None:
        """In a mounted application the full path counts, as it does for the browser."""
        app = stack.app(site(), cookie=CookieOptions(path=path))
        visitor = stack.mounted(app, "/shop")
        if inside:
            assert attributes(visitor.get("/shop/cart/login"))["path"] == "/shop/cart"
        else:
            with pytest.raises(SessionUnavailable):
                visitor.get("/shop/cart/login")

    @pytest.mark.parametrize(
        ("trust", "forwarded", "scheme", "secure"),
        [
            (True, "https", "http", True),
            (False, "https", "http", False),
            (None, "https", "http", False),
            (None, None, "http", False),
            (None, None, "https", True),
        ],
    )
    def test_secure_auto(
        self, stack: Stack, trust: Any, forwarded: str | None, scheme: str, secure: bool
    ) -> None:
        """`secure="auto"` always sends the cookie, Secure where the connection is."""
        visitor = stack.visitor(site(), f"{scheme}://shop.test", trust_proxy=trust)
        headers = {} if forwarded is None else {FORWARDED: forwarded}
        assert ("secure" in attributes(visitor.get("/login", headers=headers))) == secure

    def test_callable(self, stack: Stack) -> None:
        """A callable chooses the settings for each request, and gets the request."""

        def choose(request: Any) -> CookieOptions:
            return CookieOptions(same_site="strict" if path_of(request) == "/login" else "lax")

        visitor = stack.visitor(site(), cookie=choose)
        assert attributes(visitor.get("/login"))["samesite"] == "Strict"
        assert attributes(visitor.stranger().get("/visit"))["samesite"] == "Lax"

    @pytest.mark.parametrize(
        ("scheme", "expected"), [("https", ("None", True)), ("http", ("Lax", False))]
    )
    def test_callable_auto(self, stack: Stack, scheme: str, expected: tuple[str, bool]) -> None:
        """An "auto" in the callable's result is settled like one that was configured."""

        def choose(request: Any) -> CookieOptions:
            return CookieOptions(secure="auto", same_site="auto")

        visitor = stack.visitor(site(), f"{scheme}://shop.test", cookie=choose)
        sent = attributes(visitor.get("/login"))
        assert (sent["samesite"], "secure" in sent) == expected

    @pytest.mark.parametrize("returned", [None, {"path": "/"}])
    def test_callable_must_return_options(self, stack: Stack, returned: Any) -> None:
        """A callable that returns something else is an error that says so."""
        visitor = stack.visitor(site(), cookie=lambda request: returned)
        with pytest.raises(ConfigurationError, match="`cookie` must return CookieOptions"):
            visitor.get("/login")

    @pytest.mark.parametrize(
        ("secure", "trust", "forwarded", "scheme", "expected"),
        [
            ("auto", None, None, "https", ("None", True)),
            ("auto", None, None, "http", ("Lax", False)),
            ("auto", True, "https", "http", ("None", True)),
            ("auto", True, "http", "https", ("Lax", False)),
            ("auto", False, "https", "http", ("Lax", False)),
            (False, None, None, "https", ("Lax", False)),
            (False, None, None, "http", ("Lax", False)),
            (True, None, None, "https", ("None", True)),
            (True, None, None, "http", None),
        ],
    )
    def test_same_site_auto(
        self,
        stack: Stack,
        secure: Any,
        trust: Any,
        forwarded: str | None,
        scheme: str,
        expected: tuple[str, bool] | None,
    ) -> None:
        """`same_site="auto"` is None over https and Lax over http, but never None unsecured."""
        options = CookieOptions(secure=secure, same_site="auto")
        visitor = stack.visitor(site(), f"{scheme}://shop.test", cookie=options, trust_proxy=trust)
        headers = {} if forwarded is None else {FORWARDED: forwarded}
        answer = visitor.get("/login", headers=headers)
        if expected is None:
            assert set_cookies(answer) == []
        else:
            sent = attributes(answer)
            assert (sent["samesite"], "secure" in sent) == expected


class TestGenerateId:
    def test_must_be_callable(self, stack: Stack) -> None:
        """A generator that cannot be called is refused at once."""
        with pytest.raises(ConfigurationError, match="`generate_id` must be a callable"):
            stack.app(page, generate_id="an id")

    def test_default(self, stack: Stack) -> None:
        """By default an id is 32 characters of 64: 192 random bits."""
        visitor, other = stack.visitor(site()), stack.visitor(site())
        visitor.get("/login")
        other.get("/login")
        assert len(visitor.id) == len(other.id) == 32
        assert visitor.id != other.id

    def test_custom(self, stack: Stack, store: FragileStore) -> None:
        """A generator of the application's gets the request, and its ids are the session's."""

        def generate(request: Any) -> str:
            return f"made-at-{path_of(request)[1:]}-{'x' * 8}"

        visitor = stack.visitor(site(), store=store, generate_id=generate)
        visitor.get("/login")
        assert visitor.id == "made-at-login-xxxxxxxx"
        ((key, _),) = store.all()
        assert key == hashlib.sha256(visitor.id.encode()).hexdigest()

    @pytest.mark.parametrize(
        "made", ["%20<unsafe>; chars!", "short", "x" * 129, "", None, 42, b"0123456789abcdef"]
    )
    def test_bad_ids(self, stack: Stack, store: FragileStore, made: Any) -> None:
        """An id that is no id is an error, and neither stored nor sent."""
        visitor = stack.visitor(site(), store=store, generate_id=lambda request: made)
        with pytest.raises(ConfigurationError, match="`generate_id` must return 16 to 128"):
            visitor.get("/login")
        assert store.taken() == []


class TestName:
    @pytest.mark.parametrize(("options", "name"), [({}, "sid"), ({"name": "shop"}, "shop")])
    def test_name(self, stack: Stack, options: Any, name: str) -> None:
        """The cookie is called `sid`, or what `name` says."""
        visitor = stack.visitor(site(), **options)
        visitor.get("/login")
        assert list(visitor.cookies) == [name]
        assert visitor.get("/page").text == "ada"

    def test_no_alias(self, stack: Stack) -> None:
        """The old option `key` is not known, and silently ignored it is not."""
        with pytest.raises(ConfigurationError, match="there is no option `key`"):
            stack.app(page, key="shop")


class TestRolling:
    @pytest.mark.parametrize("where", ["/page", "/static"])
    @pytest.mark.parametrize(("rolling", "sent"), [(False, 0), (True, 1)])
    def test_unmodified(self, stack: Stack, rolling: bool, sent: int, where: str) -> None:
        """An unmodified session's cookie is sent again only if `rolling` says so."""
        visitor = stack.visitor(site(), rolling=rolling, cookie=CookieOptions(max_age=600))
        visitor.get("/login")
        assert len(set_cookies(visitor.get(where))) == sent

    @pytest.mark.parametrize("where", ["/page", "/static"])
    @pytest.mark.parametrize(("uninitialized", "sent"), [(False, 0), (True, 1)])
    def test_uninitialized(
        self, stack: Stack, store: FragileStore, uninitialized: bool, sent: int, where: str
    ) -> None:
        """Rolling starts no session that `save_uninitialized` does not start."""
        visitor = stack.visitor(site(), store=store, rolling=True, save_uninitialized=uninitialized)
        assert len(set_cookies(visitor.get(where))) == store.length() == sent

    @pytest.mark.parametrize("uninitialized", [False, True])
    def test_modified(self, stack: Stack, store: FragileStore, uninitialized: bool) -> None:
        """A session that was written is stored and its cookie sent, once."""
        visitor = stack.visitor(site(), store=store, rolling=True, save_uninitialized=uninitialized)
        assert len(set_cookies(visitor.get("/visit"))) == 1
        assert len(set_cookies(visitor.get("/visit"))) == 1
        assert store.length() == 1

    def test_slow_stream(self, stack: Stack, store: FragileStore, clock: Clock) -> None:
        """A long response renews the cookie, too."""

        def slow(session: Any, request: Any) -> Iterator[bytes]:
            session.setdefault("user", "ada")
            yield b"hel"
            clock.advance(30)
            yield b"lo"

        options = {"store": store, "clock": clock, "rolling": True}
        app = stack.streaming(slow, cookie=CookieOptions(max_age=600), **options)
        visitor = stack.client(app)
        first = attributes(visitor.get("/"))
        second = attributes(visitor.get("/"))
        assert second["max-age"] == "600"
        assert parsedate_to_datetime(second["expires"]) - parsedate_to_datetime(
            first["expires"]
        ) == timedelta(seconds=30)


class TestResave:
    @pytest.mark.parametrize("where", ["/page", "/static"])
    @pytest.mark.parametrize(("resave", "calls"), [(False, 0), (True, 1)])
    def test_unmodified(
        self, stack: Stack, store: FragileStore, resave: bool, calls: int, where: str
    ) -> None:
        """An unmodified session is stored again only if `resave` says so."""
        visitor = stack.visitor(site(), store=store, resave=resave)
        visitor.get("/login")
        store.taken()
        visitor.get(where)
        assert store.taken().count("set") == calls

    def test_modified(self, stack: Stack, store: FragileStore) -> None:
        """Without `resave` a session is stored when it changed, and only then."""
        visitor = stack.visitor(site(), store=store)
        calls = []
        for path in ("/visit", "/page", "/visit"):
            visitor.get(path)
            calls.append(store.taken())
        assert calls == [["set"], ["get"], ["get", "set"]]

    @pytest.mark.parametrize("key", ["user", "cookie"])
    def test_nested_change(self, stack: Stack, key: str) -> None:
        """A change deep in the data counts, under whatever key."""

        def put(session: Any, request: Any) -> str:
            session[key] = {"cookie": {"crumbs": []}}
            return "put"

        def change(session: Any, request: Any) -> str:
            session[key]["cookie"]["crumbs"].append("oat")
            return "changed"

        visitor = stack.visitor(routes(put=put, change=change, get=lambda s, r: s[key]))
        visitor.get("/put")
        visitor.get("/change")
        assert visitor.get("/get").text == "{'cookie': {'crumbs': ['oat']}}"

    def test_failed_touch(
        self,
        stack: Stack,
        store: FragileStore,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A touch that fails is logged and announced, and the response is as it would be."""
        events: list[SessionEvent] = []
        visitor = stack.visitor(site(), store=store, clock=clock, observers=[events.append])
        visitor.get("/login")
        clock.advance(3600)
        store.fail("touch")
        with caplog.at_level(logging.WARNING, "coatcheck"):
            assert visitor.get("/page").text == "ada"
        assert "expiry could not be moved" in caplog.text
        assert [event.kind for event in events].count("store_error") == 1


class TestSaveUninitialized:
    @pytest.mark.parametrize("where", ["/page", "/static"])
    @pytest.mark.parametrize(("options", "saved"), [({}, 0), ({"save_uninitialized": True}, 1)])
    def test_unmodified(
        self, stack: Stack, store: FragileStore, options: Any, saved: int, where: str
    ) -> None:
        """A new session into which nothing was put is stored and announced only on demand."""
        answer = stack.visitor(site(), store=store, **options).get(where)
        assert len(set_cookies(answer)) == store.length() == saved

    def test_lazy(self, stack: Stack, store: FragileStore) -> None:
        """So it is where sessions are loaded lazily."""
        visitor = stack.visitor(static, store=store, save_uninitialized=True, load="lazy")
        answer = visitor.get("/")
        assert (answer.text, len(set_cookies(answer)), store.length()) == ("static", 1, 1)

    @pytest.mark.parametrize("uninitialized", [False, True])
    def test_modified(self, stack: Stack, store: FragileStore, uninitialized: bool) -> None:
        """A new session that was written is stored and announced in any case."""
        visitor = stack.visitor(site(), store=store, save_uninitialized=uninitialized)
        assert len(set_cookies(visitor.get("/login"))) == store.length() == 1

    def test_failed_save(self, stack: Stack, store: FragileStore) -> None:
        """A save that fails is an error of the request: no response leaves before it."""
        seen: list[Any] = []
        visitor = stack.client(stack.app(site(), store=store), see=seen.append)
        store.fail("set")
        with pytest.raises(StoreUnavailable):
            visitor.get("/login")
        assert seen == []

    @pytest.mark.parametrize("uninitialized", [False, True])
    def test_never_touched(self, stack: Stack, store: FragileStore, uninitialized: bool) -> None:
        """A session that is not stored yet has no expiry to move."""
        options = {"save_uninitialized": uninitialized, "touch_interval": 0}
        visitor = stack.visitor(site(), store=store, **options)
        visitor.get("/page")
        visitor.stranger().get("/login")
        assert "touch" not in store.taken()


OLD_SECRET = "the secret of last year, long enough"


class TestSecret:
    @pytest.mark.parametrize(
        "secret", [SECRET, SECRET.encode(), [SECRET], (SECRET.encode(), OLD_SECRET)]
    )
    def test_kinds(self, stack: Stack, secret: Any) -> None:
        """A secret is text, bytes or a sequence of them, and the first one signs."""
        visitor = stack.visitor(site(), secret=secret)
        plain = stack.visitor(site(), store=MemoryStore(), secret=SECRET)
        visitor.get("/login")
        assert visitor.get("/page").text == "ada"
        plain.get("/login")
        assert len(plain.cookie) == len(visitor.cookie)

    @pytest.mark.parametrize("secret", [[], (), None, "", [""], [SECRET, ""], 42, [42]])
    def test_refused(self, stack: Stack, secret: Any) -> None:
        """No secret, an empty one or one of another type is refused, among several as well."""
        with pytest.raises(ConfigurationError, match="`secret`"):
            stack.app(page, secret=secret)

    def test_rotation(self, stack: Stack, store: FragileStore) -> None:
        """All secrets verify; the first signs, and re-signs what an older one had signed."""
        visitor = stack.visitor(site(), store=store, secret=OLD_SECRET)
        visitor.get("/login")
        before = visitor.cookie
        both = stack.visitor(site(), store=store, secret=[SECRET, OLD_SECRET])
        answer = both.present(f"sid={before}", "/page")
        assert (answer.text, len(set_cookies(answer))) == ("ada", 1)
        fresh = answer.cookies["sid"]
        only_new = stack.visitor(site(), store=store, secret=SECRET)
        assert only_new.present(f"sid={before}", "/page").text == "nobody"
        assert only_new.present(f"sid={fresh}", "/page").text == "ada"
        assert set_cookies(both.present(f"sid={fresh}", "/page")) == []


class TestUnset:
    @pytest.fixture
    def unsetting(self, stack: Stack) -> Handler:
        def unset(session: Any, request: Any) -> str:
            session["more"] = "data"
            request[stack.session_key] = None
            return "unset"

        return site(unset=unset)

    def test_unknown_value(self, stack: Stack) -> None:
        """Only `keep` and `destroy` are known."""
        with pytest.raises(ConfigurationError, match='`unset` must be "keep" or "destroy"'):
            stack.app(page, unset="delete")

    def test_keep(self, stack: Stack, store: FragileStore, unsetting: Handler) -> None:
        """By default a session that was replaced by None stays in the store as it was."""
        visitor = stack.visitor(unsetting, store=store)
        visitor.get("/login")
        before = stored(store)
        assert set_cookies(visitor.get("/unset")) == []
        assert stored(store) == before
        assert visitor.get("/page").text == "ada"

    def test_destroy(self, stack: Stack, store: FragileStore, unsetting: Handler) -> None:
        """`unset="destroy"` ends it, and the browser's cookie with it."""
        visitor = stack.visitor(unsetting, store=store, unset="destroy")
        visitor.get("/login")
        assert attributes(visitor.get("/unset"))["max-age"] == "0"
        assert store.length() == 0

    @pytest.mark.parametrize("unset", ["keep", "destroy"])
    def test_new(self, stack: Stack, store: FragileStore, unsetting: Handler, unset: str) -> None:
        """A new session that was unset is neither stored nor announced."""
        answer = stack.visitor(unsetting, store=store, unset=unset).get("/unset")
        assert (set_cookies(answer), store.length()) == ([], 0)

    def test_failed_destroy(self, stack: Stack, store: FragileStore, unsetting: Handler) -> None:
        """A logout that fails does not look like one that worked."""
        visitor = stack.visitor(unsetting, store=store, unset="destroy")
        visitor.get("/login")
        store.fail("destroy")
        with pytest.raises(StoreUnavailable):
            visitor.get("/unset")


class TestOtherMiddleware:
    def test_around_and_inside(self, stack: Stack) -> None:
        """Middleware around and inside this one adds its headers, and all arrive."""

        def handler(session: Any, request: Any) -> str:
            return login(session, request)

        app = stack.app(handler, headers=[("X-Inside", "1"), ("Vary", "Accept")])
        seen: list[Any] = []
        answer = stack.client(app, see=seen.append).get("/")
        assert answer.headers["x-inside"] == "1"
        assert answer.headers["vary"] == "Accept, Cookie"
        assert (seen[0], answer.text) == (HEADERS, "welcome")


class TestSession:
    async_stores = [YieldingStore, MemoryStore]

    def test_persists(self, stack: Stack, store: FragileStore) -> None:
        """The next request reads what one has written, and so does code outside requests."""
        visitor = stack.visitor(site(), store=store)
        assert [visitor.get("/visit").text for _ in range(3)] == ["1", "2", "3"]
        ((key, _),) = store.all()
        session = Sessions(store, SessionOptions(secret=SECRET)).get(key)
        assert session is not None
        assert session.ref == key

    @pytest.mark.parametrize(("path", "sent"), [("/login", 0), ("/page", 0), ("/visit", 1)])
    def test_cookie_when_modified(self, stack: Stack, path: str, sent: int) -> None:
        """With a lifetime the cookie is sent again with each change; the same value is none."""
        visitor = stack.visitor(site(), cookie=CookieOptions(max_age=600))
        visitor.get("/login")
        assert len(set_cookies(visitor.get(path))) == sent

    def test_store_is_down(self, stack: Stack, store: FragileStore) -> None:
        """While the store is down visitors are anonymous, if so configured; then all is back."""
        seen = []

        def state(session: Any, request: Any) -> str:
            seen.append(session.degraded)
            return page(session, request)

        visitor = stack.visitor(site(state=state), store=store, on_store_error="anonymous")
        visitor.get("/login")
        store.fail("get", "set", "touch")
        answers = [visitor.get("/state"), visitor.get("/visit")]
        store.broken = {}
        assert [answer.text for answer in answers] == ["nobody", "1"]
        assert [set_cookies(answer) for answer in answers] == [[], []]
        assert visitor.get("/state").text == "ada"
        assert seen == [True, False]


def half_way(action: Callable[[], object]) -> Handler:
    """Return a handler in whose middle something else happens."""

    def handler(session: Any, request: Any) -> str:
        page(session, request)
        action()
        return "late"

    return handler


class TestMethods:
    def test_destroy(self, stack: Stack, store: FragileStore) -> None:
        """A destroyed session is gone from the store and its cookie from the browser."""
        visitor = stack.visitor(site(), store=store)
        visitor.get("/login")
        old = visitor.cookie
        sent = attributes(visitor.get("/logout"))
        assert (sent["max-age"], sent["expires"], store.length()) == ("0", EPOCH, 0)
        assert "sid" not in visitor.cookies
        assert visitor.present(f"sid={old}", "/page").text == "nobody"

    def test_destroy_without_cookie(self, stack: Stack) -> None:
        """There is no cookie to remove where none was presented."""
        assert set_cookies(stack.visitor(site()).get("/logout")) == []

    @pytest.mark.parametrize(("keep", "user"), [(False, "nobody"), (True, "ada")])
    def test_regenerate(self, stack: Stack, store: FragileStore, keep: bool, user: str) -> None:
        """A regenerated session has a new id and cookie; the old one is dead at once."""

        def renew(session: Any, request: Any) -> str:
            session.regenerate(keep_data=keep)
            return page(session, request)

        visitor = stack.visitor(site(renew=renew), store=store)
        visitor.get("/login")
        old, old_id = visitor.cookie, visitor.id
        answer = visitor.get("/renew")
        assert (answer.text, len(set_cookies(answer)), len(sessions_in(store))) == (user, 1, 1)
        assert visitor.id != old_id
        assert visitor.present(f"sid={old}", "/page").text == "nobody"

    def test_login_recipe(self, stack: Stack, store: FragileStore) -> None:
        """Regenerate, write, save: the way of a login costs one write and one removal."""

        def recipe(session: Any, request: Any) -> Generator[Any]:
            session.regenerate()
            session["user"] = "bob"
            yield session.save()
            return "welcome"

        visitor = stack.visitor(site(recipe=recipe), store=store)
        visitor.get("/login")
        store.taken()
        answer = visitor.get("/recipe")
        assert sorted(store.taken()) == ["destroy", "get", "set"]
        assert (len(set_cookies(answer)), visitor.get("/page").text) == (1, "bob")

    def test_reload(self, stack: Stack) -> None:
        """Reloading shows what a parallel request wrote meanwhile, and drops what was not saved."""

        def patient(session: Any, request: Any) -> Generator[Any]:
            session["visits"] = 40
            other.get("/visit")
            yield session.reload()
            return session["visits"]

        visitor = stack.visitor(site(patient=patient))
        visitor.get("/visit")
        other = visitor.tab()
        assert visitor.get("/patient").text == "2"
        assert visitor.get("/visit").text == "3"

    def test_reload_missing(self, stack: Stack, store: FragileStore) -> None:
        """Reloading a session that was ended elsewhere raises, each time again."""

        def patient(session: Any, request: Any) -> Generator[Any]:
            page(session, request)
            other.get("/logout")
            for _ in range(20):
                with pytest.raises(SessionGone) as caught:
                    yield session.reload()
                assert caught.value.__context__ is None
            return "gone"

        visitor = stack.visitor(site(patient=patient), store=store)
        visitor.get("/login")
        other = visitor.tab()
        answer = visitor.get("/patient")
        assert (answer.text, set_cookies(answer), store.length()) == ("gone", [], 0)

    def test_reload_new(self, stack: Stack, store: FragileStore) -> None:
        """Reloading a session that was never stored drops its changes."""

        def handler(session: Any, request: Any) -> Generator[Any]:
            session["user"] = "ada"
            yield session.reload()
            return dict(session)

        answer = stack.visitor(handler, store=store).get("/")
        assert (answer.text, set_cookies(answer), store.length()) == ("{}", [], 0)

    def test_save(self, stack: Stack, store: FragileStore) -> None:
        """Saving stores at once, before the response."""

        def handler(session: Any, request: Any) -> Generator[Any]:
            session["user"] = "ada"
            yield session.save()
            return store.length()

        assert stack.visitor(handler, store=store).get("/").text == "1"

    @pytest.mark.parametrize("resave", [False, True])
    @pytest.mark.parametrize("uninitialized", [False, True])
    @pytest.mark.parametrize("reloads", [False, True])
    @pytest.mark.parametrize("stored_before", [False, True])
    def test_saved_once(
        self,
        stack: Stack,
        store: FragileStore,
        resave: bool,
        uninitialized: bool,
        reloads: bool,
        stored_before: bool,
    ) -> None:
        """After an explicit save the end of the request has nothing left to write or touch."""

        def handler(session: Any, request: Any) -> Generator[Any]:
            visit(session, request)
            yield session.save()
            if reloads:
                yield session.reload()
            return "saved"

        visitor = stack.visitor(site(saves=handler), store=store, save_uninitialized=uninitialized)
        if stored_before:
            visitor.get("/visit")
        store.taken()
        visitor.get("/saves")
        calls = store.taken()
        assert (calls.count("set"), calls.count("touch")) == (1, 0)

    def test_touch(self, stack: Stack, store: FragileStore, clock: Clock) -> None:
        """Touching moves the record's expiry, however recently it was moved."""

        def touch(session: Any, request: Any) -> str:
            session.touch()
            return "touched"

        visitor = stack.visitor(site(touch=touch), store=store, clock=clock)
        visitor.get("/login")
        before = stored(store).expires_at
        clock.advance(1)
        visitor.get("/page")
        assert stored(store).expires_at == before
        visitor.get("/touch")
        assert stored(store).expires_at == before + 1


def setting(**settings: Any) -> Handler:
    """Return a handler that changes the cookie of its session."""

    def handler(session: Any, request: Any) -> str:
        for name, value in settings.items():
            setattr(session.cookie, name, value)
        return "set"

    return handler


def both(*handlers: Handler) -> Handler:
    """Return a handler that does one thing after the other."""

    def handler(session: Any, request: Any) -> str:
        return "".join(str(each(session, request)) for each in handlers)

    return handler


class TestSessionCookie:
    def test_own_attributes(self, stack: Stack) -> None:
        """A session may have other attributes than the rest."""
        handler = both(login, setting(http_only=False, secure=True, same_site="strict"))
        sent = attributes(stack.visitor(handler, "https://shop.test").get("/"))
        assert ("httponly" in sent, "secure" in sent, sent["samesite"]) == (False, True, "Strict")

    def test_overrides_options(self, stack: Stack) -> None:
        """The session's setting wins over the options: not Secure, so it goes out over http."""
        handler = both(login, setting(secure=False))
        sent = attributes(stack.visitor(handler, cookie=SECURE).get("/"))
        assert "secure" not in sent

    def test_no_lifetime(self, stack: Stack) -> None:
        """Without a max_age the cookie has neither Expires nor Max-Age."""
        sent = attributes(stack.visitor(site()).get("/login"))
        assert "expires" not in sent
        assert "max-age" not in sent

    @pytest.mark.parametrize("path", ["/page", "/visit", "/static"])
    def test_browser_session_sent_once(self, stack: Stack, path: str) -> None:
        """A cookie that ends with the browser is sent once, whatever changes later."""
        visitor = stack.visitor(site())
        visitor.get("/login")
        assert set_cookies(visitor.get(path)) == []

    @pytest.mark.parametrize("value", ["tomorrow", datetime(2030, 1, 1), True, float("nan")])
    def test_invalid_expires(self, stack: Stack, value: Any) -> None:
        """A setting that cannot be sent is refused where it is assigned."""
        visitor = stack.visitor(both(login, setting(expires=value)))
        with pytest.raises(ConfigurationError, match="`expires` must be"):
            visitor.get("/")

    def test_other_cookies(self, stack: Stack) -> None:
        """The application's own Set-Cookie headers stay, and ours comes in addition."""
        own = [("Set-Cookie", "theme=dark"), ("Set-Cookie", "lang=de")]
        lines = set_cookies(stack.visitor(login, headers=own).get("/"))
        assert lines[:2] == ["theme=dark", "lang=de"]
        assert [line.split("=")[0] for line in lines] == ["theme", "lang", "sid"]

    def test_headers_belong_to_the_application(self, stack: Stack) -> None:
        """A header list that the application uses again does not collect cookies."""
        shared: list[tuple[str, str]] = [("X-Shared", "1")]
        visitor = stack.visitor(site(), headers=shared)
        first, second = visitor.get("/login"), visitor.stranger().get("/login")
        assert len(set_cookies(first)) == len(set_cookies(second)) == 1
        assert shared == [("X-Shared", "1")]

    def test_original_max_age(self, stack: Stack, clock: Clock) -> None:
        """`cookie.max_age` is what was configured, at each request, whatever is left."""
        visitor = stack.visitor(
            site(age=lambda s, r: f"{s.cookie.max_age} {s.expires_in}"),
            clock=clock,
            cookie=CookieOptions(max_age=600),
            touch_interval=100,
        )
        visitor.get("/login")
        clock.advance(20)
        assert [visitor.get("/age").text for _ in range(2)] == ["600 580.0", "600 580.0"]

    @pytest.mark.parametrize(("scheme", "sent"), [("https", 1), ("http", 0)])
    def test_secure(self, stack: Stack, scheme: str, sent: int) -> None:
        """A Secure cookie is sent over TLS and not otherwise."""
        visitor = stack.visitor(site(), f"{scheme}://shop.test", cookie=SECURE)
        assert len(set_cookies(visitor.get("/login"))) == sent

    def test_own_max_age(self, stack: Stack, store: FragileStore, clock: Clock) -> None:
        """A session's own max_age is sent at once, stored, and used from then on."""
        visitor = stack.visitor(
            site(remember=setting(max_age=7200)),
            store=store,
            clock=clock,
            cookie=CookieOptions(max_age=600),
        )
        visitor.get("/login")
        assert attributes(visitor.get("/remember"))["max-age"] == "7200"
        assert stored(store).expires_at == clock.now + 7200
        clock.advance(3600)
        assert visitor.get("/page").text == "ada"
        assert stored(store).expires_at == clock.now + 7200

    def test_long_max_age(self, stack: Stack, clock: Clock) -> None:
        """More than 2**31 milliseconds are no problem."""
        visitor = stack.visitor(
            site(), clock=clock, cookie=CookieOptions(max_age=2**31 // 1000 + 1)
        )
        assert attributes(visitor.get("/login"))["max-age"] == "2147484"
        clock.advance(2_147_483)
        assert visitor.get("/page").text == "ada"

    def test_expires_at_the_epoch(self, stack: Stack, store: FragileStore) -> None:
        """An end in 1970 is an end: the cookie says so, and the session is over."""
        handler = both(login, setting(expires=datetime(1970, 1, 1, tzinfo=UTC)))
        visitor = stack.visitor(handler, store=store)
        sent = attributes(visitor.get("/"))
        assert (sent["expires"], sent["max-age"], store.length()) == (EPOCH, "0", 0)

    @pytest.mark.parametrize("name", ["max_age", "expires"])
    def test_no_end_of_its_own(self, stack: Stack, clock: Clock, name: str) -> None:
        """None makes it a cookie of this browser session, and it is not sent again."""
        lifetimes = {"max_age": 600, "expires": datetime.fromtimestamp(clock.now + 600, UTC)}
        visitor = stack.visitor(
            site(brief=both(login, setting(**{name: None}))),
            clock=clock,
            cookie=CookieOptions(**{name: lifetimes[name]}),  # type: ignore[arg-type]
        )
        sent = attributes(visitor.get("/brief"))
        assert "expires" not in sent
        assert "max-age" not in sent
        assert set_cookies(visitor.get("/page")) == []
        assert set_cookies(visitor.get("/visit")) == []

    @pytest.mark.parametrize(
        ("options", "sent"),
        [({}, False), ({"partitioned": False}, False), ({"partitioned": True}, True)],
    )
    def test_partitioned(self, stack: Stack, options: Any, sent: bool) -> None:
        """Partitioned is sent if it is asked for."""
        visitor = stack.visitor(site(), "https://shop.test", cookie=CookieOptions(**options))
        assert ("partitioned" in attributes(visitor.get("/login"))) == sent


class BlockingStore(FragileStore):
    """A synchronous store that may not be called on an event loop."""

    capabilities = Capabilities(enumerable=True, clearable=True)

    def get(self, key: str) -> Record | None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return super().get(key)


class TestStoreAPIs:
    @pytest.mark.parametrize("make", [MemoryStore, BlockingStore, YieldingStore])
    def test_any_store(self, stack: Stack, make: Callable[[], Any]) -> None:
        """Stores answer at once, block or are awaited: the application sees no difference."""
        visitor = stack.visitor(site(), store=make())
        assert visitor.get("/login").text == "welcome"
        assert [visitor.get("/page").text, visitor.get("/visit").text] == ["ada", "1"]
        assert visitor.get("/logout").text == "goodbye"
        assert visitor.get("/page").text == "nobody"


class TestMethodsAndStatuses:
    @pytest.mark.parametrize(
        ("method", "status"),
        [("GET", 200), ("HEAD", 200), ("GET", 204), ("GET", 304), ("POST", 303), ("GET", 500)],
    )
    def test_saved_and_announced(
        self, stack: Stack, store: FragileStore, method: str, status: int
    ) -> None:
        """Each method and status saves first, and carries the cookie."""
        counts: list[int] = []
        app = stack.app(
            lambda s, r: login(s, r) and "",
            status=status,
            headers=[("Location", "/page")],
            store=store,
        )
        visitor = stack.client(app, see=lambda what: counts.append(store.length()))
        answer = visitor.request(method, "/login")
        assert (answer.status_code, len(set_cookies(answer))) == (status, 1)
        assert set(counts) == {1}


class TestStreaming:
    def test_pieces_pass_one_by_one(self, stack: Stack) -> None:
        """Server-sent events reach the server one by one, as they are made."""
        order: list[Any] = []

        def events(session: Any, request: Any) -> Iterator[bytes]:
            session["user"] = "ada"
            for number in range(3):
                order.append(f"made {number}")
                yield b"data: %d\n\n" % number

        stack.client(stack.streaming(events), see=order.append).get("/")
        pieces = [item for item in order if item not in (HEADERS, b"")]
        assert pieces == [
            "made 0", b"data: 0\n\n", "made 1", b"data: 1\n\n", "made 2", b"data: 2\n\n",
        ]  # fmt: skip

    def test_stream_blocks_nobody(self, stack: Stack, store: FragileStore) -> None:
        """While a stream is open the visitor's other requests read, write and log out."""
        seen: list[str] = []

        def events(session: Any, request: Any) -> Iterator[bytes]:
            session.setdefault("user", "ada")
            yield b"first"
            if not seen:
                other = site_visitor.tab()
                seen.extend(other.get(path).text for path in ("/page", "/visit", "/logout"))
            yield b"last"

        visitor = stack.client(stack.streaming(events, store=store))
        seen.append("skip")
        visitor.get("/")
        seen.clear()
        site_visitor = stack.visitor(site(), store=store)
        site_visitor.cookies = visitor.cookies
        assert visitor.get("/").text == "firstlast"
        assert seen == ["ada", "1", "goodbye"]
        assert store.length() == 0


class TestAfterTheHeaders:
    """The headers are flushed, and then the handler goes on."""

    def late(self, action: Handler, outcome: list[Any]) -> Handler:
        def handler(session: Any, request: Any) -> Iterator[bytes]:
            if path_of(request) == "/login":
                login(session, request)
            yield b"early "
            if path_of(request) == "/late":
                try:
                    outcome.append(action(session, request))
                except LateWriteError as error:
                    outcome.append(type(error))
            yield b"late"

        return handler

    def test_existing(self, stack: Stack) -> None:
        """Changes to a session that has its cookie are stored before the response ends."""
        outcome: list[Any] = []
        visitor = stack.client(stack.streaming(self.late(visit, outcome)))
        visitor.get("/login")
        visitor.get("/late")
        visitor.get("/late")
        assert outcome == [1, 2]

    def test_new(self, stack: Stack, store: FragileStore) -> None:
        """A session that nobody was told of can no longer begin: writing to it raises."""
        outcome: list[Any] = []
        visitor = stack.client(stack.streaming(self.late(visit, outcome), store=store))
        answer = visitor.get("/late")
        assert (answer.text, outcome, store.length()) == ("early late", [LateWriteError], 0)

    @pytest.mark.parametrize(
        "action",
        [lambda s, r: s.regenerate(), setting(max_age=60), both(logout, login)],
        ids=["regenerate", "cookie", "destroy and begin again"],
    )
    def test_needs_the_headers(self, stack: Stack, store: FragileStore, action: Handler) -> None:
        """A call that needs a Set-Cookie raises, because the headers are out."""
        outcome: list[Any] = []
        visitor = stack.client(stack.streaming(self.late(action, outcome), store=store))
        visitor.get("/login")
        assert visitor.get("/late").text == "early late"
        assert outcome == [LateWriteError]

    def test_destroy(self, stack: Stack, store: FragileStore) -> None:
        """A logout works at any time; only the browser's cookie stays, and opens nothing."""
        outcome: list[Any] = []
        visitor = stack.client(stack.streaming(self.late(logout, outcome), store=store))
        visitor.get("/login")
        answer = visitor.get("/late")
        assert (set_cookies(answer), outcome, store.length()) == ([], ["goodbye"], 0)


class TestDuplicateCookies:
    @pytest.fixture
    def visitor(self, stack: Stack, store: FragileStore) -> SyncClient:
        visitor = stack.visitor(site(), store=store)
        visitor.get("/login")
        store.taken()
        return visitor

    @pytest.mark.parametrize(
        ("before", "user"), [(0, "ada"), (1, "ada"), (4, "ada"), (5, "nobody")]
    )
    def test_each_is_tried(self, visitor: SyncClient, before: int, user: str) -> None:
        """Of several cookies of our name the first good one counts, among the first five."""
        pairs = [f"sid=forged{n}" for n in range(before)] + [f"sid={visitor.cookie}"]
        assert visitor.present("; ".join(pairs), "/page").text == user

    def test_dead_one_first(self, visitor: SyncClient) -> None:
        """A well signed cookie whose session is over does not hide the live one behind it."""
        other = visitor.tab()
        other.cookies.clear()
        other.get("/login")
        dead = other.cookie
        other.get("/logout")
        assert visitor.present(f"sid={dead}; sid={visitor.cookie}", "/page").text == "ada"

    def test_similar_names(self, visitor: SyncClient) -> None:
        """A cookie whose name only ends or begins like ours is another one."""
        value = visitor.cookie
        assert visitor.present(f"xsid={value}; sidx={value}; SID={value}", "/page").text == "nobody"


class TestUnserialisable:
    def test_error(self, stack: Stack, store: FragileStore) -> None:
        """A value that cannot be stored is an error that names it, before anything is sent."""

        def handler(session: Any, request: Any) -> str:
            session["cart"] = [{"price": object()}]
            return "never seen"

        seen: list[Any] = []
        visitor = stack.client(stack.app(handler, store=store), see=seen.append)
        with pytest.raises(SerializationError, match=r"session\['cart'\]\[0\]\['price'\]"):
            visitor.get("/")
        assert (seen, store.taken()) == ([], [])

    def test_error_page(self, store: FragileStore) -> None:
        """The error page that the application answers with carries no cookie of ours."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["session"]["cart"] = object()
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            except SerializationError:
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"sorry"})

        answer = ASGIStack().client(ASGISessions(app, secret=SECRET, store=store)).get("/")
        assert (answer.status_code, answer.text, set_cookies(answer)) == (500, "sorry", [])
        assert store.length() == 0


class ShopIsClosed(Exception):
    """An error of the handler."""


class TestExceptions:
    def test_changes_are_dropped(self, stack: Stack, store: FragileStore, clock: Clock) -> None:
        """A handler that raises has changed nothing, and its session's expiry stays."""

        def fails(session: Any, request: Any) -> str:
            session["user"] = "eve"
            raise ShopIsClosed

        visitor = stack.visitor(site(fails=fails), store=store, clock=clock)
        visitor.get("/login")
        before = stored(store)
        clock.advance(3600)
        with pytest.raises(ShopIsClosed):
            visitor.get("/fails")
        assert stored(store) == before
        with pytest.raises(ShopIsClosed):
            visitor.stranger().get("/fails")
        assert store.length() == 1

    @pytest.mark.parametrize("end", [logout, lambda s, r: s.regenerate()])
    def test_the_end_is_kept(self, stack: Stack, store: FragileStore, end: Handler) -> None:
        """A logout or a change of the id ends the old session even if the handler raises."""

        def fails(session: Any, request: Any) -> str:
            end(session, request)
            raise ShopIsClosed

        visitor = stack.visitor(site(fails=fails), store=store)
        visitor.get("/login")
        with pytest.raises(ShopIsClosed):
            visitor.get("/fails")
        assert store.length() == 0


class TestOneStoreForTwo:
    def test_settings_stay_apart(self, stack: Stack, store: FragileStore) -> None:
        """Two middlewares on one store keep their own names, ids and cookie settings."""
        shop = stack.visitor(site(), store=store, generate_id=lambda r: "shop" * 5)
        admin = stack.visitor(
            site(),
            store=store,
            name="admin",
            generate_id=lambda r: "admin" * 5,
            cookie=CookieOptions(same_site="strict"),
        )
        sent = [attributes(visitor.get("/login"))["samesite"] for visitor in (shop, admin)]
        assert sent == ["Lax", "Strict"]
        assert (list(shop.cookies), list(admin.cookies)) == (["sid"], ["admin"])
        assert (shop.id, admin.id) == ("shop" * 5, "admin" * 5)
        assert store.length() == 2

    def test_cookies_are_not_interchangeable(self, stack: Stack, store: FragileStore) -> None:
        """A value that was signed for one cookie is worth nothing in the other."""
        shop = stack.visitor(site(), store=store)
        admin = stack.visitor(site(), store=store, name="admin")
        shop.get("/login")
        store.taken()
        assert admin.present(f"admin={shop.cookie}", "/page").text == "nobody"
        assert store.taken() == []


class TestRegenerateFails:
    @pytest.mark.parametrize("keep", [False, True])
    @pytest.mark.parametrize("operation", ["set", "destroy"])
    def test_error(self, stack: Stack, store: FragileStore, operation: str, keep: bool) -> None:
        """A change of the id that fails is an error: nobody sees a cookie that opens nothing."""

        def renew(session: Any, request: Any) -> str:
            session.regenerate(keep_data=keep)
            return "renewed"

        seen: list[Any] = []
        visitor = stack.client(stack.app(site(renew=renew), store=store), see=seen.append)
        visitor.get("/login")
        seen.clear()
        store.fail(operation)
        with pytest.raises(StoreUnavailable):
            visitor.get("/renew")
        assert seen == []

    def test_old_session_is_over(self, stack: Stack, store: FragileStore) -> None:
        """If the new session cannot be stored the old one still ends, as was asked."""
        renew = both(lambda s, r: s.regenerate(), login)
        visitor = stack.visitor(site(renew=renew), store=store)
        visitor.get("/login")
        store.fail("set")
        with pytest.raises(StoreUnavailable):
            visitor.get("/renew")
        store.broken = {}
        assert visitor.get("/page").text == "nobody"

    def test_caught(self, stack: Stack, store: FragileStore) -> None:
        """An application that catches the failure may try again, and gets one new session."""

        def stubborn(session: Any, request: Any) -> Generator[Any]:
            session.regenerate()
            session["user"] = "bob"
            store.fail("set")
            with pytest.raises(StoreUnavailable):
                yield session.save()
            store.broken = {}
            yield session.save()
            return "welcome"

        visitor = stack.visitor(site(stubborn=stubborn), store=store)
        visitor.get("/login")
        answer = visitor.get("/stubborn")
        assert (len(set_cookies(answer)), store.length()) == (1, 1)
        assert visitor.get("/page").text == "bob"


class TestStoredSettings:
    def test_new_options_reach_old_sessions(self, stack: Stack, store: FragileStore) -> None:
        """A record does not freeze the options of its day."""
        cookie = CookieOptions(same_site="lax")
        visitor = stack.visitor(site(), "https://shop.test", store=store, cookie=cookie)
        visitor.get("/login")
        later = stack.visitor(
            site(),
            "https://shop.test",
            store=store,
            rolling=True,
            cookie=CookieOptions(same_site="strict", secure=True, max_age=600),
        )
        later.cookies = visitor.cookies
        sent = attributes(later.get("/page"))
        assert (sent["samesite"], "secure" in sent, sent["max-age"]) == ("Strict", True, "600")

    def test_own_settings_stay(self, stack: Stack, store: FragileStore) -> None:
        """Settings for one session survive new options; the others follow the options."""
        handler = site(strict=both(login, setting(same_site="strict")))
        visitor = stack.visitor(handler, store=store)
        visitor.get("/strict")
        later = stack.visitor(
            handler, store=store, rolling=True, cookie=CookieOptions(same_site=None, max_age=600)
        )
        later.cookies = visitor.cookies
        sent = attributes(later.get("/page"))
        assert (sent["samesite"], sent["max-age"]) == ("Strict", "600")


class TestForgetfulExpiry:
    def test_store_that_never_expires(self, stack: Stack, clock: Clock) -> None:
        """A session is over in time even if its store keeps records forever."""
        eternal = MemoryStore(clock=lambda: 0.0)
        visitor = stack.visitor(site(), store=eternal, clock=clock)
        visitor.get("/login")
        clock.advance(86_399)
        assert visitor.get("/page").text == "ada"
        clock.advance(86_400)
        assert visitor.get("/page").text == "nobody"


class StuckStore(YieldingStore):
    """A store that one operation of never answers, once the test says so."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(MemoryStore(clock=clock))
        self.stuck = ""
        self.entered = anyio.Event()

    async def call(self, operation: Callable[..., Any], *args: Any) -> Any:
        if self.stuck == operation.__name__:
            self.entered.set()
            await anyio.sleep_forever()
        return await super().call(operation, *args)


@pytest.mark.anyio
class TestStoreNeverAnswers:
    @pytest.mark.parametrize("operation", ["get", "set", "touch"])
    async def test_client_gives_up(self, operation: str) -> None:
        """A request that waits for the store ends when its client does, with nothing sent."""
        clock, sent = Clock(), []
        store = StuckStore(clock)
        browser = Client(
            asgi_app(routes(login=login, visit=visit, page=page), store=store, clock=clock)
        )
        await browser.get("/login")
        clock.advance(3600)
        store.stuck = operation
        path = "/visit" if operation == "set" else "/page"

        async def request() -> None:
            sent.append(await browser.get(path))

        async with anyio.create_task_group() as group:
            group.start_soon(request)
            await store.entered.wait()
            group.cancel_scope.cancel()
        assert sent == []
        store.stuck = ""
        assert (await browser.get("/visit")).text == "1"

    async def test_others_go_on(self) -> None:
        """While one visitor's request is stuck, those who need no session are served."""
        store = StuckStore()
        app = asgi_app(routes(login=login, static=static), store=store)
        browser, other = Client(app), Client(app)
        store.stuck = "set"
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, "/login")
            await store.entered.wait()
            assert (await other.get("/static")).text == "static"
            group.cancel_scope.cancel()

    async def test_logout_survives_the_client(self) -> None:
        """A logout is carried out even if the client goes away in the middle of the request."""
        store, entered = YieldingStore(), anyio.Event()

        async def handler(session: Any, scope: Any) -> str:
            if scope["path"] == "/logout":
                logout(session, scope)
                entered.set()
                await anyio.sleep_forever()
            return login(session, scope)

        browser = Client(asgi_app(handler, store=store))
        await browser.get("/login")
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, "/logout")
            await entered.wait()
            group.cancel_scope.cancel()
        assert store.store.length() == 0


@pytest.mark.anyio
class TestParallelRequests:
    async def test_strangers_at_once(self) -> None:
        """Many first requests at the same time make as many sessions."""
        store = YieldingStore()
        app = asgi_app(login, store=store)
        browsers = [Client(app) for _ in range(20)]
        async with anyio.create_task_group() as group:
            for browser in browsers:
                group.start_soon(browser.get, "/")
        assert len({browser.cookie for browser in browsers}) == store.store.length() == 20

    async def test_writers_at_once(self) -> None:
        """Many writes to one session at the same time all count."""
        store = YieldingStore()

        def put(session: Any, scope: Any) -> str:
            session[scope["path"]] = True
            return "put"

        app = asgi_app(put, store=store)
        browser = Client(app)
        await browser.get("/first")
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(browser.get, f"/{number}")
        keys = Client(asgi_app(lambda s, r: len(s), store=store))
        keys.cookies = browser.cookies
        assert (await keys.get("/")).text == "21"

    async def test_lost_while_streaming(self) -> None:
        """A client that leaves a stream takes no session with it."""
        store, left = YieldingStore(), anyio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            visit(scope["session"], scope)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"data", "more_body": True})
            if scope["path"] == "/stream":
                left.set()
                await anyio.sleep_forever()
            await send({"type": "http.response.body", "body": b""})

        browser = Client(ASGISessions(app, secret=SECRET, store=store))
        await browser.get("/")
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, "/stream")
            await left.wait()
            group.cancel_scope.cancel()
        reader = Client(asgi_app(visit, store=store))
        reader.cookies = browser.cookies
        assert (await reader.get("/")).text == "3"
