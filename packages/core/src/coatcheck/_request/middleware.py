"""Do what the ASGI and the WSGI driver have in common: open the store, write the headers."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import AnyStr, Final, Generic, Literal, TypeAlias

from .._session.session_dict import core_of
from ..errors import ConfigurationError, SessionUnavailable
from ..events import logger
from ..memory import MemoryStore
from ..options import OptionFields, Request, SessionOptions, make_options
from ..session import Session
from ..store import AsyncStore, Store
from . import caching, deployment
from .request_adapter import RequestAdapter
from .session_manager import SessionManager
from .set_cookie import HeaderChanges


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
        """Open the store, and make what works on it.

        :param again: it was open before.
        """

    def _open_store(self, *, again: bool) -> None:
        self._manager.notices.uses(self._open(again=again))

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
    ours.sort(key=lambda each: not core_of(each).is_over)  # what is over comes first
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


class HeaderWriter(Generic[AnyStr]):
    """Puts what the session has to say into the headers of a response.

    :param to: turns text into the type of the protocol's headers.
    :param text: turns it back.
    """

    def __init__(self, to: Callable[[str], AnyStr], text: Callable[[AnyStr], str]) -> None:
        self._to: Callable[[str], AnyStr] = to
        self._text: Callable[[AnyStr], str] = text
        self._vary: AnyStr = to("vary")
        self._cookie: AnyStr = to("Cookie")
        self._set_cookie: AnyStr = to("set-cookie")
        self._cache_control: AnyStr = to("cache-control")
        self._between: AnyStr = to("\n")
        self._names_for_caches: list[AnyStr] = [to(part) for part in caching.PARTS_OF_NAMES]
        self._vary_cookie: tuple[AnyStr, AnyStr] = (self._vary, self._cookie)
        self._no_store: tuple[AnyStr, AnyStr] = (self._cache_control, to("no-store"))

    def changed(
        self,
        headers: Iterable[tuple[AnyStr, AnyStr]],
        changes: HeaderChanges,
        manager: SessionManager,
    ) -> list[tuple[AnyStr, AnyStr]]:
        """Return a new list: the application's belongs to it, and may serve other responses."""
        result = list(headers)
        names = [name.lower() for name, _ in result]
        for_caches = changes.set_cookie is not None and self._speak_of_caches(names)
        if for_caches:
            self._warn_of_sharing(result, manager)  # what the application says: without our Vary
        if changes.vary:
            if self._vary in names:
                self._extend_vary(result, names)
            else:
                result.append(self._vary_cookie)
        if changes.set_cookie is not None:
            if for_caches:
                result = self._without_storing(result)
            else:
                result.append(self._no_store)
            result.append((self._set_cookie, self._to(changes.set_cookie)))
        return result

    def may_be_shared(self, headers: Iterable[tuple[AnyStr, AnyStr]], now: float) -> bool:
        """Tell whether a response says that a cache may serve it to several visitors."""
        text = self._text
        return caching.may_be_shared(((text(name), text(value)) for name, value in headers), now)

    def _speak_of_caches(self, names: list[AnyStr]) -> bool:
        """Tell whether headers say what caches may do.

        :param names: in lower case.
        """
        together = self._between.join(names)  # nearly always no part of any name is there
        for part in self._names_for_caches:
            if part in together:
                return any(
                    name == self._cache_control or caching.forbids(self._text(name)) is not None
                    for name in names
                )
        return False

    def _warn_of_sharing(
        self, headers: Iterable[tuple[AnyStr, AnyStr]], manager: SessionManager
    ) -> None:
        if deployment.SHARED not in manager.notices and self.may_be_shared(
            headers, manager.options.clock()
        ):
            manager.notices.give(deployment.SHARED)

    def _without_storing(
        self, headers: Iterable[tuple[AnyStr, AnyStr]]
    ) -> list[tuple[AnyStr, AnyStr]]:
        """Return headers by which no cache stores the response."""
        result: list[tuple[AnyStr, AnyStr]] = []
        controls: list[str] = []
        for name, value in headers:
            forbidding = caching.forbids(self._text(name).lower())
            if name.lower() == self._cache_control:
                controls.append(self._text(value))
            else:
                result.append((name, value if forbidding is None else self._to(forbidding)))
        result.append((self._cache_control, self._to(caching.restricted(controls))))
        return result

    def _extend_vary(self, headers: list[tuple[AnyStr, AnyStr]], names: list[AnyStr]) -> None:
        """Add Cookie to the last Vary header, unless one of them has it or is ``*``."""
        last = 0
        for index, name in enumerate(names):
            if name == self._vary:
                last = index
                listed = [part.strip().lower() for part in headers[index][1].split(self._to(","))]
                if self._to("*") in listed or self._cookie.lower() in listed:
                    return
        name, value = headers[last]
        added = value + self._to(", ") + self._cookie if value.strip() else self._cookie
        headers[last] = (name, added)
