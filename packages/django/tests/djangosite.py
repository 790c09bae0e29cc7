"""A site of Django for the tests: its settings, its addresses, and what its views do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

#: What happens while a view is at work; each test puts its own function here.
meanwhile: list[Callable[[], object]] = []


def configure(database: str) -> None:
    """Set Django up, as ``settings.py`` of a project would."""
    settings.configure(
        SECRET_KEY="a secret for tests, which is long enough",
        DEBUG=False,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "coatcheck_django",
        ],
        MIDDLEWARE=[
            "coatcheck_django.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        SESSION_ENGINE="coatcheck_django",
        COATCHECK={"STORE": "memory:"},
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        ROOT_URLCONF="djangosite",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {"timeout": 20},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        # The default hasher takes a second for each login.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_REDIRECT_URL="/show",
        STATIC_URL="/static/",
        USE_TZ=True,
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )


def put(request: HttpRequest) -> HttpResponse:
    """Put the query into the session."""
    dict(request.session.items())  # it is read, as a view that uses it would do
    for act in meanwhile:
        act()
    for key, value in request.GET.items():
        request.session[key] = value
    return HttpResponse("done")


async def aput(request: HttpRequest) -> HttpResponse:
    """Do the same without blocking."""
    await request.session.aitems()
    for act in meanwhile:
        await asyncio.to_thread(act)
    for key, value in request.GET.items():
        await request.session.aset(key, value)
    return HttpResponse("done")


def show(request: HttpRequest) -> HttpResponse:
    """Show who the visitor is, and what is in the session."""
    user: Any = request.user
    mine = {key: value for key, value in request.session.items() if not key.startswith("_")}
    return JsonResponse({"user": user.get_username(), **mine})


async def ashow(request: HttpRequest) -> HttpResponse:
    """Do the same without blocking."""
    user: Any = await request.auser()
    items = await request.session.aitems()
    mine = {key: value for key, value in items if not key.startswith("_")}
    return JsonResponse({"user": user.get_username(), **mine})


def flush(request: HttpRequest) -> HttpResponse:
    """Log out."""
    request.session.flush()
    return HttpResponse("bye")


def __getattr__(name: str) -> Any:
    """Make the addresses when Django asks for them: its admin needs the settings first."""
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.contrib import admin

    return [
        path("put", put),
        path("aput", aput),
        path("show", show),
        path("ashow", ashow),
        path("flush", flush),
        path("accounts/", include("django.contrib.auth.urls")),
        path("admin/", admin.site.urls),
    ]
