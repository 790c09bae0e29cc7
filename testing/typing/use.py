"""Intended use of the public API: both type checkers must accept it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any, TypedDict

import aiohttp.web
import fastapi
import flask
import httpx
import litestar
import msgspec
import pydantic
import sanic
import starlette.requests
import starlette.types

from coatcheck import (
    ABSENT,
    AsyncSession,
    CookieOptions,
    MemoryStore,
    Record,
    Session,
    SessionEvent,
    SessionOptions,
    Sessions,
    Store,
    SyncSession,
    Unchanged,
    open_async_store,
    open_store,
    session_of,
)
from coatcheck.aiohttp import SESSION
from coatcheck.aiohttp import setup as set_up_aiohttp
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.fastapi import SessionDep, SessionKey, SessionSecurity, require_fresh
from coatcheck.litestar import SessionConfig
from coatcheck.logins import login_age, record_login
from coatcheck.pyramid import SessionFactory
from coatcheck.sanic import setup as set_up_sanic
from coatcheck.sessions import CreatedSession, SessionEntry
from coatcheck.testing import Clock, StorageState, alogin, read_session, storage_state
from coatcheck.testing import login as log_client_in
from coatcheck.typed import SessionView
from coatcheck.wsgi import SessionMiddleware as WSGISessions
from coatcheck_express import ExpressCookie, express_options, migrate_from_express
from coatcheck_flask import Coatcheck, quart
from coatcheck_flask import session as flask_session


async def asgi(scope: starlette.types.Scope, receive: Any, send: Any) -> None:
    session = session_of(scope)
    session["visits"] = session.get("visits", 0) + 1
    session.cookie.max_age = 30 * 86400
    session |= {"seen": True}
    plain: dict[str, Any] = session
    merged: dict[str, Any] = session | {"more": [*plain, *session.copy()]}
    session.setdefault("cart", []).append(merged.pop("more"))
    await session.save()
    session.regenerate(keep_data=True)


def flask_page(app: flask.Flask) -> str:
    coatcheck = Coatcheck(app, store="memory:", owner="user")
    flask_session.regenerate(keep_data=True)
    flask_session.permanent = not flask_session.new
    ended: int = coatcheck.sessions.revoke_all(42, keep=flask_session)
    count: int = flask_session.change(len)
    return f"{ended} {count} {flask_session.modified}"


async def quart_page() -> int:
    quart.session.permanent = True
    await quart.session.save()
    return await quart.session.change(len)


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    session = session_of(environ)
    session.owner = "42"
    session.save()
    return [b""]


class WSGIRequest:
    environ: dict[str, Any]


class FalconRequest:
    env: dict[str, Any]


class AiohttpRequest:
    match_info: dict[str, str]


class OtherRequest:
    """Django's, where the type does not tell whether it is a request of ASGI or WSGI."""


async def of_requests(request: starlette.requests.Request, any_session: Session) -> None:
    over_asgi: AsyncSession = session_of(request, name="admin_sid")
    await over_asgi.change(lambda data: data.get("n", 0) + 1)
    of_aiohttp: AsyncSession = session_of(AiohttpRequest())
    await of_aiohttp.save()
    of_flask: SyncSession = session_of(WSGIRequest())
    of_falcon: SyncSession = session_of(FalconRequest())
    of_django: Session = session_of(OtherRequest())
    for session in (of_flask, of_falcon, of_django, session_of(any_session), session_of(of_flask)):
        session.regenerate()
    session_of(of_flask).reload()


api = fastapi.FastAPI()
RecentLogin = Annotated[AsyncSession, fastapi.Depends(require_fresh(dt.timedelta(minutes=10)))]


@api.post("/login", dependencies=[fastapi.Security(SessionSecurity("admin_sid"))])
async def login(request: fastapi.Request, session: SessionDep) -> float | None:
    record_login(session)
    session.regenerate(keep_data=True)
    session_of(request).regenerate()
    await session.save()
    return login_age(session)


@api.post("/password")
async def password(
    recent: RecentLogin, same: Annotated[AsyncSession, fastapi.Depends(session_of)]
) -> None:
    recent.owner = "42"
    await same.reload()


@dataclasses.dataclass
class Cart:
    lines: list[str] = dataclasses.field(default_factory=lambda: ["umbrella"])


