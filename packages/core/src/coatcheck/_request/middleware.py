"""Do what both middlewares have in common: check what they are around, take their places."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ..errors import ConfigurationError
from ..options import Request
from ..session import Session

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
    _check_not_of_route(app)
    if _takes(signature, speaks):
        return
    kind = app if isinstance(app, type) or inspect.isfunction(app) else type(app)
    given = f"{kind.__module__}.{kind.__qualname__}"
    if given.startswith("aiohttp."):
        reason = "aiohttp speaks neither ASGI nor WSGI: call `coatcheck.aiohttp.setup(app, ...)`"
    else:
        reason = f"it cannot be called with ({', '.join(_ARGUMENTS[speaks])})"
        if not signature.parameters:
            reason += "; if it makes the application, call it: `SessionMiddleware(make_app(), ...)`"
    raise ConfigurationError(f"{given} is no {speaks.upper()} application: {reason}")


def _check_not_of_route(app: object) -> None:
    """Refuse the middleware of a route of Litestar: each would have a store of its own.

    :raises ConfigurationError: it is one.
    """
    inside: object = app
    while inside is not None:
        if type(inside).__module__.startswith("litestar.middleware."):
            raise ConfigurationError(
                "Litestar makes one middleware for each route, and each would have a store of its "
                "own: take `plugins=[coatcheck.litestar.SessionConfig(...)]` instead of "
                "`DefineMiddleware(SessionMiddleware, ...)`, or put the middleware around the "
                "application"
            )
        inside = getattr(inside, "app", None)


def _takes(signature: inspect.Signature, speaks: Interface) -> bool:
    """Tell whether a callable can be called as an application of an interface."""
    try:
        signature.bind(*_ARGUMENTS[speaks])
    except TypeError:
        return False
    return True


def check_not_inside(middleware: object) -> None:
    """Refuse a middleware around the very application that calls it.

    :raises ConfigurationError: it calls itself without end.
    """
    app = getattr(middleware, "app", None)
    for name in ("wsgi_app", "asgi_app"):
        if getattr(app, name, None) is middleware:
            raise ConfigurationError(
                f"`app.{name} = SessionMiddleware(app, ...)` calls itself without end: write "
                f"`app.{name} = SessionMiddleware(app.{name}, ...)`"
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
