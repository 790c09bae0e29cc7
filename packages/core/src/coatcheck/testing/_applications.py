"""Find the sessions of an application, through the middleware in it or around it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..errors import ConfigurationError
from ..options import SessionOptions
from ..sessions import Sessions
from ..store import AsyncStore, Store

#: Where frameworks and middlewares have the application inside, or what opens its sessions.
_INNER: Final = (
    *("app", "application", "wsgi_app"),
    *("middleware_stack", "asgi_handler", "session_interface"),
    "config",
)


def find_sessions(application: Any) -> Sessions:
    """Return the sessions of an application.

    :param application: a middleware of coatcheck, or an application that has one in it: of
        Starlette, FastAPI, Flask or Litestar, for example. Starlette makes its middlewares at that
        moment, as it does at the first request.
    :raises ConfigurationError: there is no such middleware, or there are several.
    """
    found = {id(each.store): each for each in _middlewares(application)}
    if len(found) == 1:
        (middleware,) = found.values()
        own = getattr(middleware, "sessions", None)  # of Flask, whose options may change
        return own if isinstance(own, Sessions) else Sessions(middleware.store, middleware.options)
    if not found:
        raise ConfigurationError(
            f"no session middleware of coatcheck was found in {type(application).__name__}: say "
            "`sessions=Sessions(middleware.store, middleware.options)`"
        )
    names = ", ".join(repr(each.options.name) for each in found.values())
    raise ConfigurationError(
        f"the application has several session middlewares, with the cookies {names}: say "
        "`sessions=Sessions(middleware.store, middleware.options)` of one of them"
    )


def _middlewares(application: Any) -> Iterator[Any]:
    """Yield what has sessions of coatcheck: it has their store and their options."""
    seen: list[Any] = []  # of objects and not of ids, which others could get meanwhile
    waiting = [application]
    while waiting:
        each = waiting.pop(0)
        if each is None or any(each is other for other in seen):
            continue
        seen.append(each)
        has_options = isinstance(getattr(each, "options", None), SessionOptions) or isinstance(
            getattr(each, "sessions", None), Sessions
        )
        if has_options and isinstance(getattr(each, "store", None), Store | AsyncStore):
            yield each
        waiting += _inside(each)


def _inside(each: Any) -> Iterator[Any]:
    build = getattr(each, "build_middleware_stack", None)
    if callable(build) and each.middleware_stack is None:  # of Starlette, before the first request
        each.middleware_stack = build()
    if inspect.isfunction(each):  # a wrapper, as Litestar's client has one
        yield from inspect.getclosurevars(each).nonlocals.values()
    for name in _INNER:
        yield getattr(each, name, None)
    for name in ("extensions", "kwargs"):  # of Flask; of a middleware of Litestar
        mapping = getattr(each, name, None)
        if isinstance(mapping, Mapping):
            yield from mapping.values()
    for name in ("middlewares", "middleware"):  # of aiohttp; of Litestar
        several = getattr(each, name, None)
        if isinstance(several, Sequence) and not isinstance(several, str):
            yield from several
