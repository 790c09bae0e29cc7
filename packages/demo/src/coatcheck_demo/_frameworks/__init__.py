"""Serve the shop with each framework: all code that differs between them.

Each module has a function ``make`` that opens a store and returns a :class:`Site`. It uses the
framework and coatcheck's integration as an application would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeVar

from a2wsgi import WSGIMiddleware

from coatcheck import Capabilities, Sessions
from coatcheck.errors import ConfigurationError

from .._glass import ASGI
from .._shop import Answer, Ask, Asking

#: Requests that a framework with threads handles at the same time.
THREADS: Final = 40

T = TypeVar("T")


class Settings(NamedTuple):
    """Hold the settings of the demo.

    :ivar store_url: the store to open.
    :ivar secret: signs the cookies.
    :ivar https: whether the demo is served over https.
    """

    store_url: str
    secret: str
    https: bool

    @property
    def cookie_name(self) -> str:
        """The name of the session cookie. Browsers bind ``__Host-`` to this host and to https."""
        return "__Host-sid" if self.https else "sid"


class Site(NamedTuple):
    """Hold the shop in a framework, and its store.

    :ivar is_signed: whether the framework signs its session cookie.
    :ivar ping: raises :class:`~coatcheck.errors.StoreError` if the store does not answer.
    """

    app: ASGI
    capabilities: Capabilities
    ping: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    is_signed: bool = True


def make(framework: str, settings: Settings) -> Site:
    """Return the shop in a framework.

    :raises ConfigurationError: the framework or its integration is not installed, the store does
        not accept the URL, or the secret is too short.
    """
    try:
        module = import_module(f".{framework}", __name__)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the package {error.name!r} is not installed; "
            f'pip install "coatcheck-demo[{framework}]" installs it'
        ) from error
    site: Site = module.make(settings)
    return site


def opened(opener: Callable[[str], T], store_url: str) -> T:
    """Open a store.

    :raises ConfigurationError: the store does not accept the URL.
    """
    try:
        return opener(store_url)
    except ConfigurationError:
        raise
    except Exception as error:
        # Only the type, because the message may quote the URL's password.
        raise ConfigurationError(
            f"the store {store_url.partition(':')[0].lower()!r} does not accept this URL: "
            f"{type(error).__name__}"
        ) from error


def in_threads(app: Any) -> ASGI:
    """Return a WSGI application as an ASGI one, which handles each request in a thread."""
    # The types that a2wsgi has for both are its own.
    server: Any = WSGIMiddleware(app, workers=THREADS)
    asgi: ASGI = server
    return asgi


def run(answering: Asking, sessions: Sessions) -> Answer:
    """Run a handler in a sync framework: do what it asks of the sessions."""
    result: Any = None
    while True:
        try:
            ask = answering.send(result)
        except StopIteration as finished:
            answer: Answer = finished.value
            return answer
        result = _call(sessions, ask.method, ask)


async def run_async(answering: Asking, sessions: Sessions) -> Answer:
    """Run a handler in an async framework: see :func:`run`."""
    result: Any = None
    while True:
        try:
            ask = answering.send(result)
        except StopIteration as finished:
            answer: Answer = finished.value
            return answer
        result = await _call(sessions, f"a{ask.method}", ask)


def _call(sessions: Sessions, method: str, ask: Ask) -> Any:
    keep = {} if ask.keep is None else {"keep": ask.keep}
    return getattr(sessions, method)(*ask.arguments, **keep)
