"""The two indexes of the collection."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import pymongo
from pymongo import errors

_log = logging.getLogger("coatcheck")

#: Seconds that a write waits for both indexes. A large collection may need more.
_TIMEOUT: Final = 2.0
#: Seconds that it waits for one index at least.
_LEAST: Final = 0.5
#: Seconds until another write tries again: if the time was too short, and if nobody answered.
_PAUSE: Final = 60.0
_SHORT_PAUSE: Final = 5.0


@dataclass(frozen=True)
class _Index:
    """An index.

    :ivar without: what happens as long as it is missing.
    """

    field: str
    options: dict[str, Any]
    without: str

    def create(self, sessions: Any) -> Any:
        return sessions.create_index(self.field, **self.options)


_INDEXES: Final = (
    _Index(
        "expires",
        {"expireAfterSeconds": 0},
        "Until then expired sessions are absent, but stay in the database",
    ),
    _Index(
        "owner",
        {"sparse": True},
        "Until then a search for the sessions of one owner reads all sessions",
    ),
)


class Indexes:
    """Creates the indexes at the first write of a store.

    Only speed and the removal of expired documents depend on them, so no write fails because of
    them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_at = 0.0

    def are_due(self) -> bool:
        """Tell whether to create them now. Only one of several threads or tasks is told so."""
        if self._due_at > time.monotonic():
            return False
        with self._lock:
            due = self._due_at <= time.monotonic()
            if due:
                self._due_at = time.monotonic() + _PAUSE
            return due

    def create(self) -> Generator[Any, Any, None]:
        """Create them, or log what to do."""
        complete = True
        began = time.monotonic()
        for index in _INDEXES:
            left = max(_LEAST, began + _TIMEOUT - time.monotonic())
            try:
                with pymongo.timeout(left):
                    yield index.create
            except errors.OperationFailure as error:
                complete = complete and not error.timeout
                why = "it needs more time" if error.timeout else f"error {error.code}"
                _log.warning(
                    "MongoDB did not create the index on `%s` (%s): in mongosh, "
                    "db.getCollection(NAME).createIndex({%s: 1}, %s). %s",
                    index.field, why, index.field, json.dumps(index.options), index.without,
                )  # fmt: skip
            except errors.ConnectionFailure:  # the write that follows raises an error
                self._due_at = time.monotonic() + _SHORT_PAUSE
                return
        if complete:
            self._due_at = float("inf")
