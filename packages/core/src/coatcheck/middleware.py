"""What the ASGI and the WSGI driver have in common: the store's ownership, the headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import AnyStr

from .events import logger
from .exchange import HeaderChanges
from .memory import MemoryStore
from .options import SessionOptions
from .store import AsyncStore, Store


def choose_store(
    options: SessionOptions, open_url: Callable[..., Store | AsyncStore]
) -> tuple[Store | AsyncStore, bool]:
    """Return the store of a middleware, and whether the middleware has to close it."""
    if options.store is None:
        logger.warning(
            "sessions are kept in the memory of this process alone and end with it; give a `store` "
            "for more than one process (`MemoryStore()` if that is what you want)"
        )
        return MemoryStore(clock=options.clock), True
    if isinstance(options.store, str):
        return open_url(options.store, clock=options.clock), True
    return options.store, False


def changed_headers(
    headers: Iterable[tuple[AnyStr, AnyStr]],
    changes: HeaderChanges,
    to: Callable[[str], AnyStr],
) -> list[tuple[AnyStr, AnyStr]]:
    """Return a new header list: the application's belongs to it, and may serve other responses.

    :param to: turns text into the header's type.
    """
    result = list(headers)
    names = [name.lower() for name, _ in result]
    if changes.vary:
        vary = to("vary")
        if vary in names:
            _extend_vary(result, names, vary, to)
        else:
            result.append((vary, to("Cookie")))
    if changes.set_cookie is not None:
        result.append((to("set-cookie"), to(changes.set_cookie)))
        if to("cache-control") not in names:
            result.append((to("cache-control"), to("no-store")))
    return result


def _extend_vary(
    headers: list[tuple[AnyStr, AnyStr]],
    names: list[AnyStr],
    vary: AnyStr,
    to: Callable[[str], AnyStr],
) -> None:
    """Add Cookie to the last Vary header, unless one of them has it or is ``*``."""
    last = 0
    for index, name in enumerate(names):
        if name == vary:
            last = index
            listed = [field.strip().lower() for field in headers[index][1].split(to(","))]
            if to("*") in listed or to("cookie") in listed:
                return
    name, value = headers[last]
    headers[last] = (name, value + to(", Cookie") if value.strip() else to("Cookie"))
