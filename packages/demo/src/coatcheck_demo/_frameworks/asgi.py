"""The shop in Starlette, with coatcheck's ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from coatcheck import (
    AsyncSession,
    CookieOptions,
    SessionOptions,
    Sessions,
    open_async_store,
    session_of,
)
from coatcheck.asgi import SessionMiddleware

from .. import _shop as shop
from .._glass import observe
from .._watched import WatchedAsyncStore
from . import Settings, Site, opened, run_async


def make(settings: Settings) -> Site:
    """Return the shop. See :func:`coatcheck_demo._frameworks.make`."""
    store = WatchedAsyncStore(opened(open_async_store, settings.store_url))
    options = SessionOptions(
        secret=settings.secret,
        store=store,
        name=settings.cookie_name,
        cookie=CookieOptions(secure=True) if settings.https else CookieOptions(),
        owner="user",
        idle_timeout=shop.IDLE_TIMEOUT,
        observers=[observe],
    )
    sessions = Sessions(store, options)
    app = Starlette(
        routes=[
            StarletteRoute(path, _endpoint(route, sessions, store), methods=route.methods)
            for path, route in shop.ROUTES.items()
        ],
        exception_handlers={404: _not_found},
    )
    return Site(SessionMiddleware(app, options), store.capabilities, store.ping, store.close)


class Controls:
    """Control the session in coatcheck's own words."""

    def __init__(self, session: AsyncSession, sessions: Sessions) -> None:
        self._session, self._sessions = session, sessions

    @property
    def ref(self) -> str | None:
        return self._sessions.ref_of(self._session)

    def rotate(self, *, keep_data: bool) -> None:
        self._session.regenerate(keep_data=keep_data)

    def remember(self, lifetime: timedelta) -> None:
        self._session.cookie.max_age = lifetime

    def end(self) -> None:
        self._session.destroy()

    def note_changes(self) -> None:
        """Do nothing: coatcheck notices changes inside a list."""


def _endpoint(
    route: shop.Route, sessions: Sessions, store: WatchedAsyncStore
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        session = session_of(request)
        body = (await request.body()).decode("latin-1")
        visit = shop.Visit(
            session=session,
            controls=Controls(session, sessions),
            read_form=lambda: dict(parse_qsl(body, max_num_fields=20)),
            browser=request.headers.get("user-agent", ""),
            lists_sessions=store.capabilities.owners,
        )
        return _response(await run_async(shop.answer(route, request.method, visit), sessions))

    return endpoint


def _response(answer: shop.Answer) -> Response:
    headers = {**answer.headers, "content-type": answer.kind}
    return Response(answer.body, answer.status, headers)


async def _not_found(_: Request, __: Any) -> Response:
    return _response(shop.not_found())
