"""Mistakes of deployment: proxies, workers, secrets and stores. Each is told once."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2wsgi import WSGIMiddleware
from serving import GUNICORN, server_process
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from webclient import SECRET, SyncClient, asgi_app, attributes, set_cookies, wsgi_app

from coatcheck import CookieOptions, MemoryStore, open_async_store, open_store
from coatcheck.asgi import SessionMiddleware
from coatcheck.cookie_format import NativeCookieFormat
from coatcheck.errors import ConfigurationError

Make = Callable[..., Any]

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=[asgi_app, wsgi_app], ids=["asgi", "wsgi"])
def make(request: pytest.FixtureRequest) -> Make:
    """Each middleware in turn, over an application that writes to the session."""

    def app(**options: Any) -> Any:
        return request.param(visit, **{"store": MemoryStore(), **options})

    return app


def visit(session: Any, request: Any) -> str:
    session["visits"] = session.get("visits", 0) + 1
    return "page"


class Told:
    """The warnings of coatcheck's."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "coatcheck")
        self._caplog = caplog

    def __call__(self) -> list[str]:
        """Return what was logged since the last time."""
        messages = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return messages


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """Give the messages of the log."""
    return Told(caplog)


def is_secure(app: Any, *headers: tuple[str, str], scheme: str = "http") -> bool:
    """Tell whether the cookie of a new visitor is Secure."""
    with SyncClient(app, f"{scheme}://shop.test") as visitor:
        return "secure" in attributes(visitor.get("/", headers=list(headers)))


def test_the_page_has_the_warnings_in_their_own_words() -> None:
    """An operator who looks for a line of the log in docs/how-to/troubleshooting.md finds it."""
    table = (ROOT / "docs/how-to/troubleshooting.md").read_text().partition("## Warnings\n")[2]
    quoted = re.findall(r'^\| "([^"]+)" \|', table, re.MULTILINE)
    source = ROOT / "packages/core/src/coatcheck"
    modules = ("deployment.py", "driver.py", "signing.py")
    text = "".join(next(source.rglob(module)).read_text() for module in modules)
    text = re.sub(r'"\s*\n\s*"', "", text)  # a message in several lines
    assert len(quoted) == 9
    for words in quoted:
        assert re.search(re.escape(words).replace("…", ".+"), text), words


# Where TLS ends


FORWARDED = {
    "proto=https": True,
    "for=192.0.2.60;proto=https;by=203.0.113.43": True,
    'For="[2001:db8:cafe::17]:4711";PROTO="HTTPS"': True,
    "for=192.0.2.43; proto=https, for=198.51.100.17; proto=http": True,
    "for=192.0.2.43;proto=http, for=198.51.100.17;proto=https": False,
    'for="a,b;proto=http\\"";proto=https': True,
    'host="x;proto=https";proto=http': False,
    'proto="ht\\tps"': True,
    "for=192.0.2.43, proto=https": False,
    "for=192.0.2.43": False,
    "proto": False,
    "proto=": False,
    'for="never closed;proto=https': False,
    "": False,
}


@pytest.mark.parametrize("header", FORWARDED)
def test_forwarded_is_read_by_rfc_7239(make: Make, header: str) -> None:
    """The first element is that of the proxy next to the client; its values may be quoted."""
    assert is_secure(make(trust_proxy=True), ("Forwarded", header)) is FORWARDED[header]
    assert not is_secure(make(), ("Forwarded", header))


def test_forwarded_in_several_lines_is_one_list() -> None:
    """Proxies may add a line each. WSGI servers join them."""
    lines = ("Forwarded", "for=a;proto=https"), ("Forwarded", "for=b;proto=http")
    assert is_secure(asgi_app(visit, trust_proxy=True), *lines)


def test_without_a_word_of_the_proxy_the_server_decides(make: Make) -> None:
    """A header without `proto`, or none, leaves the scheme to the server."""
    for headers in ((), (("Forwarded", "for=192.0.2.43"),)):
        assert is_secure(make(trust_proxy=True), *headers, scheme="https")
        assert not is_secure(make(trust_proxy=True), *headers)


