"""When a session of Django is read, which key it has, and which error says that it is gone.

The rules of sessions are those of :mod:`coatcheck.session_lifecycle`. Each decision that needs the
store is a generator, which synchronous and asynchronous code both execute.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from coatcheck import JSONCodec
from coatcheck.errors import IdTaken
from coatcheck.session_lifecycle import (
    FormerSession,
    Operations,
    SessionId,
    SessionLifecycle,
    StoredSession,
)

from . import _configuration as configuration
from ._text_keys import with_text_keys


class Decisions(SessionBase):
    """A session of Django that decides, and that somebody else connects with a store.

    :param session_key: the id from the cookie, or None.
    """

    #: The session as it was last read or written; None if this object has done neither.
    _stored: StoredSession | None = None
    #: The session of a signed cookie that was taken over, until the browser gets its key.
    _taken_over: FormerSession | None = None
    #: The key that came with the request, if no session was found under it.
    _missing: SessionId | None = None
    _session_cache: dict[str, Any]
    accessed: bool
    modified: bool

    def _key(self) -> SessionId | None:
        """Return the key as a string that error reports do not show."""
        return None if self.session_key is None else SessionId(self.session_key)

    def _ended(self, session_key: str | None) -> SessionId | None:
        """Return the key of the session that a method ends; None for the one of this object."""
        if session_key is not None:
            return SessionId(session_key)
        # A logout looks for the user first. A session that it does not find may have another key.
        return self._key() or self._missing

    def _load(
        self, sessions: SessionLifecycle, key: SessionId | None
    ) -> Operations[dict[str, Any]]:
        found = None if key is None else (yield from sessions.load(key))
        if found is None:
            self._session_key, self._missing = None, key
            if key is not None and self._stored is not None:
                # What was read of a session that is ended must not begin another one.
                self._stored = None
                vars(self).pop("_session_cache", None)
            return {}
        self._session_key = str(key)
        if not self._is_read():
            self._stored = found
        return found.data

    def _data(self) -> dict[str, Any]:
        """Return the data of this object: those that were read or set, or an empty dict."""
        self.accessed = True
        if not self._is_read():
            self._session_cache = {}
        if isinstance(configuration.options().codec, JSONCodec):
            self._session_cache = with_text_keys(self._session_cache)
        return self._session_cache

    def _is_read(self) -> bool:
        return hasattr(self, "_session_cache")

    def _create(self, sessions: SessionLifecycle) -> Operations[None]:
        self._settle((yield from sessions.create(self._data())))
        self.modified = True

    def _save(self, sessions: SessionLifecycle, must_create: bool) -> Operations[None]:
        key = self._key()
        if key is not None and must_create:
            yield from self._create_under(sessions, key)
            return
        before = yield from self._before(sessions)
        if before is None:
            yield from self._create(sessions)
            return
        stored = yield from sessions.save(before, self._data())
        if stored is None:
            raise UpdateError
        self._settle(stored)
        if (former := self._taken_over) is not None:
            self._taken_over = None
            yield from sessions.takeover.finish(former)

    def _moved(self, moved: tuple[str, FormerSession | None] | None) -> SessionId | None:
        """Return under which key the store may have a former session now."""
        if moved is None:
            return None
        key, former = moved
        if former is not None:
            self._taken_over, self.modified = former, True  # so that it is saved, and the key sent
        return SessionId(key)

    def _create_under(self, sessions: SessionLifecycle, key: str) -> Operations[None]:
        try:
            stored = yield from sessions.create(self._data(), key)
        except IdTaken:
            raise CreateError from None
        self._settle(stored)

    def _before(self, sessions: SessionLifecycle) -> Operations[StoredSession | None]:
        """Return the session that the data of this object replace, or None if there is none.

        It has not been read yet after ``clear()``, which needs nothing of it.
        """
        key = self._key()
        if key is None:
            return None
        if self._stored is None:
            self._stored = yield from sessions.load(key)
        return self._stored

    def _cycle_key(self, sessions: SessionLifecycle) -> Operations[None]:
        before = yield from self._before(sessions)
        if before is None:
            yield from self._create(sessions)
            return
        self.modified = True
        stored = yield from sessions.rotate(before, self._data())
        if stored is None and configuration.owner_is_user():
            # After a double click on "log in", the other request has only changed the key. Without
            # this owner nobody would know whether the session is a login.
            stored = yield from sessions.fork(before, self._data())
        if stored is not None:
            self._settle(stored)
            return
        # The request that ended the session meant its data, too: a login may be among them.
        self._session_cache, self._session_key, self._stored = {}, None, None

    def _settle(self, stored: StoredSession) -> None:
        self._session_key = str(stored.id)
        self._stored, self._session_cache = stored, stored.data
        self._missing = None
