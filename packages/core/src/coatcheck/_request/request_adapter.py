"""Answer the questions that a session asks about a request, whatever its protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from .._cookies.cookie_header import PATH_SAFE, path_matches
from ..options import Request
from . import caching


class RequestAdapter(ABC):
    """Answer the questions that a session asks about a request.

    A request is a mapping: a WSGI environ, an ASGI scope, or any other. An integration of a
    framework whose requests are no mappings makes one for each request, such as
    ``{"request": request}``, and its adapter looks there.
    """

    @abstractmethod
    def cookie_headers(self, request: Request) -> Sequence[str]:
        """Return the value of each Cookie header."""

    @abstractmethod
    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded, without the query."""

    @abstractmethod
    def is_https(self, request: Request) -> bool:
        """Tell whether the server received the request over a secure connection."""

    @abstractmethod
    def method(self, request: Request) -> str:
        """Return the request's method. A WebSocket counts as GET."""

    @abstractmethod
    def header(self, request: Request, name: str) -> str | None:
        """Return the values of a request header, joined by commas; None if there is none.

        :param name: in lower case.
        """

    def is_multiprocess(self, request: Request) -> bool | None:
        """Tell whether several processes serve the application; None: the server does not say."""
        return None

    def may_be_shared(self, headers: Iterable[tuple[Any, Any]], now: float) -> bool:
        """Tell whether response headers let a cache serve the response to several visitors.

        :param headers: pairs of strings, as the integration gave them.
        :param now: POSIX seconds.
        """
        return caching.may_be_shared(headers, now)


class ASGIAdapter(RequestAdapter):
    """Read ASGI scopes."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        """Return the value of each Cookie header."""
        found = []
        for name, value in request["headers"]:
            if name == b"cookie":
                found.append(value.decode("latin-1"))  # a comprehension is slower
        return found

    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded, with the root path."""
        raw = request.get("raw_path")
        path = _quoted(request["path"]) if raw is None else raw.decode("latin-1")
        root = _quoted(request.get("root_path", "").rstrip("/"))
        # Servers differ in whether the path includes the root path.
        return path if path_matches(path, root or "/") else root + path

    def is_https(self, request: Request) -> bool:
        """Tell whether the scope's scheme is a secure one."""
        return request.get("scheme") in ("https", "wss")

    def method(self, request: Request) -> str:
        """Return the request's method; GET for a WebSocket."""
        return str(request.get("method", "GET"))

    def header(self, request: Request, name: str) -> str | None:
        """Return the values of a request header, joined by commas; None if there is none."""
        raw, found = name.encode(), []
        for key, value in request["headers"]:
            if key == raw:
                found.append(value)  # a comprehension is slower
        return b", ".join(found).decode("latin-1") if found else None


class WSGIAdapter(RequestAdapter):
    """Read WSGI environs."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        """Return the one Cookie header, if there is one."""
        header = request.get("HTTP_COOKIE")
        return (header,) if header else ()

    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded, with the name of the script."""
        path = request.get("SCRIPT_NAME", "") + request.get("PATH_INFO", "")
        return _quoted(path.encode("latin-1")) or "/"

    def is_https(self, request: Request) -> bool:
        """Tell whether the environ's scheme is https."""
        return bool(request.get("wsgi.url_scheme") == "https")

    def method(self, request: Request) -> str:
        """Return the request's method."""
        return str(request.get("REQUEST_METHOD", "GET"))

    def header(self, request: Request, name: str) -> str | None:
        """Return the values of a request header, joined by commas; None if there is none."""
        value: str | None = request.get(_environ_name(name))
        return value

    def is_multiprocess(self, request: Request) -> bool | None:
        """Tell whether several processes serve the application; None: the server does not say."""
        several = bool(request.get("wsgi.multiprocess"))
        # Bridges from ASGI and test clients say yes without knowing. They name no server.
        return several if "SERVER_SOFTWARE" in request or not several else None


def is_complete_body(body: object, environ: Mapping[str, Any]) -> bool:
    """Tell whether a body exists already, so that no application code runs for it.

    Then the server gets the very object, and with it len() for a Content-Length, and sendfile.
    """
    if type(body) in (list, tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


@cache
def _environ_name(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def _quoted(path: str | bytes) -> str:
    """Return a path percent-encoded."""
    from urllib.parse import quote  # most cookies are for each path, and do not ask

    return quote(path, PATH_SAFE)
