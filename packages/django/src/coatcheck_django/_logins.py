"""Log a user out everywhere, or everywhere else."""

from __future__ import annotations

from typing import Any, Protocol

from asgiref.sync import sync_to_async
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
    :raises ImproperlyConfigured: the session of ``keep`` is another engine's.
    :raises UnsupportedOperation: the store cannot find the sessions of a user.
    :raises StoreError: the store failed; what was ended stays ended.
    """
    owner, ref, former = _owner(user), _ref(keep), configuration.former()
    count = 0 if former is None else former.delete_of(owner)
    return count + configuration.sessions().revoke_all(owner, keep=ref)


async def alog_out_everywhere(user: User, *, keep: Request | None = None) -> int:
    """See :func:`log_out_everywhere`."""
    owner, ref, former = _owner(user), _ref(keep), configuration.former()
    count = 0 if former is None else await sync_to_async(former.delete_of)(owner)
    return count + await configuration.async_sessions().arevoke_all(owner, keep=ref)


def _owner(user: User) -> str:
    if user.pk is None:
        raise ValueError("the user has no `pk`: only a user that is saved has sessions")
    return str(user.pk)


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
