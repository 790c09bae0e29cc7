"""The session checklist: what OWASP, NIST, RFC 6265bis and past advisories ask for, as stories.

Each test is named for the number of its statement. docs/security.md has those that are
left out, with the reason.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import pickle
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from webclient import (
    SECRET,
    Client,
    Clock,
    FragileStore,
    SyncClient,
    asgi_app,
    attributes,
    set_cookies,
    wsgi_app,
)

from coatcheck import (
    PRESENT,
    CookieOptions,
    JSONCodec,
    Record,
    SessionEvent,
    SessionOptions,
    Sessions,
    SessionState,
)
from coatcheck.cookie import CookieAttributes, set_cookie_line
from coatcheck.cookie_format import NativeCookieFormat
from coatcheck.errors import (
    ConfigurationError,
    CorruptRecord,
    StoreError,
    StoreUnavailable,
)
from coatcheck.logins import login_age, record_login

pytestmark = pytest.mark.anyio

SECURITY = Path(__file__).parents[3] / "docs" / "security.md"
DAY = 86400.0
#: The stored form of an empty session.
KNOWN = b'{"v":1,"t":1700000000.0,"d":{}}'


def shop(session: Any, request: Mapping[str, Any]) -> object:
    """Serve a shop with a login, which does what the last part of the path says."""
    match (request.get("path") or request["PATH_INFO"]).rpartition("/")[2]:
        case "read":
            return session.get("user", "nobody")
        case "count":
            session["n"] = session.get("n", 0) + 1
            return session["n"]
        case "again":
            session["user"] = str(session["user"])
            return "the same"
        case "login":
            session.regenerate()
            session["user"] = "ann"
            return "in"
        case "logout":
            session.destroy()
            return "out"
    return "hello"


class Store(FragileStore):
    """A memory store that can fail, and notes the keys that it was asked for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keys: list[str] = []

    def get(self, key: str) -> Record | None:
        self.keys.append(key)
        return super().get(key)


def answered_with(make: object, headers: dict[str, str]) -> dict[str, Any]:
    """Return the arguments for response headers, in the words of ASGI or WSGI."""
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"headers": pairs if make is asgi_app else list(headers.items())}


