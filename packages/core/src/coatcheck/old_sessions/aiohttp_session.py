"""Read the sessions of aiohttp-session: those in an encrypted cookie, and those in Redis.

The data are JSON: ``{"created": ..., "session": {...}}``.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any

from ..cookie import CookieOptions
from ..errors import ConfigurationError
from ..store import AsyncStore, Store
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_age, check_key, expiry
from ._stored import StoredSessions

__all__ = ["AiohttpCookieSessions", "AiohttpSessions"]


def __dir__() -> list[str]:
    return __all__


class AiohttpCookieSessions(OldSessions):
    """Read the sessions of aiohttp-session's EncryptedCookieStorage.

    It needs the package cryptography, which the storage needs, too.

    :param secret_key: the key of the storage: 32 bytes, or their base64url text.
    :param max_age: the ``max_age`` of the storage, in seconds. With None, ``until`` is required.
    :param cookie_name: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work, or cryptography is
        missing.
    """

    def __init__(
        self,
        secret_key: str | bytes | bytearray,
        *,
        max_age: int | None = None,
        cookie_name: str = "AIOHTTP_SESSION",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(cookie_name, cookie=cookie, until=until)
        self.scope = SIGNED
        try:
            from cryptography.fernet import Fernet, InvalidToken
        except ImportError:
            raise ConfigurationError(
                "the cookies of aiohttp-session are encrypted: `pip install cryptography`"
            ) from None
        raw = bytes(secret_key) if isinstance(secret_key, bytearray) else secret_key
        key = check_key("secret_key", raw)
        try:
            self._fernet = Fernet(urlsafe_b64encode(key) if isinstance(key, bytes) else key)
        except ValueError:
            raise ConfigurationError(
                "`secret_key` must be 32 bytes, or their base64url text"
            ) from None
        self._forged = InvalidToken
        self._max_age = check_age("max_age", max_age, self.until)

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            content = self._fernet.decrypt(value)
            signed_at = self._fernet.extract_timestamp(value)
        except (self._forged, ValueError):
            return None
        end = expiry(signed_at, now, self._max_age)
        if end is None:
            return None
        # Base64 can write the same token in several ways.
        identity = urlsafe_b64decode(value).hex()
        return OldCookie(identity=identity, session=_session_of(content), expires_at=end)


class AiohttpSessions(StoredSessions):
    """Read the sessions of aiohttp-session's RedisStorage.

    :param store: where the records are: a URL of Redis whose ``prefix`` is the cookie's name and
        an underscore, such as ``redis://localhost:6379/0?prefix=AIOHTTP_SESSION_``, or such a
        store.
    :param cookie_name: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        store: Store | AsyncStore | str,
        *,
        cookie_name: str = "AIOHTTP_SESSION",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(cookie_name, cookie=cookie, until=until, store=store)

    def read(self, record: bytes) -> OldSession:
        """See :meth:`OldSessions.read`."""
        return _session_of(record)


def _session_of(content: bytes) -> OldSession:
    stored: dict[str, Any] = json.loads(content)
    return OldSession(stored.get("session") or {})
