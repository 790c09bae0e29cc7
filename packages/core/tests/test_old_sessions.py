"""Sessions of other libraries that go on as ours, whatever the library was."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
import flask
import pytest
from itsdangerous import TimestampSigner
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware as StarletteMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from webclient import (
    SECRET,
    AsyncMemoryStore,
    Client,
    Clock,
    CountingStore,
    FragileStore,
    SyncClient,
    YieldingStore,
    asgi_app,
    set_cookies,
    wsgi_app,
)

from coatcheck import (
    CookieOptions,
    MemoryStore,
    Record,
    SessionOptions,
    Sessions,
    session_of,
)
from coatcheck._records.takeover_records import JOIN_SECONDS, is_takeover
from coatcheck.errors import ConfigurationError, PluginError, StoreUnavailable
from coatcheck.old_sessions import OldCookie, OldSession, OldSessions
from coatcheck.old_sessions.flask import FlaskSessions
from coatcheck.old_sessions.starlette import StarletteSessions
from coatcheck.store import ALWAYS
from coatcheck.wsgi import SessionMiddleware as WSGISessions

OLD_SECRET = "the secret that the old application has"


def old_starlette(data: Mapping[str, Any]) -> Starlette:
    """Return an application whose sessions are in Starlette's cookie."""

    async def log_in(request: Request) -> PlainTextResponse:
        request.session.update(data)
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/", log_in)])
    app.add_middleware(StarletteMiddleware, secret_key=OLD_SECRET)
    return app


def old_flask(data: Mapping[str, Any]) -> flask.Flask:
    """Return an application whose sessions are in Flask's cookie."""
    app = flask.Flask("old")
    app.secret_key = OLD_SECRET

    @app.get("/")
    def log_in() -> str:
        flask.session.update(data)
        return "in"

    return app


#: Each old application with the reader of its cookies.
OLD = {
    "starlette": (old_starlette, StarletteSessions(OLD_SECRET)),
    "flask": (old_flask, FlaskSessions(OLD_SECRET)),
}


@pytest.fixture(params=OLD)
def old(request: Any) -> Any:
    return OLD[request.param]


@pytest.fixture(params=[asgi_app, wsgi_app])
def make(request: Any) -> Any:
    return request.param


def logged_in(application: Any, data: Mapping[str, Any] = {"user": "ann"}) -> str:
    """Return the Cookie header of a browser that has logged in at the old application."""
    browser = SyncClient(application(data))
    assert browser.get("/").text == "in"
    [cookie] = browser.cookies.jar
    return f"{cookie.name}={cookie.value}"


def browser_with(cookies: str, app: Any, url: str = "http://shop.test") -> SyncClient:
    """Return a browser that got these cookies from the old application."""
    browser = SyncClient(app, url)
    for cookie in cookies.split("; "):
        name, _, value = cookie.partition("=")
        browser.cookies.set(name, value, domain="shop.test", path="/")
    return browser


def show(session: Any, request: Any) -> Any:
    path = request["path"] if "path" in request else request["PATH_INFO"]
    if path == "/logout":
        session.destroy()
    if path == "/login":
        session.regenerate()
        session["user"] = "bob"
    if path == "/write":
        session["seen"] = True
    if path == "/fail":
        session["lost"] = True
        raise RuntimeError("a handler that fails")
    return dict(session)


def told(caplog: Any) -> list[str]:
    """Return what coatcheck has logged: other tests may have told other loggers to speak."""
    return [record.message for record in caplog.records if record.name == "coatcheck"]


def sessions_of(store: MemoryStore) -> list[str]:
    """Return the keys of the sessions in a store."""
    return [key for key, _ in store.all() if ":" not in key]


def test_a_visitor_stays_logged_in_and_gets_a_new_cookie(make: Any, old: Any) -> None:
    """The old cookie goes with the response that brings the new one, which has another id."""
    application, reader = old
    cookies = logged_in(application)
    store = CountingStore()
    browser = browser_with(cookies, make(show, store=store, old_sessions=[reader]))
    answer = browser.get("/")
    assert answer.text == "{'user': 'ann'}"
    removal, line = set_cookies(answer)
    assert removal.startswith("session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0")
    assert line.startswith("sid=")
    assert answer.headers["cache-control"] == "no-store"
    assert [cookie.name for cookie in browser.cookies.jar] == ["sid"]
    assert browser.id not in cookies
    store.taken()
    assert browser.get("/write").text == "{'user': 'ann', 'seen': True}"
    assert browser.get("/").text == "{'user': 'ann', 'seen': True}"
    assert len(sessions_of(store)) == 1
    assert store.taken() == ["get", "set", "get"], "a session as any other"


def test_the_old_cookie_finds_the_same_session_for_a_while(make: Any, old: Any) -> None:
    """A response that was lost on its way has not logged anybody out, and later it is too late."""
    application, reader = old
    clock = Clock(time.time())
    store = MemoryStore(clock=clock)
    app = make(show, store=store, clock=clock, old_sessions=[reader], idle_timeout=7 * 86400)
    cookies = logged_in(application)
    clock.advance(10)
    assert SyncClient(app).present(cookies, "/write").text == "{'user': 'ann', 'seen': True}"
    for seconds in (0, JOIN_SECONDS / 2, JOIN_SECONDS / 2):
        clock.advance(seconds)
        again = SyncClient(app).present(cookies)
        assert again.text == "{'user': 'ann', 'seen': True}"
        assert len(set_cookies(again)) == 2
    clock.advance(1)
    late = SyncClient(app).present(cookies)
    assert late.text == "{}"
    [line] = set_cookies(late)
    assert line.startswith("session=;"), "the old cookie is of no use any more"
    unused = asgi_app(lambda session, request: "", store=store, clock=clock, old_sessions=[reader])
    assert set_cookies(SyncClient(unused).present(cookies)) == [line]
    assert len(sessions_of(store)) == 1


