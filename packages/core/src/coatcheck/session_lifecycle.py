"""Load, store and end sessions by their ids, without requests and cookies.

This module is for authors of integrations whose framework has a session object of its own, and
sets its cookie by itself, as Django does. For other frameworks :mod:`coatcheck.integration` drives
a whole request, with its cookie.

Each method of :class:`SessionLifecycle` that needs the store returns *operations*: a generator that
does nothing by itself. ``run`` executes it, and ``arun`` does the same for asynchronous code::

    sessions = SessionLifecycle(store, options)
    stored = sessions.run(sessions.load(session_id))
    stored = await sessions.arun(sessions.load(session_id))

So an integration writes its own decisions once, as a generator that both use::

    def log_in(sessions, session_id, user):
        stored = yield from sessions.load(session_id)
        if stored is None:
            return (yield from sessions.create({"user_id": user}))
        return (yield from sessions.rotate(stored, {**stored.data, "user_id": user}))

    stored = sessions.run(log_in(sessions, session_id, 42))

A session that was ended elsewhere is never stored again: only ``create`` makes a record.

A framework's error reports may show local variables. Keep an id in a :class:`SessionId`, a string
that they do not show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from ._records.forking import fork
from ._records.operations import Get, Operations, StoreCall
from ._records.records import Attempts, Snapshot
from ._records.session_writer import ID_ATTEMPTS, KeyTaken, ids_taken
from ._records.succession import Succession, ref_of
from ._records.takeover_records import TakeoverRecords
from ._records.taking_over import FormerSession, SessionTakeover
from ._request.policy import Policy, lifecycle_of
from ._session.redaction import SessionId
from ._stores.runners import AsyncRunner, SyncRunner
from .codec import SessionState
from .cookie import CookieOptions
from .errors import ConfigurationError, IdTaken
from .events import Emitter
from .options import SessionOptions
from .store import AsyncStore, Record, Store

__all__ = [
    "FormerSession",
    "Operations",
    "SessionId",
    "SessionLifecycle",
    "SessionTakeover",
    "StoredSession",
]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")
#: Returns the POSIX time at which a session with these data ends if nobody uses it from now on.
Expiry: TypeAlias = Callable[[Mapping[str, Any]], float]


@dataclass(slots=True, eq=False)
class StoredSession:
    """A session as it was last read or written.

    :ivar id: the id, which the framework's cookie carries. Do not log it.
    :ivar data: the data; changes of this dict are stored by :meth:`SessionLifecycle.save` alone.
    :ivar created_at: POSIX seconds.
    :ivar expires_at: POSIX seconds.
    :ivar owner: whose session it is, by the option ``owner``.
    """

    id: str = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    created_at: float
    expires_at: float
    owner: str | None = field(repr=False)
    _snapshot: Snapshot = field(repr=False)
    _state: SessionState = field(repr=False)
    _attempts: Attempts = field(repr=False)


class SessionLifecycle:
    """Load, create, change, touch, rotate and end sessions by their ids.

    :param store: any store. Make one object for each process and keep it.
    :param options: these matter here: ``codec``, ``owner``, ``concurrency``, ``merge``,
        ``conflict_timeout``, ``absolute_timeout``, ``hash_ids``, ``generate_id``, ``observers`` and
        ``clock``. ``generate_id`` is called with an empty mapping, as there is no request.
    :param expiry: returns the POSIX time at which a session with these data ends if nobody uses it
        from now on. Default: ``idle_timeout``, or the lifetime of the option ``cookie``.
    :ivar takeover: takes over the sessions that the framework kept elsewhere before.
    :raises ConfigurationError: ``store`` is no store.
    """

    def __init__(
        self, store: Store | AsyncStore, options: SessionOptions, *, expiry: Expiry | None = None
    ) -> None:
        if not isinstance(store, Store | AsyncStore):
            raise ConfigurationError(
                "`SessionLifecycle` needs a store object, as `open_store` returns it, "
                f"not {type(store).__name__}"
            )
        self._options = options
        self._succession = Succession(options.codec, options.clock)
        self._expiry_is_in_data = expiry is not None
        self._sync = SyncRunner(store)
        self._async = AsyncRunner(store)
        emit = Emitter(options.observers, options.clock)
        if expiry is None:
            cookie = options.cookie if isinstance(options.cookie, CookieOptions) else None
            self._lifecycle = Policy(options, cookie or CookieOptions(), emit).lifecycle
        else:
            self._lifecycle = lifecycle_of(options, emit, lambda state: expiry(state.data))
        self.takeover: SessionTakeover = SessionTakeover(
            self._lifecycle,
            TakeoverRecords(options.codec, options.clock),
            options.clock,
            emit,
            self._key,
            lambda data: self._owner(data, None),
        )

    def run(self, operations: Operations[T]) -> T:
        """Execute operations in synchronous code, and return their result."""
        return self._sync.run(operations)

    async def arun(self, operations: Operations[T]) -> T:
        """Execute operations in asynchronous code, and return their result."""
        return await self._async.run(operations)

    def ref_of(self, session_id: str) -> str:
        """Return the name by which :class:`coatcheck.Sessions` knows a session. It opens nothing.

        No store is asked.
        """
        return ref_of(session_id)

    def load(self, session_id: str) -> Operations[StoredSession | None]:
        """Return a session, or None if there is no live one that can be read.

        :raises StoreError: the store failed.
        """
        found = yield from self._lifecycle.load(self._key(session_id))
        return None if found is None else _stored(session_id, found, Attempts())

    def exists(self, session_id: str) -> Operations[bool]:
        """Tell whether :meth:`load` would find a session under an id.

        :raises StoreError: the store failed.
        """
        key = self._key(session_id)
        record: Record | None = yield Get(key)
        return record is not None and self._lifecycle.open(key, record) is not None

    def create(
        self, data: dict[str, Any], session_id: str | None = None
    ) -> Operations[StoredSession]:
        """Store a new session.

        :param session_id: the id, or None for one of ``generate_id``.
        :raises IdTaken: another session has the id.
        :raises ConfigurationError: ``generate_id`` returns ids of other sessions.
        :raises SerializationError: a value cannot be stored.
        :raises StoreError: the store failed. The session may be stored, under an id that nobody
            knows.
        """
        state = SessionState(data, created_at=self._options.clock(), owner=self._owner(data, None))
        del data  # so that error reports with local variables do not show them
        if not session_id:
            new_id, found, attempts = yield from _under_new_id(
                self._options, lambda key, attempts: self._lifecycle.create(key, state, attempts)
            )
            return _stored(new_id, found, attempts)
        attempts = Attempts()
        try:
            found = yield from self._lifecycle.create(self._key(session_id), state, attempts)
        except KeyTaken:
            raise IdTaken("another session has this id") from None
        return _stored(session_id, found, attempts)

    def save(self, stored: StoredSession, data: dict[str, Any]) -> Operations[StoredSession | None]:
        """Store a session with these data instead, and move its expiry.

        Changes that other requests have stored since are merged, key by key, unless the option
        ``concurrency`` says otherwise. If the data are those that were read, only the expiry moves.
        After an error the call may be repeated.

        :param stored: what the last call returned for this session.
        :returns: what is stored now; None if the session was ended, and nothing was written.
        :raises ConflictError: others were faster, and the changes may not or could not be merged.
        :raises SerializationError: a value cannot be stored.
        :raises StoreError: the store failed, and the change may be stored or not.
        """
        state = self._state_of(stored, data)
        del data  # so that error reports with local variables do not show them
        snapshot, attempts = stored._snapshot, stored._attempts
        content = self._options.codec.dumps(state)
        if content == self._lifecycle.content(snapshot) and not attempts.unknown:
            return (yield from self._touch_unchanged(stored))
        writing = self._lifecycle.update(snapshot, state, True, attempts, content)
        content = b""  # as the data
        found = yield from writing
        return None if found is None else _stored(stored.id, found, attempts)

    def touch(
        self, stored: StoredSession, expires_at: float | None = None
    ) -> Operations[StoredSession | None]:
        """Move the expiry of a session, and leave its data.

        :param expires_at: POSIX seconds; None for the time at which a session ends that is used
            now.
        :returns: what is stored now; None if the session was ended.
        :raises StoreError: the store failed.
        """
        if expires_at is None:
            expires_at = self._lifecycle.expiry(stored._state)
        touched = yield from self._lifecycle.touch(stored._snapshot, expires_at)
        if touched is None:
            return None
        return replace(stored, expires_at=expires_at, _snapshot=touched)

    def rotate(
        self, stored: StoredSession, data: dict[str, Any]
    ) -> Operations[StoredSession | None]:
        """Store a session with these data under a new id, and end it under the old one.

        Changes that others wrote under the old id are merged, and who ends the session under the
        old id also ends it under the new one.

        If others have rotated it meanwhile, these data are a session of their own where they are
        a login: where the session has an owner now, or a time of :mod:`coatcheck.logins`, and had
        none before.

        :returns: the session with its new id; None if it was ended, or others have rotated it and
            this is no login. Then nothing is stored.
        :raises ConflictError: as :meth:`save`; the session stays under its old id.
        :raises ConfigurationError: ``generate_id`` returns ids of other sessions.
        :raises SerializationError: a value cannot be stored.
        :raises StoreError: the store failed. The old id may still be good.
        """
        state = self._state_of(stored, data)
        del data  # so that error reports with local variables do not show them
        old = stored._snapshot
        new_id, found, attempts = yield from _under_new_id(
            self._options,
            lambda key, attempts: self._lifecycle.rotate(old, key, state, True, attempts),
        )
        return None if found is None else _stored(new_id, found, attempts)

    def fork(self, stored: StoredSession, data: dict[str, Any]) -> Operations[StoredSession | None]:
        """Store a session with these data under an id of its own, where others have rotated it.

        :meth:`rotate` returns None for a session that was ended, and for one that others have
        rotated meanwhile. For the second, this method makes one more session: after a double click
        on "log in", each of the two responses has one. A logout under the old id ends both.

        A request may end the session while others are still rotating it, and this method then
        makes one more. So a session that has an owner never goes on like this: a login that is
        ended stays ended.

        :returns: the session; None if the old one has an owner or was ended under each of its ids,
            and nothing is stored.
        :raises ConflictError: too many requests do this with the same session.
        :raises ConfigurationError: ``generate_id`` returns ids of other sessions.
        :raises SerializationError: a value cannot be stored.
        :raises StoreError: the store failed. The session may be stored, under an id that nobody
            knows.
        """
        state = self._state_of(stored, data)
        del data  # so that error reports with local variables do not show them
        if stored.owner is not None:
            return None
        old = stored._snapshot.key
        new_id, found, attempts = yield from _under_new_id(
            self._options,
            lambda key, attempts: fork(
                self._lifecycle, self._succession, old, key, state, attempts
            ),
        )
        return None if found is None else _stored(new_id, found, attempts)

    def end(self, session_id: str) -> Operations[None]:
        """End a session for good, also if its id has changed meanwhile.

        :raises StoreError: the store failed, and the session may live on.
        """
        yield from self._lifecycle.end(self._key(session_id))

    def prune(self, limit: int | None = None) -> Operations[int]:
        """Remove expired records, and return how many there were.

        :param limit: the largest number to remove, or None for all.
        :raises StoreError: the store failed.
        """
        return (yield _call("prune", limit))  # type: ignore[no-any-return]  # the store's number

    def ping(self) -> Operations[None]:
        """Check that the store can be used.

        :raises StoreError: it cannot.
        """
        yield _call("ping")

    def _touch_unchanged(self, stored: StoredSession) -> Operations[StoredSession | None]:
        """Move the expiry of a session that this request has not changed.

        Others may have changed the data that say when it ends.
        """
        if self._expiry_is_in_data:
            record: Record | None = yield Get(stored._snapshot.key)
            if record is not None and record.data != stored._snapshot.record.data:
                found = self._lifecycle.open(stored._snapshot.key, record)
                if found is None:
                    return None
                stored = _stored(stored.id, found, Attempts())
        return (yield from self.touch(stored))

    def _key(self, session_id: str) -> str:
        return _key_of(session_id, self._options)

    def _owner(self, data: Mapping[str, Any], before: str | None) -> str | None:
        return before if self._options.owner is None else self._options.derived_owner(data)

    def _state_of(self, stored: StoredSession, data: dict[str, Any]) -> SessionState:
        return replace(stored._state, data=data, owner=self._owner(data, stored.owner))


def _key_of(session_id: str, options: SessionOptions) -> str:
    # The name that opens nothing is the hash of the id.
    return ref_of(session_id) if options.hash_ids else session_id


def _under_new_id(
    options: SessionOptions, write: Callable[[str, Attempts], Operations[T]]
) -> Operations[tuple[str, T, Attempts]]:
    """Store a session under a new id, and return the id, what was stored, and the attempts.

    :param write: stores it under a key.
    :raises ConfigurationError: ``generate_id`` returns ids of other sessions.
    """
    for _ in range(ID_ATTEMPTS):
        new_id, attempts = options.generate_id({}), Attempts()
        try:
            return new_id, (yield from write(_key_of(new_id, options), attempts)), attempts
        except KeyTaken:
            continue
    raise ids_taken()


def _stored(
    session_id: str, found: tuple[Snapshot, SessionState], attempts: Attempts
) -> StoredSession:
    snapshot, state = found
    expires_at = snapshot.record.expires_at
    return StoredSession(
        session_id, state.data, state.created_at, expires_at, state.owner, snapshot, state, attempts
    )


def _call(name: str, *arguments: object) -> StoreCall:
    call = StoreCall()
    call.name, call.args = name, arguments
    return call
