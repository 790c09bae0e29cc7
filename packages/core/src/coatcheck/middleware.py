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
        logger.info("sessions are kept in this process's memory: give a `store` for more than one")
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
    result = [(name, value) for name, value in headers]
    if changes.vary:
        _add_vary(result, to)
    if changes.set_cookie is not None:
        result.append((to("set-cookie"), to(changes.set_cookie)))
        if not any(name.lower() == to("cache-control") for name, _ in result):
            result.append((to("cache-control"), to("no-store")))
    return result


def _add_vary(headers: list[tuple[AnyStr, AnyStr]], to: Callable[[str], AnyStr]) -> None:
    vary, last = to("vary"), None
    for index, (name, value) in enumerate(headers):
        if name.lower() == vary:
            last = index
            listed = [field.strip().lower() for field in value.split(to(","))]
            if to("*") in listed or to("cookie") in listed:
                return
    if last is None:
        headers.append((vary, to("Cookie")))
    else:
        name, value = headers[last]
        headers[last] = (name, value + to(", Cookie") if value.strip() else to("Cookie"))
