"""Note when a user has logged in, for pages that ask for a recent login.

At a login, in the place of ``session.regenerate()``::

    record_login(session)
    session["user_id"] = user.id

On a page where an old login is not enough, as for a change of the password::

    age = login_age(session)
    if age is None or age > 600:
        ...  # ask for the password again, and call `record_login` once more

The moment is a value of the session, in POSIX seconds, under the key :data:`LOGIN_KEY`. So it ends
with the session, with ``regenerate()`` without ``keep_data``, and with ``clear()``. A logout that
keeps the session has to delete the key as well. With ``concurrency="last-write-wins"`` that is not
enough: a parallel request that had read the session stores all that it has read, and so brings back
the user and this key. There a logout must call ``destroy()``.

A new id alone is no login: applications also replace ids from time to time. So ``regenerate()``
does not move this moment, and neither does the time at which the session began.
"""

from __future__ import annotations

from typing import Final

from .integration import current_time
from .session import Session

__all__ = ["LOGIN_KEY", "login_age", "record_login"]


def __dir__() -> list[str]:
    return __all__


#: Seconds by which the clocks of servers may differ.
_SKEW: Final = 300.0
#: The session's key for the moment of the last login.
LOGIN_KEY: Final = "logged_in_at"


def record_login(session: Session, *, keep_data: bool = True) -> None:
    """Give the session a new id, and note that the user has proved just now who they are.

    A session with ``load="lazy"`` has to be loaded before. With ``on_store_error="anonymous"`` and
    a store that fails, nothing is stored, nothing is raised, and the visitor's cookie is removed:
    ask ``session.degraded`` before you welcome somebody.

    :param session: the session of the request.
    :param keep_data: go on with the data, as with :meth:`Session.regenerate
        <coatcheck.Session.regenerate>`: a cart stays. False: begin with none.
    :raises LateWriteError: the headers are out, and cannot carry the new cookie.
    :raises SessionGone: ``keep_data``, but the session was ended elsewhere.
    """
    session.regenerate(keep_data=keep_data)
    session[LOGIN_KEY] = current_time(session)


def login_age(session: Session) -> float | None:
    """Return the seconds since the last login, or None if nobody has logged in.

    A value that is no number counts as none, and so does a moment that is more than five minutes
    ahead: no clock of a server is that wrong, and milliseconds would be a login that never ages. A
    moment that is less ahead counts as now.

    :param session: the session of the request.
    """
    moment = session.get(LOGIN_KEY)
    if not isinstance(moment, int | float) or isinstance(moment, bool):
        return None
    now = current_time(session)
    return max(0.0, now - moment) if moment <= now + _SKEW else None
