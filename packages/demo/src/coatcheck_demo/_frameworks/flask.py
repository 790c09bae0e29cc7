"""The shop in Flask, with coatcheck-flask behind ``flask.session``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Response, request

from coatcheck import Sessions, open_store
from coatcheck_flask import Coatcheck, session

from .. import _shop as shop
from .._glass import observe
from .._watched import WatchedStore
from . import Settings, Site, in_threads, opened, run


def make(settings: Settings) -> Site:
    """Return the shop. See :func:`coatcheck_demo._frameworks.make`."""
    store = WatchedStore(opened(open_store, settings.store_url))
    app = Flask(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret,
        SESSION_COOKIE_NAME=settings.cookie_name,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        PERMANENT_SESSION_LIFETIME=shop.REMEMBER_ME,
        COATCHECK_IDLE_TIMEOUT=shop.IDLE_TIMEOUT,
        COATCHECK_STORE=store,
        COATCHECK_OWNER="user",
        COATCHECK_OBSERVERS=[observe],
    )
    sessions = Coatcheck(app).sessions
    for path, route in shop.ROUTES.items():
        view = _view(route, sessions, store)
        app.add_url_rule(path, path, view, methods=route.methods)
    app.register_error_handler(404, lambda _: _response(shop.not_found()))

    async def ping() -> None:
        store.ping()

    async def close() -> None:
        store.close()

    return Site(in_threads(app), store.capabilities, ping, close)


class Controls:
    """Control ``flask.session``."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @property
    def ref(self) -> str | None:
        return self._sessions.ref_of(session)

    def rotate(self, *, keep_data: bool) -> None:
        session.regenerate(keep_data=keep_data)

    def remember(self, lifetime: timedelta) -> None:
        assert lifetime == shop.REMEMBER_ME
        session.permanent = True

    def end(self) -> None:
        session.destroy()

    def note_changes(self) -> None:
        """Do nothing: coatcheck notices changes inside a list."""


def _view(route: shop.Route, sessions: Sessions, store: WatchedStore) -> Callable[[], Response]:
    def view() -> Response:
        visit = shop.Visit(
            session=session,
            controls=Controls(sessions),
            read_form=lambda: request.form.to_dict(),
            browser=request.headers.get("User-Agent", ""),
            lists_sessions=store.capabilities.owners,
        )
        return _response(run(shop.answer(route, request.method, visit), sessions))

    return view


def _response(answer: shop.Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type=answer.kind)