class Settings(TypedDict, total=False):
    theme: str


class Visit(msgspec.Struct):
    number: int = 0


class Address(pydantic.BaseModel):
    street: str = ""


def upgrade(stored: Any, version: int) -> Any:
    return {"lines": stored} if version == 1 else stored


CART = SessionView(Cart, "cart", version=2, migrate=upgrade)
SETTINGS = SessionView(Settings)
LINES = SessionView(list[Address], "addresses", default=list)
CartDep = Annotated[Cart, SessionKey("cart", version=2, migrate=upgrade)]


def typed(environ: dict[str, Any]) -> str:
    session = session_of(environ)
    with CART.edit(session) as cart, SETTINGS.edit(session) as settings:
        cart.lines.append("hat")
        settings["theme"] = "dark"
    SessionView(Visit, "visit").write(session, Visit(number=1))
    addresses: list[Address] = LINES.read(session)
    return CART.read(session).lines[0].upper() + addresses[0].street


async def typed_change(session: AsyncSession) -> int:
    def add(data: dict[str, Any]) -> int:
        with CART.edit(data) as cart:
            cart.lines.append("coat")
        return len(cart.lines)

    return await session.change(add)


@api.post("/cart/{item}")
async def add_to_cart(
    item: str, cart: CartDep, settings: Annotated[Settings, SessionKey(None)]
) -> int:
    cart.lines.append(item)
    settings["theme"] = "light"
    return len(cart.lines)


def observe(event: SessionEvent) -> None:
    print(event.kind, event.ref)


options = SessionOptions(
    secret=["new" * 16, b"old" * 16],
    cookie=CookieOptions(same_site="strict", max_age=dt.timedelta(days=1)),
    idle_timeout=1800,
    owner="user_id",
    observers=[observe],
)


def cookie(request: Any) -> ExpressCookie:
    return {"max_age_ms": 60_000, "same_site": "auto", "secure": "auto"}


with_express = express_options(
    secret="keyboard cat",
    store="memory:",
    cookie={"max_age_ms": 60_000, "same_site": True, "http_only": True},
    proxy=True,
    owner="user_id",
    touch_interval=dt.timedelta(seconds=30),
)
migrating: SessionOptions = migrate_from_express(
    options, express_options(secret="s", cookie=cookie), write="native"
)
over_asgi = ASGISessions(asgi, options, store="memory:")
over_wsgi = WSGISessions(wsgi, secret="s" * 32, rolling=True, store=MemoryStore())
store: Store = open_store("memory:")
written: bool = store.set("key", Record(b"data", 1.0), ABSENT) or store.destroy(
    "key", Unchanged(b"data")
)
sessions = Sessions(open_async_store("memory:"), options)
revoked: int = sessions.revoke_all("42")


def modified(session: Session) -> bool:
    return session.is_modified and not session.is_new


created: CreatedSession = sessions.create({"user_id": 42}, owner=42, https=False)
found: SessionEntry | None = sessions.find(f"{created.cookie_name}={created.cookie_value}")
state: StorageState = storage_state(created, "http://localhost:8000")


async def tests(client: httpx.Client, other: httpx.AsyncClient) -> dict[str, Any] | None:
    clock = Clock()
    clock.advance(dt.timedelta(hours=1))
    made: CreatedSession = log_client_in(client, {"user_id": 42}, sessions=sessions)
    await alogin(other, {"ref": made.ref}, owner="ann", url="https://shop.example")
    return read_session(client)


async def of_aiohttp(request: aiohttp.web.Request) -> None:
    await request[SESSION].change(lambda data: data.clear())
    await session_of(request[SESSION]).save()


with_aiohttp = set_up_aiohttp(aiohttp.web.Application(), secret="s" * 32, store="memory:")
with_sanic = set_up_sanic(sanic.Sanic("shop"), options, idle_timeout=60)
with_litestar = litestar.Litestar([], plugins=[SessionConfig(options, exclude="/health")])
factory = SessionFactory(options, owner="user_id")
each: list[Sessions] = [
    Sessions(made.store, made.options)
    for made in (with_aiohttp, with_sanic, SessionConfig(options), factory, over_asgi)
]
