"""botocore logs requests and replies, with ids and data, at the level DEBUG: not those of sessions.

A filter on its loggers drops what is said while a store's call runs in the same thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

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


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what botocore logs meanwhile in this thread."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
