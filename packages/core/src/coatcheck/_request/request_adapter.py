"""Name the questions about a request that a driver answers, whatever its protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..options import Request


class RequestAdapter(Protocol):
    """Read requests and response headers of one protocol, ASGI or WSGI."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        """Return each Cookie header line."""

    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded."""

    def may_be_shared(self, headers: Iterable[tuple[Any, Any]], now: float) -> bool:
        """Tell whether response headers let a cache serve the response to several visitors.

        :param now: POSIX seconds.
        """

    def is_https(self, request: Request) -> bool:
        """Tell whether the server received the request over a secure connection."""

    def method(self, request: Request) -> str:
        """Return the request's method. A WebSocket counts as GET."""

    def header(self, request: Request, name: str) -> str | None:
        """Return the values of a request header, joined by commas.

        :param name: in lower case.
        """

    def is_multiprocess(self, request: Request) -> bool | None:
        """Tell whether several processes serve the application; None: the server does not say."""
