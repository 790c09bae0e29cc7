"""Begin a session with the data of an old one, once, and find the one that has begun so.

An old session is one that somebody else kept before. Parallel requests may all have it, so its
takeover record decides which one begins the session, and the others find that one by its keys. A
logout that comes meanwhile is noted, and wins.

docs/decisions/2026-11-30-old-sessions.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ..codec import SessionState
from ..events import Emitter
from .lifecycle import Lifecycle
from .operations import Operations, Sleep
from .records import Attempts, Snapshot
from .session_writer import KeyTaken
from .takeover_records import TakeoverRecord, TakeoverRecords, takeover_key

#: What is stored.
Found: TypeAlias = tuple[Snapshot, SessionState]

#: What a :class:`SessionTakeover` has in the place of the name of a cookie.
_SCOPE: Final = "session_lifecycle"
#: Seconds to wait for another request that is just storing the session, one after the other.
_WAITS: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
#: Seconds after which nobody is storing it any more.
_STORING: Final = 5.0


class TakingOver:
    """Begin sessions with the data of old ones.

    :param records: those that say what was taken over.
    :param lifecycle: stores and loads the sessions.
    :param clock: returns POSIX seconds.
    :param emit: is told of each event.
    """

    def __init__(
        self,
        records: TakeoverRecords,
        lifecycle: Lifecycle,
        clock: Callable[[], float],
        emit: Emitter,
    ) -> None:
        self._records = records
        self._lifecycle = lifecycle
        self._clock = clock
        self._emit = emit

    def take_over(
        self,
        key: str,
        end_key: str,
        keys: Sequence[str],
        state: SessionState | None,
        expires_at: float,
    ) -> Operations[tuple[TakeoverRecord | None, Found | None]]:
        """Begin a session with the data of an old one, or find the one that has begun so.

        :param key: that of the takeover record.
        :param end_key: that of the record of a logout.
        :param keys: the keys that the session can have; it begins under the first one.
        :param state: the new session; None if the old one is not there any more.
        :param expires_at: when the old session ends at the latest, in POSIX seconds.
        :returns: the takeover record, or None if the old session was never taken over; and the
            session, or None if there is none.
        :raises StoreError: the store failed.
        """
        noted: TakeoverRecord | None = None
        found: Found | None = None
        if state is not None:
            noted = yield from self._records.begin(key, expires_at)
            if noted is not None:
                found = yield from self._store(noted, end_key, keys[0], state)
        if noted is None:
            noted = yield from self._records.find(key)
        if noted is not None and found is None:
            found = yield from self._join(noted, keys)
        return noted, found

    def _store(
        self, noted: TakeoverRecord, end_key: str, key: str, state: SessionState
    ) -> Operations[Found | None]:
        """Store the new session. None if one is stored already, or a logout came meanwhile."""
        try:
            stored = yield from self._lifecycle.create(key, state, Attempts())
        except KeyTaken:
            return None
        except GeneratorExit:
            raise  # nothing can be done any more
        except BaseException:
            yield from self._records.give_up(noted)
            raise
        # A logout between the two writes has found no session to end.
        if (yield from self._records.has_ended(end_key)):
            yield from self._lifecycle.end(key)
            return None
        self._emit("taken_over", key)
        return stored

    def _join(self, noted: TakeoverRecord, keys: Sequence[str]) -> Operations[Found | None]:
        """Return the session that has begun with an old one, unless it has ended."""
        now = self._clock()
        if not noted.leads_to_session(now):
            return None
        is_being_stored = noted.finished_at is None and now - noted.began_at <= _STORING
        for seconds in (*(_WAITS if is_being_stored else ()), None):
            for key in keys:
                found = yield from self._lifecycle.load(key)
                if found is not None:
                    return found
            if seconds is not None:
                yield Sleep(seconds)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerSession:
    """A session that a framework kept elsewhere before, in a cache or in its cookie.

    :ivar identity: tells it from all others. It must follow from what is signed, or from the id.
    :ivar session_ids: the ids under which the session can go on. It begins under the first one,
        and parallel requests look for it under each. They must be secret, and follow from the
        identity: take the id that it had, or an HMAC.
    :ivar expires_at: when the former session ends at the latest, in POSIX seconds.
    """

    identity: str = field(repr=False)
    session_ids: Sequence[str] = field(repr=False)
    expires_at: float


class SessionTakeover:
    """Take over the sessions that a framework kept elsewhere before, each of them once.

    It is an attribute of :class:`~coatcheck.session_lifecycle.SessionLifecycle`, whose ``run`` and
    ``arun`` execute what the methods return. The store must not lose its records: a lost one lets
    the former session begin again.

    :param lifecycle: stores and loads the sessions.
    :param records: those that say what was taken over.
    :param clock: returns POSIX seconds.
    :param emit: is told of each event.
    :param key_of: returns the store's key for an id.
    :param owner_of: derives the owner from the data.
    """

    def __init__(
        self,
        lifecycle: Any,  # a Lifecycle, which is not public
        records: TakeoverRecords,
        clock: Callable[[], float],
        emit: Emitter,
        key_of: Callable[[str], str],
        owner_of: Callable[[Mapping[str, Any]], str | None],
    ) -> None:
        self._lifecycle: Lifecycle = lifecycle
        self._records = records
        self._clock = clock
        self._key_of = key_of
        self._owner_of = owner_of
        self._taking_over = TakingOver(records, lifecycle, clock, emit)

    def begin(self, former: FormerSession, data: dict[str, Any] | None) -> Operations[str | None]:
        """Store the session of a former one, or find the one that another request has stored.

        Afterwards the framework loads it by its id.

        :param data: those of the former session; None if it is not there any more.
        :returns: the id of the session; None if there is none, or it has ended.
        :raises SerializationError: a value cannot be stored, and nothing is.
        :raises StoreError: the store failed.
        """
        end_key = takeover_key(_SCOPE, former.identity)
        if (yield from self._records.has_ended(end_key)):
            return None
        state: SessionState | None = None
        if data is not None:
            state = SessionState(data, created_at=self._clock(), owner=self._owner_of(data))
        del data  # so that error reports with local variables do not show them
        ids = {self._key_of(session_id): session_id for session_id in former.session_ids}
        key = takeover_key(_SCOPE, former.identity, _SCOPE)
        taking = self._taking_over.take_over(key, end_key, [*ids], state, former.expires_at)
        _, found = yield from taking
        return None if found is None else ids[found[0].key]

    def finish(self, former: FormerSession) -> Operations[None]:
        """Note that the browser gets the new id.

        For ten minutes from then on the former session still leads to the new one, for requests
        that were under way and responses that were lost.

        :raises StoreError: the store failed.
        """
        noted = yield from self._records.find(takeover_key(_SCOPE, former.identity, _SCOPE))
        if noted is not None and noted.finished_at is None:
            yield from self._records.finish(noted)

    def end(self, former: FormerSession) -> Operations[None]:
        """Note that a former session has ended, and end the session that has begun with it.

        A request that is just storing that session learns of it.

        :raises StoreError: the store failed, and the session may live on.
        """
        yield from self._records.end(takeover_key(_SCOPE, former.identity), former.expires_at)
        for session_id in former.session_ids:
            yield from self._lifecycle.end(self._key_of(session_id))
