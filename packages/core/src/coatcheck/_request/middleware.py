"""Do what both middlewares have in common: make them, and open their store."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ..errors import ConfigurationError
from ..events import logger
from ..memory import MemoryStore
from ..options import OptionFields, Request, SessionOptions, make_options
from ..session import Session
from ..store import AsyncStore, Store
from .finding import own_key
from .replacement import Place
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
        self._own_key = own_key(self.options.name)
        self._opening = threading.Lock()
        self._open_store(again=False)
        self._closed = False

    @abstractmethod
    def _open(self, *, again: bool) -> Store | AsyncStore:
        """Open the store and return it, and make the runner that works on it.

        :param again: it was open before.
        """

    def _take_place(self, app: object, place: Place, session: Session) -> None:
        """Put the session into a request that has sessions already.

        :param app: the application that the middleware is around.
        :raises ConfigurationError: the middleware is inside itself, or another one has its name.
        """
        for name in ("wsgi_app", "asgi_app"):
            if getattr(app, name, None) is self:
                raise ConfigurationError(
                    f"`app.{name} = SessionMiddleware(app, ...)` calls itself without end: write "
                    f"`app.{name} = SessionMiddleware(app.{name}, ...)`"
                )
        place.take(session, self._own_key)

    def _open_store(self, *, again: bool) -> None:
        self.store = self._open(again=again)
        self._manager.notices.uses(self.store)

    def _open_again(self) -> None:
        with self._opening:
            if self._closed:
                self._open_store(again=True)
                self._closed = False  # last, for other threads


Interface: TypeAlias = Literal["asgi", "wsgi"]

#: What applications of an interface are called with.
_ARGUMENTS: Final[Mapping[Interface, tuple[str, ...]]] = {
    "asgi": ("scope", "receive", "send"),
    "wsgi": ("environ", "start_response"),
}


def check_application(app: object, speaks: Interface) -> None:
    """Refuse what is no application of the interface, where its parameters tell.

    :param speaks: the middleware's interface.
    :raises ConfigurationError: it is none.
    """
    other: Interface = "wsgi" if speaks == "asgi" else "asgi"
    try:
        signature = inspect.signature(app)  # type: ignore[arg-type]  # see below
    except (TypeError, ValueError):  # not callable, or of C
        return
    last = [*signature.parameters][-1:]
    if last == [_ARGUMENTS[other][-1]] or (
        _takes(signature, other) and not _takes(signature, speaks)
    ):
        raise ConfigurationError(
            f"the application speaks {other.upper()}: take "
            f"`coatcheck.{other}.SessionMiddleware`, not `coatcheck.{speaks}.SessionMiddleware`"
        )
    if _takes(signature, speaks):
        return
    kind = app if isinstance(app, type) or inspect.isfunction(app) else type(app)
    given = f"{kind.__module__}.{kind.__qualname__}"
    if given.startswith("aiohttp."):
        reason = "aiohttp speaks neither ASGI nor WSGI, so no middleware can be around it"
    else:
        reason = f"it cannot be called with ({', '.join(_ARGUMENTS[speaks])})"
        if not signature.parameters:
            reason += "; if it makes the application, call it: `SessionMiddleware(make_app(), ...)`"
    raise ConfigurationError(f"{given} is no {speaks.upper()} application: {reason}")


def _takes(signature: inspect.Signature, speaks: Interface) -> bool:
    """Tell whether a callable can be called as an application of an interface."""
    try:
        signature.bind(*_ARGUMENTS[speaks])
    except TypeError:
        return False
    return True


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
