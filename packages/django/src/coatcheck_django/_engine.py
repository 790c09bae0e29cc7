"""The session engine: Django's session object on a store of coatcheck.

Each method exists twice: plain, and with the prefix ``a``. Both execute the same decisions, which
are those of :mod:`coatcheck_django._decisions`.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from coatcheck.session_lifecycle import SessionId, SessionLifecycle

from . import _configuration as configuration
from ._decisions import Decisions


class SessionStore(Decisions):
    """A session of Django, stored by coatcheck.

    The methods are Django's. These differ from those of Django's own engines:

    - ``save()`` merges changes that parallel requests have made to other keys.
    - ``save()`` of a session that was read and not changed moves its expiry alone.
    - ``cycle_key()`` of a session that was ended elsewhere begins an empty one.
    - ``delete()`` and ``flush()`` also end a session whose key changes at the same moment, or has
      changed before this object looked for it.

    :param session_key: the id from the cookie, or None.
    """

    @property
    def ref(self) -> str | None:
        """A name of the session that opens nothing, as ``sessions()`` has it; None without a key.

        It may be shown, logged and sent to browsers.
        """
        key = self.session_key
        return None if key is None else self._lifecycle().ref_of(key)

    def load(self) -> dict[str, Any]:
        """Return the stored data, or an empty dict and no key if there is no such session."""
        sessions, key = self._lifecycle(), self._key()
        data = sessions.run(self._load(sessions, key))
        moved = self._move(key, is_stored=self.session_key is not None)
        if moved is not None:
            data = sessions.run(self._load(sessions, moved))
        return data

    async def aload(self) -> dict[str, Any]:
        """See :meth:`load`."""
        sessions, key = self._async_lifecycle(), self._key()
        data = await sessions.arun(self._load(sessions, key))
        moved = await self._amove(key, is_stored=self.session_key is not None)
        if moved is not None:
            data = await sessions.arun(self._load(sessions, moved))
        return data

    def exists(self, session_key: str | None) -> bool:
        """Tell whether there is a session under a key."""
        if session_key is None:
            return False
        sessions, former = self._lifecycle(), configuration.former()
        if sessions.run(sessions.exists(session_key)):
            return True
        if former is None:
            return False
        # Another request may have moved it between the two.
        return former.exists(session_key) or sessions.run(sessions.exists(session_key))

    async def aexists(self, session_key: str | None) -> bool:
        """See :meth:`exists`."""
        if session_key is None:
            return False
        sessions, former = self._async_lifecycle(), configuration.former()
        if await sessions.arun(sessions.exists(session_key)):
            return True
        if former is None:
            return False
        if await sync_to_async(former.exists)(session_key):
            return True
        return await sessions.arun(sessions.exists(session_key))

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
        ended = self._ended(session_key)
        if ended is not None:
            # The former row first: a request that is moving it has then stored what is ended next.
            if (former := configuration.former()) is not None:
                former.delete(ended, self._lifecycle())
            sessions = self._lifecycle()
            sessions.run(sessions.end(ended))

    async def adelete(self, session_key: str | None = None) -> None:
        """See :meth:`delete`."""
        ended = self._ended(session_key)
        if ended is not None:
            if (former := configuration.former()) is not None:
                await sync_to_async(former.delete)(ended, self._lifecycle())
            sessions = self._async_lifecycle()
            await sessions.arun(sessions.end(ended))

    def cycle_key(self) -> None:
        """Give the session a new key, and end it under the old one."""
        self._prepare()
        if (former := configuration.former()) is not None and self.session_key is not None:
            former.forget(self.session_key)
        sessions = self._lifecycle()
        sessions.run(self._cycle_key(sessions))

    async def acycle_key(self) -> None:
        """See :meth:`cycle_key`."""
        await self._aprepare()
        if (former := configuration.former()) is not None and self.session_key is not None:
            await sync_to_async(former.forget)(self.session_key)
        sessions = self._async_lifecycle()
        await sessions.arun(self._cycle_key(sessions))

    @classmethod
    def clear_expired(cls) -> None:
        """Remove expired sessions from the store; ``manage.py clearsessions`` calls this."""
        if (former := configuration.former()) is not None:
            former.clear_expired()
        if not configuration.store().capabilities.native_expiry:
            sessions = cls._lifecycle()
            sessions.run(sessions.prune())

    @classmethod
    async def aclear_expired(cls) -> None:
        """See :meth:`clear_expired`."""
        if (former := configuration.former()) is not None:
            await sync_to_async(former.clear_expired)()
        if not configuration.async_store().capabilities.native_expiry:
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
                self._session_key = self._move(self._key()) or self._session_key
            else:
                self._session_cache = self.load()

    async def _aprepare(self) -> None:
        if self.session_key is not None and self._stored is None:
            if self._is_read():
                self._session_key = await self._amove(self._key()) or self._session_key
            else:
                self._session_cache = await self.aload()

    def _move(self, key: str | None, *, is_stored: bool = False) -> SessionId | None:
        """Move a session of the former engine, and return under which key the store may have it.

        :param is_stored: whether it was found in the store. Then a row is what a move has left
            that was stopped or rolled back.
        :returns: None if there is nothing to look for.
        """
        former = configuration.former()
        if former is None or key is None:
            return None
        return self._moved(former.finish(key, None if is_stored else self._lifecycle()))

    async def _amove(self, key: str | None, *, is_stored: bool = False) -> SessionId | None:
        former = configuration.former()
        if former is None or key is None:
            return None
        finish = sync_to_async(former.finish)
        return self._moved(await finish(key, None if is_stored else self._lifecycle()))
