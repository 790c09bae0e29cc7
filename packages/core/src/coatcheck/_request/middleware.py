"""Do what both middlewares have in common: make them, open their store, find their sessions."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from .._session.session_dict import core_of
from ..errors import ConfigurationError, SessionUnavailable
from ..events import logger
from ..memory import MemoryStore
from ..options import OptionFields, Request, SessionOptions, make_options
from ..session import Session
from ..store import AsyncStore, Store
from .request_adapter import RequestAdapter
from .session_manager import SessionManager


def choose_store(
    options: SessionOptions, open_url: Callable[..., Store | AsyncStore], *, again: bool = False
) -> tuple[Store | AsyncStore, bool]:
    """Return the store of a middleware, and whether the middleware has to close it.

    :param again: the middleware has closed a store before.
    """
    if options.store is None:
        if not again:
            logger.warning(
                "sessions are kept in the memory of this process alone and end with it; give a "
                "`store` for more than one process (`MemoryStore()` if that is what you want)"
            )
        return MemoryStore(clock=options.clock), True
    if isinstance(options.store, str):
        return open_url(options.store, clock=options.clock), True
    return options.store, False


class Middleware(ABC):
    """Do what the constructors of both middlewares do, and open a closed store again.

    Each test client of a suite shuts the application down. Some begin with a lifespan startup,
    and others with a request: so a store that was closed is opened again on demand.

    :param app: the application.
    :param options: the options; keyword arguments of the same names win over them.
    :param kwargs: those keyword arguments.
    :param adapter: reads the driver's requests.
    :param speaks: the middleware's interface, ``"asgi"`` or ``"wsgi"``.
    :ivar store: the store, which :class:`~coatcheck.Sessions` takes.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    store: Store | AsyncStore

    def __init__(
        self,
        app: object,
        options: SessionOptions | None,
        kwargs: OptionFields,
        adapter: RequestAdapter,
        speaks: Interface,
    ) -> None:
        check_application(app, speaks)
        self.options: SessionOptions = make_options(options, kwargs)
        self._manager = SessionManager(self.options, adapter, eager=speaks == "asgi")
        self._own_key = own_key(self.options)
        self._opening = threading.Lock()
        self._open_store(again=False)
        self._closed = False

    @abstractmethod
    def _open(self, *, again: bool) -> Store | AsyncStore:
        """Open the store and return it, and make the runner that works on it.

        :param again: it was open before.
        """

    def _open_store(self, *, again: bool) -> None:
        self.store = self._open(again=again)
        self._manager.notices.uses(self.store)

    def _open_again(self) -> None:
        with self._opening:
            if self._closed:
                self._open_store(again=True)
                self._closed = False  # last, for other threads


Interface: TypeAlias = Literal["asgi", "wsgi"]

#: The last parameter that an application of an interface has nearly always.
_LAST: Final[Mapping[Interface, str]] = {"asgi": "send", "wsgi": "start_response"}


def check_application(app: object, speaks: Interface) -> None:
    """Refuse an application of the other interface, where its parameters tell.

    :param speaks: the middleware's interface.
    :raises ConfigurationError: it is one.
    """
    other: Interface = "wsgi" if speaks == "asgi" else "asgi"
    try:
        names = list(inspect.signature(app).parameters)  # type: ignore[arg-type]  # see below
    except (TypeError, ValueError):  # not callable, or of C
        return
    if names[-1:] == [_LAST[other]]:
        raise ConfigurationError(
            f"the application speaks {other.upper()}: take "
            f"`coatcheck.{other}.SessionMiddleware`, not `coatcheck.{speaks}.SessionMiddleware`"
        )


_OWN: Final = "coatcheck.session."


def own_key(options: SessionOptions) -> str:
    """Return where a request has the session of a middleware, whatever is in its place."""
    return _OWN + options.name


def session_in(request: Request, place: str, name: str | None) -> Session | None:
    """Return a session of a request.

    :param place: where frameworks look for it.
    :param name: the cookie's name; None for the innermost session.
    """
    if name is not None:
        named: Session | None = request.get(_OWN + name)
        return named
    session = request.get(place)
    if isinstance(session, Session):
        return session
    ours = [value for key, value in request.items() if key.startswith(_OWN)]
    ours.sort(key=lambda each: not core_of(each).phase.is_over)  # what is over comes first
    return ours[-1] if ours else None


def not_served(request: Request, speaks: str, name: str | None, advice: str) -> SessionUnavailable:
    """Return the error for a request without a session of a middleware.

    :param speaks: the interface that the middleware would have, ``"asgi"`` or ``"wsgi"``.
    :param name: the cookie's name that was asked for, or None.
    :param advice: what to do where no middleware of ours serves the request.
    """
    ours = [key.removeprefix(_OWN) for key in request if key.startswith(_OWN)]
    named = "" if name is None else f" of the name {name!r}"
    there = f"there are sessions of the name {', '.join(map(repr, ours))}" if ours else advice
    return SessionUnavailable(
        f"no coatcheck.{speaks}.SessionMiddleware{named} serves this request: {there}"
    )


#: A session, and what tells whether a WSGI request is the request that it belongs to.
Around: TypeAlias = tuple[Session, Callable[[Request], bool]]

#: The cookie names of this process's WSGI middlewares. ASGI middlewares of other names need not
#: tell them of their sessions.
wsgi_names: Final[set[str]] = set()

#: The sessions of the ASGI middlewares around, by name, for WSGI middlewares inside. Bridges from
#: ASGI to WSGI make a new environ, but they all keep the context.
around: Final[ContextVar[Mapping[str, Around]]] = ContextVar(
    "coatcheck.around", default=MappingProxyType({})
)