def test_x_forwarded_proto_wins_over_forwarded(make: Make) -> None:
    """A proxy that sets the one may pass on the other as a client has made it up."""
    app = make(trust_proxy=True)
    for first, second in (("https", "http"), ("http", "https")):
        headers = ("X-Forwarded-Proto", first), ("Forwarded", f"proto={second}")
        assert is_secure(app, *headers) is (first == "https")


def test_a_callable_decides_itself(make: Make) -> None:
    """It gets the request, and what it says counts, whatever headers say."""
    seen: list[str] = []

    def is_https(request: Any) -> bool:
        seen.append(request.get("path") or request["PATH_INFO"])
        return len(seen) == 1

    app = make(trust_proxy=is_https)
    claim = ("X-Forwarded-Proto", "https")
    assert [is_secure(app), is_secure(app, claim)] == [True, False]
    assert seen == ["/", "/"]


def test_a_callable_says_true_or_false(make: Make) -> None:
    """A scheme instead of an answer would always be true."""
    with pytest.raises(ConfigurationError, match="`trust_proxy` must return True or False"):
        is_secure(make(trust_proxy=lambda request: "http"))


def test_https_is_always_secure(make: Make) -> None:
    """For a proxy that ends TLS and sends no header; nothing contradicts it."""
    app = make(https=True, trust_proxy=True, cookie=CookieOptions(secure=True))
    assert is_secure(app)
    assert is_secure(app, ("X-Forwarded-Proto", "http"))
    assert is_secure(make(https=True))
    assert not is_secure(make(https=False))


@pytest.mark.parametrize(
    "header", [("X-Forwarded-Proto", "https, http"), ("Forwarded", "for=1.2.3.4;proto=https")]
)
def test_an_untrusted_proxy_is_told_once(make: Make, told: Told, header: tuple[str, str]) -> None:
    """The cookie goes out without Secure, although the proxy says https."""
    app = make()
    for _ in range(3):
        assert not is_secure(app, header)
    [message] = told()
    assert "`trust_proxy=True`" in message
    assert "`https=True`" in message


def test_what_is_as_it_should_be_is_not_told(make: Make, told: Told) -> None:
    """Nothing is said of trusted proxies, of plain http, nor where Secure was switched off."""
    header = ("X-Forwarded-Proto", "https")
    for app in (make(trust_proxy=True), make(https=True), make(trust_proxy=lambda request: False)):
        is_secure(app, header)
    is_secure(make())
    is_secure(make(), ("X-Forwarded-Proto", "http"))
    is_secure(make(), header, scheme="https")
    is_secure(make(cookie=CookieOptions(secure=False)), header)
    assert told() == []


