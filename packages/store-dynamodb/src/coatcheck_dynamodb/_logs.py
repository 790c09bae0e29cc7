"""Keep sessions out of botocore's log.

botocore logs requests and replies at the level DEBUG, with ids and data. A filter on its loggers
drops everything that it logs in a thread while a store's call runs there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Final, TypeVar

A = TypeVar("A")
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
    """Put the filter on botocore's loggers. Calling this again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)


def quietly(call: Callable[[A], T], argument: A) -> T:
    """Call a function, and drop what botocore logs in this thread until it returns."""
    # In a context of its own, so that nothing has to be undone if the call is interrupted.
    return copy_context().run(_quietly, call, argument)


def _quietly(call: Callable[[A], T], argument: A) -> T:
    _inside.set(True)
    return call(argument)
