"""The sessions of all visitors: list, look up and revoke them, and log a user out everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured

from coatcheck import AsyncStore, SessionOptions, Sessions, Store
from coatcheck.errors import UnsupportedOperation
from coatcheck.session_lifecycle import SessionLifecycle

from . import _configuration as configuration
from ._engine import SessionStore

if TYPE_CHECKING:
    from coatcheck.session import Session
    from coatcheck.sessions import CreatedSession, SessionEntry

    from ._former import Former


class User(Protocol):
    """A user of django.contrib.auth, of any model."""

    pk: Any


class Request(Protocol):
    """A request with a session."""

    session: SessionBase


def sessions() -> Sessions:
    """Return the sessions of all visitors: list, look up and revoke them.

    The owner of a session is its user: ``sessions().list(owner_of(user))``. ``create`` and ``find``
    raise `UnsupportedOperation`, because a cookie of coatcheck's own opens no session of Django.

    :raises ImproperlyConfigured: a setting is missing or wrong.
    """
    return configuration.opened.get("sessions", lambda: _made(configuration.store()))


def _async_sessions() -> Sessions:
    return configuration.opened.get("async_sessions", lambda: _made(configuration.async_store()))


def _made(store: Store | AsyncStore) -> Sessions:
    return DjangoSessions(store, configuration.options(), configuration.former)


def log_out_everywhere(user: User, *, keep: Request | None = None) -> int:
    """End the sessions of a user, and return how many there were.

    ::

        log_out_everywhere(request.user, keep=request)  # after a change of the password
        log_out_everywhere(user)  # for an account that was taken over

    No session of the user's that was stored before survives it, however often its key changes
    meanwhile.

    :param keep: a request whose session stays, for "log out everywhere else".
    :raises ImproperlyConfigured: the session of ``keep`` is another engine's, or ``OWNER`` is set.
    :raises UnsupportedOperation: the store cannot find the sessions of a user.
    :raises StoreError: the store failed; what was ended stays ended.
    """
    return sessions().revoke_all(owner_of(user), keep=_ref(keep))


async def alog_out_everywhere(user: User, *, keep: Request | None = None) -> int:
    """See :func:`log_out_everywhere`."""
    return await _async_sessions().arevoke_all(owner_of(user), keep=_ref(keep))


def owner_of(user: User) -> str:
    """Return the owner of a user's sessions, for ``sessions()``.

    ::

        sessions().list(owner_of(user))

    :raises ImproperlyConfigured: ``OWNER`` is set, so the owner is something else.
    :raises ValueError: the user is not saved.
    """
    if not configuration.owner_is_user():
        raise ImproperlyConfigured(
            'COATCHECK["OWNER"] is set, so the owner of a session is not its user: use '
            "`sessions().list(owner)` and `sessions().revoke_all(owner)` with the owner that it "
            "gives"
        )
    if user.pk is None:
        raise ValueError("the user has no `pk`: only a user that is saved has sessions")
    model: Any = user
    return str(model._meta.pk.value_to_string(user))  # as django.contrib.auth stores it


def _ref(request: Request | None) -> str | None:
    if request is None:
        return None
    session = request.session
    if not isinstance(session, SessionStore):
        raise ImproperlyConfigured(
            'SESSION_ENGINE must be "coatcheck_django" to keep the session of a request, which is '
            f"of {type(session).__module__} now"
        )
    return session.ref


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
        raise _refused_create()

    async def acreate(self, data: Mapping[str, Any], **_: Any) -> CreatedSession:
        """See :meth:`create`."""
        raise _refused_create()

    def find(self, cookies: str) -> SessionEntry | None:
        """Refuse: coatcheck's own cookie is not that of Django."""
        raise _refused_find()

    async def afind(self, cookies: str) -> SessionEntry | None:
        """See :meth:`find`."""
        raise _refused_find()

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


def _refused_create() -> UnsupportedOperation:
    return UnsupportedOperation(
        "create",
        advice="`sessions().create()` makes a cookie that Django does not read: make a "
        "`SessionStore()`, fill it and call its `save()`; the cookie's value is its `session_key`",
    )


def _refused_find() -> UnsupportedOperation:
    return UnsupportedOperation(
        "find",
        advice="`sessions().find()` does not read Django's cookie: use "
        "`sessions().get(SessionStore(session_key).ref)`",
    )
