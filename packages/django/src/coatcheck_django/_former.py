"""The sessions of the former engine: each moves at its first use, or all by a command.

A row of a table is deleted in the same transaction in which its session is stored. So a parallel
request that finds the row waits until it is gone, and then finds the session. A logout deletes the
row first, and waits for a request that is moving it in the same way: no session comes back from its
row.

A cookie cannot be ended, and a cache has no transactions. So the store notes that a session of
theirs was taken over, and that it was ended: nothing begins twice from the same cookie or entry,
and no logout is undone. Django reads the cache, as before: so Django unpickles what is in it, and
coatcheck does not.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.conf import settings
from django.contrib.sessions.backends import cache, signed_cookies
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from coatcheck.errors import IdTaken, SerializationError
from coatcheck.session_lifecycle import FormerSession, Operations, SessionId, SessionLifecycle

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.base_session import AbstractBaseSession
    from django.db.models import QuerySet

_log = logging.getLogger("coatcheck")

_BATCH: Final = 500
_LONGEST_KEY: Final = 40
_ENGINES: Final = ("db", "cached_db", "cache", "signed_cookies")
#: A former session, and its data.
_Read: TypeAlias = tuple[FormerSession, dict[str, Any]]


class FormerSessions:
    """The sessions in the table of an engine that keeps them in the database.

    :param engine: the engine's class.
    """

    #: Whether all of them can be found, and not just those that are used.
    can_be_listed = True

    def __init__(self, engine: type[SessionStore]) -> None:
        self._engine = engine

    def move(self, key: str, sessions: SessionLifecycle) -> bool:
        """Move a session, unless another request does so at the same time.

        :returns: whether there was one. Then it is in the store now, or has been ended since.
        """
        row = self._live().filter(session_key=key).first() if _may_be_key(key) else None
        data = None if row is None else self._data_of(row)
        if row is None or data is None:
            return False
        with transaction.atomic(using=self._database):
            # Only the request that deletes the row stores the session. Others wait here for it.
            deleted, _ = self._rows().filter(session_key=key).delete()
            return not deleted or self._store(row, data, sessions)

    def finish(self, key: str, sessions: SessionLifecycle | None) -> tuple[str, None] | None:
        """Move a session, or end the row of one that is in the store already.

        A process that is stopped while it moves a session leaves its row, and so does a view that
        fails in the transaction of ``ATOMIC_REQUESTS``. Such a row would be a login again after a
        logout.

        :param sessions: where it is stored; None if it is there already.
        :returns: the key under which to look in the store again, or None. It is there even if there
            was no row: another request may have moved the session after this one had looked.
        """
        if sessions is not None:
            self.move(key, sessions)
        elif self.exists(key):
            self.delete(key)
        return None if sessions is None else (key, None)

    def exists(self, key: str) -> bool:
        """Tell whether there is a live session under a key."""
        return _may_be_key(key) and self._live().filter(session_key=key).exists()

    def delete(self, key: str, sessions: SessionLifecycle | None = None) -> None:
        """End a session."""
        self.forget(key)

    def forget(self, key: str) -> None:
        """Remove what may be left of a session whose key changes."""
        if _may_be_key(key):
            self._rows().filter(session_key=key).delete()

    def delete_where(
        self, is_meant: Callable[[str, Callable[[], dict[str, Any] | None]], bool]
    ) -> int:
        """End sessions, and return how many there were. It reads the whole table.

        :param is_meant: is called with the key of each session, and with what returns its data.
        """
        keys = [
            row.session_key
            for row in self._in_batches()
            if is_meant(row.session_key, partial(self._data_of, row))
        ]
        for key in keys:
            self.delete(key)
        return len(keys)

    def clear_expired(self) -> None:
        """Remove expired sessions."""
        self._engine.clear_expired()

    def move_all(self, sessions: SessionLifecycle) -> tuple[int, int]:
        """Move all sessions, and return how many were moved, and how many cannot be read."""
        moved = left = 0
        for row in self._in_batches():
            if self.move(row.session_key, sessions):
                moved += 1
            elif self.exists(row.session_key):
                left += 1
        return moved, left

    @property
    def _database(self) -> str:
        return router.db_for_write(self._engine.get_model_class())

    def _rows(self) -> QuerySet[AbstractBaseSession]:
        rows: QuerySet[AbstractBaseSession] = self._engine.get_model_class().objects.using(
            self._database
        )
        return rows

    def _live(self) -> QuerySet[AbstractBaseSession]:
        return self._rows().filter(expire_date__gt=timezone.now())

    def _in_batches(self) -> Iterator[AbstractBaseSession]:
        """Yield the live rows, which may be deleted meanwhile."""
        last = ""
        while batch := list(self._live().filter(pk__gt=last).order_by("pk")[:_BATCH]):
            yield from batch
            last = batch[-1].session_key

    def _data_of(self, row: AbstractBaseSession) -> dict[str, Any] | None:
        """Return the data of a row, or None if they cannot be read."""
        session = self._engine()
        if data := session.decode(row.session_data):
            return data
        # `decode` returns an empty dict for both.
        try:
            signing.loads(row.session_data, salt=session.key_salt, serializer=session.serializer)
        except Exception:  # a serializer may raise anything
            return None
        return data

    def _store(
        self, row: AbstractBaseSession, data: dict[str, Any], sessions: SessionLifecycle
    ) -> bool:
        try:
            sessions.run(_stored_until(sessions, row, data))
        except IdTaken:
            # A process was stopped between the two: the session has moved, and the row has not.
            return True
        except SerializationError as error:
            _log.error("a session cannot be moved: %s", error)
            transaction.set_rollback(True, using=self._database)
            return False
        return True


def _may_be_key(key: str) -> bool:
    """Tell whether a cookie's value may be a key of the table. Some databases refuse others."""
    return key.isascii() and key.isprintable() and len(key) <= _LONGEST_KEY


