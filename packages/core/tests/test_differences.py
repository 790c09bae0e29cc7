"""Where coatcheck differs from express-session on purpose: docs/differences.md, told as stories."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    CountingStore,
    FragileStore,
    asgi_app,
    awaited,
    finished,
    set_cookies,
    wsgi_app,
)

from coatcheck import AsyncStore, CookieOptions, MemoryStore, Record, Store
from coatcheck._cookies.signing import Signer
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.codec import JSONCodec
from coatcheck.errors import SessionUnavailable, StoreError
from coatcheck.events import SessionEvent
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[3] / "docs" / "differences.md"
IDS = [f"D{number}" for number in range(1, 22)]

HOUR, DAY = 3600.0, 86400.0

Handler = Callable[[Any, Any], Any]


class Shop:
    """An application on one of the drivers. The last word of a request's path says what it does.

    A handler that saves, or that lets another request in, yields the call.
    """

    def __init__(
        self,
        driver: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        **pages: Handler,
    ) -> None:
        options = options or {}
        self.clock = options.setdefault("clock", Clock())
        self.store = options.setdefault("store", CountingStore(clock=self.clock))
        self._asgi = driver == "asgi"
        self._pages = PAGES | pages
        given = list((headers or {}).items())
        if self._asgi:
            raw = [(name.encode(), value.encode()) for name, value in given]
            self.app: Any = asgi_app(
                lambda s, r: awaited(self._handle(s, r["path"])),
                status=status,
                headers=raw,
                **options,
            )
        else:
            self.app = wsgi_app(
                lambda s, r: finished(self._handle(s, r["PATH_INFO"])),
                status=f"{status} {HTTPStatus(status).phrase}",
                headers=given,
                **options,
            )

    def visitor(self, base_url: str = "http://shop.test", app: Any = None) -> Client:
        """Return somebody without cookies."""
        return Client(app or self.app, base_url)

    def watched(self, see: Callable[[httpx.Headers], Any]) -> Any:
        """Return the application, with ``see`` told of the headers before the server gets them."""

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            async def send_and_see(message: Any) -> None:
                if message["type"] == "http.response.start":
                    await awaited(see(httpx.Headers(message["headers"])))
                await send(message)

            await self.app(scope, receive, send_and_see)

        def wsgi(environ: Any, start_response: Any) -> Any:
            def start_and_see(status: str, headers: Any, exc_info: Any = None) -> Any:
                finished(see(httpx.Headers(headers)))
                return start_response(status, headers, exc_info)

            return self.app(environ, start_and_see)

        return asgi if self._asgi else wsgi

    @property
    def record(self) -> Record:
        """The one stored record."""
        [(_, record)] = self.store.all()
        return record

    def _handle(self, session: Any, path: str) -> Any:
        return self._pages[path.rsplit("/", 1)[1]](session, path)


def login(session: Any, path: str) -> str:
    session["user"] = "ada"
    return "welcome"


def logout(session: Any, path: str) -> str:
    session.destroy()
    return "goodbye"


def visit(session: Any, path: str) -> int:
    session["visits"] = session.get("visits", 0) + 1
    return int(session["visits"])


def page(session: Any, path: str) -> str:
    """Read the session, and say whose it is."""
    return str(session.get("user", "nobody"))


def static(session: Any, path: str) -> str:
    """Leave the session alone."""
    return "static"


def strict(session: Any, path: str) -> str:
    """Change nothing but a setting of the cookie."""
    session.cookie.same_site = "strict"
    return "strict"


PAGES: dict[str, Handler] = {
    "login": login,
    "logout": logout,
    "visit": visit,
    "page": page,
    "static": static,
    "strict": strict,
}


def attributes(line: str) -> dict[str, str]:
    """Return the attributes of a Set-Cookie line."""
    pairs = (part.partition("=") for part in line.split("; ")[1:])
    return {name: value for name, _, value in pairs}


@pytest.fixture(params=["asgi", "wsgi"])
def driver(request: pytest.FixtureRequest) -> str:
    """Every story is told on both drivers."""
    return str(request.param)


def test_each_difference_is_documented_and_tested() -> None:
    """The document has the headings D1 to D21, names no other id, and each has a test here."""
    text = DOCUMENT.read_text("utf-8")
    assert re.findall(r"^### (D\d+): .", text, re.MULTILINE) == IDS
    assert set(re.findall(r"\bD\d+\b", text)) == set(IDS)
    tested = {match[1] for match in map(re.compile(r"test_d(\d+)_").match, globals()) if match}
    assert {f"D{number}" for number in tested} == set(IDS)


# D1: saved before the first byte


async def test_d1_a_redirect_can_be_followed_before_its_body(driver: str) -> None:
    """A browser that has a login's headers has a session, even if its next request is early."""
    shop = Shop(driver, status=303, headers={"Location": "/page"})
    seen: list[str] = []
    elsewhere = Shop(
        driver,
        page=lambda s, p: seen.append(page(s, p)),
        options={"store": shop.store, "clock": shop.clock},
    ).visitor()

    def follow(headers: httpx.Headers) -> Generator[Any]:
        yield elsewhere.present(headers["set-cookie"].split(";")[0], headers["location"])

    answer = await shop.visitor(app=shop.watched(follow)).get("/login")
    assert (answer.status_code, seen) == (303, ["ada"])


