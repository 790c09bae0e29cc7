"""Give a cookie to the test clients of frameworks, and read their cookies.

No framework is imported: the test that has a client has imported its framework.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..sessions import Sessions
from ._applications import find_sessions
from ._set_cookie_lines import attributes_of

_KNOWN: Final = (
    "the test clients of Starlette, FastAPI, Litestar, Flask, aiohttp and Django, and the clients "
    "of httpx"
)


class TestClient(Protocol):
    """A test client of any framework."""

    def sessions(self) -> Sessions:
        """Return the sessions of the client's application."""

    def base_url(self) -> str:
        """Return the URL to which the client sends requests; empty if it has none."""

    def receive(self, url: str, set_cookie: str) -> None:
        """Take a cookie, as from a response."""

    def cookies(self, url: str, name: str, domain: str | None) -> str:
        """Return the Cookie header for a URL, or at least the cookies of a name in it.

        :param domain: the Domain of the cookie, if it has one.
        """


def client_of(client: Any) -> TestClient:
    """Return what is known of a test client.

    :raises TypeError: it is of another kind.
    """
    for library, names, known in _CLIENTS:
        module = sys.modules.get(library)
        classes = tuple(getattr(module, name) for name in names if hasattr(module, name))
        if isinstance(client, classes):
            return known(client)
    raise TypeError(
        f"`client` must be one of {_KNOWN}, not {type(client).__name__}; any other client can send "
        "the cookie that `Sessions.create()` returns"
    )


class _HTTPXClient:
    """A client of httpx, or one that extends it: of Starlette, FastAPI and Litestar."""

    def __init__(self, client: Any) -> None:
        self._client = client
        library = next(base for base in type(client).__mro__ if base.__name__ in _HTTPX_CLIENTS)
        self._library = sys.modules[library.__module__.partition(".")[0]]

    def sessions(self) -> Sessions:
        # httpx has no public name for the transport, which has the application.
        transport = getattr(self._client, "_transport", None)
        application = getattr(self._client, "app", None) or getattr(transport, "app", None)
        if application is None:
            raise _no_application()
        return find_sessions(application)

    def base_url(self) -> str:
        return str(self._client.base_url)

    def receive(self, url: str, set_cookie: str) -> None:
        library = self._library
        request = library.Request("GET", url)
        response = library.Response(200, headers={"set-cookie": set_cookie}, request=request)
        self._client.cookies.extract_cookies(response)

    def cookies(self, url: str, name: str, domain: str | None) -> str:
        return str(self._client.build_request("GET", url).headers.get("cookie", ""))


class _WerkzeugClient:
    """Flask's test client, and others that extend Werkzeug's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def sessions(self) -> Sessions:
        return find_sessions(self._client.application)

    def base_url(self) -> str:
        config = getattr(self._client.application, "config", {})
        scheme = config.get("PREFERRED_URL_SCHEME") or "http"
        return f"{scheme}://{config.get('SERVER_NAME') or 'localhost'}/"

    def receive(self, url: str, set_cookie: str) -> None:
        name, _, value = set_cookie.partition(";")[0].partition("=")
        attributes = attributes_of(set_cookie)
        domain = attributes.get("domain")
        self._client.set_cookie(
            name,
            value,
            domain=domain or urlsplit(url).hostname,
            origin_only=domain is None,
            path=attributes.get("path", "/"),
        )

    def cookies(self, url: str, name: str, domain: str | None) -> str:
        host = (domain or "").lstrip(".") or urlsplit(url).hostname
        cookie = self._client.get_cookie(name, domain=host, path=urlsplit(url).path or "/")
        return "" if cookie is None else f"{name}={cookie.value}"


class _AiohttpClient:
    """aiohttp's test client, or its ClientSession."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._jar = getattr(client, "session", client).cookie_jar

    def sessions(self) -> Sessions:
        application = getattr(self._client, "app", None)
        if application is None:
            raise _no_application()
        return find_sessions(application)

    def base_url(self) -> str:
        make_url = getattr(self._client, "make_url", None)
        return "" if make_url is None else str(make_url("/"))

    def receive(self, url: str, set_cookie: str) -> None:
        self._jar.update_cookies_from_headers([set_cookie], sys.modules["yarl"].URL(url))

    def cookies(self, url: str, name: str, domain: str | None) -> str:
        cookie = self._jar.filter_cookies(sys.modules["yarl"].URL(url)).get(name)
        return "" if cookie is None else f"{name}={cookie.value}"


def _no_application() -> ConfigurationError:
    return ConfigurationError(
        "the client does not say which application it tests: say "
        "`sessions=Sessions(middleware.store, middleware.options)`"
    )


_HTTPX_CLIENTS: Final = ("Client", "AsyncClient")
#: Modules, their clients, and what is known of them.
_CLIENTS: Final = (
    ("httpx", _HTTPX_CLIENTS, _HTTPXClient),
    ("httpx2", _HTTPX_CLIENTS, _HTTPXClient),
    ("werkzeug.test", ("Client",), _WerkzeugClient),
    ("aiohttp.test_utils", ("TestClient",), _AiohttpClient),
    ("aiohttp", ("ClientSession",), _AiohttpClient),
)
