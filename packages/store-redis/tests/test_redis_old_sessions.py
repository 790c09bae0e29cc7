"""Old sessions that the real libraries have stored in Redis: they go on as sessions of ours."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp_session
import flask
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_exceptions import NotAppKeyWarning
from aiohttp_session.redis_storage import RedisStorage
from flask_session import Session as FlaskSession
from itsdangerous import BadSignature, TimestampSigner
from litestar import Litestar, get
from litestar import Request as LitestarRequest
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore as LitestarStore
from redis_backend import Backend
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware
from starsessions import SessionMiddleware as StarsessionsMiddleware
from starsessions.stores.redis import RedisStore as StarsessionsStore
from webclient import SECRET, SyncClient, asgi_app, set_cookies, wsgi_app

import redis
from coatcheck import SessionOptions, Sessions
from coatcheck.old_sessions import OldCookie, OldSession, OldSessions
from coatcheck.old_sessions.aiohttp_session import AiohttpSessions
from coatcheck.old_sessions.flask_session import FlaskSessionSessions
from coatcheck.old_sessions.litestar import LitestarSessions
from coatcheck.old_sessions.starsessions import StarsessionsSessions
from coatcheck_flask import Coatcheck
from coatcheck_redis import RedisStore

pytestmark = pytest.mark.integration("redis")

OLD_SECRET = "the secret that the old application has"
DATA = {"user": "ann", "cart": [{"item": 1}, "ü"]}


def flask_session(url: str, prefix: str, **config: Any) -> str:
    """Return the cookie of a session that Flask-Session has stored."""
    app = flask.Flask("old")
    app.config.update(
        SECRET_KEY=OLD_SECRET,
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis.from_url(url),
        SESSION_KEY_PREFIX=f"{prefix}:",
        **config,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SESSION_USE_SIGNER
        FlaskSession(app)

    @app.get("/")
    def log_in() -> str:
        flask.session.update(DATA)
        return "in"

    browser = SyncClient(app)
    browser.get("/")
    app.config["SESSION_REDIS"].close()
    return browser.cookie


def starsessions(url: str, prefix: str) -> str:
    """Return the cookie of a session that starsessions has stored."""
    client = redis.asyncio.Redis.from_url(url)

    async def log_in(request: Request) -> PlainTextResponse:
        request.session.update(DATA)
        return PlainTextResponse("in")

    app = Starlette(routes=[Route("/", log_in)])
    app.add_middleware(SessionAutoloadMiddleware)
    app.add_middleware(
        StarsessionsMiddleware,
        store=StarsessionsStore(connection=client, prefix=f"{prefix}:"),
        cookie_https_only=False,
    )
    return _visited(app, client.aclose)


def litestar(url: str, prefix: str) -> str:
    """Return the cookie of a session that Litestar has stored."""
    config = ServerSideSessionConfig()
    store = LitestarStore.with_client(url, namespace=prefix)

    @get("/")
    async def log_in(request: LitestarRequest[Any, Any, Any]) -> str:
        request.set_session(DATA)
        return "in"

    app = Litestar(
        [log_in],
        middleware=[config.middleware],
        stores={"sessions": store},
        openapi_config=None,
        logging_config=None,
    )
    return _visited(app, store._shutdown)


def _visited(app: Any, close: Callable[[], Any]) -> str:
    """Return the cookie that an application sets, whose client then has to be closed."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        await close()

    browser = SyncClient(served)
    browser.get("/")
    return browser.cookie


def aiohttp(url: str, prefix: str, max_age: int | None = 86400) -> str:
    """Return the cookie of a session that aiohttp-session has stored."""

    async def log_in(request: web.Request) -> web.Response:
        session = await aiohttp_session.get_session(request)
        session.update(DATA)
        return web.Response(text="in")

    async def visit() -> str:
        async with redis.asyncio.Redis.from_url(url) as client:
            app = web.Application()
            storage = RedisStorage(client, cookie_name=prefix, max_age=max_age)
            aiohttp_session.setup(app, storage)
            app.router.add_get("/", log_in)
            async with TestClient(TestServer(app)) as browser:
                return (await browser.get("/")).cookies[prefix].value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotAppKeyWarning)
        return asyncio.run(visit())