CROSS_SITE = {"sec-fetch-site": "cross-site"}
LINK = {**CROSS_SITE, "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}


@pytest.mark.parametrize(
    ("same_site", "method", "headers", "says"),
    [
        ("lax", "POST", LINK, "SameSite=Lax,"),
        ("lax", "POST", CROSS_SITE, "SameSite=Lax,"),
        ("lax", "GET", {**LINK, "sec-fetch-dest": "iframe"}, "SameSite=Lax,"),
        ("auto", "POST", LINK, "SameSite=Lax,"),
        (None, "POST", LINK, "SameSite=Lax,"),
        ("strict", "POST", LINK, "SameSite=Strict,"),
        ("strict", "GET", LINK, "SameSite=Strict,"),
    ],
)
def test_a_session_that_another_site_begins_is_told_once(
    make: Make, told: Told, same_site: Any, method: str, headers: dict[str, str], says: str
) -> None:
    """The browser keeps the cookie back, and takes the new one: a login is replaced."""
    app = make(cookie=CookieOptions(same_site=same_site))
    browser = SyncClient(app)
    for _ in range(2):
        stranger = browser.stranger()
        assert len(set_cookies(stranger.request(method, "/", headers=headers))) == 1
    [message] = told()
    assert message.startswith("a request from another site began a session")
    assert says in message


@pytest.mark.parametrize(
    ("same_site", "method", "headers"),
    [
        ("lax", "GET", LINK),
        ("lax", "POST", {**LINK, "sec-fetch-site": "same-site"}),
        ("lax", "POST", {**LINK, "sec-fetch-site": "none"}),
        ("lax", "POST", {}),
        ("none", "POST", LINK),
        ("auto", "POST", LINK),
        ("lax", "POST", {**LINK, "cookie": "sid=x"}),
    ],
)
def test_a_session_that_replaces_none_is_not_told(
    make: Make, told: Told, same_site: Any, method: str, headers: dict[str, str]
) -> None:
    """A link from elsewhere brings the cookie along, and so does whatever has SameSite=None."""
    app = make(cookie=CookieOptions(same_site=same_site))
    browser = SyncClient(app, "https://shop.test")
    assert len(set_cookies(browser.request(method, "/", headers=headers))) == 1
    assert told() == []


def test_a_callback_with_a_cookie_of_its_own_keeps_the_login(told: Told) -> None:
    """As docs/how-to/callbacks.md shows it: its middleware is beside the shop's."""

    async def pay(request: Request) -> PlainTextResponse:
        request.session["order"] = 42
        return PlainTextResponse("to the bank")

    async def paid(request: Request) -> RedirectResponse:
        assert request.session.pop("order") == 42
        return RedirectResponse("/orders/42", 303)

    async def shop(request: Request) -> PlainTextResponse:
        request.session.setdefault("user", "ann")
        return PlainTextResponse(str(dict(request.session)))

    payments = SessionMiddleware(
        Starlette(routes=[Route("/pay", pay), Route("/paid", paid, methods=["POST"])]),
        secret=SECRET,
        store=MemoryStore(),
        name="payment_sid",
        cookie=CookieOptions(path="/payment", same_site="none", secure=True, max_age=1800),
    )
    shops = SessionMiddleware(
        Starlette(routes=[Route("/{path:path}", shop)]), secret=SECRET, store=MemoryStore()
    )
    app = Starlette(routes=[Mount("/payment", payments), Mount("/", shops)])
    browser = SyncClient(app, "https://shop.test")
    browser.get("/")
    browser.get("/payment/pay")
    login, payment = (f"{name}={browser.cookies[name]}" for name in ("sid", "payment_sid"))
    answer = browser.stranger().post("/payment/paid", headers={**LINK, "cookie": payment})
    assert answer.status_code == 303
    assert all(line.startswith("payment_sid=") for line in set_cookies(answer))
    after = browser.stranger().get(answer.headers["location"], headers={**LINK, "cookie": login})
    assert after.text == "{'user': 'ann'}"
    assert told() == []


@pytest.mark.parametrize("closes", [True, False])
def test_mounted_middlewares_are_closed_by_the_application_around(closes: bool) -> None:
    """Starlette tells mounted applications nothing of its lifespan."""

    async def page(request: Request) -> PlainTextResponse:
        request.session["n"] = 1
        return PlainTextResponse("ok")

    shop = SessionMiddleware(Starlette(routes=[Route("/", page)]), secret=SECRET, store="memory:")

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        if closes:
            await shop.close()

    app, opened = Starlette(routes=[Mount("/", shop)], lifespan=lifespan), shop.store
    for _ in range(2):
        with TestClient(app) as browser:
            assert browser.get("/").text == "ok"
    assert (shop.store is not opened) is closes


def test_a_session_that_is_not_stored_has_the_advice(make: Make, told: Told) -> None:
    """The warning of a Secure cookie over http names all ways out."""
    with SyncClient(make(cookie=CookieOptions(secure=True))) as visitor:
        assert set_cookies(visitor.get("/")) == []
    [message] = told()
    assert "`trust_proxy=True`" in message
    assert "`https=True`" in message


# Cookies that nobody signed


def test_cookies_that_no_secret_signs_are_told_once(make: Make, told: Told) -> None:
    """One may be anybody's; several are another application, or a secret for each worker."""
    app, other = make(), make(secret="another secret of thirty-two bytes")
    with SyncClient(other) as visitor:
        visitor.get("/")
        cookie = f"sid={visitor.cookie}"
    messages = []
    for _ in range(10):
        SyncClient(app).get("/", headers={"cookie": cookie})
        messages.append(told())
    assert [len(each) for each in messages] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert "5 cookies named `sid`" in messages[4][0]
    assert cookie[4:] not in messages[4][0]


def test_cookies_of_ended_sessions_are_not_told(make: Make, told: Told) -> None:
    """They are well signed, and every visitor who comes back late has one."""
    app = make(store=MemoryStore())
    with SyncClient(make()) as visitor:
        visitor.get("/")
        for _ in range(10):
            visitor.present(f"sid={visitor.cookie}")
            SyncClient(app).get("/", headers={"cookie": f"sid={visitor.cookie}"})
    assert told() == []


def test_what_else_our_secret_has_signed_is_not_told(make: Make, told: Told) -> None:
    """A good signature of something that is no id comes from no other application."""
    signed = NativeCookieFormat().bind("sid", [SECRET.encode()]).sign("no-id")
    app = make()
    for _ in range(10):
        SyncClient(app).get("/", headers={"cookie": f"sid={signed}"})
    assert told() == []


# Owners of two middlewares in one store


def test_two_middlewares_with_one_store_are_told(make: Make, told: Told, tmp_path: Path) -> None:
    """Revoking the sessions of a user there revokes those of an administrator, too."""
    store, url = MemoryStore(), f"file://{tmp_path}/sessions"
    for shared in (store, url):
        first = make(store=shared, owner="user")
        assert told() == []
        second = make(store=shared, owner="admin", name="admin_sid")
        [message] = told()
        assert "`sid` and `admin_sid`" in message
        assert str(tmp_path) not in message
        del first, second


def test_what_two_middlewares_may_share_is_not_told(make: Make, told: Told, tmp_path: Path) -> None:
    """One name is one application; without owners nothing is listed by them."""
    store, url = MemoryStore(), f"file://{tmp_path}/a"
    kept = [
        make(store=store, owner="user"),
        make(store=store, owner="user"),
        make(store=store, name="other"),
        make(store=MemoryStore(), owner="user", name="admin_sid"),
        make(store="memory:", owner="user"),
        make(store="memory:", owner="user", name="admin_sid"),
        make(store=url, owner="user"),
        make(store=f"{url}b", owner="user", name="admin_sid"),
    ]
    assert told() == []
    del kept[0:2]
    make(store=store, owner="user", name="after_the_end_of_the_others")
    assert told() == []


# Several workers, each with its own memory

SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "--fd", "{fd}", "--workers", "2", "--factory", "stories:new_asgi_app"),
    "gunicorn": ("gunicorn", *GUNICORN, "--workers", "2", "stories:new_wsgi_app()"),
    # It starts a child for one worker, too.
    "hypercorn, 1": ("hypercorn", "--bind", "fd://{fd}", "-w", "1", "stories:new_asgi_app()"),
}  # fmt: skip


