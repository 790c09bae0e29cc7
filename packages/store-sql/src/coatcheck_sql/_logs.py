"""Keep sessions out of aiosqlite's log.

The logger ``aiosqlite`` logs each call at the level DEBUG, with keys, data and owners. A filter
drops what the threads of stores log.
"""

from __future__ import annotations

import logging
from threading import Thread
from weakref import WeakSet

_logger = logging.getLogger("aiosqlite")


class _WithoutSessions(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.threads: WeakSet[Thread] = WeakSet()

    def filter(self, record: logging.LogRecord) -> bool:
        return all(thread.ident != record.thread for thread in list(self.threads))


_filter = _WithoutSessions()


def keep_out(thread: Thread) -> None:
    """Keep what a thread does out of the log from now on."""
    _filter.threads.add(thread)
    _logger.addFilter(_filter)  # adding it again changes nothing
