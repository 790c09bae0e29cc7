"""Take over the sessions of Django's signed cookies and caches, each at its first use.

A row of a table can be deleted in the transaction in which its session is stored. A cookie cannot
be ended, and a cache has no transactions. So the store notes that a session was taken over, and
that it was ended: nothing begins twice from the same cookie or entry, and no logout is undone.

A cache is read by Django, as before. So Django unpickles what is in it, and coatcheck does not.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.conf import settings
from django.contrib.sessions.backends import cache, signed_cookies
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from coatcheck.errors import SerializationError
from coatcheck.session_lifecycle import FormerSession, SessionId, SessionLifecycle

from ._former import FormerSessions, may_be_key

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

_log = logging.getLogger("coatcheck")

#: A former session, and its data.
_Read: TypeAlias = tuple[FormerSession, dict[str, Any]]


class TakenOverSessions:
    """The sessions of an engine that keeps them outside the database.

    :param engine: the engine's class.
    :param clock: returns POSIX seconds.
    """

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
        data = session.load() if may_be_key(key) else None
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
        return may_be_key(key) and self._engine().exists(key)

    def delete(self, key: str, sessions: SessionLifecycle) -> None:
        """See :meth:`TakenOverSessions.delete`."""
        super().delete(key, sessions)
        self.forget(key)

    def forget(self, key: str) -> None:
        """See :meth:`TakenOverSessions.forget`."""
        if may_be_key(key):
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


_ENGINES: Final = ("db", "cached_db", "cache", "signed_cookies")


def _keys_of(cookie: str) -> Iterator[str]:
    """Yield the keys that the session of a cookie can have: one for each of the secrets."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        digest = salted_hmac("coatcheck_django.cookie", cookie, secret, algorithm="sha256")
        yield SessionId(digest.hexdigest()[:32])
