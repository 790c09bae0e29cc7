"""Middlewares around what they cannot serve, with the real frameworks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp.test_utils
import aiohttp.web
import django.core.handlers.asgi
import django.core.handlers.wsgi
import falcon
import falcon.asgi
import fastapi
import flask
import litestar
import pytest
import starlette.applications
from webclient import SECRET, Client, SyncClient

from coatcheck import session_of
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, SessionUnavailable
from coatcheck.wsgi import SessionMiddleware as WSGISessions

pytestmark = pytest.mark.anyio


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def other_names(connection: Any, take: Any, give: Any) -> None: ...


def plain_wsgi(environ: Any, start_response: Any) -> Any: ...


def django_application(handler: type) -> Callable[[], Any]:
    # Django's handlers read the settings when they are made.
    return lambda: handler.__new__(handler)


ASGI: dict[str, Callable[[], Any]] = {
    "fastapi": fastapi.FastAPI,
    "starlette": starlette.applications.Starlette,
    "litestar": lambda: litestar.Litestar([], logging_config=None),
    "falcon": falcon.asgi.App,
    "django": django_application(django.core.handlers.asgi.ASGIHandler),
    "plain": lambda: plain_asgi,
    "other names": lambda: other_names,
    "ours": lambda: ASGISessions(plain_asgi, secret=SECRET, store="memory:"),
}
WSGI: dict[str, Callable[[], Any]] = {
    "flask": lambda: flask.Flask("shop"),
    "flask's wsgi_app": lambda: flask.Flask("shop").wsgi_app,
    "falcon": falcon.App,
    "django": django_application(django.core.handlers.wsgi.WSGIHandler),
    "plain": lambda: plain_wsgi,
    "ours": lambda: WSGISessions(plain_wsgi, secret=SECRET, store="memory:"),
}


@pytest.mark.parametrize("make", ASGI.values(), ids=ASGI)
def test_the_wsgi_middleware_refuses_asgi_applications(make: Callable[[], Any]) -> None:
    """It names the middleware that is right, and that one accepts the application."""
    with pytest.raises(ConfigurationError, match=r"ASGI: take `coatcheck\.asgi\.SessionMiddleware"):
        WSGISessions(make(), secret=SECRET, store="memory:")
    ASGISessions(make(), secret=SECRET, store="memory:")


@pytest.mark.parametrize("make", WSGI.values(), ids=WSGI)
def test_the_asgi_middleware_refuses_wsgi_applications(make: Callable[[], Any]) -> None:
    """It names the middleware that is right, and that one accepts the application."""
    with pytest.raises(ConfigurationError, match=r"WSGI: take `coatcheck\.wsgi\.SessionMiddleware"):
        ASGISessions(make(), secret=SECRET, store="memory:")
    WSGISessions(make(), secret=SECRET, store="memory:")


@pytest.mark.parametrize("middleware", [ASGISessions, WSGISessions])
def test_aiohttp_is_refused(middleware: Any) -> None:
    """It is a server of its own."""
    with pytest.raises(ConfigurationError, match="aiohttp speaks neither ASGI nor WSGI"):
        middleware(aiohttp.web.Application(), secret=SECRET, store="memory:")


@pytest.mark.parametrize("middleware", [ASGISessions, WSGISessions])
def test_what_is_no_application_is_refused(middleware: Any) -> None:
    """A factory that was not called, a class, and a handler of requests."""

    def make_app() -> Any: ...

    def page(request: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match=r"make_app is no .* call it: "):
        middleware(make_app, secret=SECRET, store="memory:")
    with pytest.raises(ConfigurationError, match=r"page is no .* it cannot be called with"):
        middleware(page, secret=SECRET, store="memory:")


def test_a_middleware_inside_itself() -> None:
    """Flask has the application in an attribute, and calls that for each request."""
    app = flask.Flask("shop")
    app.wsgi_app = WSGISessions(app, secret=SECRET, store="memory:")  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match=r"SessionMiddleware\(app\.wsgi_app, \.\.\.\)"):
        SyncClient(app).get("/")


# session_of


def refused(request: Any, name: str | None = None) -> str:
    with pytest.raises(SessionUnavailable) as caught:
        session_of(request, name)
    return str(caught.value)


def test_session_of_takes_requests_alone() -> None:
    """The error says what it was given, or what a framework needs."""
    assert refused(5).endswith("not int")
    assert refused({}).endswith("not dict")
    request = aiohttp.test_utils.make_mocked_request("GET", "/")
    assert "call `coatcheck.aiohttp.setup(app, ...)`" in refused(request)


def test_a_request_without_a_session_says_what_to_do() -> None:
    """The error names the middleware of the request's interface."""
    asgi, wsgi = refused({"type": "http"}), refused({"REQUEST_METHOD": "GET"}, "sid")
    assert "no coatcheck.asgi.SessionMiddleware serves this request: put one" in asgi
    assert "no coatcheck.wsgi.SessionMiddleware of the name 'sid' serves" in wsgi


async def test_a_middleware_inside_the_code_that_needs_it() -> None:
    """With `add_middleware`, what is added later is outside."""
    advice: list[str] = []

    class Outside:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            advice.append(refused(scope))
            await self.app(scope, receive, send)

    for app in (starlette.applications.Starlette(), fastapi.FastAPI()):
        app.add_middleware(ASGISessions, secret=SECRET, store="memory:")
        app.add_middleware(Outside)
        await Client(app).get("/")
    assert len(advice) == 2
    assert all("add the session middleware last" in text for text in advice)


# A framework that is too old


@pytest.mark.parametrize(
    ("module", "page", "name", "least", "older"),
    [
        ("fastapi", "fastapi", "FastAPI", "0.163", "0.115.0"),
        ("aiohttp", "aiohttp", "aiohttp", "3.14.5", "3.11.18"),
        ("aiohttp_session", "aiohttp", "aiohttp", "3.14.5", "3.9.5"),
        ("litestar", "litestar", "Litestar", "2.25", "2.13.0"),
        ("pyramid", "pyramid", "Pyramid", "2.1", "1.10.8"),
        ("sanic", "sanic", "Sanic", "25.12", "23.6.0"),
    ],
)
def test_a_framework_that_is_too_old_is_named_at_the_import(
    module: str, page: str, name: str, least: str, older: str, tmp_path: Path
) -> None:
    """One line says which release is needed; it is the one of the page and of our own tests."""
    distribution = name.lower()
    metadata = tmp_path / f"{distribution}-{older}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {older}\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import coatcheck.{module}"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: coatcheck needs {distribution} {least} or later, and {older} is "
        f'installed: `pip install "{distribution}>={least}"`'
    )
    root = Path(__file__).parents[3]
    assert f"{name} {least} or later" in (root / "docs" / f"{page}.md").read_text("utf-8")
    assert f'"{distribution}>={least}",' in (root / "pyproject.toml").read_text("utf-8")
