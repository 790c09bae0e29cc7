"""How long sessions last: for visitors who come back, long requests, sockets, and polling pages."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from typing import Any

import httpx
import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    FragileStore,
    awaited,
    finished,
    set_cookies,
)

from coatcheck import ALWAYS, CookieOptions, MemoryStore, Record
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.codec import JSONCodec
from coatcheck.errors import ConfigurationError, SessionGone, StoreTimeout
from coatcheck.store import Condition
from coatcheck.wsgi import SessionMiddleware as WSGISessions

LIFE = 600.0
LASTING = CookieOptions(max_age=LIFE)
NOT_MOVED = "a session's expiry could not be moved: StoreUnavailable"

Handler = Callable[[Any], Any]

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asgi", "wsgi"])
def driver(request: pytest.FixtureRequest) -> str:
    """Every story is told on both drivers."""
    return str(request.param)


class Site:
    """An application with one visitor, who is logged in.

    A handler that saves yields the call. Another handler runs after the headers.
    """

    def __init__(self, driver: str, **options: Any) -> None:
        self.clock = options.setdefault("clock", Clock())
        self.store = options.setdefault("store", FragileStore(clock=self.clock))
        self._handler = self._late = len
        make = self._asgi if driver == "asgi" else self._wsgi
        self.app = make(options)
        self.client = Client(self.app)
        #: When the browser drops the cookie.
        self.cookie_ends = float("inf")

    def _asgi(self, options: dict[str, Any]) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            result = await awaited(self._handler(scope["session"]))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            part = {"type": "http.response.body", "body": str(result).encode(), "more_body": True}
            await send(part)
            await awaited(self._late(scope["session"]))
            await send({"type": "http.response.body", "body": b""})

        return ASGISessions(app, **{"secret": SECRET, **options})

    def _wsgi(self, options: dict[str, Any]) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            session = environ["coatcheck.session"]
            result = finished(self._handler(session))
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield str(result).encode()
            finished(self._late(session))

        return WSGISessions(app, **{"secret": SECRET, **options})

    async def visit(self, handler: Handler = len, late: Handler = len) -> httpx.Response:
        assert self.clock.now < self.cookie_ends, "the cookie has expired"
        self._handler, self._late = handler, late
        response = await self.client.get("/")
        for line in set_cookies(response):
            if found := re.search("Max-Age=([0-9]+)", line):
                self.cookie_ends = self.clock.now + int(found[1])
        return response

    async def logged_in(self) -> Site:
        await self.visit(logs_in)
        self.store.taken()
        return self

    @property
    def record(self) -> Record:
        """The one stored record."""
        [(_, record)] = self.store.all()
        return record

    @property
    def expires_in(self) -> float:
        return self.record.expires_at - self.clock.now


def logs_in(session: Any) -> None:
    session["user"] = "ann"


def counts(session: Any) -> None:
    session["n"] = session.get("n", 0) + 1


def saves(session: Any) -> Generator[Any]:
    counts(session)
    yield session.save()


# Cookie and record expire together


@pytest.mark.parametrize("pause", [20.0, 59.0, 61.0, 290.0])
@pytest.mark.parametrize(
    ("late", "options"),
    [
        (len, {}),
        (counts, {}),
        (saves, {}),
        (lambda session: session.touch(), {}),
        (len, {"resave": True}),
        (len, {"idle_timeout": LIFE, "cookie": CookieOptions(max_age=1.5 * LIFE)}),
        (counts, {"idle_timeout": LIFE, "cookie": CookieOptions(max_age=1.5 * LIFE)}),
    ],
)
async def test_an_active_visitor_stays_logged_in(
    driver: str, pause: float, late: Handler, options: dict[str, Any]
) -> None:
    """However often they come, and whatever moves the record: the cookie moves with it."""
    site = await Site(driver, **{"cookie": LASTING, **options}).logged_in()
    end = site.clock.now + 3 * LIFE
    while site.clock.now < end:
        site.clock.advance(pause)
        assert (await site.visit(len, late)).text in ("1", "2")
        assert site.cookie_ends >= site.clock.now + LIFE - 61
        assert site.expires_in >= LIFE - 61


def changes_nothing(session: Any) -> Generator[Any]:
    yield session.change(len)


def elsewhere(site: Site, moves: bool) -> None:
    """Count as another request does, whose expiry moves or not."""
    [(key, record)] = site.store.all()
    codec = JSONCodec()
    state = codec.loads(record.data, key)
    counts(state.data)
    expires_at = site.clock.now + LIFE if moves else record.expires_at
    site.store.set(key, Record(codec.dumps(state), expires_at))


@pytest.mark.parametrize("case", ["a function that changes nothing", "stored", "stored and moved"])
@pytest.mark.parametrize("pause", [30.0, 200.0, 400.0])
async def test_what_needs_no_write_moves_both_or_neither(
    driver: str, case: str, pause: float
) -> None:
    """A change that is stored already counts as use of the session, and no more than that."""
    site = await Site(driver, cookie=LASTING).logged_in()

    def handler(session: Any) -> Generator[Any]:
        if case.startswith("stored"):
            counts(session)
            elsewhere(site, case == "stored and moved")
        else:
            yield from changes_nothing(session)

    for _ in range(3):
        site.clock.advance(pause)
        await site.visit(handler)
        assert abs(site.cookie_ends - site.record.expires_at) < 1
        assert site.expires_in >= LIFE - 60


async def test_a_cookie_without_a_lifetime_follows_nobody(driver: str) -> None:
    """It is not sent again where another request has stored the same, and moved the expiry."""
    site = await Site(driver, idle_timeout=LIFE).logged_in()

    def handler(session: Any) -> None:
        counts(session)
        elsewhere(site, True)

    site.clock.advance(200)
    assert set_cookies(await site.visit(handler)) == []


@pytest.mark.parametrize(("pause", "calls"), [(30.0, ["get"]), (200.0, ["get", "touch"])])
async def test_a_function_that_changes_nothing_costs_no_write(
    driver: str, pause: float, calls: list[str]
) -> None:
    """It costs a read, because it is decided by what is stored by now."""
    site = await Site(driver, cookie=LASTING).logged_in()
    site.clock.advance(pause)
    response = await site.visit(changes_nothing)
    assert site.store.taken() == ["get", *calls]
    assert len(set_cookies(response)) == calls.count("touch")


@pytest.mark.parametrize("when", ["before", "after", "save"])
@pytest.mark.parametrize("options", [{}, {"cookie": LASTING}])
async def test_a_touch_counts_with_what_needs_no_write(
    driver: str, when: str, options: dict[str, Any]
) -> None:
    site = await Site(driver, **options).logged_in()
    lifetime = site.expires_in

    def handler(session: Any) -> Generator[Any]:
        if when == "before":
            session.touch()
        if when == "save":
            counts(session)
            elsewhere(site, False)
            yield from keeps_alive(session)
        else:
            yield from changes_nothing(session)
        if when == "after":
            session.touch()

    site.clock.advance(10)
    response = await site.visit(handler)
    assert site.expires_in == lifetime
    assert len(set_cookies(response)) == len(options)


@pytest.mark.parametrize("late", [False, True])
async def test_a_poll_whose_function_changes_nothing_keeps_nobody_logged_in(
    driver: str, late: bool
) -> None:
    site = await Site(driver, cookie=LASTING).logged_in()
    end = site.record.expires_at

    def polls(session: Any) -> Generator[Any]:
        session.touch(False)
        yield from changes_nothing(session)

    site.clock.advance(0.7 * LIFE)
    response = await site.visit(polls, changes_nothing if late else len)
    assert site.record.expires_at == end
    assert set_cookies(response) == []


async def test_a_change_whose_reply_was_lost_renews_the_cookie(driver: str) -> None:
    """The second attempt finds it stored, and the record's expiry moved by the first."""

    class Losing(FragileStore):
        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            written = super().set(key, record, only_if)
            if written and b'"n":1' in record.data:
                raise StoreTimeout("no reply")
            return written

    clock = Clock()
    site = await Site(driver, cookie=LASTING, clock=clock, store=Losing(clock=clock)).logged_in()

    def handler(session: Any) -> Generator[Any]:
        counts(session)
        with pytest.raises(StoreTimeout):
            yield session.save()
        clock.advance(5)

    clock.advance(200)
    await site.visit(handler)
    assert b'"n":1' in site.record.data
    assert site.cookie_ends >= site.record.expires_at


