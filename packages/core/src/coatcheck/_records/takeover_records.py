"""Note in the store which old sessions were taken over, so that each begins one of ours only once.

An old session is one of the library that an application used before. Its takeover record says that
a session of ours has begun with its data. It is written on the condition that there is none, so
only one of several requests begins that session. It stays until the old cookie would have expired:
somebody who presents the old cookie after a logout begins nothing. Middlewares whose cookies have
different names take an old session over separately: each has a record of its own.

A logout notes the end of the old session in another record, for all of them. A request that is just
storing a session reads it, and learns of the logout.

Takeover records are ordinary records of the store without an owner. They cannot be used as
sessions, and :class:`coatcheck.Sessions` does not show them.

docs/decisions/2026-11-30-old-sessions.md has the reasons.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..codec import Codec, SessionState
from ..errors import CorruptRecord, StoreError
from ..events import logger
from ..store import ABSENT, ALWAYS, Record, Unchanged
from .operations import Destroy, Get, Operations, Set, ToTheEnd

#: Seconds for which the old cookie still leads to the new session, from the first response on that
#: has the new cookie. Requests that were under way, or whose response was lost, find it.
JOIN_SECONDS: Final = 600.0
#: No session id of the native cookie format and no hash contains a colon.
_PREFIX: Final = "taken-over:"
_MEMBER: Final = "taken_over"


def takeover_key(scope: str, identity: str, name: str = "") -> str:
    """Return the key of the takeover record of an old session.

    :param scope: says, together with the identity, which old session it is.
    :param name: the name of our cookie. Without one, it is the key of the record of a logout.
    """
    text = f"{name}\n{scope}\n{identity}".encode("utf-8", "surrogatepass")
    return _PREFIX + hashlib.sha256(text).hexdigest()


def is_takeover(key: str) -> bool:
    """Tell whether a store key belongs to a takeover record."""
    return key.startswith(_PREFIX)


@dataclass(frozen=True, slots=True)
class TakeoverRecord:
    """Hold a takeover record as it is stored.

    :ivar began_at: when the takeover began, in POSIX seconds.
    :ivar finished_at: when a response was made that has the new cookie; None before.
    """

    key: str
    record: Record
    began_at: float
    finished_at: float | None

    def leads_to_session(self, now: float) -> bool:
        """Tell whether the old cookie still leads to the new session."""
        return self.finished_at is None or now - self.finished_at <= JOIN_SECONDS


class TakeoverRecords:
    """Read and write takeover records.

    :param codec: the codec of the sessions.
    :param clock: returns POSIX seconds.
    """

    def __init__(self, codec: Codec, clock: Callable[[], float]) -> None:
        self._codec = codec
        self._clock = clock

    def has_ended(self, key: str) -> Operations[bool]:
        """Tell whether a logout has ended an old session.

        :param key: that of the record of a logout.
        """
        return (yield Get(key)) is not None

    def find(self, key: str) -> Operations[TakeoverRecord | None]:
        """Return the takeover record under a key, or None."""
        record: Record | None = yield Get(key)
        if record is None:
            return None
        try:
            noted = self._codec.loads(record.data, key).data.get(_MEMBER)
        except CorruptRecord:
            noted = None
        # An unreadable record still says that the session was taken over.
        began, finished, _ = noted if isinstance(noted, list) and len(noted) == 3 else (0, 0, "")
        return TakeoverRecord(key, record, _time(began) or 0.0, _time(finished))

    def begin(self, key: str, expires_at: float) -> Operations[TakeoverRecord | None]:
        """Store that an old session is taken over.

        :param expires_at: when the old cookie ends, in POSIX seconds.
        :returns: None if there is a record already.
        """
        made = self._new(key, expires_at)
        try:
            written: bool = yield Set(key, made.record, ABSENT)
        except GeneratorExit:
            raise  # nothing can be done any more
        except BaseException:
            yield from self.give_up(made)
            raise
        return made if written else None

    def give_up(self, noted: TakeoverRecord) -> Operations[None]:
        """Remove a takeover record, because the session could not be stored.

        The caller raises what has happened, so an error of the store is only logged.
        """
        try:
            yield ToTheEnd(Destroy(noted.key, Unchanged(noted.record.data)))
        except StoreError as error:
            logger.error(
                "the visitor has to log in again, because the store failed while an old session "
                "was taken over: %s",
                type(error).__name__,
            )

    def finish(self, noted: TakeoverRecord) -> Operations[None]:
        """Store that the browser gets the new cookie, unless another request has stored it."""
        expires_at = noted.record.expires_at
        made = self._made(noted.key, expires_at, noted.began_at, self._clock())
        yield Set(noted.key, made.record, Unchanged(noted.record.data))

    def end(self, key: str, expires_at: float) -> Operations[None]:
        """Store that an old session has ended.

        :param key: that of the record of a logout.
        :param expires_at: when the old cookie ends, in POSIX seconds.
        """
        yield Set(key, self._new(key, expires_at).record, ALWAYS)

    def _new(self, key: str, expires_at: float) -> TakeoverRecord:
        now = self._clock()
        # It outlives the old cookie, also where the clocks of machine and store differ.
        return self._made(key, max(expires_at, now) + JOIN_SECONDS, now, None)

    def _made(
        self, key: str, expires_at: float, began_at: float, finished_at: float | None
    ) -> TakeoverRecord:
        # What is random tells this record from that of another request.
        noted = [began_at, finished_at, secrets.token_hex(8)]
        state = SessionState({_MEMBER: noted}, created_at=began_at)
        data = self._codec.pack(self._codec.dumps(state), state, expires_at, key)
        return TakeoverRecord(key, Record(data, expires_at), began_at, finished_at)


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