#: What stores a session, what makes its reader, and the end of the prefix.
OLD: dict[str, tuple[Callable[..., str], Callable[..., OldSessions], str]] = {
    "flask-session": (flask_session, FlaskSessionSessions, ":"),
    "flask-session json": (
        lambda url, prefix: flask_session(url, prefix, SESSION_SERIALIZATION_FORMAT="json"),
        FlaskSessionSessions,
        ":",
    ),
    "flask-session signed": (
        lambda url, prefix: flask_session(url, prefix, SESSION_USE_SIGNER=True),
        lambda store: FlaskSessionSessions(store, signer_key=OLD_SECRET),
        ":",
    ),
    "starsessions": (starsessions, StarsessionsSessions, ":"),
    "litestar": (litestar, LitestarSessions, ":"),
    "aiohttp-session": (aiohttp, AiohttpSessions, "_"),
    "aiohttp-session without a limit": (
        lambda url, prefix: aiohttp(url, prefix, None),
        AiohttpSessions,
        "_",
    ),
}


class Old:
    """A session that a library has stored.

    :ivar cookies: the Cookie header of its browser.
    :ivar url: of the store that has its record.
    """

    def __init__(self, backend: Backend, kind: str) -> None:
        make, reader, end = OLD[kind]
        prefix = f"{backend.prefix.rstrip(':')}-old"
        value = make(backend.server_url, prefix)
        joint = "&" if "?" in backend.server_url else "?"
        self.url = f"{backend.server_url}{joint}prefix={prefix}{end}"
        name = prefix if reader is AiohttpSessions else "session"
        self.cookies = f"{name}={value}"
        self.reader = (
            AiohttpSessions(self.url, cookie_name=name)
            if reader is AiohttpSessions
            else reader(self.url)
        )
        self._raw, self._pattern = backend.raw, f"{prefix}*"

    def keys(self) -> list[bytes]:
        """Return the keys of the old records."""
        return list(self._raw.scan_iter(match=self._pattern, count=1000))


@pytest.fixture(params=OLD)
def old(request: Any, backend: Backend) -> Old:
    return Old(backend, request.param)


@pytest.fixture(params=[asgi_app, wsgi_app])
def served(request: Any, backend: Backend) -> Iterator[Callable[..., Any]]:
    """Return what makes a middleware on the store, which is closed afterwards."""
    made: list[Any] = []

    def make(handler: Any, **options: Any) -> Any:
        made.append(request.param(handler, store=backend.url, **options))
        return made[-1]

    yield make
    for each in made:
        closing = each.close()
        if closing is not None:
            asyncio.run(closing)


def show(session: Any, request: Any) -> Any:
    path = request["path"] if "path" in request else request["PATH_INFO"]
    if path == "/logout":
        session.destroy()
    return dict(session)


def test_a_visitor_stays_logged_in_until_the_logout(served: Any, old: Old) -> None:
    """The old record ends with the first response, and nothing comes back afterwards."""
    assert len(old.keys()) == 1
    browser = SyncClient(served(show, old_sessions=[old.reader]))
    name, _, value = old.cookies.partition("=")
    browser.cookies.set(name, value, domain="shop.test", path="/")
    assert browser.get("/").text == str(DATA)
    assert old.keys() == []
    assert [cookie.name for cookie in browser.cookies.jar] == ["sid"]
    assert browser.get("/").text == str(DATA)
    browser.get("/logout")
    answer = browser.present(old.cookies)
    assert answer.text == "{}"
    assert [line.partition(";")[0] for line in set_cookies(answer)] == [f"{name}="]


@pytest.mark.parametrize("value", ["", "x", "../../../../etc/passwd", "a" * 500, "*" * 32])
def test_an_id_of_another_form_never_reaches_redis(old: Old, value: str) -> None:
    assert old.reader.open(value, time.time()) is None


