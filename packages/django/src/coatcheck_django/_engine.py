"""The session engine: Django's session object on a store of coatcheck.

The rules of sessions are those of :mod:`coatcheck.session_lifecycle`. Here is when a session is
read, which key it has, and which error says that it is gone.

Each decision is a generator. It yields what has to be done, and gets the result: operations of the
store, or a function that uses the sessions of the former engine. Django's plain methods, and those
with the prefix ``a``, carry out the same decisions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from asgiref.sync import sync_to_async
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

T = TypeVar("T")
#: A decision: it yields operations of the store, and functions that use the former sessions.
Steps: TypeAlias = Generator[Operations[Any] | Callable[[], Any], Any, T]

_CONTAINERS: Final = (dict, list, tuple)


class Decisions(SessionBase):
    """A session of Django that decides, and carries its decisions out.

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

    @classmethod
    def _run(cls, decide: Callable[..., Steps[T]], *args: object) -> T:
        """Carry out a decision in synchronous code."""
        sessions = configuration.lifecycle(cls)
        steps, result = decide(sessions, *args), None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                decided: T = end.value
                return decided
            result = step() if callable(step) else sessions.run(step)

    @classmethod
    async def _arun(cls, decide: Callable[..., Steps[T]], *args: object) -> T:
        """Carry out a decision in asynchronous code. Former sessions are used in a thread."""
        sessions = configuration.async_lifecycle(cls)
        steps, result = decide(sessions, *args), None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                decided: T = end.value
                return decided
            if callable(step):
                result = await sync_to_async(step)()
            else:
                result = await sessions.arun(step)

    def _load(self, sessions: SessionLifecycle) -> Steps[dict[str, Any]]:
        key = self._key()
        data: dict[str, Any] = yield self._found(sessions, key)
        moved = yield from self._move(key, is_stored=self.session_key is not None)
        if moved is not None:
            data = yield self._found(sessions, moved)
        return data

    def _exists(self, sessions: SessionLifecycle, session_key: str | None) -> Steps[bool]:
        if session_key is None:
            return False
        key = SessionId(session_key)
        if (yield sessions.exists(key)):
            return True
        former = configuration.former()
        if former is None:
            return False
        # Another request may have moved it between the two.
        found: bool = (yield partial(former.exists, key)) or (yield sessions.exists(key))
        return found

    def _create(self, sessions: SessionLifecycle) -> Steps[None]:
        yield self._created(sessions)

    def _save(self, sessions: SessionLifecycle, must_create: bool) -> Steps[None]:
        key = self._key()
        if must_create and key is not None:
            yield self._created_under(sessions, key)
            return
        if not must_create:
            yield from self._prepare(sessions)
        yield self._saved(sessions)

    def _delete(self, sessions: SessionLifecycle, session_key: str | None) -> Steps[None]:
        # A logout looks for the user first. A session that it does not find may have another key.
        ended = self._key() or self._missing if session_key is None else SessionId(session_key)
        if ended is not None:
            # The former row first: a request that is moving it has then stored what is ended next.
            if (former := configuration.former()) is not None:
                yield partial(former.delete, ended, configuration.lifecycle(type(self)))
            yield sessions.end(ended)

    def _cycle_key(self, sessions: SessionLifecycle) -> Steps[None]:
        yield from self._prepare(sessions)
        former, key = configuration.former(), self._key()
        if former is not None and key is not None:
            yield partial(former.forget, key)
        yield self._rotated(sessions)

    def _prepare(self, sessions: SessionLifecycle) -> Steps[None]:
        """Read the data if they were not read yet, because those of the store stay otherwise."""
        if self.session_key is not None and self._stored is None:
            if self._is_read():  # after `clear()`
                self._session_key = (yield from self._move(self._key())) or self._session_key
            else:
                self._session_cache = yield from self._load(sessions)

    def _move(self, key: SessionId | None, *, is_stored: bool = False) -> Steps[SessionId | None]:
        """Move a session of the former engine, and return under which key the store may have it.

        :param is_stored: whether it was found in the store. Then a row is what a move has left
            that was stopped or rolled back.
        :returns: None if there is nothing to look for.
        """
        former = configuration.former()
        if former is None or key is None:
            return None
        sessions = None if is_stored else configuration.lifecycle(type(self))
        moved = yield partial(former.finish, key, sessions)
        if moved is None:
            return None
        new, taken_over = moved
        if taken_over is not None:
            # So that it is saved, and the key sent.
            self._taken_over, self.modified = taken_over, True
        return SessionId(new)

    # What the store alone decides

    def _found(
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

    def _created(self, sessions: SessionLifecycle) -> Operations[None]:
        self._settle((yield from sessions.create(self._data())))
        self.modified = True

    def _created_under(self, sessions: SessionLifecycle, key: SessionId) -> Operations[None]:
        try:
            stored = yield from sessions.create(self._data(), key)
        except IdTaken:
            raise CreateError from None
        self._settle(stored)

    def _saved(self, sessions: SessionLifecycle) -> Operations[None]:
        before = yield from self._before(sessions)
        if before is None:
            yield from self._created(sessions)
            return
        stored = yield from sessions.save(before, self._data())
        if stored is None:
            raise UpdateError
        self._settle(stored)
        if (former := self._taken_over) is not None:
            self._taken_over = None
            yield from sessions.takeover.finish(former)

    def _rotated(self, sessions: SessionLifecycle) -> Operations[None]:
        before = yield from self._before(sessions)
        if before is None:
            yield from self._created(sessions)
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

    def _settle(self, stored: StoredSession) -> None:
        self._session_key = str(stored.id)
        self._stored, self._session_cache = stored, stored.data
        self._missing = None

    def _key(self) -> SessionId | None:
        """Return the key as a string that error reports do not show."""
        return None if self.session_key is None else SessionId(self.session_key)

    def _data(self) -> dict[str, Any]:
        """Return the data of this object: those that were read or set, or an empty dict."""
        self.accessed = True
        if not self._is_read():
            self._session_cache = {}
        if isinstance(configuration.options().codec, JSONCodec):
            self._session_cache = _with_text_keys(self._session_cache)
        return self._session_cache

    def _is_read(self) -> bool:
        return hasattr(self, "_session_cache")


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
        return None if key is None else configuration.lifecycle(type(self)).ref_of(key)

    def load(self) -> dict[str, Any]:
        """Return the stored data, or an empty dict and no key if there is no such session."""
        return self._run(self._load)

    async def aload(self) -> dict[str, Any]:
        """See :meth:`load`."""
        return await self._arun(self._load)

    def exists(self, session_key: str | None) -> bool:
        """Tell whether there is a session under a key."""
        return self._run(self._exists, session_key)

    async def aexists(self, session_key: str | None) -> bool:
        """See :meth:`exists`."""
        return await self._arun(self._exists, session_key)

    def create(self) -> None:
        """Store the data under a new key."""
        self._run(self._create)

    async def acreate(self) -> None:
        """See :meth:`create`."""
        await self._arun(self._create)

    def save(self, must_create: bool = False) -> None:
        """Store the session.

        :param must_create: store a new one under the present key.
        :raises CreateError: ``must_create``, and there is a session under this key.
        :raises UpdateError: the session was ended elsewhere. It is never stored again.
        """
        self._run(self._save, must_create)

    async def asave(self, must_create: bool = False) -> None:
        """See :meth:`save`."""
        await self._arun(self._save, must_create)

    def delete(self, session_key: str | None = None) -> None:
        """End a session for good.

        :param session_key: its key; None for this session.
        """
        self._run(self._delete, session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        """See :meth:`delete`."""
        await self._arun(self._delete, session_key)

    def cycle_key(self) -> None:
        """Give the session a new key, and end it under the old one."""
        self._run(self._cycle_key)

    async def acycle_key(self) -> None:
        """See :meth:`cycle_key`."""
        await self._arun(self._cycle_key)

    @classmethod
    def clear_expired(cls) -> None:
        """Remove expired sessions from the store; ``manage.py clearsessions`` calls this."""
        cls._run(_clear_expired)

    @classmethod
    async def aclear_expired(cls) -> None:
        """See :meth:`clear_expired`."""
        await cls._arun(_clear_expired)


def _clear_expired(sessions: SessionLifecycle) -> Steps[None]:
    if (former := configuration.former()) is not None:
        yield former.clear_expired
    if not configuration.store().capabilities.native_expiry:
        yield sessions.prune()


def _with_text_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return data whose keys are strings, as Django's JSON serializer makes them.

    The data are copied only if there is another key. The last of two keys that become the same
    wins: a cart that was read has ``"5"``, and a view that puts ``5`` into it means that one.
    """
    try:
        converted: dict[str, Any] = _converted(data) if _has_others(data) else data
    except RecursionError:  # the codec refuses it
        return data
    return converted


def _has_others(value: Any) -> bool:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return True
        value = value.values()
    return any(_has_others(each) for each in value if isinstance(each, _CONTAINERS))


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(key): _converted(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_converted(each) for each in value)
    return value


def _text(key: Any) -> Any:
    """Return a key as JSON has it. The codec refuses those that JSON does not have."""
    if key is None or isinstance(key, int | float):
        try:
            return json.dumps(key, allow_nan=False)
        except ValueError:
            return key
    return key
