"""The sessions of all visitors, as Django needs them: with its cookie, and with its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from asgiref.sync import sync_to_async

from coatcheck import AsyncStore, SessionOptions, Sessions, Store
from coatcheck.session_lifecycle import SessionLifecycle

if TYPE_CHECKING:
    from coatcheck.session import Session
    from coatcheck.sessions import CreatedSession, SessionEntry

    from ._taken_over import Former


class DjangoSessions(Sessions):
    """List, look up and revoke sessions, and revoke those that have not moved.

    :param former: returns the sessions of the engine that ``MOVE_FROM`` names, or None.
    """

    def __init__(
        self,
        store: Store | AsyncStore,
        options: SessionOptions,
        former: Callable[[], Former | None],
    ) -> None:
        super().__init__(store, options)
        self._former = former
        self._ref_of_key = SessionLifecycle(store, options).ref_of

    def create(self, data: Mapping[str, Any], **_: Any) -> CreatedSession:
        """Refuse: a cookie of coatcheck's own opens no session of Django."""
        _refuse_create()

    async def acreate(self, data: Mapping[str, Any], **_: Any) -> CreatedSession:
        """See :meth:`create`."""
        _refuse_create()

    def find(self, cookies: str) -> SessionEntry | None:
        """Refuse: coatcheck's own cookie is not that of Django."""
        _refuse_find()

    async def afind(self, cookies: str) -> SessionEntry | None:
        """See :meth:`find`."""
        _refuse_find()

    def revoke(self, ref: str) -> bool:
        """End a session, also in Django's table."""
        ended = self._end_row(ref)
        return super().revoke(ref) or ended

    async def arevoke(self, ref: str) -> bool:
        """See :meth:`revoke`."""
        ended = await sync_to_async(self._end_row)(ref)
        return await super().arevoke(ref) or ended

    def revoke_all(self, owner: str | int, *, keep: Session | str | None = None) -> int:
        """End the sessions of an owner, also in Django's table, and return how many there were."""
        ended = self._end_rows(owner, keep)
        return ended + super().revoke_all(owner, keep=keep)

    async def arevoke_all(self, owner: str | int, *, keep: Session | str | None = None) -> int:
        """See :meth:`revoke_all`."""
        ended = await sync_to_async(self._end_rows)(owner, keep)
        return ended + await super().arevoke_all(owner, keep=keep)

    def _end_row(self, ref: object) -> bool:
        former = self._former()
        return (
            former is not None
            and former.delete_where(lambda key, _: self._ref_of_key(key) == ref) > 0
        )

    def _end_rows(self, owner: str | int, keep: object) -> int:
        former = self._former()
        if former is None:
            return 0
        return former.delete_where(
            lambda key, data: (
                self._ref_of_key(key) != keep
                and self.options.derived_owner(data() or {}) == str(owner)
            )
        )


def _refuse_create() -> NoReturn:
    raise NotImplementedError(
        "`sessions().create()` makes a cookie that Django does not read: make a `SessionStore()`, "
        "fill it and call its `save()`; the cookie's value is its `session_key`"
    )


def _refuse_find() -> NoReturn:
    raise NotImplementedError(
        "`sessions().find()` does not read Django's cookie: use "
        "`sessions().get(SessionStore(session_key).ref)`"
    )
