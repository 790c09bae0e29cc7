"""What all requests of one middleware share. No I/O, and no ASGI or WSGI.

An :class:`Engine` belongs to a middleware, an :class:`~coatcheck.exchange.Exchange` to a request.
A driver

1. makes an Exchange and runs ``exchange.load()`` where ``exchange.begin(session)`` says so;
2. when the response headers are at hand, asks ``exchange.answer()``, runs ``exchange.respond()``
   where that is None, and adds to the headers what it got;
3. runs ``exchange.finish()`` before the last piece of the body and again at the end, where
   ``exchange.has_late_changes()``;
4. runs ``exchange.abandon()`` instead where the application failed or was cancelled, and
   ``exchange.must_abandon()``;
5. calls ``exchange.end()`` in any case, or ``exchange.end_with(error)`` where the application
   raised: an error page outside of the middleware can then still read and destroy the session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from .cookie import CookieOptions
from .deployment import Notices
from .events import Announcer
from .options import Request, SessionOptions
from .policy import Policy

#: Seconds that removing a session may take after the application failed or was cancelled.
ABANDON_SECONDS: Final = 5.0


class Dialect(Protocol):
    """How a driver's protocol says what the engine needs to know of a request."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        """Return each Cookie header line."""

    def path(self, request: Request) -> str:
        """Return the full path, percent-encoded."""

    def may_be_shared(self, headers: Iterable[tuple[Any, Any]], now: float) -> bool:
        """Tell whether response headers say that a cache may serve several visitors.

        :param now: POSIX seconds.
        """

    def is_https(self, request: Request) -> bool:
        """Tell whether the connection to the server is secure, as the server has it."""

    def method(self, request: Request) -> str:
        """Return the request's method; that of a WebSocket is GET."""

    def header(self, request: Request, name: str) -> str | None:
        """Return the values of a request header, joined by commas.

        :param name: in lower case.
        """

    def is_multiprocess(self, request: Request) -> bool | None:
        """Tell whether several processes serve the application; None: the server does not say."""


class Engine:
    """The options of a middleware, made ready.

    :param options: the middleware's options.
    :param dialect: reads the driver's requests.
    :param eager: what ``load="auto"`` means to the driver.
    """

    def __init__(self, options: SessionOptions, dialect: Dialect, *, eager: bool) -> None:
        self.options = options
        self.dialect = dialect
        self.announce = Announcer(options.observers, options.clock)
        self.notices = Notices(options)
        self.writer = options.cookie_format.bind(options.name, options.secrets)
        self.fixed_policy: Policy | None = None
        if isinstance(options.cookie, CookieOptions):
            self.fixed_policy = Policy(options, options.cookie, self.announce)
        self.everywhere = self.fixed_policy is not None and self.fixed_policy.cookie.path == "/"
        #: Whether a record holds all settings of the cookie, not those of its session alone.
        self.whole_cookie = bool(getattr(options.codec, "whole_cookie", False))
        # These three need to know of each request whether it has a session.
        every_request = options.rolling or options.resave or options.save_uninitialized
        self.eager = every_request or options.load == "eager" or (options.load == "auto" and eager)

    def key_of(self, session_id: str) -> str:
        """Return the store's key for a session id."""
        if self.options.hash_ids:
            return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
        return session_id