@pytest.mark.parametrize("seconds", [1, JOIN_SECONDS + 1, 13 * 86400])
def test_nothing_comes_back_after_a_logout(make: Any, old: Any, seconds: float) -> None:
    """The old cookie begins no second session, however long it would have been valid."""
    application, reader = old
    clock = Clock(time.time() + 1)
    store = MemoryStore(clock=clock)
    app = make(show, store=store, clock=clock, old_sessions=[reader])
    cookies = logged_in(application)
    browser = browser_with(cookies, app)
    browser.get("/")
    assert browser.get("/logout").text == "{}"
    assert len(browser.cookies.jar) == 0
    clock.advance(seconds)
    answer = SyncClient(app).present(cookies)
    assert answer.text == "{}"
    assert [line[:9] for line in set_cookies(answer)] == ["session=;"]
    assert sessions_of(store) == []


def test_a_signature_that_is_written_in_another_way_is_the_same_session(old: Any) -> None:
    """Base64 can write the same signature in several ways, and itsdangerous takes all of them."""
    application, reader = old
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    cookies = logged_in(application)
    # 160 bits in 27 characters: two bits of the last one are not used.
    last = alphabet.index(cookies[-1])
    others = [cookies[:-1] + alphabet[(last & ~3) | low] for low in range(4)] + [cookies + "="]
    others.remove(cookies)
    now = time.time() + 1
    assert sum(reader.open(each.partition("=")[2], now) is not None for each in others) >= 3
    app = wsgi_app(show, store=MemoryStore(), old_sessions=[reader])
    browser = browser_with(cookies, app)
    browser.get("/")
    browser.get("/logout")
    for each in others:
        assert SyncClient(app).present(each).text == "{}"


def test_a_logout_is_also_one_from_an_old_session_that_was_not_taken_over(
    make: Any, old: Any
) -> None:
    """A browser that sends an old cookie beside ours keeps neither."""
    application, reader = old
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[reader])
    cookies = logged_in(application)
    browser = SyncClient(app)
    browser.get("/login")
    both = f"{cookies}; sid={browser.cookie}"
    assert SyncClient(app).present(both).text == "{'user': 'bob'}", "ours wins"
    answer = SyncClient(app).present(both, "/logout")
    assert [line.partition(";")[0] for line in set_cookies(answer)] == ["session=", "sid="]
    assert SyncClient(app).present(cookies).text == "{}"
    assert sessions_of(store) == []


def test_a_logout_ends_each_session_that_the_old_cookies_have_begun(make: Any) -> None:
    """Two old cookies came, and the session of the second one had begun before."""
    (one, first), (two, second) = OLD["starlette"], OLD["flask"]
    second = FlaskSessions(OLD_SECRET, name="flask")
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[first, second])
    cookies = [logged_in(one), logged_in(two, {"user": "bob"}).replace("session=", "flask=")]
    browser = SyncClient(app)
    assert browser.present(cookies[1]).text == "{'user': 'bob'}"
    assert browser.present("; ".join(cookies)).text == "{'user': 'ann'}"
    assert len(sessions_of(store)) == 2
    browser.present("; ".join(cookies), "/logout")
    assert sessions_of(store) == []
    assert [browser.present(each).text for each in cookies] == ["{}", "{}"]


def test_the_first_request_may_log_out(make: Any, old: Any) -> None:
    application, reader = old
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[reader])
    cookies = logged_in(application)
    answer = SyncClient(app).present(cookies, "/logout")
    assert [line.partition(";")[0] for line in set_cookies(answer)] == ["session="]
    noted = [key for key, _ in store.all() if is_takeover(key)]
    assert len(noted) == 2, "the takeover and the logout"
    assert SyncClient(app).present(cookies).text == "{}"
    assert sessions_of(store) == []


def test_the_first_request_may_log_somebody_else_in(make: Any, old: Any) -> None:
    application, reader = old
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[reader])
    cookies = logged_in(application)
    browser = browser_with(cookies, app)
    assert browser.get("/login").text == "{'user': 'bob'}"
    assert browser.get("/").text == "{'user': 'bob'}"
    assert SyncClient(app).present(cookies).text == "{}"
    assert len(sessions_of(store)) == 1


async def visit_at_once(old: Any, make: Any, store: Any, path: str = "/write") -> list[Any]:
    application, reader = old
    cookies = await asyncio.to_thread(logged_in, application)
    app = make(show, store=store, old_sessions=[reader])
    visits = (Client(app).present(cookies, path) for _ in range(8))
    return await asyncio.gather(*visits)


def test_requests_at_the_same_time_find_one_session(old: Any) -> None:
    """A page of the old application loads its parts in parallel."""
    store = YieldingStore()
    answers = asyncio.run(visit_at_once(old, asgi_app, store))
    assert [answer.text for answer in answers] == ["{'user': 'ann', 'seen': True}"] * 8
    assert len({set_cookies(answer)[-1] for answer in answers}) == 1
    assert len(sessions_of(store.store)) == 1


