"""The shop in Django, with coatcheck-django as its session engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import django
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path as url
from django.views.decorators.http import require_http_methods

from coatcheck import open_store
from coatcheck_django import sessions

from .. import _shop as shop
from .._glass import observe
from .._watched import WatchedStore
from . import Settings, Site, in_threads, opened, run

#: Django imports the views by the name of a module.
_URLS = "coatcheck_demo._urls"


def make(settings: Settings) -> Site:
    """Return the shop. See :func:`coatcheck_demo._frameworks.make`.

    Django has one configuration a process: a second call replaces the store and the secret.
    """
    store = WatchedStore(opened(open_store, settings.store_url))
    values = {
        "SECRET_KEY": settings.secret,
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": _URLS,
        "INSTALLED_APPS": ["django.contrib.sessions", "coatcheck_django"],
        "MIDDLEWARE": ["coatcheck_django.middleware.SessionMiddleware"],
        "SESSION_ENGINE": "coatcheck_django",
        "SESSION_COOKIE_NAME": settings.cookie_name,
        "SESSION_COOKIE_SECURE": settings.https,
        "SESSION_COOKIE_AGE": int(shop.IDLE_TIMEOUT.total_seconds()),
        "SESSION_EXPIRE_AT_BROWSER_CLOSE": True,
        "COATCHECK": {"STORE": store, "OWNER": "user", "OBSERVERS": [observe]},
        "USE_TZ": True,
        "LOGGING_CONFIG": None,
    }
    _configure(values)
    app = get_wsgi_application()

    async def ping() -> None:
        store.ping()

    async def close() -> None:
        store.close()

    return Site(in_threads(app), store.capabilities, ping, close, is_signed=False)


def _configure(values: dict[str, Any]) -> None:
    if not django_settings.configured:
        urls = ModuleType(_URLS)
        urls.urlpatterns = [  # type: ignore[attr-defined]
            url(path.lstrip("/"), _view(route)) for path, route in shop.ROUTES.items()
        ]
        urls.handler404 = _not_found  # type: ignore[attr-defined]
        sys.modules[_URLS] = urls
        django_settings.configure(**values)
        django.setup()
        return
    for name, value in values.items():
        setattr(django_settings, name, value)
        setting_changed.send(_configure, setting=name, value=value, enter=True)


class Controls:
    """Control the session in Django's words."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def ref(self) -> str | None:
        ref: str | None = self._session.ref
        return ref

    def rotate(self, *, keep_data: bool) -> None:
        if keep_data:
            self._session.cycle_key()
        else:
            self._session.flush()

    def remember(self, lifetime: timedelta) -> None:
        self._session.set_expiry(int(lifetime.total_seconds()))

    def end(self) -> None:
        self._session.flush()

    def note_changes(self) -> None:
        self._session.modified = True  # Django does not look into lists


def _view(route: shop.Route) -> Callable[[HttpRequest], HttpResponse]:
    @require_http_methods(route.methods)
    def view(request: HttpRequest) -> HttpResponse:
        visit = shop.Visit(
            session=request.session,
            controls=Controls(request.session),
            read_form=lambda: request.POST.dict(),
            browser=request.headers.get("User-Agent", ""),
            lists_sessions=django_settings.COATCHECK["STORE"].capabilities.owners,
        )
        answer = run(shop.answer(route, request.method or "GET", visit), sessions())
        return _response(answer)

    return view


def _response(answer: shop.Answer) -> HttpResponse:
    return HttpResponse(
        answer.body, status=answer.status, headers=answer.headers, content_type=answer.kind
    )


def _not_found(_: HttpRequest, __: Any = None, **___: Any) -> HttpResponse:
    return _response(shop.not_found())
