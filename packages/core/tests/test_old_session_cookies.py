"""Readers of old sessions that are in a cookie, with cookies that the real libraries have made."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import aiohttp_session
import litestar
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_exceptions import NotAppKeyWarning
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from itsdangerous import TimestampSigner
from litestar.middleware.session.client_side import CookieBackendConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import CookieStore, SessionAutoloadMiddleware
from starsessions import SessionMiddleware as StarsessionsMiddleware
from webclient import SECRET, Clock, SyncClient, asgi_app, set_cookies, wsgi_app

import coatcheck.aiohttp
from coatcheck import MemoryStore
from coatcheck.aiohttp_session import CoatcheckStorage
from coatcheck.errors import ConfigurationError
from coatcheck.old_sessions import OldSessions
from coatcheck.old_sessions.aiohttp_session import AiohttpCookieSessions
from coatcheck.old_sessions.django import DjangoCookieSessions
from coatcheck.old_sessions.litestar import LitestarCookieSessions
from coatcheck.old_sessions.starsessions import StarsessionsCookieSessions

OLD_SECRET = "the secret that the old application has"
OLD_KEY = b"the thirty-two bytes of the key."
DATA = {"user": "ann", "cart": [{"item": 1}, "ü"], "long": "x" * 300}


def aiohttp_cookie() -> str:
    async def log_in(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session.update(DATA)
        return web.Response(text="in")

    async def visit() -> str:
        app = web.Application()
        aiohttp_session.setup(app, EncryptedCookieStorage(OLD_KEY, max_age=86400))
        app.router.add_get("/", log_in)
        async with TestClient(TestServer(app)) as client:
            response = await client.get("/")
            return response.cookies["AIOHTTP_SESSION"].value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotAppKeyWarning)
        return asyncio.run(visit())


def starsessions_cookie() -> str:
    async def log_in(request: Request) -> PlainTextResponse:
        request.session.update(DATA)
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/", log_in)])
    app.add_middleware(SessionAutoloadMiddleware)
    app.add_middleware(
        StarsessionsMiddleware,
        store=CookieStore(OLD_SECRET),
        lifetime=86400,
        rolling=True,
        cookie_https_only=False,
    )
    browser = SyncClient(app)
    browser.get("/")
    return browser.cookie


DJANGO = """
import json, sys
from django.conf import settings
settings.configure(SECRET_KEY=sys.argv[1])
from django.contrib.sessions.backends.signed_cookies import SessionStore
session = SessionStore()
session.update(json.loads(sys.argv[2]))
session.save()
print(session.session_key)
"""


def django_cookie() -> str:
    """Let Django make a cookie in a process of its own, because a process has one Django."""
    command = [sys.executable, "-c", DJANGO, OLD_SECRET, json.dumps(DATA)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert made.startswith("."), "it is compressed"
    return made.strip()


def litestar_cookies(data: dict[str, Any] | None = None) -> dict[str, str]:
    config = CookieBackendConfig(secret=OLD_KEY, max_age=86400)

    @litestar.get("/")
    async def log_in(request: litestar.Request[Any, Any, Any]) -> str:
        request.set_session(DATA if data is None else data)
        return "in"

    app = litestar.Litestar(
        [log_in], middleware=[config.middleware], openapi_config=None, logging_config=None
    )
    browser = SyncClient(app)
    browser.get("/")
    return {cookie.name: cookie.value or "" for cookie in browser.cookies.jar}


#: By the name of the cookie: what makes it, and its reader.
OLD: dict[str, tuple[Callable[[], str], Callable[..., OldSessions]]] = {
    "AIOHTTP_SESSION": (
        aiohttp_cookie,
        lambda **given: AiohttpCookieSessions(OLD_KEY, max_age=86400, **given),
    ),
    "session": (
        starsessions_cookie,
        lambda **given: StarsessionsCookieSessions(OLD_SECRET, lifetime=86400, **given),
    ),
    "litestar": (
        lambda: litestar_cookies()["session"],
        lambda **given: LitestarCookieSessions(OLD_KEY, key="litestar", **given),
    ),
    "sessionid": (
        django_cookie,
        lambda **given: DjangoCookieSessions(OLD_SECRET, age=86400, fallbacks=["other"], **given),
    ),
}


@pytest.fixture(params=OLD, scope="module")
def old(request: Any) -> tuple[str, str, Callable[..., OldSessions]]:
    """The name of an old cookie, its value, and what makes a reader."""
    make, reader = OLD[request.param]
    return request.param, make(), reader


def show(session: Any, request: Any) -> Any:
    path = request["path"] if "path" in request else request["PATH_INFO"]
    if path == "/logout":
        session.destroy()
    return dict(session)


def test_aiohttp_takes_its_own_sessions_over() -> None:
    """Code that calls `get_session` stays as it is."""

    async def page(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        if request.path == "/logout":
            session.invalidate()
        return web.Response(text=str(dict(session)))

    async def visit(value: str) -> list[str]:
        app = web.Application()
        old = AiohttpCookieSessions(OLD_KEY, max_age=86400)
        coatcheck.aiohttp.setup(app, secret=SECRET, store=MemoryStore(), old_sessions=[old])
        aiohttp_session.setup(app, CoatcheckStorage())
        app.router.add_get("/{path:.*}", page)
        async with TestClient(TestServer(app), cookies={"AIOHTTP_SESSION": value}) as browser:
            answers = [await browser.get(path) for path in ("/", "/", "/logout")]
            stolen = {"Cookie": f"AIOHTTP_SESSION={value}"}
            answers.append(await browser.get("/", headers=stolen))
            return [await answer.text() for answer in answers]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotAppKeyWarning)
        assert asyncio.run(visit(aiohttp_cookie())) == [str(DATA), str(DATA), "{}", "{}"]


@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
def test_a_visitor_stays_logged_in_until_the_logout(make: Any, old: Any) -> None:
    name, value, reader = old
    app = make(show, store=MemoryStore(), old_sessions=[reader()])
    browser = SyncClient(app)
    browser.cookies.set(name, value, domain="shop.test", path="/")
    assert browser.get("/").text == str(DATA)
    assert [cookie.name for cookie in browser.cookies.jar] == ["sid"]
    assert browser.get("/").text == str(DATA)
    browser.get("/logout")
    answer = SyncClient(app).present(f"{name}={value}")
    assert answer.text == "{}"
    assert [line.partition(";")[0] for line in set_cookies(answer)] == [f"{name}="]


def test_it_is_valid_as_long_as_it_was_before(old: Any) -> None:
    name, value, reader = old
    for seconds, until, text in (
        (86400 - 60, None, str(DATA)),
        (86400 + 60, None, "{}"),
        (3600, time.time() + 1800, "{}"),
        # The clock of this server may be behind. Litestar's cookie says when it ends, and no more.
        (-3600, None, str(DATA) if name == "litestar" else "{}"),
    ):
        clock = Clock(time.time() + seconds)
        app = wsgi_app(
            show, store=MemoryStore(clock=clock), clock=clock, old_sessions=[reader(until=until)]
        )
        assert SyncClient(app).present(f"{name}={value}").text == text


def test_each_way_to_write_a_cookie_has_one_identity(old: Any) -> None:
    """Otherwise a logout could be undone by a cookie that differs in its last character."""
    _, value, reader = old
    now = time.time() + 1
    read = reader().open(value, now)
    assert read is not None
    last = value[-1]
    others = {value[:-1] + chr(code) for code in range(33, 127)} - {value}
    others |= {value + "=", value + "!", value[:9] + "!" + value[9:], "!" + value, value + " "}
    for other in others:
        found = reader().open(other, now)
        assert found is None or found.identity == read.identity, (last, other[-1])


@pytest.mark.parametrize("value", ["", "x", "a:b:c", "a.b.c", "null", "ü", "::", ".:0:x", "{}"])
def test_a_forged_cookie_is_no_session(old: Any, value: str) -> None:
    assert old[2]().open(value, time.time()) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AiohttpCookieSessions(OLD_KEY), "`max_age=None` needs `until`"),
        (lambda: AiohttpCookieSessions(b"short", max_age=60), "`secret_key` must be 32 bytes"),
        (lambda: AiohttpCookieSessions("not base64", max_age=60), "`secret_key` must be 32 bytes"),
        (lambda: AiohttpCookieSessions(None, max_age=60), "`secret_key` must be the secret"),  # type: ignore[arg-type]
        (lambda: LitestarCookieSessions(b"short"), "`secret` must be 16, 24 or 32 bytes"),
        (lambda: LitestarCookieSessions("x" * 32), "`secret` must be 16, 24 or 32 bytes"),  # type: ignore[arg-type]
        (lambda: StarsessionsCookieSessions(OLD_SECRET), "`lifetime=None` needs `until`"),
        (lambda: StarsessionsCookieSessions(""), "`secret_key` must not be empty"),
        (lambda: DjangoCookieSessions(""), "`secret_key` must not be empty"),
        (lambda: DjangoCookieSessions(OLD_SECRET, fallbacks=[""]), "`fallbacks` must not be"),
        (lambda: DjangoCookieSessions(OLD_SECRET, age=-1), "`age` must be seconds"),
    ],
)
def test_wrong_readers_are_refused(make: Any, message: str) -> None:
    """No error shows the key."""
    with pytest.raises(ConfigurationError, match=message) as raised:
        make()
    assert OLD_SECRET not in str(raised.value)


@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
def test_a_session_of_litestar_may_have_several_cookies(make: Any) -> None:
    """All are put together and removed. One that is missing is no session."""
    data = {"user": "ann", "long": "".join(map(chr, range(0x4E00, 0x4E00 + 2500)))}
    cookies = litestar_cookies(data)
    assert [*cookies] == ["session-0", "session-1", "session-2"]
    app = make(show, store=MemoryStore(), old_sessions=[LitestarCookieSessions(OLD_KEY)])
    browser = SyncClient(app)
    whole = [f"{name}={value}" for name, value in cookies.items()]
    for missing in range(3):
        rest = "; ".join(whole[:missing] + whole[missing + 1 :])
        answer = browser.present(rest)
        assert (answer.text, set_cookies(answer)) == ("{}", [])
    for name, value in cookies.items():
        browser.cookies.set(name, value, domain="shop.test", path="/")
    assert browser.get("/").text == str(data)
    assert [cookie.name for cookie in browser.cookies.jar] == ["sid"]
    browser.get("/logout")
    assert browser.present("; ".join(reversed(whole))).text == "{}"


def test_a_key_of_aiohttp_session_may_be_text_or_bytes() -> None:
    value = aiohttp_cookie()
    text = urlsafe_b64encode(OLD_KEY).decode()
    for key in (OLD_KEY, bytearray(OLD_KEY), text):
        found = AiohttpCookieSessions(key, max_age=60).open(value, time.time() + 1)
        assert found is not None
        assert found.session is not None
        assert found.session.data == DATA


def test_the_cookie_of_another_library_with_the_same_key_is_no_session() -> None:
    """Starlette signs as starsessions does, and has no metadata."""
    value = TimestampSigner(OLD_SECRET).sign(b64encode(json.dumps(DATA).encode())).decode()
    reader = StarsessionsCookieSessions(OLD_SECRET, lifetime=60)
    assert reader.open(value, time.time() + 1) is None