def _stored_until(
    sessions: SessionLifecycle, row: AbstractBaseSession, data: dict[str, Any]
) -> Operations[None]:
    """Store a session that expires when its row does."""
    stored = yield from sessions.create(data, row.session_key)
    yield from sessions.touch(stored, row.expire_date.timestamp())


class TakenOverSessions:
    """The sessions of an engine that keeps them outside the database.

    :param engine: the engine's class.
    :param clock: returns POSIX seconds.
    """

    #: Whether all of them can be found, and not just those that are used.
    can_be_listed = False

    def __init__(self, engine: type[SessionBase], clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    @abstractmethod
    def read(self, key: str) -> _Read | None:
        """Return the former session that a cookie leads to, or None."""

    def finish(
        self, key: str, sessions: SessionLifecycle | None
    ) -> tuple[str, FormerSession | None] | None:
        """Take a session over, unless it is in the store already.

        :param sessions: where it is stored; None if it is there already.
        :returns: the key under which to look in the store again, and the session if its key is a
            new one, which the browser has to get; None if there is nothing to look for.
        """
        read = None if sessions is None else self.read(key)
        if sessions is None or read is None:
            return None
        former, data = read
        try:
            session_id = sessions.run(sessions.takeover.begin(former, data))
        except SerializationError as error:
            _log.error("a session cannot be moved: %s", error)
            return None
        return None if session_id is None else (session_id, former)

    def exists(self, key: str) -> bool:
        """Tell whether there is a session under a key."""
        return False

    def delete(self, key: str, sessions: SessionLifecycle) -> None:
        """End a session, also one that a parallel request is taking over."""
        read = self.read(key)
        if read is not None:
            sessions.run(sessions.takeover.end(read[0]))

    def forget(self, key: str) -> None:
        """Remove what may be left of a session whose key changes."""

    def delete_where(
        self, is_meant: Callable[[str, Callable[[], dict[str, Any] | None]], bool]
    ) -> int:
        """End no session: they cannot be listed."""
        return 0

    def clear_expired(self) -> None:
        """Do nothing: they end by themselves."""

    def move_all(self, sessions: SessionLifecycle) -> None:
        """Return None: they cannot be listed, so each of them moves when it is used."""


class CookieSessions(TakenOverSessions):
    """The sessions of Django's signed cookies. A session that is taken over gets a key."""

    def read(self, key: str) -> _Read | None:
        """See :meth:`TakenOverSessions.read`."""
        if ":" not in key:
            return None
        session = self._engine(key)
        data = session.load()
        if not data:
            return None
        # Django compares signatures as text, so the same session has one cookie.
        former = FormerSession(
            identity=f"signed_cookies {key}",
            session_ids=[*_keys_of(key)],
            expires_at=self._clock() + session.get_session_cookie_age(),
        )
        return former, data


class CacheSessions(TakenOverSessions):
    """The sessions of Django's cache engine. They keep their keys."""

    def read(self, key: str) -> _Read | None:
        """See :meth:`TakenOverSessions.read`."""
        session = self._engine(key)
        data = session.load() if _may_be_key(key) else None
        if not (data and isinstance(data, dict)):
            return None
        # The entry ends at the latest when it would end that is stored now.
        seconds = session.get_expiry_age(expiry=data.get("_session_expiry"))
        former = FormerSession(
            identity=f"cache {key}",
            session_ids=[SessionId(key)],
            expires_at=self._clock() + max(seconds, session.get_session_cookie_age()),
        )
        return former, data

    def finish(
        self, key: str, sessions: SessionLifecycle | None
    ) -> tuple[str, FormerSession | None] | None:
        """See :meth:`TakenOverSessions.finish`."""
        if sessions is None:
            return None
        if super().finish(key, sessions) is not None:
            self.forget(key)
        # Another request may have moved it, after this one had looked for it in the store.
        return key, None

    def exists(self, key: str) -> bool:
        """See :meth:`TakenOverSessions.exists`."""
        return _may_be_key(key) and self._engine().exists(key)

    def delete(self, key: str, sessions: SessionLifecycle) -> None:
        """See :meth:`TakenOverSessions.delete`."""
        super().delete(key, sessions)
        self.forget(key)

    def forget(self, key: str) -> None:
        """See :meth:`TakenOverSessions.forget`."""
        if _may_be_key(key):
            self._engine().delete(key)


#: The sessions of any former engine.
Former: TypeAlias = FormerSessions | TakenOverSessions


def former_sessions(engine: object, clock: Callable[[], float]) -> Former:
    """Return the sessions of a former engine.

    :param engine: the former value of ``SESSION_ENGINE``.
    :param clock: returns POSIX seconds.
    :raises ImproperlyConfigured: its sessions cannot move.
    """
    from django.contrib.sessions.backends import db

    kind: object = None
    if isinstance(engine, str):
        try:
            kind = getattr(import_module(engine), "SessionStore", None)
        except Exception:  # a module that is imported may raise anything
            kind = None
    if isinstance(kind, type):
        if issubclass(kind, db.SessionStore):
            return FormerSessions(kind)
        if issubclass(kind, signed_cookies.SessionStore):
            return CookieSessions(kind, clock)
        if issubclass(kind, cache.SessionStore):
            return CacheSessions(kind, clock)
    names = ", ".join(f'"django.contrib.sessions.backends.{name}"' for name in _ENGINES)
    raise ImproperlyConfigured(
        f'COATCHECK["MOVE_FROM"] must be the former SESSION_ENGINE, one of {names}, not {engine!r}'
    )


def _keys_of(cookie: str) -> Iterator[str]:
    """Yield the keys that the session of a cookie can have: one for each of the secrets."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        digest = salted_hmac("coatcheck_django.cookie", cookie, secret, algorithm="sha256")
        yield SessionId(digest.hexdigest()[:32])
