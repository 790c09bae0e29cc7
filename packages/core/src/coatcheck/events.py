"""Tell observers and the debug log what happens to sessions."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = [
    "EventKind",
    "Observer",
    "SessionEvent",
]


def __dir__() -> list[str]:
    return __all__


#: The logger of this package. Decisions are logged at DEBUG.
logger: Final = logging.getLogger("coatcheck")

EventKind: TypeAlias = Literal[
    "created",  # a new session was stored
    "taken_over",  # ... with the data of a session of another library
    "loaded",  # a live record was found
    "updated",  # a changed session was stored
    "merged",  # ... together with changes of parallel requests
    "touched",  # the expiry was moved
    "regenerated",  # the session got a new id, and the old one is dead
    "destroyed",  # the session was ended by this request
    "revoked",  # the session was ended from outside a request
    "gone",  # it was ended by another request; this one's changes were dropped
    "unknown",  # a well signed id without a live record
    "expired",  # a record past its time, which the store still had
    "bad_cookie",  # a cookie of our name with a bad signature or id
    "corrupt",  # a record that the codec cannot read
    "conflict",  # another request wrote first
    "insecure",  # the Secure cookie cannot be sent over http
    "degraded",  # the store failed and the request goes on without a session
    "store_error",  # the store failed
]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Describe an event in the life of a session.

    :ivar kind: the kind of the event.
    :ivar ref: a short hash that tells sessions apart in a log and cannot be used to log in. None if
        no session is involved. :class:`~coatcheck.Sessions` takes another one, its ``ref_of``.
    :ivar at: POSIX seconds by the middleware's clock.
    :ivar error: the exception that caused the event, or None.
    """

    kind: EventKind
    ref: str | None
    at: float
    error: BaseException | None = None


Observer: TypeAlias = Callable[[SessionEvent], object]


class Emitter:
    """Pass events to the observers and to the log.

    :param observers: are called in order. Their exceptions are logged and go no further.
    :param clock: returns POSIX seconds.
    """

    def __init__(self, observers: Iterable[Observer], clock: Callable[[], float]) -> None:
        self._observers = tuple(observers)
        self._clock = clock
        self._to_stderr = os.environ.get("COATCHECK_DEBUG", "0") not in ("", "0")

    def __call__(
        self, kind: EventKind, key: str | None = None, error: BaseException | None = None
    ) -> None:
        """Emit an event.

        :param key: the store's key of the session, or None if no session is involved.
        :param error: the exception that caused the event.
        """
        debug = self._to_stderr or logger.isEnabledFor(logging.DEBUG)
        if not (self._observers or debug):
            return
        event = SessionEvent(kind, None if key is None else short_ref(key), self._clock(), error)
        if debug:
            self._write(_describe(event))
        for observer in self._observers:
            try:
                observer(event)
            except Exception as failure:
                # Only the type, because the observer's message may quote anything.
                name = getattr(observer, "__qualname__", type(observer).__qualname__)
                logger.error("the observer %s failed with %s", name, type(failure).__name__)

    def is_verbose(self) -> bool:
        """Tell whether anybody reads the debug log."""
        return self._to_stderr or logger.isEnabledFor(logging.DEBUG)

    def decided(self, what: str, key: str | None) -> None:
        """Write the decision for a response into the debug log."""
        session = "" if key is None else f" session={short_ref(key)}"
        self._write(f"response{session} {what}")

    def _write(self, line: str) -> None:
        logger.debug("%s", line)
        if self._to_stderr:
            sys.stderr.write(f"coatcheck: {line}\n")


def short_ref(key: str) -> str:
    """Return a short name for a store key that does not reveal it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _describe(event: SessionEvent) -> str:
    session = "" if event.ref is None else f" session={event.ref}"
    error = "" if event.error is None else f" error={type(event.error).__name__}"
    return f"{event.kind}{session}{error}"
