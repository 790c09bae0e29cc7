"""Take over the sessions of the library that an application used before, so nobody is logged out.

::

    from coatcheck.old_sessions.starlette import StarletteSessions

    old = StarletteSessions(secret_key=OLD_SECRET, until=datetime(2027, 2, 1, tzinfo=UTC))
    app.add_middleware(SessionMiddleware, secret=SECRET, store=STORE, old_sessions=[old])

A request that has an old cookie, and no session of ours, begins with a copy of the old session's
data. The response sets the new cookie and removes the old one. docs/migrating.md says what that
means for each library.

A reader is a subclass of :class:`OldSessions`. The modules of this package have one for each
library that was tried. None of them imports the library, and none reads pickles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..cookie import CookieOptions, checked_expires, cookie_values
from ..errors import ConfigurationError
from ..store import AsyncStore, Store

__all__ = ["OldCookie", "OldSession", "OldSessions"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True, slots=True)
class OldSession:
    """Hold what an old session has.

    :ivar data: the data.
    :ivar max_age: the seconds that the session's cookie outlives the browser, where the old session
        says so itself. None: the option ``cookie`` applies, as it does for new sessions.
    """

    data: Mapping[str, Any] = field(repr=False)
    max_age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCookie:
    """Hold what an old cookie says, whose signature was verified.

    :ivar identity: tells this session from all others of the reader's ``scope``. It must follow
        from what is signed, or from the id alone: if somebody can write the same cookie in another
        way, both ways must have the same identity. Otherwise the session could be taken over twice.
    :ivar session: the session, where the cookie has its data.
    :ivar key: the key of the old record, where it has not.
    :ivar expires_at: when the cookie ends by the rules of the old library, in POSIX seconds. None
        where the old record says it. A cookie that has the data and no ``expires_at`` is noted for
        400 days.
    """

    identity: str = field(repr=False)
    session: OldSession | None = None
    key: str | None = field(default=None, repr=False)
    expires_at: float | None = None


class OldSessions(ABC):
    """Read the sessions of another library.

    A reader does no I/O. The middleware reads the old records from ``store``, and ends them there.

    :param name: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie, which browsers
        compare when it is removed.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :param store: where the old records are: a store, or its URL. The key of a record must be
        the whole key there, without the store's prefix. None if the cookie has the data.
    :ivar scope: the readers of one scope tell sessions apart by their identities alone. It is the
        name of the old cookie, unless a subclass says otherwise. Two readers with the same key
        need one scope: somebody can send a cookie of the one by the name of the other's.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
        store: Store | AsyncStore | str | None = None,
    ) -> None:
        self.name: str = name
        self.scope: str = name
        self.cookie: CookieOptions = CookieOptions() if cookie is None else cookie
        self.cookie.check_name(name)
        try:
            self.until: float | None = checked_expires(until)
        except ConfigurationError:
            raise ConfigurationError(
                f"`until` must be an aware datetime, POSIX seconds or None, not {until!r}"
            ) from None
        if not (store is None or isinstance(store, Store | AsyncStore | str)):
            raise ConfigurationError(
                "`store` must be a coatcheck.Store, a coatcheck.AsyncStore or a URL, "
                f"not {type(store).__name__}"
            )
        self.store: Store | AsyncStore | str | None = store

    def values(self, headers: Iterable[str]) -> Iterable[str]:
        """Return the values to open: those of all cookies that have the name.

        A reader whose cookie comes in pieces returns them put together.

        :param headers: the Cookie headers.
        """
        return cookie_values(headers, self.name)

    def names(self, headers: Iterable[str]) -> Iterable[str]:
        """Return the names of the cookies that are removed.

        :param headers: the Cookie headers.
        """
        return (self.name,)

    @abstractmethod
    def open(self, value: str, now: float) -> OldCookie | None:
        """Return what a cookie says, or None if it is forged, expired or not of this library.

        :param value: the cookie's value, without quotes.
        :param now: POSIX seconds by the middleware's clock.
        """

    def read(self, record: bytes) -> OldSession:
        """Return the session in an old record.

        Any error means that the record cannot be taken over.

        :param record: the bytes in ``store``.
        """
        raise NotImplementedError("a reader with a `store` overrides `read`")