class _SlowStore(YieldingStore):
    """A store that takes long to store a session, until somebody else has looked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.was_looked_for = asyncio.Event()

    async def call(self, operation: Any, *args: Any) -> Any:
        is_session = ":" not in args[0]
        if is_session and operation.__name__ == "get":
            self.was_looked_for.set()
        if is_session and operation.__name__ == "set" and "seen" not in str(args[1].data):
            await self.was_looked_for.wait()
            for _ in range(100):
                await asyncio.sleep(0)
        return await super().call(operation, *args)


def test_a_session_that_is_just_being_stored_is_waited_for(old: Any) -> None:
    answers = asyncio.run(visit_at_once(old, asgi_app, _SlowStore()))
    assert [answer.text for answer in answers] == ["{'user': 'ann', 'seen': True}"] * 8


def test_a_request_that_fails_takes_nothing_away(make: Any, old: Any) -> None:
    """No response has told the browser of a new cookie, so the old one goes on working."""
    application, reader = old
    clock = Clock(time.time() + 1)
    store = MemoryStore(clock=clock)
    app = make(show, store=store, clock=clock, old_sessions=[reader])
    cookies = logged_in(application)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a handler that fails"):
            SyncClient(app).present(cookies, "/fail")
        clock.advance(2 * JOIN_SECONDS)
    assert SyncClient(app).present(cookies).text == "{'user': 'ann'}"
    assert len(sessions_of(store)) == 1


@pytest.mark.parametrize("operation", ["get", "set", "destroy"])
def test_a_store_that_fails_meanwhile_logs_nobody_out(make: Any, old: Any, operation: str) -> None:
    """Our store fails at any step of the way, and works again later."""
    application, reader = old
    cookies = logged_in(application)
    for calls in range(8):
        store = _FailsOnce(operation, calls)
        app = make(show, store=store, old_sessions=[reader])
        try:
            SyncClient(app).present(cookies)
        except StoreUnavailable:
            pass
        store.fails_at = None
        assert SyncClient(app).present(cookies).text == "{'user': 'ann'}"
        assert len(sessions_of(store)) == 1


def test_a_write_whose_outcome_is_unknown_logs_nobody_out(make: Any, old: Any) -> None:
    """The store has noted the takeover, and the connection was lost before it said so."""

    class Losing(MemoryStore):
        loses = True

        def set(self, key: str, record: Record, only_if: Any = ALWAYS) -> bool:
            written = super().set(key, record, only_if)
            if self.loses and is_takeover(key):
                raise StoreUnavailable("lost")
            return written

    application, reader = old
    store = Losing()
    app = make(show, store=store, old_sessions=[reader])
    cookies = logged_in(application)
    with pytest.raises(StoreUnavailable, match="lost"):
        SyncClient(app).present(cookies)
    store.loses = False
    assert SyncClient(app).present(cookies).text == "{'user': 'ann'}"


class _FailsOnce(CountingStore):
    """A memory store that fails at one call of an operation."""

    def __init__(self, operation: str, calls: int) -> None:
        super().__init__()
        self.fails_at: tuple[str, int] | None = (operation, calls)

    def note(self, operation: str) -> None:
        super().note(operation)
        if self.fails_at == (operation, self.calls.count(operation) - 1):
            raise StoreUnavailable("refused")


@pytest.mark.parametrize("cookies", ["session=", "session=x", "session=a.b.c", "session=.x.y"])
def test_a_forged_cookie_never_reaches_the_store(make: Any, old: Any, cookies: str) -> None:
    store = CountingStore()
    answer = SyncClient(make(show, store=store, old_sessions=[old[1]])).present(cookies)
    assert (answer.text, set_cookies(answer), store.calls) == ("{}", [], [])


def test_another_key_and_another_library_verify_nothing(make: Any, old: Any) -> None:
    application, _ = old
    cookies = logged_in(application)
    others = [
        *(StarletteSessions("another secret"), FlaskSessions("another secret")),
        FlaskSessions(OLD_SECRET)
        if application is old_starlette
        else StarletteSessions(OLD_SECRET),
    ]
    store = CountingStore()
    answer = SyncClient(make(show, store=store, old_sessions=others)).present(cookies)
    assert (answer.text, set_cookies(answer), store.calls) == ("{}", [], [])


@pytest.mark.parametrize(
    ("make_reader", "days"),
    [
        (lambda: StarletteSessions(OLD_SECRET), 14),
        (lambda: StarletteSessions(OLD_SECRET, max_age=86400), 1),
        (lambda: StarletteSessions(OLD_SECRET, max_age=None, until=time.time() + 3 * 86400), 3),
        (lambda: StarletteSessions(OLD_SECRET, until=time.time() + 2 * 86400), 2),
        (lambda: FlaskSessions(OLD_SECRET), 31),
        (lambda: FlaskSessions(OLD_SECRET, lifetime=86400), 1),
        (lambda: FlaskSessions(OLD_SECRET, until=time.time() + 2 * 86400), 2),
    ],
)
def test_an_old_cookie_is_valid_as_long_as_it_was_before(make_reader: Any, days: int) -> None:
    """And no longer than the application says."""
    reader = make_reader()  # not before the test begins, which may be minutes after its collection
    name = "starlette" if isinstance(reader, StarletteSessions) else "flask"
    clock = Clock(time.time() + days * 86400 - 60)
    store = MemoryStore(clock=clock)
    app = wsgi_app(show, store=store, clock=clock, old_sessions=[reader])
    cookies = logged_in(OLD[name][0])
    assert SyncClient(app).present(cookies).text == "{'user': 'ann'}"
    [noted] = [record for key, record in store.all() if is_takeover(key)]
    assert noted.expires_at >= time.time() + days * 86400 - 5
    store.clear()
    clock.advance(120)
    answer = SyncClient(app).present(cookies)
    assert (answer.text, set_cookies(answer)) == ("{}", [])


@pytest.mark.parametrize(
    ("options", "logged"),
    [
        ({"owner": lambda data: data["id"]}, "KeyError"),
        ({"owner": lambda data: 1.5}, "ConfigurationError"),
        ({"old_sessions": [StarletteSessions(OLD_SECRET)]}, "SerializationError"),
    ],
)
def test_a_session_that_cannot_be_stored_breaks_no_request(
    make: Any, options: dict[str, Any], logged: str, caplog: Any
) -> None:
    """The log has the type of the error alone, because its text may quote the data."""
    data = {"user": "ann"} if "owner" in options else {"user": float("nan")}
    cookies = logged_in(old_starlette, data)
    store = CountingStore()
    all_options = {"old_sessions": [StarletteSessions(OLD_SECRET)], **options}
    with caplog.at_level(logging.WARNING, "coatcheck"):
        answer = SyncClient(make(show, store=store, **all_options)).present(cookies)
    assert (answer.text, set_cookies(answer), store.calls) == ("{}", [], [])
    assert told(caplog) == [f"StarletteSessions could not take over an old session: {logged}"]


@pytest.mark.parametrize("data", [None, 7, ["user"], {"user"}, {1: "user"}])
def test_data_that_are_no_session_are_left_alone(make: Any, data: Any) -> None:
    class Odd(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            return OldCookie(identity=value, session=OldSession(data), expires_at=now + 60)

    store = CountingStore()
    app = make(show, store=store, old_sessions=[Odd("old")])
    assert SyncClient(app).present("old=1").text == "{}"
    assert store.calls == []


def test_a_reader_that_raises_breaks_no_request(make: Any, caplog: Any) -> None:
    class Broken(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            raise ValueError(f"this is no session: {value}")

    app = make(show, store=MemoryStore(), old_sessions=[Broken("old")])
    with caplog.at_level(logging.WARNING, "coatcheck"):
        assert SyncClient(app).present("old=secret").text == "{}"
    assert told(caplog) == ["Broken could not take over an old session: ValueError"]


def _show_sorted(session: Any, request: Any) -> Any:
    return sorted(session.items())


@pytest.mark.parametrize("permanent", [False, True])
def test_a_permanent_session_of_flask_stays_one(make: Any, permanent: bool) -> None:
    """Its cookie outlives the browser, as before. Data and types are those that Flask reads."""
    data = {
        "tuple": (1, ("two", b"three")),
        "id": UUID(int=7),
        "at": datetime(2026, 11, 30, 12, tzinfo=UTC),
        "tag": {" t": [1]},
        "text": Markup("<b>bold</b>"),
        "long": "x" * 500,  # compressed
        "_permanent": permanent,
    }
    reader = FlaskSessions(OLD_SECRET, name="session", fallbacks=["older"])
    app = make(_show_sorted, store=MemoryStore(), old_sessions=[reader])
    browser = browser_with(logged_in(old_flask, data), app)
    answer = browser.get("/")
    del data["_permanent"]
    assert answer.text == str(sorted({**data, "text": "<b>bold</b>"}.items()))
    assert ("Max-Age=2678400" in set_cookies(answer)[1]) is permanent
    assert browser.get("/").text == answer.text


def test_a_reader_that_returns_nonsense_breaks_no_request(make: Any, caplog: Any) -> None:
    class Odd(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            end: Any = datetime.now(UTC) if value == "end" else now + 60
            return OldCookie(identity=value, session=OldSession({"user": "ann"}), expires_at=end)

        def names(self, headers: Any) -> Any:
            return None if any("names" in header for header in headers) else [self.name]

    app = make(show, store=MemoryStore(), old_sessions=[Odd("old")])
    for value in ("end", "names"):
        assert SyncClient(app).present(f"old={value}").text == "{}"
    assert told(caplog) == ["Odd could not take over an old session: TypeError"]
    assert SyncClient(app).present("old=1").text == "{'user': 'ann'}"


def test_an_empty_session_is_nothing_to_take_over(make: Any, old: Any) -> None:
    class Empty(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            return OldCookie(identity=value, session=OldSession({}), expires_at=now + 60)

    store = CountingStore()
    answer = SyncClient(make(show, store=store, old_sessions=[Empty("old")])).present("old=1")
    assert (answer.text, set_cookies(answer), store.calls) == ("{}", [], [])


def test_both_cookies_may_have_one_name(make: Any, old: Any, caplog: Any) -> None:
    """The new one takes the place of the old one, and nobody warns of foreign cookies."""
    application, reader = old
    cookies = logged_in(application)
    app = make(show, store=MemoryStore(), name="session", old_sessions=[reader])
    with caplog.at_level(logging.WARNING, "coatcheck"):
        for _ in range(6):
            browser = browser_with(cookies, app)
            answer = browser.get("/")
            assert answer.text == "{'user': 'ann'}"
            assert len(set_cookies(answer)) == 1
            assert browser.get("/").text == "{'user': 'ann'}"
        assert browser.get("/logout").text == "{}"
        assert len(browser.cookies.jar) == 0
        answer = SyncClient(app).present(cookies)
    assert (answer.text, len(set_cookies(answer))) == ("{}", 1)
    assert told(caplog) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_old_cookie_is_removed_where_it_was_set(make: Any, scheme: str) -> None:
    reader = StarletteSessions(
        OLD_SECRET, path="/shop", domain="shop.test", same_site="strict", https_only=True
    )
    cookies = logged_in(old_starlette)
    app = make(show, store=MemoryStore(), old_sessions=[reader])
    client = SyncClient(app, f"{scheme}://shop.test")
    removal, _ = set_cookies(client.present(cookies, "/shop/"))
    parts = removal.split("; ")
    assert parts[0] == "session="
    assert {"Domain=shop.test", "Path=/shop", "Secure", "SameSite=Strict"} <= {*parts}


def test_nothing_is_taken_over_where_our_cookie_cannot_be_sent(make: Any, old: Any) -> None:
    application, reader = old
    cookies = logged_in(application)
    store = CountingStore()
    app = make(show, store=store, cookie=CookieOptions(secure=True), old_sessions=[reader])
    answer = SyncClient(app).present(cookies)
    assert (answer.text, set_cookies(answer), store.calls) == ("{}", [], [])
    assert SyncClient(app, "https://shop.test").present(cookies).text == "{'user': 'ann'}"


def test_a_session_that_nobody_uses_is_taken_over_only_where_it_is_read(old: Any) -> None:
    """Under WSGI an unused session costs nothing. Under ASGI it is loaded."""
    application, reader = old
    cookies = logged_in(application)
    for make, lines in ((wsgi_app, 0), (asgi_app, 2)):
        store = CountingStore()
        app = make(lambda session, request: "", store=store, old_sessions=[reader])
        assert len(set_cookies(SyncClient(app).present(cookies))) == lines
        assert bool(store.calls) == bool(lines)
    lazy = asgi_app(_load_and_show, store=MemoryStore(), load="lazy", old_sessions=[reader])
    assert SyncClient(lazy).present(cookies).text == "{'user': 'ann'}"


async def _load_and_show(session: Any, scope: Any) -> Any:
    await session.load()
    return dict(session)


def test_a_body_that_reads_the_session_late_finds_no_old_one(old: Any) -> None:
    """No cookie can be sent any more. The next request takes the old session over."""
    application, reader = old

    def late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first "
        yield str(dict(session_of(environ))).encode()

    from coatcheck.wsgi import SessionMiddleware

    app = SessionMiddleware(late, secret=SECRET, store=MemoryStore(), old_sessions=[reader])
    assert SyncClient(app).present(logged_in(application)).text == "first {}"


@pytest.mark.parametrize("hash_ids", [True, False])
def test_it_is_listed_and_ended_as_any_other(make: Any, old: Any, hash_ids: bool) -> None:
    """The owner follows from the data, and what notes the takeover is not shown."""
    application, reader = old
    events: list[Any] = []
    store = MemoryStore()
    options = SessionOptions(
        secret=SECRET,
        store=store,
        owner="user",
        hash_ids=hash_ids,
        old_sessions=[reader],
        observers=[events.append],
    )
    app = make(show, options=options)
    cookies = logged_in(application)
    SyncClient(app).present(cookies)
    assert "taken_over" in [event.kind for event in events]
    sessions = Sessions(store, options)
    [entry] = sessions.list("ann")
    assert entry.data == {"user": "ann"}
    assert sessions.list_all() == [entry]
    for key, _ in store.all():
        ref = hashlib.sha256(key.encode()).hexdigest()
        assert sessions.get(ref) is None or ref == entry.ref
    assert sessions.revoke_all("ann") == 1
    assert SyncClient(app).present(cookies).text == "{}"


def test_a_change_of_the_secret_does_not_matter(make: Any, old: Any) -> None:
    """Processes that have the list of secrets in another order find the same session."""
    application, reader = old
    cookies, store = logged_in(application), MemoryStore()
    new = "another secret of thirty-two bytes or more"
    for secret in (SECRET, [new, SECRET], [SECRET, new]):
        app = make(show, secret=secret, store=store, old_sessions=[reader])
        assert SyncClient(app).present(cookies).text == "{'user': 'ann'}"
    assert len(sessions_of(store)) == 1


class _Blocking(MemoryStore):
    """A store that is called in worker threads."""

    capabilities = replace(MemoryStore.capabilities, blocking=True)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("operation", ["begin", "create"])
async def test_a_request_that_is_cancelled_logs_nobody_out(operation: str) -> None:
    """The next request takes the old session over, no matter what was stored by then."""
    theirs = _Blocking()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))

    class Gated(AsyncMemoryStore):
        is_shut = True

        async def call(self, called: Any, *args: Any) -> Any:
            is_note = is_takeover(args[0])
            await anyio.lowlevel.checkpoint()
            result = await super().call(called, *args)
            if self.is_shut and called.__name__ == "set" and is_note == (operation == "begin"):
                arrived.set()
                await anyio.sleep_forever()
            return result

    arrived, store = anyio.Event(), Gated()
    app = asgi_app(show, store=store, old_sessions=[Stored("old", store=theirs)])
    async with anyio.create_task_group() as group:
        group.start_soon(Client(app).present, "old=1")
        await arrived.wait()
        group.cancel_scope.cancel()
    store.is_shut = False
    assert (await Client(app).present("old=1")).text == "{'user': 'ann'}"
    assert len(sessions_of(store.store)) == 1
    assert theirs.get("old-1") is None


# Old sessions on a server


class Stored(OldSessions):
    """Old sessions whose cookie has the key of a record."""

    def open(self, value: str, now: float) -> OldCookie | None:
        return OldCookie(identity=value, key=f"old-{value}")

    def read(self, record: bytes) -> OldSession:
        return OldSession({"user": record.decode()})


def test_the_old_record_ends_with_the_response(make: Any) -> None:
    """Not before: an application that fails leaves it where it was."""
    theirs, ours = CountingStore(), MemoryStore()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    app = make(show, store=ours, old_sessions=[Stored("old", store=theirs)])
    with pytest.raises(RuntimeError, match="a handler that fails"):
        SyncClient(app).present("old=1", "/fail")
    assert theirs.get("old-1") is not None
    browser = browser_with("old=1", app)
    assert browser.get("/write").text == "{'user': 'ann', 'seen': True}"
    assert theirs.get("old-1") is None
    assert browser.get("/").text == "{'user': 'ann', 'seen': True}"
    assert SyncClient(app).present("old=1").text == "{'user': 'ann', 'seen': True}"
    browser.get("/logout")
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    assert SyncClient(app).present("old=1").text == "{}", "even if somebody writes it again"


def test_a_logout_ends_an_old_record_that_was_not_taken_over(make: Any) -> None:
    theirs = MemoryStore()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    app = make(show, store=MemoryStore(), old_sessions=[Stored("old", store=theirs)])
    browser = SyncClient(app)
    browser.get("/login")
    browser.present(f"old=1; sid={browser.cookie}", "/logout")
    assert theirs.get("old-1") is None
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    assert browser.present("old=1").text == "{}"


def test_an_old_store_that_is_down_is_an_error_of_the_store(make: Any) -> None:
    """The option `on_store_error` says what that means, and nobody is logged out by it."""
    theirs = FragileStore()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    theirs.fail("get")
    readers = [Stored("old", store=theirs)]
    app = make(show, store=MemoryStore(), old_sessions=readers)
    with pytest.raises(StoreUnavailable):
        SyncClient(app).present("old=1")
    lax = make(show, store=MemoryStore(), old_sessions=readers, on_store_error="anonymous")
    answer = SyncClient(lax).present("old=1", "/write")
    assert (answer.text, set_cookies(answer)) == ("{'seen': True}", [])
    theirs.fail("destroy")
    assert SyncClient(app).present("old=1").text == "{'user': 'ann'}"


def test_a_record_that_cannot_be_read_breaks_no_request(make: Any, caplog: Any) -> None:
    theirs, ours = MemoryStore(), CountingStore()
    theirs.set("old-1", Record(b"\xff", time.time() + 3600))
    app = make(show, store=ours, old_sessions=[Stored("old", store=theirs)])
    with caplog.at_level(logging.WARNING, "coatcheck"):
        assert SyncClient(app).present("old=1").text == "{}"
    assert told(caplog) == ["Stored could not take over an old session: UnicodeDecodeError"]
    assert ours.calls == []
    assert theirs.get("old-1") is not None


def test_the_middleware_opens_and_closes_the_store_behind_a_url(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the store of the sessions open, which it has not opened."""
    opened: list[MemoryStore] = []
    closed: list[MemoryStore] = []

    class Old(MemoryStore):
        def close(self) -> None:
            closed.append(self)

    def open_url(url: str, clock: Any) -> MemoryStore:
        opened.append(Old(clock=clock))
        return opened[-1]

    monkeypatch.setattr(MemoryStore, "from_url", open_url)
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[Stored("old", store="memory:")])
    for number in (1, 2):
        opened[-1].set("old-1", Record(b"ann", time.time() + 3600))
        assert SyncClient(app).present("old=1").text == "{'user': 'ann'}"
        assert len(opened) == number
        closing = app.close()
        if closing is not None:
            asyncio.run(closing)
        assert closed == opened
    store.ping()