async def test_d1_a_logout_is_over_before_its_first_byte(driver: str) -> None:
    """When the browser learns of a logout the record is gone already."""
    shop = Shop(driver)
    left: list[int] = []
    visitor = shop.visitor(app=shop.watched(lambda headers: left.append(shop.store.length())))
    await visitor.get("/login")
    await visitor.get("/logout")
    assert left == [1, 0]


# D2: a logout takes the cookie along


async def test_d2_the_removal_has_the_attributes_of_the_cookie(driver: str) -> None:
    """The cookie is expired with the attributes that it was set with, so that browsers find it."""
    cookie = CookieOptions(
        path="/shop", domain="shop.test", secure=True, same_site="none", partitioned=True
    )
    shop = Shop(driver, options={"cookie": cookie})
    visitor = shop.visitor("https://shop.test")
    [set_line] = set_cookies(await visitor.get("/shop/login"))
    [removal] = set_cookies(await visitor.get("/shop/logout"))
    expired = {"Max-Age": "0", "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}
    assert removal.startswith("sid=; ")
    assert attributes(removal) == attributes(set_line) | expired
    assert list(visitor.cookies) == []


async def test_d2_a_dead_cookie_is_removed_as_well(driver: str) -> None:
    """A logout that comes after the session's end still clears the browser."""
    shop = Shop(driver)
    visitor = shop.visitor()
    await visitor.get("/login")
    shop.clock.advance(2 * DAY)
    [removal] = set_cookies(await visitor.get("/logout"))
    assert attributes(removal)["Max-Age"] == "0"
    assert list(visitor.cookies) == []


# D3: ended is ended


@pytest.mark.parametrize(
    ("option", "act"),
    [
        (None, page),
        (None, visit),
        ("resave", page),
        ("resave", visit),
        ("save_uninitialized", page),
        ("save_uninitialized", visit),
        ("rolling", visit),
    ],
)
async def test_d3_no_request_in_flight_revives_a_session(
    driver: str, option: str | None, act: Handler
) -> None:
    """A request that had the session before the logout does not bring it back, nor its cookie."""

    def slow(session: Any, path: str) -> Generator[Any]:
        page(session, path)
        yield visitor.tab().get("/logout")
        act(session, path)

    shop = Shop(driver, slow=slow, options={option: True} if option else {})
    visitor = shop.visitor()
    await visitor.get("/login")
    answer = await visitor.get("/slow")
    assert (answer.status_code, set_cookies(answer), shop.store.length()) == (200, [], 0)


# D4: parallel changes are merged


async def test_d4_parallel_changes_are_merged(driver: str) -> None:
    """All changes of two requests at the same time are there: set, replaced and deleted keys."""

    def begin(session: Any, path: str) -> None:
        session.update(cart=["tea"], theme="light", draft="to be deleted")

    def recolour(session: Any, path: str) -> None:
        session["theme"] = "dark"
        del session["draft"]

    def slow(session: Any, path: str) -> Generator[Any]:
        session["cart"].append("milk")
        yield visitor.tab().get("/recolour")
        session["note"] = "soon"

    shop = Shop(driver, begin=begin, recolour=recolour, slow=slow, show=lambda s, p: dict(s))
    visitor = shop.visitor()
    for path in ("/begin", "/slow"):
        await visitor.get(path)
    expected = {"cart": ["tea", "milk"], "theme": "dark", "note": "soon"}
    assert JSONCodec().loads(shop.record.data, "").data == expected
    assert (await visitor.get("/show")).text == str(expected)


# D5: only ids reach the store, and only those signed for this cookie


@pytest.mark.parametrize("value", ["../../../../etc/passwd", "sess:*", "ada@shop.test", "7"])
async def test_d5_a_signed_string_is_no_id(driver: str, value: str) -> None:
    """A good signature over something that is no id does not get it to the store."""
    shop = Shop(driver)
    signed = Signer([SECRET.encode()], "sid").sign(value)
    assert (await shop.visitor().present(f"sid={signed}", "/page")).text == "nobody"
    assert shop.store.taken() == []


async def test_d5_what_is_signed_for_another_cookie_opens_nothing(driver: str) -> None:
    """The same secret signs another cookie with a live id in it: under our name it is worthless."""
    shop = Shop(driver)
    visitor = shop.visitor()
    await visitor.get("/login")
    shop.store.taken()
    theme = Signer([SECRET.encode()], "theme").sign(visitor.id)
    assert (await shop.visitor().present(f"sid={theme}", "/page")).text == "nobody"
    assert shop.store.taken() == []
    assert (await shop.visitor().present(f"sid={visitor.cookie}", "/page")).text == "ada"


# D6: cookie settings alone count


async def test_d6_a_changed_setting_is_sent_and_kept(driver: str) -> None:
    """A setting that is changed alone on an existing session is in the response and the record."""
    shop = Shop(driver, show=lambda s, p: (s.cookie.same_site, s["user"]))
    visitor = shop.visitor()
    await visitor.get("/login")
    [line] = set_cookies(await visitor.get("/strict"))
    assert attributes(line)["SameSite"] == "Strict"
    later = await visitor.get("/show")
    assert (later.text, set_cookies(later)) == ("('strict', 'ada')", [])


async def test_d6_a_setting_survives_an_explicit_save(driver: str) -> None:
    """A setting that was stored before the end of the request is announced at the end, once."""

    def saves(session: Any, path: str) -> Generator[Any]:
        session.cookie.max_age = 30 * DAY
        yield session.save()

    shop = Shop(driver, saves=saves)
    visitor = shop.visitor()
    await visitor.get("/login")
    assert len(set_cookies(await visitor.get("/saves"))) == 1
    shop.clock.advance(29 * DAY)
    assert (await visitor.get("/page")).text == "ada"


async def test_d6_a_setting_alone_creates_no_session(driver: str) -> None:
    """A stranger for whom nothing but the cookie was set is still a stranger."""
    shop = Shop(driver)
    assert set_cookies(await shop.visitor().get("/strict")) == []
    assert shop.store.taken() == []


# D7: what cannot be announced is not stored


@pytest.mark.parametrize("option", [None, "save_uninitialized", "resave"])
async def test_d7_no_session_behind_a_cookie_that_cannot_be_sent(
    driver: str, option: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Over http a Secure cookie's new session is not stored, says so, and the log warns once."""
    events: list[SessionEvent] = []
    degraded: list[bool] = []

    def saves(session: Any, path: str) -> Generator[Any]:
        login(session, path)
        yield session.save()
        degraded.append(session.degraded)

    options = {"cookie": CookieOptions(secure=True), "observers": [events.append]}
    shop = Shop(driver, saves=saves, options=options | ({option: True} if option else {}))
    with caplog.at_level(logging.WARNING, "coatcheck"):
        answer = await shop.visitor().get("/saves")
    assert (set_cookies(answer), shop.store.taken(), degraded) == ([], [], [True])
    assert [event.kind for event in events] == ["insecure"]
    assert [message for message in caplog.messages if "is not stored" in message] == caplog.messages
    assert len(caplog.messages) == 1
    assert len(set_cookies(await shop.visitor("https://shop.test").get("/saves"))) == 1


# D8: one write


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("uninitialized", [True, False])
@pytest.mark.parametrize(("goes_on", "writes"), [(page, 1), (login, 1), (visit, 2)])
async def test_d8_after_a_save_the_end_writes_only_what_changed_since(
    driver: str, known: bool, uninitialized: bool, goes_on: Handler, writes: int
) -> None:
    """After an explicit save the end of the request neither writes nor touches without need."""

    def saves(session: Any, path: str) -> Generator[Any]:
        login(session, path)
        visit(session, path)
        yield session.save()
        shop.clock.advance(1)
        goes_on(session, path)

    options = {"save_uninitialized": uninitialized, "touch_interval": 0}
    shop = Shop(driver, saves=saves, options=options)
    visitor = shop.visitor()
    if known:
        await visitor.get("/login")
        shop.clock.advance(HOUR)
    shop.store.taken()
    await visitor.get("/saves")
    calls = shop.store.taken()
    assert (calls.count("set"), calls.count("touch")) == (writes, 0)


# D9: the path of RFC 6265


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/admin/page", True),
        ("/admin/users/page", True),
        ("/administrator/page", False),
        ("/admin-old/page", False),
        ("/Admin/page", False),
        ("/page", False),
    ],
)
async def test_d9_a_path_is_no_prefix(driver: str, path: str, inside: bool) -> None:
    """Beside the cookie's path even a presented cookie opens nothing: using the session raises."""
    shop = Shop(driver, options={"cookie": CookieOptions(path="/admin")})
    visitor = shop.visitor()
    await visitor.get("/admin/login")
    shop.store.taken()
    cookie = f"sid={visitor.cookie}"
    if inside:
        assert (await visitor.present(cookie, path)).text == "ada"
    else:
        with pytest.raises(SessionUnavailable, match="outside the session cookie's path"):
            await visitor.present(cookie, path)
        assert (await visitor.present(cookie, path.replace("page", "static"))).text == "static"
        assert shop.store.taken() == []


