"""Find the sessions of a user, and log a user out everywhere, or everywhere else."""

from __future__ import annotations

from typing import Any, Protocol

from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured

from . import _configuration as configuration
from ._engine import SessionStore


class User(Protocol):
    """A user of django.contrib.auth, of any model."""

    pk: Any


class Request(Protocol):
    """A request with a session."""

    session: SessionBase


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
    return configuration.sessions().revoke_all(owner_of(user), keep=_ref(keep))


async def alog_out_everywhere(user: User, *, keep: Request | None = None) -> int:
    """See :func:`log_out_everywhere`."""
    return await configuration.async_sessions().arevoke_all(owner_of(user), keep=_ref(keep))


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
