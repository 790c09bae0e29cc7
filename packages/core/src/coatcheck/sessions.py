"""Sessions outside a request: create, list, look up, change and revoke them.

Each method exists twice: plain for synchronous code, and with the prefix ``a`` to be awaited. Both
work on any store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._records.change import ChangeFunction
from ._request.stored_sessions import CreatedSession, Entries, SessionEntry, StoredSessions
from ._stores.runners import AsyncRunner, SyncRunner
from .errors import ConfigurationError
from .options import Request, SessionOptions
from .session import Session
from .store import AsyncStore, Store

if TYPE_CHECKING:
    from ._request.handover import Handover

__all__ = ["CreatedSession", "SessionEntry", "Sessions"]


def __dir__() -> list[str]:
    return __all__


class Sessions:
    """The sessions in a store.

    :param store: the store that the middleware uses.
    :param options: the middleware's options; codec, ``hash_ids``, ``absolute_timeout`` and clock
        matter here. Both are attributes of a middleware: ``Sessions(app.store, app.options)``.
    :ivar options: these options.
    :raises ConfigurationError: ``store`` is no store.
    """

    def __init__(self, store: Store | AsyncStore, options: SessionOptions) -> None:
        if not isinstance(store, Store | AsyncStore):
            raise ConfigurationError(
                "`Sessions` needs the store object that the middleware uses (its `.store`), "
                f"not {type(store).__name__}"
            )
        self.options = options
        self._sync = SyncRunner(store)
        self._async = AsyncRunner(store)
        self._stored = StoredSessions(options, store.capabilities.owner_lag)
        self._handover: Handover | None = None

    def create(
        self,
        data: Mapping[str, Any],
        *,
        owner: str | int | None = None,
        https: bool = True,
        request: Request | None = None,
    ) -> CreatedSession:
        """Store a new session, and return it with the cookie that opens it.

        It is for tests, webhooks and hand-overs between hosts. All options count, as in a request.

        :param data: what the session holds.
        :param owner: whose session it is; an integer means its digits. Leave it out where the
            option ``owner`` derives the owner from the data.
        :param https: whether the browser will use the cookie over https.
        :param request: the ASGI scope or WSGI environ that functions in the options get. It is
            needed if the option ``cookie`` is a function.
        :raises TypeError: ``data`` is no mapping or has keys that are no strings, or ``owner`` is
            neither an integer nor a non-empty string.
        :raises ConfigurationError: the options derive the owner, need a ``request``, or make a
            Secure cookie although ``https`` is False.
        :raises SerializationError: a value cannot be stored.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._cookies().create(data, owner, https, request))

    async def acreate(
        self,
        data: Mapping[str, Any],
        *,
        owner: str | int | None = None,
        https: bool = True,
        request: Request | None = None,
    ) -> CreatedSession:
        """See :meth:`create`."""
        return await self._async.run(self._cookies().create(data, owner, https, request))

    def find(self, cookies: str) -> SessionEntry | None:
        """Return the live session that a Cookie header leads to, or None.

        Looking does not keep the session alive.

        :param cookies: the value of a Cookie header, such as ``sid=...``. Other cookies in it are
            ignored, and so are those with a bad signature.
        :raises TypeError: ``cookies`` is no string.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._cookies().find(cookies))

    async def afind(self, cookies: str) -> SessionEntry | None:
        """See :meth:`find`."""
        return await self._async.run(self._cookies().find(cookies))

    def list(self, owner: str | int) -> Entries:
        """Return the live sessions of an owner, the oldest first.

        :param owner: as the option ``owner`` gives it; an integer means its digits.
        :raises TypeError: ``owner`` is neither an integer nor a non-empty string, or has lone
            surrogates.
        :raises UnsupportedOperation: the store does not declare ``owners``.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._stored.list(owner))

    async def alist(self, owner: str | int) -> Entries:
        """See :meth:`list`."""
        return await self._async.run(self._stored.list(owner))

    def list_all(self, limit: int = 1000) -> Entries:
        """Return live sessions of all visitors, the oldest first.

        :param limit: the largest number. If the store has more, it decides which are returned.
        :raises UnsupportedOperation: the store does not declare ``enumerable``.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._stored.list_all(limit))

    async def alist_all(self, limit: int = 1000) -> Entries:
        """See :meth:`list_all`."""
        return await self._async.run(self._stored.list_all(limit))

    def get(self, ref: str) -> SessionEntry | None:
        """Return a live session, or None; also where ``ref`` is a string that is no ref.

        With raw ids (``hash_ids=False``) the sessions are enumerated to find it.

        :raises TypeError: ``ref`` is no string.
        :raises UnsupportedOperation: raw ids, and the store does not declare ``enumerable``.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._stored.get(ref))

    async def aget(self, ref: str) -> SessionEntry | None:
        """See :meth:`get`."""
        return await self._async.run(self._stored.get(ref))

    def update(self, ref: str, function: ChangeFunction) -> SessionEntry | None:
        """Change the data of a live session by a function, and store the result.

        The function changes the data in place. It is called again if a request was faster, so it
        must be quick and depend on nothing but its argument. The expiry stays as it is.

        :returns: the session as it is stored now, or None if there is none.
        :raises TypeError: ``ref`` is no string, or ``function`` no plain function.
        :raises ConflictError: others were faster for as long as ``conflict_timeout``.
        :raises UnsupportedOperation: raw ids, and the store does not declare ``enumerable``.
        :raises StoreError: the store failed, and the change may be stored or not.
        """
        return self._sync.run(self._stored.update(ref, function))

    async def aupdate(self, ref: str, function: ChangeFunction) -> SessionEntry | None:
        """See :meth:`update`."""
        return await self._async.run(self._stored.update(ref, function))

    def revoke(self, ref: str) -> bool:
        """End a session, also where its id changes at the same time.

        :returns: False if there is none.
        :raises TypeError: ``ref`` is no string.
        :raises UnsupportedOperation: raw ids, and the store does not declare ``enumerable``.
        :raises StoreError: the store failed.
        """
        return self._sync.run(self._stored.revoke(ref))

    async def arevoke(self, ref: str) -> bool:
        """See :meth:`revoke`."""
        return await self._async.run(self._stored.revoke(ref))

    def revoke_all(self, owner: str | int, *, keep: Session | str | None = None) -> int:
        """End all sessions of an owner, and return how many there were.

        No session of the owner's that was stored before the call survives it, however often its id
        changes meanwhile.

        :param owner: as for :meth:`list`.
        :param keep: a session to spare, or its ref, for "log out everywhere else".
        :raises TypeError: ``owner`` is neither an integer nor a non-empty string, or has lone
            surrogates; or ``keep`` is neither a session nor a ref.
        :raises UnsupportedOperation: the store does not declare ``owners``.
        :raises StoreError: the store failed; what was ended stays ended.
        """
        return self._sync.run(self._stored.revoke_all(owner, keep))

    async def arevoke_all(self, owner: str | int, *, keep: Session | str | None = None) -> int:
        """See :meth:`revoke_all`."""
        return await self._async.run(self._stored.revoke_all(owner, keep))

    def ref_of(self, session: Session) -> str | None:
        """Return the ref of a request's session, or None while it is not stored."""
        stored = session.stored_key
        return None if stored is None else self._stored.ref(str(stored))

    def _cookies(self) -> Handover:
        if self._handover is None:
            from ._request.handover import Handover  # most processes need none

            self._handover = Handover(self.options, self._stored)
        return self._handover