# D10: what cannot be read is no error page


@pytest.mark.parametrize("data", [b'{"cookie":{"expires":null},"user":"eve"}', b"\x80\x05N.", b"?"])
async def test_d10_an_unreadable_record_is_an_event_and_a_new_session(
    driver: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The visitor starts again; the operator has an event and a log line, without id or data."""
    events: list[SessionEvent] = []
    shop = Shop(driver, options={"observers": [events.append]})
    visitor, other = shop.visitor(), shop.visitor()
    await visitor.get("/login")
    [(key, record)] = shop.store.all()
    await other.get("/login")
    shop.store.set(key, Record(data, record.expires_at))
    events.clear()
    before = visitor.id
    with caplog.at_level(logging.DEBUG, "coatcheck"):
        assert (await visitor.get("/page")).text == "nobody"
    assert [event.kind for event in events] == ["corrupt"]
    [line] = [message for message in caplog.messages if "corrupt" in message]
    assert key not in line
    assert before not in line
    assert "eve" not in line
    await visitor.get("/login")
    assert visitor.id != before
    assert (await other.get("/page")).text == "ada"


# D11: the core knows when a session is over


@pytest.mark.parametrize("timeout", ["idle_timeout", "absolute_timeout"])
async def test_d11_a_store_that_forgets_to_expire_keeps_no_session_alive(
    driver: str, timeout: str
) -> None:
    """A record past its time is no session, whatever the store thinks of it."""
    events: list[SessionEvent] = []
    eternal = MemoryStore(clock=lambda: 0.0)
    shop = Shop(driver, options={"store": eternal, timeout: HOUR, "observers": [events.append]})
    visitor = shop.visitor()
    await visitor.get("/login")
    before = visitor.id
    shop.clock.advance(HOUR - 1)
    assert (await shop.visitor().present(f"sid={visitor.cookie}", "/page")).text == "ada"
    shop.clock.advance(HOUR if timeout == "idle_timeout" else 1)
    events.clear()
    assert (await visitor.get("/page")).text == "nobody"
    assert [event.kind for event in events] == ["expired"]
    assert eternal.length() == 1
    await visitor.get("/login")
    assert visitor.id != before


async def test_d11_a_new_absolute_timeout_holds_for_old_sessions(driver: str) -> None:
    """A session that was stored without the timeout is over nevertheless when it is too old."""
    shop = Shop(driver)
    old, young = shop.visitor(), shop.visitor()
    await old.get("/login")
    shop.clock.advance(1)
    await young.get("/login")
    shop.clock.advance(HOUR - 1)
    options = {"store": shop.store, "clock": shop.clock, "absolute_timeout": HOUR}
    today = Shop(driver, options=options).visitor()
    assert (await today.present(f"sid={old.cookie}", "/page")).text == "nobody"
    assert (await today.present(f"sid={young.cookie}", "/page")).text == "ada"


# D12: a record keeps only the settings that are its own


async def test_d12_the_record_keeps_only_the_sessions_own_settings(driver: str) -> None:
    """Configured attributes are in no record; what was set for one session is, and nothing else."""
    cookie = CookieOptions(path="/", max_age=HOUR, http_only=False, same_site="lax")
    shop = Shop(driver, options={"cookie": cookie})
    visitor = shop.visitor()
    await visitor.get("/login")
    assert JSONCodec().loads(shop.record.data, "").cookie == {}
    await visitor.get("/strict")
    assert JSONCodec().loads(shop.record.data, "").cookie == {"same_site": "strict"}


async def test_d12_tightened_options_reach_sessions_that_exist(driver: str) -> None:
    """The next cookie of an old session has the new options, and its own settings as before."""
    cookie = CookieOptions(secure=False, http_only=False, same_site=None)
    shop = Shop(driver, options={"cookie": cookie})
    visitor = shop.visitor("https://shop.test")
    await visitor.get("/login")
    await visitor.get("/strict")
    today = Shop(driver, options={"store": shop.store, "clock": shop.clock, "rolling": True})
    [line] = set_cookies(
        await today.visitor("https://shop.test").present(f"sid={visitor.cookie}", "/page")
    )
    assert attributes(line) == {"Path": "/", "HttpOnly": "", "Secure": "", "SameSite": "Strict"}


# D13: caches are told


async def test_d13_caches_are_told(driver: str) -> None:
    """A page with the session varies by cookie, one with the cookie is not kept, the rest is free.

    The table: Vary and Cache-Control of a first login, a page, an unpersonal page and a logout.
    """
    visitor = Shop(driver).visitor()
    told = []
    for path in ("/login", "/page", "/static", "/logout"):
        headers = (await visitor.get(path)).headers
        told.append((headers.get("vary"), headers.get("cache-control")))
    assert told == [("Cookie", "no-store"), ("Cookie", None), (None, None), ("Cookie", "no-store")]


async def test_d13_the_applications_own_headers_stay(driver: str) -> None:
    """Vary is extended, and a Cache-Control is the application's where no cookie is set."""
    own = {"Vary": "Accept", "Cache-Control": "private, max-age=0"}
    visitor = Shop(driver, headers=own).visitor()
    for path, cache_control in (("/login", "private, no-store"), ("/page", "private, max-age=0")):
        headers = (await visitor.get(path)).headers
        assert headers.get_list("vary") == ["Accept, Cookie"]
        assert headers.get_list("cache-control") == [cache_control]


# D14: the defaults


async def test_d14_the_defaults_store_nothing_without_need(driver: str) -> None:
    """Without options a stranger who reads gets no session, and one who returns costs no write."""
    shop = Shop(driver)
    visitor = shop.visitor()
    assert set_cookies(await visitor.get("/page")) == []
    assert shop.store.taken() == []
    await visitor.get("/login")
    shop.store.taken()
    await visitor.get("/page")
    assert shop.store.taken() == ["get"]


@pytest.mark.parametrize(("scheme", "secure"), [("http", {}), ("https", {"Secure": ""})])
async def test_d14_the_default_cookie_is_careful(
    driver: str, scheme: str, secure: dict[str, str]
) -> None:
    """Without options the cookie is HttpOnly and SameSite=Lax, and over https it is Secure."""
    [line] = set_cookies(await Shop(driver).visitor(f"{scheme}://shop.test").get("/login"))
    assert attributes(line) == {"Path": "/", "HttpOnly": "", "SameSite": "Lax"} | secure


# D15: what is stored is announced


async def test_d15_a_saved_session_cookie_was_sent(driver: str) -> None:
    """A new session that was saved without a write has its cookie, and is there next time."""

    def saves(session: Any, path: str) -> Generator[Any]:
        yield session.save()

    shop = Shop(driver, saves=saves, known=lambda s, p: (not s.is_new, len(s)))
    visitor = shop.visitor()
    answer = await visitor.get("/saves")
    assert (len(set_cookies(answer)), shop.store.length()) == (1, 1)
    assert (await visitor.get("/known")).text == "(True, 0)"


# D16: each store can touch


@pytest.mark.parametrize("api", [Store, AsyncStore])
def test_d16_a_store_without_touch_is_none(api: Any) -> None:
    """A store that lacks touch cannot even be made."""
    operations = {
        operation: getattr(MemoryStore, operation)
        for operation in ("get", "set", "destroy", "ping")
    }
    lacking = type("Lacking", (api,), {**operations, "close": MemoryStore.close})
    with pytest.raises(TypeError, match=r"abstract method '?touch"):
        lacking()


async def test_d16_reading_keeps_a_session_alive_without_a_write(driver: str) -> None:
    """A visitor who only reads stays logged in by touches, which cannot undo anybody's write."""
    shop = Shop(driver)
    visitor = shop.visitor()
    await visitor.get("/login")
    before = shop.record.data
    for _ in range(10):
        shop.clock.advance(DAY / 2)
        shop.store.taken()
        assert (await visitor.get("/page")).text == "ada"
        assert shop.store.taken() == ["get", "touch"]
    assert shop.record.data == before


# D17: each cookie of our name


@pytest.mark.parametrize(("dead", "seen"), [(1, "2"), (4, "2"), (5, "1")])
async def test_d17_the_live_session_is_found_behind_dead_cookies(
    driver: str, dead: int, seen: str
) -> None:
    """Of several cookies of our name the first that opens a session is used, among five."""
    shop = Shop(driver)
    stale = []
    for _ in range(dead):
        other = shop.visitor()
        await other.get("/visit")
        stale.append(f"sid={other.cookie}")
        await other.get("/logout")
    visitor = shop.visitor()
    await visitor.get("/visit")
    answer = await shop.visitor().present("; ".join([*stale, f"sid={visitor.cookie}"]), "/visit")
    assert answer.text == seen
    assert len(set_cookies(answer)) == (0 if seen == "2" else 1)


# D18: a store that is down says so


@pytest.mark.parametrize("policy", ["raise", "anonymous"])
async def test_d18_an_outage_is_no_silent_logout(driver: str, policy: str) -> None:
    """A store that is down is an error or, by choice, an empty session that says so; then back."""
    events: list[SessionEvent] = []
    clock = Clock()
    store = FragileStore(clock=clock)
    shop = Shop(
        driver,
        state=lambda s, p: (s.degraded, page(s, p)),
        options={
            "store": store,
            "clock": clock,
            "on_store_error": policy,
            "observers": [events.append],
        },
    )
    visitor = shop.visitor()
    await visitor.get("/login")
    events.clear()
    store.fail("get", "set")
    if policy == "raise":
        with pytest.raises(StoreError):
            await visitor.get("/state")
    else:
        assert (await visitor.get("/state")).text == "(True, 'nobody')"
        assert set_cookies(await visitor.get("/login")) == []
    kinds = {event.kind for event in events}
    assert kinds == ({"store_error"} if policy == "raise" else {"store_error", "degraded"})
    assert (await visitor.get("/static")).text == "static"
    store.fail()
    assert (await visitor.get("/state")).text == "(False, 'ada')"


# D19: the lifetime and what is left of it


async def test_d19_the_lifetime_and_what_is_left_have_two_names(driver: str) -> None:
    """`cookie.max_age` is what was configured, `expires_in` what is left of it."""

    def remember(session: Any, path: str) -> str:
        session.cookie.max_age = 2 * HOUR
        return show(session, path)

    def show(session: Any, path: str) -> str:
        return f"{session.cookie.max_age:.0f} {session.expires_in:.0f}"

    options = {"cookie": CookieOptions(max_age=HOUR), "touch_interval": HOUR}
    shop = Shop(driver, remember=remember, show=show, options=options)
    visitor = shop.visitor()
    await visitor.get("/login")
    texts = []
    for path in ("/show", "/show", "/remember", "/show"):
        texts.append((await visitor.get(path)).text)
        shop.clock.advance(600)
    assert texts == ["3600 3600", "3600 3000", "7200 7200", "7200 6600"]


# D20: cookie and record expire together


async def test_d20_the_cookie_moves_with_the_record(driver: str) -> None:
    """A visitor who only reads has a cookie that lasts like the session, sent at each touch."""
    shop = Shop(driver, options={"cookie": CookieOptions(max_age=HOUR)})
    visitor = shop.visitor()
    await visitor.get("/login")
    for pause, sent in ((59, 0), (1, 1), (59, 0), (HOUR / 2, 1)):
        shop.clock.advance(pause)
        answer = await visitor.get("/page")
        assert answer.text == "ada"
        assert len(set_cookies(answer)) == sent
        if sent:
            assert "; Max-Age=3600;" in set_cookies(answer)[0]
            assert shop.record.expires_at == shop.clock.now + HOUR


# D21: several session middlewares


async def test_d21_each_middleware_serves_its_own_name(driver: str) -> None:
    """A middleware inside another one has a session of its own, and the outer one keeps its."""
    shop = Shop(driver, options={"name": "inner"})
    make = ASGISessions if driver == "asgi" else WSGISessions
    outer = make(shop.app, secret=SECRET, name="outer", save_uninitialized=True)
    visitor = shop.visitor(app=outer)
    await visitor.get("/login")
    assert {*visitor.cookies} == {"inner", "outer"}
    assert (await visitor.get("/page")).text == "ada"


@pytest.mark.parametrize("put", [{}, {"user": "bob"}])
async def test_d21_what_else_is_put_in_its_place_is_left_alone(driver: str, put: Any) -> None:
    """Another middleware's session is no order to end or replace ours."""
    key = "session" if driver == "asgi" else "coatcheck.session"

    def shadow(session: Any, request: Any) -> str:
        request[key] = put
        return ""

    make = asgi_app if driver == "asgi" else wsgi_app
    shop = Shop(driver)
    visitor = shop.visitor()
    await visitor.get("/login")
    other = shop.visitor(app=make(shadow, store=shop.store, clock=shop.clock))
    other.cookies = visitor.cookies
    assert set_cookies(await other.get("/")) == []
    assert (await visitor.get("/page")).text == "ada"