async def test_a_change_counts_though_the_touch_after_it_fails(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that was told of an error would change it again."""
    site = await Site(driver).logged_in()

    def handler(session: Any) -> Generator[Any]:
        session.touch()
        site.store.fail("touch")
        value = yield session.change(len)
        return f"counted {value}"

    site.clock.advance(10)
    assert (await site.visit(handler)).text == "counted 1"
    assert NOT_MOVED in caplog.text


async def test_a_late_touch_that_fails_is_logged(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is sent, so nobody could be told of an error."""
    site = await Site(driver).logged_in()

    def late(session: Any) -> None:
        session.touch()
        site.store.fail("touch")

    site.clock.advance(10)
    assert (await site.visit(len, late)).text == "1"
    assert NOT_MOVED in caplog.text


async def test_the_cookie_goes_out_at_the_pace_of_touches(driver: str) -> None:
    site = await Site(driver, cookie=LASTING).logged_in()
    sent = 0
    for _ in range(120):
        site.clock.advance(5)
        sent += len(set_cookies(await site.visit()))
    assert sent == 600 // 60
    assert site.store.taken().count("touch") == sent


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (len, {"cookie": CookieOptions()}),
        (len, {"keeps_alive": lambda request: False}),
        (lambda session: session.touch(False), {}),
    ],
)
async def test_a_cookie_that_need_not_move_stays(
    driver: str, handler: Handler, options: dict[str, Any]
) -> None:
    site = await Site(driver, **{"cookie": LASTING, **options}).logged_in()
    for pause in (120, 0.7 * LIFE):
        site.clock.advance(pause)
        assert set_cookies(await site.visit(handler)) == []