@pytest.mark.parametrize("server", SERVERS)
def test_workers_with_sessions_of_their_own_are_told(server: str) -> None:
    """The first session that a worker stores for itself is told, if there is another worker."""
    with server_process(*SERVERS[server]) as (url, errors):
        response = httpx.get(f"{url}/visits", timeout=30)
        said = errors.read_text()
    assert response.text == "1"
    assert ("several processes" in said) is not server.endswith("1"), said


@pytest.mark.parametrize("several", [True, False])
def test_a_wsgi_server_says_whether_there_are_several(told: Told, several: bool) -> None:
    """PEP 3333's `wsgi.multiprocess` is what counts, once."""
    app = wsgi_app(visit, store=MemoryStore())

    def served(environ: Any, start_response: Any) -> Any:
        said = {"wsgi.multiprocess": several, "SERVER_SOFTWARE": "shop/1"}
        return app({**environ, **said}, start_response)

    for _ in range(2):
        SyncClient(served).get("/")
    assert [("several processes" in message) for message in told()] == [True] * several


@pytest.mark.anyio
async def test_a_bridge_does_not_know_whether_there_are_several(told: Told) -> None:
    """a2wsgi, asgiref and test clients say yes to all: then the processes are looked at."""
    app = WSGIMiddleware(wsgi_app(visit, store=MemoryStore()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        assert (await client.get("http://shop.test/")).text == "page"
    assert told() == []


@pytest.mark.parametrize("open_it", [open_store, open_async_store])
def test_a_store_for_several_processes_is_nothing_to_tell(
    told: Told, tmp_path: Path, open_it: Any
) -> None:
    """Sessions in files are shared by all workers of the machine."""
    app = wsgi_app(visit, store=open_it(f"file://{tmp_path}/sessions"))

    def served(environ: Any, start_response: Any) -> Any:
        return app({**environ, "wsgi.multiprocess": True}, start_response)

    SyncClient(served).get("/")
    assert told() == []
