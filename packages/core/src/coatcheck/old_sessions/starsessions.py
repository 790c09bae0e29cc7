"""Read the sessions of starsessions: those in Redis, and those in a signed cookie.

The data are JSON, by the JsonSerializer. The key ``__metadata__`` says when a session began and how
long it lives.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from datetime import datetime
from typing import Any

from itsdangerous import BadSignature, TimestampSigner

from ..cookie import CookieOptions
from ..store import AsyncStore, Store
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_age, check_key, expiry, signed_identity
from ._stored import StoredSessions

__all__ = ["StarsessionsCookieSessions", "StarsessionsSessions"]


def __dir__() -> list[str]:
    return __all__


class StarsessionsSessions(StoredSessions):
    """Read the sessions that starsessions keeps in Redis.

    :param store: where the records are: a URL of Redis with the ``prefix`` of the old RedisStore,
        such as ``redis://localhost:6379/0?prefix=starsessions.``, or such a store.
    :param cookie_name: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie. It was Secure
        unless you said otherwise.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        store: Store | AsyncStore | str,
        *,
        cookie_name: str = "session",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(cookie_name, cookie=cookie, until=until, store=store)

    def read(self, record: bytes) -> OldSession:
        """See :meth:`OldSessions.read`."""
        data = json.loads(record)
        data.pop("__metadata__", None)
        return OldSession(data)


class StarsessionsCookieSessions(OldSessions):
    """Read the sessions of starsessions' CookieStore.

    :param secret_key: the key of the CookieStore.
    :param lifetime: the ``lifetime`` of the old middleware, in seconds. With 0, its default, the
        old cookies end with the browser, and ``until`` is required.
    :param cookie_name: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        secret_key: object,
        *,
        lifetime: int = 0,
        cookie_name: str = "session",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(cookie_name, cookie=cookie, until=until)
        self.scope = SIGNED
        self._signer = TimestampSigner(check_key("secret_key", str(secret_key)))
        self._lifetime = check_age("lifetime", lifetime or None, self.until)

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            payload, signed_at = self._signer.unsign(value, return_timestamp=True)
        except BadSignature:
            return None
        end = expiry(signed_at.timestamp(), now, self._lifetime)
        if end is None:
            return None
        data = json.loads(b64decode(payload))
        metadata = data.pop("__metadata__", None)
        if metadata is None or (end := min(end, _end_of(metadata))) <= now:
            return None
        return OldCookie(identity=signed_identity(value), session=OldSession(data), expires_at=end)


def _end_of(metadata: dict[str, Any]) -> float:
    """Return when a session ends that is not prolonged, in POSIX seconds."""
    lifetime = metadata["lifetime"]
    return float(metadata["created"] + lifetime) if lifetime else math.inf
