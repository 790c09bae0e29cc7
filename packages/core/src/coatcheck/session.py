"""Show the session to the application: its data, what it is, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._session.phase import OPEN, check_not_closed
from ._session.redaction import SessionId
from ._session.session_core import AsyncSessionCore, SessionCore, SyncSessionCore
from ._session.session_dict import SessionDict
from .cookie import SessionCookie
from .errors import ConfigurationError
from .store import AsyncStore, Store, is_text

__all__ = ["AsyncSession", "Session", "SyncSession"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")


class Session(SessionDict):
    """The data of one visitor, kept on the server.

    A session is a dict. Keys are strings. Values are what the codec stores: for the native one
    see :class:`~coatcheck.codec.JSONCodec`. Nested changes are noticed:
    ``session["cart"].append(item)`` is saved. Copies and unions are plain dictionaries that have
    nothing to do with the session any more.

    Reading and writing raise :class:`~coatcheck.errors.SessionUnavailable` where there is no
    session (outside the cookie's path, or before a lazy one was loaded) and
    :class:`~coatcheck.errors.StoreError` where it could not be loaded. Writing raises
    :class:`~coatcheck.errors.LateWriteError` once it is too late to save.

    Some code in C reads a dict without asking it, as orjson does: call :meth:`~AsyncSession.load`
    before. It counts as access, and all values are watched from then on. A session that is not
    loaded holds an entry that no encoder can encode, so that it is never taken for an empty dict.
    """

    __slots__ = ()

    # What it is

    @property
    def id(self) -> str:
        """The secret that the cookie carries. Do not log it.

        :raises LateWriteError: the request is over, and the session has none.
        """
        self._core.use()
        return SessionId(self._core.current_id())

    @property
    def cookie(self) -> SessionCookie:
        """The cookie settings of this session; assign to change them for it alone."""
        core = self._core
        core.use()
        if core.cookie is None:
            core.cookie = SessionCookie(core)
        return core.cookie

    @property
    def is_new(self) -> bool:
        """Whether the session began with this request and is not stored yet."""
        core = self._core
        core.use()
        return core.identity.snapshot is None and not core.identity.continues

    @property
    def is_modified(self) -> bool:
        """Whether there is something to save. Equal values that were assigned do not count."""
        return self._attached().is_modified()

    @property
    def created_at(self) -> float:
        """When the session began, in POSIX seconds."""
        self._core.use()
        return self._core.contents.began_at()

    @property
    def expires_at(self) -> float:
        """When the session ends unless it is used again, in POSIX seconds."""
        core = self._attached()
        snapshot = core.identity.snapshot
        if snapshot is not None and not core.contents.cookie_changed:
            return snapshot.record.expires_at
        return core.backend.expiry(core.contents.state())

    @property
    def expires_in(self) -> float:
        """The seconds until :attr:`expires_at`."""
        return self.expires_at - self._core.contents.settings.clock()

    @property
    def owner(self) -> str | None:
        """The owner's name, for listing and revoking. The option ``owner`` may derive it.

        Assigning raises :class:`~coatcheck.errors.ConfigurationError` where it is derived, and
        TypeError for anything but a non-empty string or None.
        """
        return self._attached().contents.current_owner()

    @owner.setter
    def owner(self, owner: str | None) -> None:
        core = self._core
        core.before_write()
        if core.contents.settings.derive_owner is not None:
            raise ConfigurationError("`session.owner` follows from the option `owner` here")
        if not (owner is None or (isinstance(owner, str) and owner and is_text(owner))):
            raise TypeError(
                "`session.owner` must be a non-empty string or None, without lone surrogates, not "
                + (type(owner).__name__ if not isinstance(owner, str) else "such text")
            )
        core.contents.owner = owner
        core.contents.is_written = True

    @property
    def degraded(self) -> bool:
        """Whether the session is never saved: it could not be loaded, or its cookie cannot be sent.

        A session that could not be loaded is empty.
        """
        core = self._core
        if core.phase is not OPEN and not core.is_ready:
            core.backend.check_late_use()
        core.is_accessed = True
        core.ensure_loaded()
        return core.identity.is_detached

    @property
    def stored_key(self) -> str | None:
        """The store's key of the record behind the session, or None while there is none.

        With ``hash_ids=False`` it is the secret that the cookie carries. To show or log a session,
        use :meth:`Sessions.ref_of <coatcheck.Sessions.ref_of>`.
        """
        core = self._core
        core.use()
        stored = core.identity.snapshot or core.identity.old
        return None if stored is None else SessionId(stored.key)

    # What can be done with it

    def regenerate(self, *, keep_data: bool = False) -> None:
        """Give the session a new id; the old one is dead when the response goes out.

        Do it whenever privileges change, at login above all.

        :param keep_data: go on with data, owner and creation time instead of starting with none.
        :raises LateWriteError: the headers are out, and cannot carry the new cookie.
        :raises SessionGone: ``keep_data``, but the session was ended elsewhere.
        """
        self._core.regenerate(keep_data)

    def destroy(self) -> None:
        """End the session: its data now, its record and cookie with the response.

        What is written afterwards starts a new session with a new id.
        """
        self._core.destroy()

    def touch(self, extend: bool = True) -> None:
        """Move the expiry, however recently it was moved; or not at all.

        It moves with this response. After the headers, as on a WebSocket, it moves with the next
        ``save()``, or else at the end. Where the cookie has a ``max_age``, which cannot go along
        then, it stops one ``touch_interval`` short, so the next response moves both.

        :param extend: False: this request does not keep the session alive. For pages that poll,
            the option ``keeps_alive`` costs less: it is asked before anything is moved.
        """
        self._core.use()
        self._core.keeps_alive = extend

    def mark_accessed(self) -> None:
        """Note that the response depends on the session. Reading and writing it do so, too.

        Starlette calls it when an application asks for ``request.session``.
        """
        self._core.is_accessed = True

    # For its methods

    def _attached(self) -> SessionCore:
        """Return what is behind the session, for reading, even after the request."""
        core = self._core
        core.use()
        core.data = core.contents.data = self
        return core


class SyncSession(Session):
    """A session of the WSGI middleware. It loads itself at the first use."""

    __slots__ = ()
    _core: SyncSessionCore

    def load(self) -> None:
        """Read the session now instead of at the first use, for code in C as well.

        :raises StoreError: the store failed.
        :raises SessionUnavailable: there is no session at this path.
        """
        self._share_all()

    def save(self, *, store: Store | None = None) -> None:
        """Do now what the end of the request would do: see :meth:`AsyncSession.save`."""
        self._core.check_open()
        self._core.exclusively(lambda: self._core.backend.saving.save(store))

    def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function, and store the result: see :meth:`AsyncSession.change`."""
        core = self._core
        core.check_open()
        value: T = core.exclusively(lambda: core.backend.saving.change(function))
        return value

    def reload(self) -> None:
        """Drop unsaved changes and read the session again: see :meth:`AsyncSession.reload`."""
        self._core.check_open()
        self._core.exclusively(self._core.backend.reload)


class AsyncSession(Session):
    """A session of the ASGI middleware."""

    __slots__ = ()
    _core: AsyncSessionCore

    async def load(self) -> None:
        """Read the session, where ``load="lazy"``; otherwise note that code in C will read it.

        :raises StoreError: the store failed.
        :raises SessionUnavailable: there is no session at this path.
        """
        core = self._core
        if core.phase is not OPEN and not core.is_ready:
            core.backend.check_late_use()
        if not (core.is_loaded or core.has_no_cookie or core.failure):
            check_not_closed(core.phase)
            await core.exclusively(core.backend.load)
        self._share_all()

    async def save(self, *, store: AsyncStore | Store | None = None) -> None:
        """Do now what the end of the request would do: store, regenerate, destroy.

        With ``store``, the changes are written in a transaction of the application's, and are
        stored when it commits. If it is rolled back, the session as it is stored stays as it was,
        and the end of the request writes later changes alone. Until :meth:`reload` the session
        shows what the transaction had. docs/sql.md has the rules.

        :param store: a store whose calls are part of a transaction, such as
            ``store.bind(connection)`` of coatcheck-sql. The session must be stored already, and
            keep its id: call ``save()`` before the transaction begins.
        :raises ConfigurationError: ``store`` is another one, or the session is not stored yet.
        :raises TransactionOpen: the session was saved in a transaction that is still open.
        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises SerializationError: a value cannot be stored.
        :raises ConflictError: parallel changes that could not be merged.
        :raises StoreError: the store failed.
        """
        self._core.check_open()
        await self._core.exclusively(lambda: self._core.backend.saving.save(store))

    async def change(self, function: Callable[[dict[str, Any]], T]) -> T:
        """Change the data by a function, and store the result now.

        The function gets the newest stored data, together with what this request has changed, and
        changes the data in place; its return value is yours. If another request was faster, it is
        called again with what that one has stored. So counters are exact, whatever ``concurrency``
        says, and the session shows the result. The function must be quick, depend on nothing but
        its argument, and not use the session.

        :returns: what the function returned. A list or a dict is not the session's own: to change
            the session go on with ``session[key]``.
        :raises TypeError: it is no function, or an asynchronous one.
        :raises SessionGone: the session was ended elsewhere.
        :raises LateWriteError: a new session, and the headers are out.
        :raises ConflictError: others were faster for as long as ``conflict_timeout``.
        :raises StoreError: the store failed, and the change may be stored or not.
        """
        core = self._core
        core.check_open()
        value: T = await core.exclusively(lambda: core.backend.saving.change(function))
        return value

    async def reload(self) -> None:
        """Drop unsaved changes and read the session again; one that was never stored is empty.

        A requested ``destroy()`` or ``regenerate()`` is still carried out.

        :raises SessionGone: the session was ended elsewhere.
        :raises StoreError: the store failed.
        """
        self._core.check_open()
        await self._core.exclusively(self._core.backend.reload)


# Django's templates call what they find, `{{ session.destroy }}`, unless it says so.
for _kind, _names in (
    (Session, "regenerate destroy touch clear pop popitem update setdefault"),
    (SyncSession, "load save reload change"),
    (AsyncSession, "load save reload change"),
):
    for _name in _names.split():
        getattr(_kind, _name).alters_data = True