def test_flask_session_and_coatcheck_flask_may_share_a_configuration(backend: Backend) -> None:
    """The prefix and the name of the cookie stay the same, and so does a permanent session."""
    prefix = f"{backend.prefix}old"
    value = flask_session(backend.server_url, prefix)
    app = flask.Flask("new")
    client = redis.Redis.from_url(backend.server_url)
    app.config.update(
        SECRET_KEY=OLD_SECRET,
        SESSION_TYPE="redis",
        SESSION_REDIS=client,
        SESSION_KEY_PREFIX=f"{prefix}:",
        COATCHECK_OWNER="user",
    )
    joint = "&" if "?" in backend.server_url else "?"
    old = FlaskSessionSessions(f"{backend.server_url}{joint}prefix={prefix}:")
    coatcheck = Coatcheck(app, old_sessions=[old])
    app.add_url_rule("/", "page", lambda: str(sorted(flask.session.items())))
    browser = SyncClient(app)
    browser.cookies.set("session", value, domain="shop.test", path="/")
    answer = browser.get("/")
    assert answer.text == str(sorted(DATA.items()))
    [line] = set_cookies(answer)
    assert "Max-Age=2678400" in line
    assert browser.get("/").text == answer.text
    [entry] = coatcheck.sessions.list("ann")
    assert browser.present(f"session={entry.ref}").text == "[]"
    assert coatcheck.sessions.revoke_all("ann") == 1
    assert browser.present(f"session={value}").text == "[]"
    coatcheck.close()
    client.close()


def test_a_session_of_ours_is_no_old_one(served: Any, backend: Backend, store: RedisStore) -> None:
    """Both may have one prefix. The key of a session is public, and must not open or end it."""
    app = served(show, old_sessions=[LitestarSessions(backend.url)])
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    made, mine = sessions.create({"user": "bob"}), sessions.create({"user": "eve"})
    browser = SyncClient(app)
    assert browser.present(f"session={made.ref}").text == "{}"
    browser.present(f"session={made.ref}; sid={mine.cookie_value}", "/logout")
    assert sessions.get(mine.ref) is None
    assert sessions.get(made.ref) is not None


class ShopSessions(OldSessions):
    """Sessions in Redis, whose key is the signed cookie."""

    def open(self, value: str, now: float) -> OldCookie | None:
        try:
            key, signed_at = TimestampSigner(OLD_SECRET).unsign(value, return_timestamp=True)
        except BadSignature:
            return None
        if now - signed_at.timestamp() > 30 * 86400:
            return None
        return OldCookie(identity=key.decode(), key=key.decode())

    def read(self, record: bytes) -> OldSession:
        return OldSession(json.loads(record))


def test_the_reader_of_docs_migrating(served: Any, backend: Backend) -> None:
    prefix = f"{backend.prefix}shop:"
    joint = "&" if "?" in backend.server_url else "?"
    old = ShopSessions("shop_session", store=f"{backend.server_url}{joint}prefix={prefix}")
    backend.raw.set(f"{prefix}key", json.dumps(DATA), ex=60)
    cookie = TimestampSigner(OLD_SECRET).sign("key").decode()
    app = served(show, old_sessions=[old])
    assert SyncClient(app).present("shop_session=key").text == "{}"
    assert SyncClient(app).present(f"shop_session={cookie}").text == str(DATA)
    assert backend.raw.get(f"{prefix}key") is None


def test_pickles_are_not_read(served: Any, backend: Backend, caplog: Any) -> None:
    """Neither those of Flask-Session's early releases nor anything that looks like them."""

    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("it was unpickled",)

    prefix = f"{backend.prefix}old:"
    joint = "&" if "?" in backend.server_url else "?"
    url = f"{backend.server_url}{joint}prefix={prefix}"
    readers = (FlaskSessionSessions, StarsessionsSessions, LitestarSessions)
    apps = [served(show, old_sessions=[reader(url)]) for reader in readers]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for content in ({"user": "ann"}, Bomb()):
            session_id = uuid.uuid4().hex
            backend.raw.set(f"{prefix}{session_id}", pickle.dumps(content, protocol), ex=60)
            for app in apps:
                answer = SyncClient(app).present(f"session={session_id}")
                assert (answer.text, set_cookies(answer)) == ("{}", [])
    warned = {record.args[0] for record in caplog.records if record.name == "coatcheck"}
    assert warned == {reader.__name__ for reader in readers}