def test_a_url_that_no_store_opens_is_an_error_at_once(make: Any) -> None:
    with pytest.raises(PluginError, match="nosuch"):
        make(show, store=MemoryStore(), old_sessions=[Stored("old", store="nosuch://host")])


class _Interrupted(FragileStore):
    """A store that calls a function once, before it stores a session or after it reads."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.before_set: Any = None
        self.after_get: Any = None

    def get(self, key: str) -> Record | None:
        record = super().get(key)
        interrupt, self.after_get = self.after_get, None
        if interrupt is not None:
            interrupt()
        return record

    def set(self, key: str, record: Record, only_if: Any = ALWAYS) -> bool:
        if ":" not in key and self.before_set is not None:
            interrupt, self.before_set = self.before_set, None
            interrupt()
        return super().set(key, record, only_if)


@pytest.mark.parametrize("with_record", [False, True])
def test_a_logout_between_the_two_writes_of_a_takeover_is_final(with_record: bool) -> None:
    """The logout finds no session to end, because the other request has not stored it yet."""
    theirs, store = MemoryStore(), _Interrupted()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    cookies = "old=1" if with_record else logged_in(old_starlette)
    readers = [Stored("old", store=theirs), StarletteSessions(OLD_SECRET)]
    app = wsgi_app(show, store=store, old_sessions=readers)
    browser = SyncClient(app)
    browser.get("/login")
    both = f"{cookies}; sid={browser.cookie}"
    store.before_set = lambda: browser.present(both, "/logout")
    answer = SyncClient(app).present(cookies)
    assert (answer.text, len(set_cookies(answer))) == ("{}", 1)
    assert store.before_set is None
    assert sessions_of(store) == []
    assert SyncClient(app).present(cookies).text == "{}"


@pytest.mark.parametrize("trouble", ["changed", "destroy", "get"])
def test_a_logout_is_noted_as_long_as_the_old_record_lives(make: Any, trouble: str) -> None:
    """Another process changes the old record meanwhile, or the old store fails."""
    clock = Clock(time.time())
    theirs, store = _Interrupted(clock=clock), MemoryStore(clock=clock)
    old_record = Record(b"ann", clock() + 3600)
    theirs.set("old-1", old_record)
    app = make(show, store=store, clock=clock, old_sessions=[Stored("old", store=theirs)])
    browser = SyncClient(app)
    browser.get("/login")
    both = f"old=1; sid={browser.cookie}"
    if trouble == "changed":
        changed = Record(b"ann again", old_record.expires_at)
        theirs.after_get = lambda: theirs.set("old-1", changed)
        browser.present(both, "/logout")
    else:
        theirs.fail(trouble)
        with pytest.raises(StoreUnavailable):
            browser.present(both, "/logout")
        theirs.fail()
    assert theirs.get("old-1") is not None
    for seconds in (1, JOIN_SECONDS, 2980):
        clock.advance(seconds)
        assert browser.present("old=1").text == "{}"


def test_logouts_with_made_up_cookies_write_nothing(make: Any) -> None:
    """Anybody can send as many ids of no old session as they like."""
    theirs, ours = CountingStore(), CountingStore()
    app = make(show, store=ours, old_sessions=[Stored("old", store=theirs)])
    for number in range(3):
        SyncClient(app).present(f"old={number}", "/logout")
    assert (ours.calls.count("set"), len(list(ours.all()))) == (0, 0)
    assert ours.calls.count("destroy") == theirs.calls.count("get") - 3 == 3, "once a request"


def test_a_logout_with_the_cookie_of_a_record_that_is_gone_ends_the_session(make: Any) -> None:
    theirs, ours = MemoryStore(), MemoryStore()
    theirs.set("old-1", Record(b"ann", time.time() + 3600))
    app = make(show, store=ours, old_sessions=[Stored("old", store=theirs)])
    SyncClient(app).present("old=1")
    assert (theirs.get("old-1"), len(sessions_of(ours))) == (None, 1)
    browser = SyncClient(app)
    browser.get("/login")
    browser.present(f"old=1; sid={browser.cookie}", "/logout")
    assert sessions_of(ours) == []


def test_a_machine_whose_clock_is_slow_begins_no_second_session(make: Any) -> None:
    """For its clock the old cookie is good when the store has let records go that end with it."""
    clock = Clock(time.time() + 60)
    slow = Clock(clock() - 30)
    store = MemoryStore(clock=clock)
    reader = StarletteSessions(OLD_SECRET, max_age=3600)
    app = make(show, store=store, clock=slow, old_sessions=[reader])
    cookies = logged_in(old_starlette)
    browser = browser_with(cookies, app)
    assert browser.get("/").text == "{'user': 'ann'}"
    browser.get("/logout")
    for each in (clock, slow):
        each.advance(3600 - 45)
    answer = SyncClient(app).present(cookies)
    assert (answer.text, len(set_cookies(answer))) == ("{}", 1), "the cookie is good, but of no use"


@pytest.mark.parametrize("visits", [0, 1])
def test_data_in_a_cookie_without_a_limit_are_noted_with_one(make: Any, visits: int) -> None:
    class Endless(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            return OldCookie(identity=value, session=OldSession({"user": value}))

    clock = Clock(time.time())
    store = MemoryStore(clock=clock)
    app = make(show, store=store, clock=clock, old_sessions=[Endless("old")])
    for _ in range(visits):
        assert SyncClient(app).present("old=ann").text == "{'user': 'ann'}"
    SyncClient(app).present("old=ann", "/logout")
    clock.advance(399 * 86400)
    assert SyncClient(app).present("old=ann").text == "{}"


def test_a_record_without_a_limit_is_noted_with_one(make: Any) -> None:
    """A browser keeps a cookie for 400 days at most."""
    theirs, ours = MemoryStore(), MemoryStore()
    theirs.set("old-1", Record(b"ann", 2e11))
    app = make(show, store=ours, old_sessions=[Stored("old", store=theirs)])
    assert SyncClient(app).present("old=1").text == "{'user': 'ann'}"
    [noted] = [record for key, record in ours.all() if is_takeover(key)]
    assert abs(noted.expires_at - time.time() - 400 * 86400 - JOIN_SECONDS) < 60


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"old_sessions": StarletteSessions(OLD_SECRET)}, "`old_sessions` must be a list of"),
        ({"old_sessions": ["session"]}, "`old_sessions` must be a list of readers"),
        ({"old_sessions": [StarletteSessions]}, "`old_sessions` must be a list of readers"),
    ],
)
def test_wrong_options_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SessionOptions(secret=SECRET, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: StarletteSessions(""), "`secret_key` must not be empty"),
        (lambda: FlaskSessions(None), "`secret_key` must be the secret key"),  # type: ignore[arg-type]
        (lambda: FlaskSessions(OLD_SECRET, fallbacks="one"), "`fallbacks` must be a list"),
        (lambda: FlaskSessions(OLD_SECRET, lifetime=0), "`lifetime` must be seconds"),
        (lambda: StarletteSessions(OLD_SECRET, max_age=None), "needs `until`"),
        (lambda: StarletteSessions(OLD_SECRET, until=3600), "`until` must be an aware datetime"),
        (lambda: StarletteSessions(OLD_SECRET, "a b"), "cookie name"),
        (lambda: Stored("old", store=7), "`store` must be a coatcheck.Store"),  # type: ignore[arg-type]
    ],
)
def test_wrong_readers_are_refused(wrong: Any, message: str) -> None:
    """No error shows the key."""
    with pytest.raises(ConfigurationError, match=message) as raised:
        wrong()
    assert OLD_SECRET not in str(raised.value)


# Several middlewares and readers, and cookies that somebody has planted


def two_middlewares(store: MemoryStore, reader: OldSessions) -> WSGISessions:
    """Return one middleware in another, with sessions of their own, over a page for each."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        which, _, path = environ["PATH_INFO"].strip("/").partition("/")
        environ["PATH_INFO"] = f"/{path}"
        text = str(show(session_of(environ, name=which), environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    options: Any = {"secret": SECRET, "store": store, "old_sessions": [reader]}
    return WSGISessions(WSGISessions(app, name="shop", **options), name="admin", **options)


def test_two_middlewares_take_the_same_old_session_over_separately(old: Any) -> None:
    """Otherwise a visit of the shop would prolong the session of the admin, for instance."""
    application, reader = old
    store = MemoryStore()
    browser, cookies = SyncClient(two_middlewares(store, reader)), logged_in(application)
    shop = browser.present(cookies, "/shop/write")
    assert shop.text == "{'user': 'ann', 'seen': True}"
    admin = browser.present(cookies, "/admin/")
    assert admin.text == "{'user': 'ann'}"
    assert len(sessions_of(store)) == 2
    both = "; ".join(set_cookies(each)[-1].partition(";")[0] for each in (shop, admin))
    browser.present(both, "/shop/logout")
    assert browser.present(both, "/shop/").text == "{}"
    assert browser.present(both, "/admin/").text == "{'user': 'ann'}"


def test_a_logout_is_final_for_all_middlewares(old: Any) -> None:
    application, reader = old
    store = CountingStore()
    cookies = logged_in(application)
    app = two_middlewares(store, reader)
    browser = SyncClient(wsgi_app(show, name="shop", store=store, old_sessions=[reader]))
    assert browser.present(cookies, "/logout").text == "{}"
    store.taken()
    answer = SyncClient(app).present(cookies, "/admin/")
    assert (answer.text, store.taken()) == ("{}", ["get"])
    assert {line[:9] for line in set_cookies(answer)} == {"session=;"}
    assert sessions_of(store) == []


@pytest.mark.parametrize("visits", [0, 1])
def test_a_cookie_by_the_name_of_another_reader_begins_no_second_session(
    make: Any, visits: int
) -> None:
    """One key signs both cookies, and the signature does not depend on the name."""
    readers = [StarletteSessions(OLD_SECRET), StarletteSessions(OLD_SECRET, "admin")]
    store = MemoryStore()
    app = make(show, store=store, old_sessions=readers)
    cookies = logged_in(old_starlette)
    browser = browser_with(cookies, app)
    for _ in range(visits):
        assert browser.get("/").text == "{'user': 'ann'}"
    browser.get("/logout")
    assert SyncClient(app).present(cookies.replace("session=", "admin=")).text == "{}"
    assert sessions_of(store) == []


def test_the_same_text_signed_by_two_keys_is_two_sessions(make: Any) -> None:
    """Users of the same number log in at two applications in the same second."""
    other = "another secret that another application has"
    readers = [StarletteSessions(OLD_SECRET), StarletteSessions(other, "admin")]
    app = make(show, store=MemoryStore(), old_sessions=readers)
    first = logged_in(old_starlette)
    text = first.partition("=")[2].rpartition(".")[0]
    second = f"admin={text}.{TimestampSigner(other).get_signature(text).decode()}"
    assert SyncClient(app).present(first, "/write").text == "{'user': 'ann', 'seen': True}"
    assert SyncClient(app).present(second).text == "{'user': 'ann'}"


@pytest.mark.parametrize("junk", ["session=x; ", "session=boom; "])
def test_planted_cookies_do_not_hide_an_old_one(make: Any, old: Any, junk: str) -> None:
    """Neither when the visitor comes, nor from a logout. Some make the reader raise."""
    application, plain = old

    class Fragile(type(plain)):  # type: ignore[misc]  # of either reader
        def open(self, value: str, now: float) -> OldCookie | None:
            if value == "boom":
                raise ZeroDivisionError
            found: OldCookie | None = super().open(value, now)
            return found

    reader = Fragile(OLD_SECRET)
    store = MemoryStore()
    app = make(show, store=store, old_sessions=[reader])
    cookies, others = logged_in(application), logged_in(application, {"user": "eve"})
    assert SyncClient(app).present(50 * junk + others).text == "{'user': 'eve'}"
    browser = SyncClient(app)
    browser.get("/login")
    browser.present(f"sid={browser.cookie}; {50 * junk}{cookies}", "/logout")
    assert SyncClient(app).present(cookies).text == "{}"


def test_a_request_with_many_good_old_cookies_costs_little(make: Any) -> None:
    """Five of them are tried, and no more than 200 values are looked at."""
    store = CountingStore()
    seen: list[str] = []

    class Counted(OldSessions):
        def open(self, value: str, now: float) -> OldCookie | None:
            seen.append(value)
            if value == "x":
                return None
            return OldCookie(identity=value, session=OldSession({}), expires_at=now + 60)

    app = make(show, store=store, old_sessions=[Counted("old")])
    SyncClient(app).present("; ".join(f"old={number}" for number in range(1000)), "/logout")
    assert len(seen) <= 20
    assert store.calls.count("set") == 5
    seen.clear()
    SyncClient(app).present("old=x; " * 1000)
    assert len(seen) == 200
