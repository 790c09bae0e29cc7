"""The session engine: Django's session object on a store of coatcheck.

The rules are those of :mod:`coatcheck.session_lifecycle`. This module decides when a session of
Django is read, which key it has, and which error says that it is gone. Each of these decisions is a
generator, and the plain method and the one with the prefix ``a`` both execute it.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from coatcheck.errors import IdTaken
from coatcheck.session_lifecycle import Operations, SessionLifecycle, StoredSession

from . import _configuration as configuration


class SessionStore(SessionBase):
    """A session of Django, stored by coatcheck.

    The methods are Django's. These differ from those of Django's own engines:

    - ``save()`` merges changes that parallel requests have made to other keys.
    - ``save()`` of a session that was read and not changed moves its expiry alone.
    - ``cycle_key()`` of a session that was ended elsewhere begins an empty one.
    - ``delete()`` and ``flush()`` also end a session whose key changes at the same moment.

    :param session_key: the id from the cookie, or None.
    """

    #: The session as it was last read or written; None if this object has done neither.
    _stored: StoredSession | None = None
    _session_cache: dict[str, Any]
    modified: bool

    @property
    def ref(self) -> str | None:
        """A name of the session that opens nothing, as ``sessions()`` has it; None without a key.

        It may be shown, logged and sent to browsers.
        """
        key = self.session_key
        return None if key is None else self._lifecycle().ref_of(key)

    def load(self) -> dict[str, Any]:
        """Return the stored data, or an empty dict and no key if there is no such session."""
        sessions, key = self._lifecycle(), self.session_key
        data = sessions.run(self._load(sessions, key))
        if self.session_key is None and self._move(key):
            data = sessions.run(self._load(sessions, key))
        return data

    async def aload(self) -> dict[str, Any]:
        """See :meth:`load`."""
        sessions, key = self._async_lifecycle(), self.session_key
        data = await sessions.arun(self._load(sessions, key))
        if self.session_key is None and await self._amove(key):
            data = await sessions.arun(self._load(sessions, key))
        return data

    def exists(self, session_key: str | None) -> bool:
        """Tell whether there is a session under a key."""
        if session_key is None:
            return False
        sessions, former = self._lifecycle(), configuration.former()
        if sessions.run(sessions.exists(session_key)):
            return True
        return former is not None and former.exists(session_key)

    async def aexists(self, session_key: str | None) -> bool:
        """See :meth:`exists`."""
        if session_key is None:
            return False
        sessions, former = self._async_lifecycle(), configuration.former()
        if await sessions.arun(sessions.exists(session_key)):
            return True
        return former is not None and await sync_to_async(former.exists)(session_key)

    def create(self) -> None:
        """Store the data under a new key."""
        sessions = self._lifecycle()
        sessions.run(self._create(sessions))

    async def acreate(self) -> None:
        """See :meth:`create`."""
        sessions = self._async_lifecycle()
        await sessions.arun(self._create(sessions))

    def save(self, must_create: bool = False) -> None:
        """Store the session.

        :param must_create: store a new one under the present key.
        :raises CreateError: ``must_create``, and there is a session under this key.
        :raises UpdateError: the session was ended elsewhere. It is never stored again.
        """
        if not must_create:
            self._prepare()
        sessions = self._lifecycle()
        sessions.run(self._save(sessions, must_create))

    async def asave(self, must_create: bool = False) -> None:
        """See :meth:`save`."""
        if not must_create:
            await self._aprepare()
        sessions = self._async_lifecycle()
        await sessions.arun(self._save(sessions, must_create))

    def delete(self, session_key: str | None = None) -> None:
        """End a session for good.

        :param session_key: its key; None for this session.
        """
        ended = self.session_key if session_key is None else session_key
        if ended is not None:
            # The former row first: a request that is moving it has then stored what is ended next.
            if (former := configuration.former()) is not None:
                former.delete(ended)
            sessions = self._lifecycle()
            sessions.run(sessions.end(ended))

    async def adelete(self, session_key: str | None = None) -> None:
        """See :meth:`delete`."""
        ended = self.session_key if session_key is None else session_key
        if ended is not None:
            if (former := configuration.former()) is not None:
                await sync_to_async(former.delete)(ended)
            sessions = self._async_lifecycle()
            await sessions.arun(sessions.end(ended))

    def cycle_key(self) -> None:
        """Give the session a new key, and end it under the old one."""
        self._prepare()
        sessions = self._lifecycle()
        sessions.run(self._cycle_key(sessions))

    async def acycle_key(self) -> None:
        """See :meth:`cycle_key`."""
        await self._aprepare()
        sessions = self._async_lifecycle()
        await sessions.arun(self._cycle_key(sessions))

    @classmethod
    def clear_expired(cls) -> None:
        """Remove expired sessions from the store; ``manage.py clearsessions`` calls this."""
        if (former := configuration.former()) is not None:
            former.clear_expired()
        sessions = cls._lifecycle()
        sessions.run(sessions.prune())

    @classmethod
    async def aclear_expired(cls) -> None:
        """See :meth:`clear_expired`."""
        if (former := configuration.former()) is not None:
            await sync_to_async(former.clear_expired)()
        sessions = cls._async_lifecycle()
        await sessions.arun(sessions.prune())

    @classmethod
    def _lifecycle(cls) -> SessionLifecycle:
        return configuration.lifecycle(cls)

    @classmethod
    def _async_lifecycle(cls) -> SessionLifecycle:
        return configuration.async_lifecycle(cls)

    def _prepare(self) -> None:
        """Read the data if they were not read yet, because those of the store stay otherwise."""
        if self.session_key is not None and self._stored is None:
            if self._is_read():  # after `clear()`
                self._move(self.session_key)
            else:
                self._session_cache = self.load()

    async def _aprepare(self) -> None:
        if self.session_key is not None and self._stored is None:
            if self._is_read():
                await self._amove(self.session_key)
            else:
                self._session_cache = await self.aload()

    def _move(self, key: str | None) -> bool:
        """Move a session of the former engine, and tell whether there was one."""
        former = configuration.former()
        return former is not None and key is not None and former.move(key, self._lifecycle())

    async def _amove(self, key: str | None) -> bool:
        former = configuration.former()
        if former is None or key is None:
            return False
        return await sync_to_async(former.move)(key, self._lifecycle())

    def _load(self, sessions: SessionLifecycle, key: str | None) -> Operations[dict[str, Any]]:
        found = None if key is None else (yield from sessions.load(key))
        if found is None:
            self._session_key = None
            return {}
        self._session_key = key
        if not self._is_read():
            self._stored = found
        return found.data

    def _data(self) -> dict[str, Any]:
        """Return the data of this object: those that were read or set, or an empty dict."""
        if not self._is_read():
            self._session_cache = {}
        return self._session_cache

    def _is_read(self) -> bool:
        return hasattr(self, "_session_cache")

    def _create(self, sessions: SessionLifecycle) -> Operations[None]:
        self._settle((yield from sessions.create(self._data())))
        self.modified = True

    def _save(self, sessions: SessionLifecycle, must_create: bool) -> Operations[None]:
        if self.session_key is not None and must_create:
            yield from self._create_under(sessions, self.session_key)
            return
        before = yield from self._before(sessions)
        if before is None:
            yield from self._create(sessions)
            return
        stored = yield from sessions.save(before, self._data())
        if stored is None:
            raise UpdateError
        self._settle(stored)

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
        if self.session_key is None:
            return None
        if self._stored is None:
            self._stored = yield from sessions.load(self.session_key)
        return self._stored

    def _cycle_key(self, sessions: SessionLifecycle) -> Operations[None]:
        before = yield from self._before(sessions)
        if before is None:
            yield from self._create(sessions)
            return
        self.modified = True
        stored = yield from sessions.rotate(before, self._data())
        if stored is not None:
            self._settle(stored)
            return
        # The request that ended the session meant its data, too: a login may be among them.
        self._session_cache, self._session_key, self._stored = {}, None, None

    def _settle(self, stored: StoredSession) -> None:
        self._session_key, self._stored, self._session_cache = stored.id, stored, stored.data
