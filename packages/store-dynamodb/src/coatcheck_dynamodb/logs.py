"""botocore logs requests and replies, with ids and data, at the level DEBUG: not those of sessions.

A filter on its loggers drops what is said while a store's call runs in the same thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Final, TypeVar

C = TypeVar("C")
T = TypeVar("T")

_LOGGERS: Final = tuple(
    f"botocore.{name}"
    for name in ("auth", "client", "endpoint", "hooks", "httpsession", "parsers", "regions",
                 "retries", "retries.standard", "retryhandler")
)  # fmt: skip

_inside: ContextVar[bool] = ContextVar("coatcheck-dynamodb", default=False)


class _WithoutSessions(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _inside.get()


_filter: Final = _WithoutSessions()


def install() -> None:
    """Put the filter on botocore's loggers; once, however often this is called."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)


def quietly(call: Callable[[C], T], client: Callable[[], C]) -> T:
    """Call with a client, and drop what botocore logs meanwhile in this thread."""
    # In a context of its own: nothing has to be undone, also where the call is interrupted.
    return copy_context().run(_quietly, call, client)


def _quietly(call: Callable[[C], T], client: Callable[[], C]) -> T:
    _inside.set(True)
    return call(client())