async def test_a_fixed_end_moves_neither(driver: str) -> None:
    clock = Clock()
    cookie = CookieOptions(expires=clock.now + LIFE)
    site = await Site(driver, clock=clock, cookie=cookie).logged_in()
    site.clock.advance(0.9 * LIFE)
    assert set_cookies(await site.visit()) == []
    assert site.store.taken() == ["get"]


# A request that takes longer than is left


def takes(clock: Clock, seconds: float, then: Handler = counts) -> Handler:
    def handler(session: Any) -> Any:
        session.get("user")  # loads it, where that is done at the first use
        clock.advance(seconds)
        return then(session)

    return handler


@pytest.mark.parametrize("options", [{}, {"touch_interval": 80}, {"touch_interval": 0}])
@pytest.mark.parametrize("left", [0.5, 5.0, 49.0, 51.0])
async def test_a_long_request_keeps_its_changes(
    driver: str, left: float, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It has half of the idle timeout at least, whenever it comes."""
    site = await Site(driver, idle_timeout=100, **options).logged_in()
    site.clock.advance(100 - left)
    await site.visit(takes(site.clock, 50))
    assert b'"n":1' in site.record.data
    assert site.expires_in == 100
    assert caplog.records == []


async def test_a_long_request_keeps_nobody_else_from_renewing_the_cookie(driver: str) -> None:
    """The browser drops the cookie before the long request ends, unless another page renews it."""
    site = await Site(driver, cookie=LASTING).logged_in()
    site.clock.advance(LIFE - 30)
    other = site.client.tab()
    pages: list[httpx.Response] = []

    def uploads(session: Any) -> Generator[Any]:
        session.get("user")
        if not pages:
            site.clock.advance(10)
            pages.append(None)  # type: ignore[arg-type]  # the next request is the other page's
            pages[0] = yield other.get("/")
            site.clock.advance(0.3 * LIFE)

    await site.visit(uploads)
    assert len(set_cookies(pages[0])) == 1


@pytest.mark.parametrize("touch_interval", [None, 0.0, 300.0])
async def test_a_long_request_of_a_lasting_cookie_has_time(
    driver: str, touch_interval: float | None
) -> None:
    site = await Site(driver, cookie=LASTING, touch_interval=touch_interval).logged_in()
    site.clock.advance(0.99 * LIFE)
    response = await site.visit(takes(site.clock, 0.7 * LIFE))
    assert b'"n":1' in site.record.data
    assert len(set_cookies(response)) == 1


@pytest.mark.parametrize(
    ("left", "handler", "calls"),
    [
        (51.0, len, ["get", "touch"]),
        (51.0, counts, ["get", "set"]),
        (96.0, len, ["get"]),
        (49.0, len, ["get", "touch"]),
        (49.0, counts, ["get", "touch", "set"]),
    ],
)
async def test_arriving_costs_a_trip_only_where_little_is_left(
    driver: str, left: float, handler: Handler, calls: list[str]
) -> None:
    site = await Site(driver, idle_timeout=100).logged_in()
    site.clock.advance(100 - left)
    await site.visit(handler)
    assert site.store.taken() == calls
    assert site.expires_in == (96 if left == 96 else 100)


async def test_an_absolute_end_is_moved_by_nobody(driver: str) -> None:
    site = await Site(driver, idle_timeout=100, absolute_timeout=120).logged_in()
    site.clock.advance(90)
    for _ in range(3):
        await site.visit()
        site.clock.advance(5)
    assert site.store.taken() == ["get", "touch", "get", "get"]
    assert site.record.expires_at == Clock().now + 120


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (len, {"keeps_alive": lambda request: False}),
        (counts, {"keeps_alive": lambda request: False}),
        (lambda session: session.touch(False), {}),
        (lambda session: (session.touch(False), counts(session)), {}),
    ],
)
async def test_polling_keeps_nobody_logged_in(
    driver: str, handler: Handler, options: dict[str, Any]
) -> None:
    """Also where only the handler says that the request does not count."""
    site = await Site(driver, idle_timeout=100, **options).logged_in()
    end = site.record.expires_at
    for _ in range(9):
        site.clock.advance(11)
        await site.visit(handler)
        assert site.record.expires_at == end
    site.clock.advance(1)
    assert (await site.visit()).text == "0"


async def test_a_rule_of_polling_that_says_nothing_is_an_error(driver: str) -> None:
    """A forgotten `return` would log everybody out in silence."""
    site = await Site(driver, idle_timeout=100, keeps_alive=lambda request: None).logged_in()
    site.clock.advance(60)
    with pytest.raises(ConfigurationError, match="must return True or False, not NoneType"):
        await site.visit(len)


async def test_polling_takes_back_its_own_move_alone(driver: str) -> None:
    """Changes that somebody else made while a poll was under way count."""
    site = await Site(driver, idle_timeout=100).logged_in()
    site.clock.advance(90)

    def polls(session: Any) -> None:
        session.touch(False)
        [(key, record)] = site.store.all()
        changed = record.data.replace(b"ann", b"bob")
        site.store.set(key, Record(changed, site.clock.now + 100))

    await site.visit(polls)
    assert site.expires_in == 100


@pytest.mark.parametrize(
    ("left", "calls"), [(51.0, ["get"]), (49.0, ["get", "touch", "get", "touch"])]
)
async def test_what_polling_costs(driver: str, left: float, calls: list[str]) -> None:
    """The option is asked before anything is moved, and so costs nothing."""
    for handler, options, expected in (
        (len, {"keeps_alive": lambda request: False}, ["get"]),
        (lambda session: session.touch(False), {}, calls),
    ):
        site = await Site(driver, idle_timeout=100, **options).logged_in()
        site.clock.advance(100 - left)
        await site.visit(handler)
        assert site.store.taken() == expected


@pytest.mark.parametrize("options", [{}, {"rolling": True}])
async def test_a_poll_after_the_end_of_the_session_finds_it_gone(
    driver: str, options: dict[str, Any]
) -> None:
    site = await Site(driver, idle_timeout=100, cookie=LASTING, **options).logged_in()
    site.clock.advance(90)

    def polls(session: Any) -> None:
        session.touch(False)
        site.store.clear()

    assert set_cookies(await site.visit(polls)) == []
    assert site.store.length() == 0


async def test_a_store_that_cannot_touch_at_arrival_fails_no_request(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await Site(driver, idle_timeout=100).logged_in()
    site.clock.advance(90)
    site.store.fail("touch")
    response = await site.visit()
    assert (response.status_code, response.text) == (200, "1")
    assert "a session's expiry could not be moved: StoreUnavailable" in caplog.text


@pytest.mark.parametrize("handler", [len, counts])
async def test_a_session_that_ends_while_it_is_loaded_is_gone(
    driver: str, handler: Handler
) -> None:
    class Ending(FragileStore):
        def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
            self.destroy(key)
            return super().touch(key, expires_at, owner)

    clock = Clock()
    site = Site(driver, idle_timeout=100, clock=clock, store=Ending(clock=clock))
    await site.logged_in()
    site.clock.advance(90)
    assert set_cookies(await site.visit(handler)) == []
    assert site.store.length() == 0


# Changes of a session that is gone


@pytest.mark.parametrize(
    ("handler", "late"),
    [
        (counts, len),
        (len, counts),
        (lambda session: session.regenerate(keep_data=True), len),
    ],
)
@pytest.mark.parametrize("why", ["ended", "expired"])
async def test_changes_that_are_dropped_are_a_warning(
    driver: str, handler: Handler, late: Handler, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await Site(driver, idle_timeout=100).logged_in()

    def is_gone(session: Any) -> None:
        handler(session)
        if late is len:
            ends()

    def ends() -> None:
        site.store.clear() if why == "ended" else site.clock.advance(101)

    def changes(session: Any) -> None:
        if late is not len:
            late(session)
            ends()

    response = await site.visit(is_gone, changes)
    assert (response.status_code, set_cookies(response)) == (200, [])
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    reason = "was ended by another request" if why == "ended" else "expired before"
    assert reason in record.getMessage()
    assert site.client.id not in record.getMessage()


@pytest.mark.parametrize("options", [{}, {"resave": True}])
async def test_nothing_to_drop_is_no_warning(
    driver: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    site = await Site(driver, **options).logged_in()
    await site.visit(lambda session: len(session) and site.store.clear())
    assert caplog.records == []


async def test_an_explicit_save_raises_and_does_not_warn(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = await Site(driver).logged_in()

    def handler(session: Any) -> Generator[Any]:
        counts(session)
        site.store.clear()
        with pytest.raises(SessionGone):
            yield session.save()

    await site.visit(handler)
    assert caplog.records == []


# touch() and save()


def keeps_alive(session: Any) -> Generator[Any]:
    session.touch()
    yield session.save()


async def test_touch_and_save_move_the_expiry_now(driver: str) -> None:
    """Though nothing has changed, and as often as it is asked for; once each time."""
    site = await Site(driver).logged_in()
    seen = []

    def handler(session: Any) -> Generator[Any]:
        for _ in range(3):
            site.clock.advance(10)
            yield from keeps_alive(session)
            seen.append((site.expires_in, session.expires_in))
            site.store.taken()
            yield session.save()
            assert site.store.taken() == []

    await site.visit(handler)
    assert seen == [(86400, 86400)] * 3
    assert site.store.taken() == []


async def test_touch_and_save_before_the_headers_send_the_cookie(driver: str) -> None:
    site = await Site(driver, cookie=LASTING).logged_in()
    site.clock.advance(1)
    assert len(set_cookies(await site.visit(keeps_alive))) == 1
    assert site.store.taken() == ["get", "touch"]
    assert site.expires_in == LIFE


async def test_touch_and_save_of_a_change_are_one_trip(driver: str) -> None:
    site = await Site(driver).logged_in()

    def handler(session: Any) -> Generator[Any]:
        site.clock.advance(10)
        counts(session)
        yield from keeps_alive(session)

    await site.visit(handler)
    assert site.store.taken() == ["get", "set"]
    assert site.expires_in == 86400


async def test_touch_and_save_of_a_session_that_is_gone(driver: str) -> None:
    site = await Site(driver).logged_in()

    def handler(session: Any) -> Generator[Any]:
        len(session)
        site.clock.advance(10)
        site.store.clear()
        with pytest.raises(SessionGone):
            yield from keeps_alive(session)

    assert set_cookies(await site.visit(handler)) == []


async def test_a_touch_after_the_headers_counts_at_the_end(driver: str) -> None:
    site = await Site(driver).logged_in()

    def late(session: Any) -> None:
        site.clock.advance(10)
        session.touch()

    await site.visit(len, late)
    assert site.expires_in == 86400
    assert site.store.taken() == ["get", "touch"]
    site.clock.advance(1)
    await site.visit(lambda session: session.touch())
    assert site.store.taken() == ["get", "touch"]


async def socket(app: Any, cookie: str) -> None:
    """Connect, be accepted, and disconnect when the application is waiting."""
    received = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        pass

    headers = [(b"cookie", cookie.encode())]
    await app({"type": "websocket", "path": "/", "scheme": "ws", "headers": headers}, receive, send)


@pytest.mark.parametrize("how", ["touch", "write", "change"])
@pytest.mark.parametrize("cookie", [CookieOptions(), LASTING])
async def test_a_socket_keeps_its_session_alive(cookie: CookieOptions, how: str) -> None:
    """Where the cookie ends by itself, the next response finds that both have to move."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    lifetime = 86400.0 if cookie.max_age is None else LIFE
    options = {"secret": SECRET, "store": store, "clock": clock, "cookie": cookie}
    ends = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["type"] == "http":
            session.setdefault("user", "ann")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(10):
            clock.advance(lifetime / 4)
            if how == "change":
                await session.change(counts)
            else:
                counts(session) if how == "write" else session.touch()
                await session.save()
            [(_, record)] = store.all()
            ends.append(record.expires_at - clock.now)
        await receive()

    client = Client(ASGISessions(app, **options))
    await client.get("/")
    await socket(client._app, f"sid={client.cookie}")
    short = 0.0 if cookie.max_age is None else 60.0
    assert ends == [lifetime - short] * 10
    clock.advance(1)
    assert len(set_cookies(await client.get("/"))) == (cookie.max_age is not None)