class Site:
    """The shop, behind one of the middlewares; its store, its clock and what it announced."""

    def __init__(
        self, make: Callable[..., Any], app: Callable[..., object], **options: Any
    ) -> None:
        self.clock: Clock = options.setdefault("clock", Clock())
        self.store: Store = options.setdefault("store", Store(clock=self.clock))
        self.events: list[SessionEvent] = []
        options.setdefault("secret", SECRET)
        options.setdefault("observers", [self.events.append])
        answer = answered_with(make, options.pop("headers", {}))
        self.app = make(app, **options, **answer)
        self.options = options

    def visitor(self, scheme: str = "http") -> Client:
        return Client(self.app, f"{scheme}://shop.test")

    async def login(self, scheme: str = "http") -> Client:
        """Return a visitor who has just logged in, with nothing of it left in the notes."""
        visitor = self.visitor(scheme)
        await visitor.get("/login")
        self.store.taken()
        self.events.clear()
        return visitor

    def sessions(self) -> Sessions:
        return Sessions(self.store, SessionOptions(**self.options))

    def heard(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture(params=[asgi_app, wsgi_app], ids=["asgi", "wsgi"])
def open_site(request: pytest.FixtureRequest) -> Callable[..., Site]:
    """Open a site: each story is told through both middlewares."""

    def open_it(app: Callable[..., object] = shop, **options: Any) -> Site:
        return Site(request.param, app, **options)

    return open_it


OpenSite = Callable[..., Site]


def signed(session_id: str) -> dict[str, str]:
    """Return the header of a cookie with a good signature for any id."""
    writer = NativeCookieFormat().bind("sid", [SECRET.encode()])
    return {"cookie": f"sid={writer.sign(session_id)}"}


# The id


def test_statement_01_ids_are_192_random_bits() -> None:
    """A hundred thousand ids hold 192 bits each, differ, and no bit of them is fixed or leans."""
    count = 100_000
    generate = SessionOptions(secret=SECRET).generate_id
    ids = {str(generate({})) for _ in range(count)}
    assert len(ids) == count
    raw = b"".join(map(base64.urlsafe_b64decode, ids))
    assert len(raw) == count * 24
    columns = [Counter(raw[place::24]) for place in range(24)]
    bits = [
        sum(often for value, often in column.items() if value >> bit & 1)
        for column in columns
        for bit in range(8)
    ]
    # Six standard deviations: a fair generator fails once in three million runs.
    assert all(abs(ones - count / 2) < 6 * (count / 4) ** 0.5 for ones in bits)


async def test_statement_02_ids_mean_nothing(open_site: OpenSite) -> None:
    """The cookie names no user, time or host, and the same login a second time looks different."""
    site = open_site()
    cookies = [(await site.login()).cookie for _ in range(2)]
    assert cookies[0] != cookies[1]
    known = ("ann", "shop", str(int(site.clock.now)), "coatcheck")
    # One of two random cookies may hold a short word by chance.
    assert not any(all(word in cookie for cookie in cookies) for word in known)
    assert f"{int(site.clock.now):x}" not in base64.urlsafe_b64decode(cookies[0][:32]).hex()


@pytest.mark.parametrize(
    "header",
    [
        signed("short"),
        signed("x" * 129),
        signed("../../../etc/passwd"),
        signed("a b c d e f g h i j k"),
        signed(""),
        {"cookie": "sid=" + "x" * 32 + "." + "y" * 43},
        {"cookie": "sid=" + "x" * 32},
        {"cookie": signed("x" * 32)["cookie"] + "="},
        {"cookie": "sid="},
    ],
    ids=["short", "long", "path", "spaces", "empty", "forged", "unsigned", "padded", "nothing"],
)
async def test_statement_03_malformed_ids_stop_before_the_store(
    open_site: OpenSite, header: dict[str, str]
) -> None:
    """An id of a wrong length, alphabet or signature costs no store call."""
    site = open_site()
    response = await site.visitor().get("/read", headers=header)
    assert (response.text, site.store.taken()) == ("nobody", [])


async def test_statement_04_unknown_ids_are_never_adopted(open_site: OpenSite) -> None:
    """A well-formed id that nobody knows writes nothing, and what is then stored has a fresh id."""
    site, planted = open_site(), "p" * 32
    visitor = site.visitor()
    response = await visitor.get("/read", headers=signed(planted))
    assert (set_cookies(response), site.store.taken()) == ([], ["get"])
    await visitor.get("/count", headers=signed(planted))
    assert visitor.id != planted
    assert [key for key, _ in site.store.all()] == [hashlib.sha256(visitor.id.encode()).hexdigest()]


@pytest.mark.parametrize(
    ("header", "event"),
    [(signed("u" * 32), "unknown"), ({"cookie": "sid=forged.signature"}, "bad_cookie")],
)
async def test_statement_05_bad_ids_can_be_counted(
    open_site: OpenSite, header: dict[str, str], event: str
) -> None:
    """An unknown id and a bad signature are events of their own."""
    site = open_site()
    await site.visitor().get("/read", headers=header)
    assert site.heard() == [event]


async def test_statement_06_login_changes_the_id(open_site: OpenSite) -> None:
    """A session that gains privileges gets a new id, and the old one opens nothing."""
    site = open_site()
    visitor, thief = site.visitor(), site.visitor()
    await visitor.get("/count")
    before = visitor.cookie
    await visitor.get("/login")
    assert visitor.cookie != before
    assert (await visitor.get("/read")).text == "ann"
    assert (await thief.get("/read", headers={"cookie": f"sid={before}"})).text == "nobody"
    assert site.store.length() == 1


async def test_statement_07_a_stolen_database_opens_nothing(open_site: OpenSite) -> None:
    """The store holds no id, and what it holds is no id, even to one who can sign."""
    site = open_site()
    visitor = await site.login()
    ((key, record),) = site.store.all()
    assert visitor.id not in key
    assert visitor.id.encode() not in record.data
    assert (await site.visitor().get("/read", headers=signed(key))).text == "nobody"


async def test_statement_08_ids_are_told_to_nobody(
    open_site: OpenSite,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No log line, event, repr or error has an id or a key; events correlate by a short hash."""
    monkeypatch.setenv("COATCHECK_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def app(session: Any, request: Mapping[str, Any]) -> object:
        shown.append(f"{session!r} {session} {session.cookie!r}")
        return shop(session, request)

    site = open_site(app)
    visitor = site.visitor()
    await visitor.get("/login")
    secrets = [visitor.id, visitor.cookie, hashlib.sha256(visitor.id.encode()).hexdigest()]
    for path in ("/read", "/count"):
        await visitor.get(path)
    site.store.set(secrets[2], Record(b"corrupt", site.clock.now + DAY))
    await visitor.get("/read")
    site.store.fail("get", "set")
    with pytest.raises(StoreError) as failure:
        await visitor.get("/read")
    site.store.fail()
    await visitor.get("/login")
    secrets += [visitor.id, hashlib.sha256(visitor.id.encode()).hexdigest()]
    await visitor.get("/logout")
    await visitor.get("/read", headers=signed(secrets[-2]))
    printed = capsys.readouterr()
    shown += [repr(event) for event in site.events]
    shown += [caplog.text, printed.out, printed.err, repr(failure.value), str(failure.value)]
    refs = {event.ref for event in site.events if event.ref is not None}
    assert {"corrupt", "store_error", "unknown"} <= set(site.heard())
    assert "updated" in caplog.text
    assert "updated" in printed.err
    assert len(refs) == 2
    assert not [secret for secret in secrets if secret in "\n".join(shown)]


async def test_statement_09_ids_are_looked_up_by_hash(open_site: OpenSite) -> None:
    """The store is asked for the SHA-256 of an id, so its timing tells nothing about ids."""
    site = open_site()
    visitor = await site.login()
    await visitor.get("/read")
    await visitor.get("/read", headers=signed("u" * 32))
    assert site.store.keys == [
        hashlib.sha256(id.encode()).hexdigest() for id in (visitor.id, "u" * 32)
    ]


async def test_statement_10_ids_come_from_the_cookie_alone(open_site: OpenSite) -> None:
    """A good cookie value in the query, the body, the path or another header is no session."""
    site = open_site()
    value = (await site.login()).cookie
    stranger = site.visitor()
    for request in (
        {"url": "/read", "params": {"sid": value}},
        {"url": "/read", "method": "POST", "data": {"sid": value}},
        {"url": f"/{value}/read"},
        {"url": "/read", "headers": {"sid": value, "authorization": f"Bearer {value}"}},
        {"url": "/read", "headers": {"cookie": f"session={value}; SID={value}"}},
    ):
        assert (await stranger.request(**{"method": "GET", **request})).text == "nobody"
    assert site.store.taken() == []


# The cookie


async def test_statement_11_defaults(open_site: OpenSite) -> None:
    """By default the cookie is HttpOnly, SameSite=Lax, Path=/, without Domain, Secure on https."""
    plain = {"path": "/", "httponly": "", "samesite": "Lax"}
    site = open_site()
    assert attributes(await site.visitor("http").get("/login")) == plain
    assert attributes(await site.visitor("https").get("/login")) == {**plain, "secure": ""}
    strictest = open_site(name="__Host-sid")
    response = await strictest.visitor("https").get("/login")
    assert attributes(response) == {**plain, "secure": ""}
    assert set_cookies(response)[0].startswith("__Host-sid=")


@pytest.mark.parametrize(
    ("name", "cookie"),
    [
        ("__Host-sid", {"domain": "shop.test"}),
        ("__Host-sid", {"path": "/app"}),
        ("__Host-sid", {"secure": False}),
        ("__host-sid", {"path": "/app"}),
        ("__Secure-sid", {"secure": False}),
        ("sid", {"same_site": "none", "secure": False}),
        ("sid", {"partitioned": True, "secure": False}),
        ("__Http-sid", {"http_only": False}),
        ("__Host-Http-sid", {"http_only": False}),
    ],
)
def test_statement_12_contradictions_stop_the_start(
    open_site: OpenSite, name: str, cookie: dict[str, Any]
) -> None:
    """A prefix, SameSite=None or Partitioned that the attributes contradict is refused at once."""
    with pytest.raises(ConfigurationError):
        open_site(name=name, cookie=CookieOptions(**cookie))


@pytest.mark.parametrize("bad", ["a;b", "a\r\nb", "a\0b", "a\x7fb", "a\tb", "é"])
@pytest.mark.parametrize("place", ["path", "domain"])
async def test_statement_13_attributes_cannot_break_out(
    open_site: OpenSite, place: str, bad: str
) -> None:
    """A value that would break out of the header is refused, at the start and for one session."""
    value = "/" + bad if place == "path" else bad

    def app(session: Any, request: object) -> None:
        session["n"] = 1
        setattr(session.cookie, place, value)

    with pytest.raises(ConfigurationError):
        CookieOptions(**{place: value})
    with pytest.raises(ConfigurationError):
        await open_site(app).visitor().get("/")


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a=b", 'a"b', "", "(a)", "a;b", "a\r\nb", "a\0", "é"]
)
def test_statement_13_names_are_tokens(open_site: OpenSite, name: str) -> None:
    """The cookie's name is a token of RFC 6265."""
    with pytest.raises(ConfigurationError):
        open_site(name=name)


def test_statement_14_sizes(open_site: OpenSite) -> None:
    """Attributes have 1024 bytes at most, name and value 4096; more is an error, never a loss."""
    fits = CookieOptions(path="/" + "p" * 1023)
    assert open_site(name="n" * 1024, cookie=fits).app
    for options in ({"path": "/" + "p" * 1024}, {"domain": ".".join(["d" * 50] * 21)}):
        with pytest.raises(ConfigurationError):
            CookieOptions(**options)
    with pytest.raises(ConfigurationError):
        open_site(name="n" * 1025)
    assert set_cookie_line("sid", "v" * 4093, CookieAttributes())
    with pytest.raises(ConfigurationError):
        set_cookie_line("sid", "v" * 4094, CookieAttributes())


def test_statement_15_lifetime_of_the_cookie() -> None:
    """A cookie lives 400 days at most."""
    assert CookieOptions(max_age=timedelta(days=400))
    with pytest.raises(ConfigurationError):
        CookieOptions(max_age=timedelta(days=400, seconds=1))


@pytest.mark.parametrize("secrets", [SECRET, ["another secret of 32 bytes and more", SECRET]])
async def test_statement_16_one_set_cookie(open_site: OpenSite, secrets: Any) -> None:
    """Two middlewares, a rotation and the application's own cookie: one line for ours."""
    site = open_site(headers={"location": "/", "set-cookie": "other=1"})
    site.store.set(hashlib.sha256(b"k" * 32).hexdigest(), Record(KNOWN, site.clock.now + DAY))
    outer = type(site.app)(site.app, **{**site.options, "secret": secrets, "name": "outer"})
    twice = Client(outer)
    response = await twice.get("/login", headers=signed("k" * 32))
    names = [line.partition("=")[0] for line in set_cookies(response)]
    assert sorted(names) == ["other", "sid"]
    assert site.heard() == ["loaded", "created", "regenerated"]


async def test_statement_17_removal_repeats_the_attributes(open_site: OpenSite) -> None:
    """The cookie is removed with the Path, Domain, Secure, SameSite and Partitioned it was set."""
    cookie = CookieOptions(
        path="/app", domain="shop.test", secure=True, same_site="none", partitioned=True
    )
    site = open_site(cookie=cookie)
    visitor = site.visitor("https")
    announced = attributes(await visitor.get("/app/login"))
    removed = attributes(await visitor.get("/app/logout"))
    assert set(announced) >= {"path", "domain", "secure", "samesite", "partitioned"}
    assert removed == {
        **announced,
        "max-age": "0",
        "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    }


async def test_statement_18_several_cookies_of_one_name(open_site: OpenSite) -> None:
    """Of several cookies the first that opens a session does, five are tried, none is an error."""
    site = open_site()
    good = f"sid={(await site.login()).cookie}"
    unknown = signed("u" * 32)["cookie"]
    stranger = site.visitor()
    for count, user in ((1, "ann"), (4, "ann"), (5, "nobody")):
        for other in ("sid=junk", unknown):
            header = {"cookie": "; ".join([other] * count + [good])}
            response = await stranger.get("/read", headers=header)
            assert (response.status_code, response.text) == (200, user)


async def test_statement_19_persistence(open_site: OpenSite) -> None:
    """The cookie ends with the browser; a persistent one ends with the absolute limit."""
    assert not {"max-age", "expires"} & set(attributes(await open_site().visitor().get("/login")))
    site = open_site(cookie=CookieOptions(max_age=DAY), absolute_timeout=3600)
    visitor = site.visitor()
    assert attributes(await visitor.get("/login"))["max-age"] == "3600"
    site.clock.advance(600)
    assert attributes(await visitor.get("/count"))["max-age"] == "3000"
    site.clock.advance(3000)
    assert (await visitor.get("/read")).text == "nobody"


async def test_statement_20_the_cookie_is_a_ticket(open_site: OpenSite) -> None:
    """The cookie holds an id and its signature, however much the session holds."""

    def app(session: Any, request: Mapping[str, Any]) -> object:
        session["cart"] = ["a thing that the visitor put there"] * 1000
        return "full"

    site = open_site(app)
    visitor = site.visitor()
    await visitor.get("/")
    assert re.fullmatch(r"[\w-]{32}\.[\w-]{43}", visitor.cookie)


async def test_statement_21_caches(open_site: OpenSite) -> None:
    """A page that read the session says Vary: Cookie; one that sets the cookie also no-store."""
    site = open_site()
    visitor = site.visitor()
    seen = {}
    for path in ("/", "/read", "/login", "/again", "/read", "/logout"):
        headers = (await visitor.get(path)).headers
        seen[path] = headers.get("vary"), headers.get("cache-control")
    assert seen == {
        "/": (None, None),
        "/read": ("Cookie", None),
        "/login": ("Cookie", "no-store"),
        "/again": ("Cookie", None),
        "/logout": ("Cookie", "no-store"),
    }


@pytest.mark.parametrize(
    "read",
    [
        lambda session: "user" in session,
        len,
        bool,
        list,
        lambda session: session == {},
        lambda session: session.get("user"),
        lambda session: session.keys() == set(),
        lambda session: session.is_new,
        lambda session: session.pop("user", None),
    ],
)
async def test_statement_21_every_way_of_reading_counts(
    open_site: OpenSite, read: Callable[[Any], object]
) -> None:
    """A response that depends on the session in any way says so."""
    response = await open_site(lambda session, request: read(session)).visitor().get("/")
    assert response.headers["vary"] == "Cookie"


async def test_statement_22_set_cookie_is_rare(open_site: OpenSite) -> None:
    """Set-Cookie goes out only where the value or its lifetime changed, or its end moves."""
    site = open_site()
    visitor = await site.login()
    for path in ("/", "/read", "/again", "/count"):
        assert set_cookies(await visitor.get(path)) == []
        site.clock.advance(3600)
    lasting = open_site(cookie=CookieOptions(max_age=DAY))
    visitor = await lasting.login()
    visits = (("/read", 59, 0), ("/read", 1, 1), ("/again", 59, 0), ("/count", 1, 1))
    for path, seconds, count in visits:
        lasting.clock.advance(seconds)
        assert len(set_cookies(await visitor.get(path))) == count


async def test_statement_23_dates(open_site: OpenSite) -> None:
    """Expires is an RFC 1123 date in GMT."""
    site = open_site(cookie=CookieOptions(max_age=DAY))
    date = attributes(await site.visitor().get("/login"))["expires"]
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert parsedate_to_datetime(date).timestamp() == site.clock.now + DAY


async def test_statement_24_a_lost_cookie_is_no_error(open_site: OpenSite) -> None:
    """A browser that dropped the cookie is just anonymous."""
    visitor = await open_site().login()
    visitor.cookies.clear()
    response = await visitor.get("/read")
    assert (response.status_code, response.text) == (200, "nobody")


async def test_statement_25_no_insecure_fallback(
    open_site: OpenSite, caplog: pytest.LogCaptureFixture
) -> None:
    """A Secure cookie is not set over http, nothing is stored for it, and the log says why."""
    site = open_site(cookie=CookieOptions(secure=True))
    response = await site.visitor("http").get("/login")
    assert (response.text, set_cookies(response), site.store.length()) == ("in", [], 0)
    assert site.heard() == ["insecure"]
    assert "Secure and the request came over http" in caplog.text


# The lifetime


async def test_statement_26_idle_timeout(open_site: OpenSite) -> None:
    """The server's clock ends an idle session, though the browser still shows its cookie."""
    site = open_site(idle_timeout=100, cookie=CookieOptions(max_age=DAY))
    visitor = await site.login()
    site.clock.advance(99)
    assert (await visitor.get("/read")).text == "ann"
    site.clock.advance(100)
    assert visitor.cookie
    assert (await visitor.get("/read")).text == "nobody"


@pytest.mark.parametrize("path", ["/read", "/count"])
async def test_statement_27_absolute_timeout(open_site: OpenSite, path: str) -> None:
    """A session that is used all the time ends nevertheless."""
    site = open_site(idle_timeout=100, absolute_timeout=1000)
    visitor = await site.login()
    for _ in range(11):
        site.clock.advance(90)
        await visitor.get(path)
        assert site.heard()[-1] != "unknown"
    site.clock.advance(10)
    assert (await visitor.get("/read")).text == "nobody"


async def test_statement_27_rotation_does_not_prolong(open_site: OpenSite) -> None:
    """A new id for the same session does not move its absolute end."""

    def app(session: Any, request: Mapping[str, Any]) -> object:
        if request.get("path", request.get("PATH_INFO")) == "/rotate":
            session.regenerate(keep_data=True)
        return shop(session, request)

    site = open_site(app, absolute_timeout=1000)
    visitor = await site.login()
    site.clock.advance(999)
    await visitor.get("/rotate")
    assert (await visitor.get("/read")).text == "ann"
    site.clock.advance(1)
    assert (await visitor.get("/read")).text == "nobody"


#: The limits of NIST SP 800-63B, revision 4: 2.1.3, 2.2.3 and 2.3.3.
LEVELS: dict[str, tuple[timedelta, timedelta | None]] = {
    "AAL1": (timedelta(days=30), None),
    "AAL2": (timedelta(hours=24), timedelta(hours=1)),
    "AAL3": (timedelta(hours=12), timedelta(minutes=15)),
}


def documented_limits(level: str) -> tuple[timedelta, timedelta | None]:
    """Return what docs/security.md says to set for a level."""
    row = re.search(rf"^\| {level} \|.*$", SECURITY.read_text("utf-8"), re.MULTILINE)
    assert row is not None
    given = re.findall(r"`(\w+)_timeout=timedelta\((\w+)=(\d+)\)`", row[0])
    limits = {option: timedelta(**{unit: int(number)}) for option, unit, number in given}
    return limits["absolute"], limits.get("idle")


@pytest.mark.parametrize("level", LEVELS)
async def test_statement_28_limits_of_the_assurance_levels(open_site: OpenSite, level: str) -> None:
    """The two options in the documentation reach the limits of a level, to the second."""
    absolute, idle = documented_limits(level)
    assert (absolute, idle) == LEVELS[level]
    site = open_site(absolute_timeout=absolute, idle_timeout=idle or absolute)
    step = (idle or absolute).total_seconds() - 1
    visitor, age = await site.login(), 0.0
    while age + step < absolute.total_seconds():
        site.clock.advance(step)
        age += step
        assert (await visitor.get("/read")).text == "ann"
    site.clock.advance(absolute.total_seconds() - age)
    assert (await visitor.get("/read")).text == "nobody"
    if idle is not None:
        visitor = await site.login()
        site.clock.advance(idle.total_seconds())
        assert (await visitor.get("/read")).text == "nobody"


async def test_statement_30_expired_means_absent(open_site: OpenSite) -> None:
    """An expired record that is still there shows in no read, touch, save, count or list."""
    site = open_site(idle_timeout=100, owner="user")
    visitor = await site.login()
    ((key, record),) = site.store.all()
    site.clock.advance(100)
    assert site.store.length() == 0
    assert list(site.store.all()) == site.sessions().list("ann") == []
    assert not site.store.touch(key, site.clock.now + DAY)
    assert not site.store.set(key, record, PRESENT)
    assert (await visitor.get("/read")).text == "nobody"


async def test_statement_30_even_if_the_store_forgets_to_check(open_site: OpenSite) -> None:
    """A store that serves expired records revives nothing: the core looks at the time, too."""
    site = open_site(store=Store(clock=Clock()), idle_timeout=100, owner="user")
    visitor = await site.login()
    before = visitor.id
    site.clock.advance(100)
    assert site.store.length() == 1
    assert (await visitor.get("/read")).text == "nobody"
    assert site.heard()[-1] == "expired"
    assert site.sessions().list("ann") == []
    await visitor.get("/count")
    assert visitor.id != before


# The end


async def test_statement_31_reauthentication_can_be_required(open_site: OpenSite) -> None:
    """Only a login moves the time since the last one: no use of the session, and no new id."""

    def page(session: Any, request: Mapping[str, Any]) -> object:
        match request.get("path") or request["PATH_INFO"]:
            case "/login":
                record_login(session)
            case "/rotate":
                session.regenerate(keep_data=True)
            case "/touch":
                session.touch()
        return login_age(session)

    site = open_site(page)
    visitor = site.visitor()
    assert (await visitor.get("/")).text == "None"
    await visitor.get("/login")
    for path in ("/", "/touch", "/rotate"):
        site.clock.advance(100)
        await visitor.get(path)
    assert (await visitor.get("/")).text == "300.0"
    before = visitor.id
    assert (await visitor.get("/login")).text == "0.0"
    assert visitor.id != before


async def test_statement_32_logout(open_site: OpenSite) -> None:
    """Logout removes the record and the cookie, and leaves the application's headers alone."""
    site = open_site(headers={"Clear-Site-Data": '"cache"'})
    visitor = await site.login()
    response = await visitor.get("/logout")
    assert site.store.length() == 0
    assert attributes(response)["max-age"] == "0"
    assert list(visitor.cookies.jar) == []
    assert response.headers["clear-site-data"] == '"cache"'


@pytest.mark.parametrize("path", ["/read", "/count", "/again"])
@pytest.mark.parametrize(
    "options", [{}, {"rolling": True}, {"resave": True}, {"touch_interval": 0}]
)
async def test_statement_33_a_logout_stays_a_logout(
    open_site: OpenSite, path: str, options: dict[str, Any]
) -> None:
    """A request in flight at the logout, reading or writing, does not bring the session back."""
    clock = Clock()
    store = Store(clock=clock)
    elsewhere = SyncClient(wsgi_app(shop, store=store, clock=clock))

    def app(session: Any, request: Mapping[str, Any]) -> object:
        if request.get("path", request.get("PATH_INFO")) == path:
            clock.advance(300)
            assert session["user"] == "ann"
            elsewhere.present(f"sid={visitor.cookie}", "/logout")
        return shop(session, request)

    site = open_site(app, store=store, clock=clock, **options)
    visitor = await site.login()
    response = await visitor.get(path)
    assert response.status_code == 200
    assert set_cookies(response) == []
    assert site.store.length() == 0


async def test_statement_34_log_out_everywhere(open_site: OpenSite) -> None:
    """All sessions of a user end at once, on each worker, and nobody else's."""
    clock = Clock()
    store = Store(clock=clock)
    workers = [open_site(store=store, clock=clock, owner="user") for _ in range(2)]
    visitors = [await worker.login() for worker in workers]
    bystander = workers[0].visitor()
    await bystander.get("/count")
    assert workers[0].sessions().revoke_all("ann") == 2
    assert [(await visitor.get("/read")).text for visitor in visitors] == ["nobody"] * 2
    assert (await bystander.get("/count")).text == "2"


async def test_statement_35_users_see_their_sessions(open_site: OpenSite) -> None:
    """A user lists sessions by references that open nothing, and ends one of them."""
    site = open_site(owner="user")
    first = await site.login()
    site.clock.advance(60)
    second = await site.login()
    entries = site.sessions().list("ann")
    assert [entry.created_at for entry in entries] == [site.clock.now - 60, site.clock.now]
    assert [entry.expires_at - entry.created_at for entry in entries] == [DAY, DAY]
    shown = repr(entries) + "".join(entry.ref for entry in entries)
    assert first.id not in shown
    assert second.id not in shown
    assert (await site.visitor().get("/read", headers=signed(entries[0].ref))).text == "nobody"
    assert site.sessions().revoke(entries[0].ref) is True
    assert [(await visitor.get("/read")).text for visitor in (first, second)] == ["nobody", "ann"]


# The store and the data


class Bomb:
    """Goes off when it is unpickled."""

    exploded: list[str] = []

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Bomb.exploded.append, ("boom",)


async def test_statement_37_nothing_is_unpickled(open_site: OpenSite) -> None:
    """A pickle that was planted in the store is a corrupt record, and is not executed."""
    site = open_site()
    visitor = await site.login()
    key = hashlib.sha256(visitor.id.encode()).hexdigest()
    for bomb in (pickle.dumps(Bomb()), base64.b64encode(pickle.dumps(Bomb(), 0))):
        site.store.set(key, Record(bomb, site.clock.now + DAY))
        assert (await visitor.get("/read")).text == "nobody"
        assert site.heard()[-1] == "corrupt"
    assert Bomb.exploded == []


class SealedCodec:
    """Binds a record to its key, as an encrypting codec does with associated data."""

    canonical = False

    def __init__(self, *secrets: bytes) -> None:
        self.secrets, self.json = secrets, JSONCodec()

    def dumps(self, state: SessionState) -> bytes:
        return self.json.dumps(state)

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        return self._seal(self.secrets[0], content, key)

    def loads(self, data: bytes, key: str) -> SessionState:
        content = data[32:]
        if not any(data == self._seal(secret, content, key) for secret in self.secrets):
            raise CorruptRecord("the seal is broken")
        return self.json.loads(content, key)

    def _seal(self, secret: bytes, content: bytes, key: str) -> bytes:
        return hmac.digest(secret, key.encode() + content, "sha256") + content


async def test_statement_38_no_downgrade(open_site: OpenSite) -> None:
    """With a codec that seals, plain data, another key's and another session's are refused."""
    site = open_site(codec=SealedCodec(b"new", b"old"))
    visitor, other = await site.login(), await site.login()
    key, other_key = (hashlib.sha256(each.id.encode()).hexdigest() for each in (visitor, other))
    own, others = site.store.get(key), site.store.get(other_key)
    assert own is not None
    assert others is not None
    content = own.data[32:]
    state = JSONCodec().loads(content, key)
    old, foreign = (
        SealedCodec(secret).pack(content, state, 0, key) for secret in (b"old", b"foreign")
    )
    for data, user in (
        (content, "nobody"),
        (foreign, "nobody"),
        (others.data, "nobody"),
        (own.data, "ann"),
        (old, "ann"),
    ):
        site.store.set(key, Record(data, own.expires_at))
        assert (await visitor.get("/read")).text == user
    await visitor.get("/count")
    written = site.store.get(key)
    assert written is not None
    assert SealedCodec(b"new").loads(written.data, key).data == {"user": "ann", "n": 1}


async def test_statement_39_a_failed_store_is_not_an_empty_session(open_site: OpenSite) -> None:
    """By default a failed load is an error at the first use; pages without a session stay up."""
    site = open_site()
    visitor = await site.login()
    site.store.fail("get", "set")
    assert (await visitor.get("/")).text == "hello"
    with pytest.raises(StoreUnavailable):
        await visitor.get("/read")
    site.store.fail()
    assert (await visitor.get("/read")).text == "ann"


async def test_statement_39_degraded_on_request(open_site: OpenSite) -> None:
    """With `on_store_error="anonymous"` the request goes on, saves nothing and says so."""
    site = open_site(on_store_error="anonymous")
    visitor = await site.login()
    site.store.fail("get", "set")
    response = await visitor.get("/count")
    assert (response.text, set_cookies(response)) == ("1", [])
    assert site.heard() == ["store_error", "degraded"]
    site.store.fail()
    assert (await visitor.get("/read")).text == "ann"


async def test_statement_39_a_failed_save_is_an_error(open_site: OpenSite) -> None:
    """A write that fails is never silent, whatever the policy for reads."""
    for policy in ("raise", "anonymous"):
        site = open_site(on_store_error=policy)
        site.store.fail("get", "set")
        with pytest.raises(StoreUnavailable):
            await site.visitor().get("/login")


async def test_statement_40_anonymous_requests_are_free(open_site: OpenSite) -> None:
    """A request that leaves the session alone costs no store call and gets no cookie."""
    site = open_site()
    response = await site.visitor().get("/")
    assert (set_cookies(response), site.store.taken()) == ([], [])
    assert set(response.headers) <= {"content-type"}
    response = await site.visitor().get("/logout")
    assert (set_cookies(response), site.store.taken()) == ([], [])


async def test_statement_41_the_session_stays_on_https(open_site: OpenSite) -> None:
    """A session with a Secure cookie is not begun over http, whatever a client claims."""
    site = open_site(cookie=CookieOptions(secure=True))
    visitor = await site.login("https")
    assert (await visitor.get("http://shop.test/read")).text == "nobody"
    claim = {"x-forwarded-proto": "https"}
    response = await site.visitor("http").get("/login", headers=claim)
    assert (set_cookies(response), site.store.length()) == ([], 1)
    trusting = open_site(cookie=CookieOptions(secure=True), trust_proxy=True)
    response = await trusting.visitor("http").get("/login", headers=claim)
    assert "secure" in attributes(response)


async def test_statement_43_another_browser_or_address_is_no_reason(open_site: OpenSite) -> None:
    """A changed user agent or address does not end a session: phones change theirs all day."""
    visitor = await open_site().login()
    changed = {"user-agent": "another", "x-forwarded-for": "203.0.113.7"}
    assert (await visitor.get("/read", headers=changed)).text == "ann"


# The list itself


def test_every_statement_is_covered() -> None:
    """Each of the 43 statements has a test here, or its reason in docs/security.md."""
    tested = {int(number) for number in re.findall(r"test_statement_(\d\d)_", " ".join(globals()))}
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", SECURITY.read_text("utf-8"), re.MULTILINE)
    explained = {int(number) for number, _, _ in rows}
    assert tested | explained == set(range(1, 44))
    assert not tested & explained
    assert len(rows) == len(explained)


#: Where a test of a defence can be: a statement's number, a file of tests, clauses of the contract,
#: or the page of the faults.
TESTED = re.compile(
    r"\d\d?|\[test_\w+\.py\]\(\S+\)(?: \(D\d+\))?|\[reliability\.md\]\(\S+\)"
    r"|[A-Z]+(?:-\d+)? of \[the contract\]\(contract\.md\)"
)


def test_every_defence_says_where_it_is_tested() -> None:
    """Each row of the attacks names tests that there are."""
    text = SECURITY.read_text("utf-8")
    table = text.partition("## Attacks and defences")[2].partition("\n\nThe defaults")[0]
    _, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    tested = set(re.findall(r"test_statement_(\d\d)_", " ".join(globals())))
    clauses = (SECURITY.parent / "contract.md").read_text("utf-8")
    assert len(rows) > 20
    for row in rows:
        places = row.strip("| ").split(" | ")[2].split(", ")
        for place in places:
            assert TESTED.fullmatch(place), row
            if place.isdigit():
                assert place.zfill(2) in tested, row
            elif place[0].isupper():
                clause = place.partition(" ")[0]
                assert re.search(rf"^(?:\| {clause} \||## {clause}: )", clauses, re.MULTILINE), row
