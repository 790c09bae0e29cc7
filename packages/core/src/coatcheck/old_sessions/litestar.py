"""Read Litestar's sessions: those on the server, in Redis, and those in an encrypted cookie."""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import b64decode
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from ..cookie import CookieOptions, cookie_values
from ..errors import ConfigurationError
from ..store import AsyncStore, Store
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_key
from ._stored import StoredSessions

__all__ = ["LitestarCookieSessions", "LitestarSessions"]


def __dir__() -> list[str]:
    return __all__


class LitestarSessions(StoredSessions):
    """Read the sessions of Litestar's ``ServerSideSessionConfig``.

    The cookie has the id, which is not signed. The record has the data in JSON.

    :param store: where the records are: a URL of Redis whose ``prefix`` is the namespace of the old
        RedisStore and a colon, such as ``redis://localhost:6379/0?prefix=LITESTAR:``, or such a
        store.
    :param key: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        store: Store | AsyncStore | str,
        *,
        key: str = "session",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(key, cookie=cookie, until=until, store=store)

    def read(self, record: bytes) -> OldSession:
        """See :meth:`OldSessions.read`."""
        return OldSession(json.loads(record))


#: The bytes of a nonce, and what is between the encrypted data and the time of expiry.
_NONCE: Final = 12
_MARK: Final = b"additional_authenticated_data="
#: The most pieces of a cookie. Litestar sorts their names as text.
_PIECES: Final = 10


class LitestarCookieSessions(OldSessions):
    """Read the sessions of Litestar's ``CookieBackendConfig``.

    The cookie has the data, encrypted with AES-GCM, and says when it expires. A large session has
    several cookies: ``session-0``, ``session-1`` and so on. Reading them needs the package
    cryptography, which Litestar needs for them, too.

    :param secret: the key of the old sessions: 16, 24 or 32 bytes.
    :param key: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work, or cryptography is
        missing.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        key: str = "session",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(key, cookie=cookie, until=until)
        self.scope = SIGNED
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigurationError(
                "these cookies of Litestar are encrypted: `pip install cryptography`"
            ) from None
        checked = check_key("secret", secret)
        if not isinstance(checked, bytes) or len(checked) not in (16, 24, 32):
            raise ConfigurationError("`secret` must be 16, 24 or 32 bytes")
        self._cipher = AESGCM(checked)
        self._forged = InvalidTag

    def values(self, headers: Iterable[str]) -> Iterable[str]:
        """See :meth:`OldSessions.values`."""
        headers = list(headers)
        pieces = (next(iter(cookie_values(headers, name)), "") for name in self.names(headers))
        return [value] if (value := "".join(pieces)) else []

    def names(self, headers: Iterable[str]) -> Iterable[str]:
        """See :meth:`OldSessions.names`."""
        headers = list(headers)
        names = [self.name, *(f"{self.name}-{number}" for number in range(_PIECES))]
        return [name for name in names if cookie_values(headers, name, 1)]

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            content = b64decode(value)
            nonce, sealed = content[:_NONCE], content[_NONCE:]
            encrypted, mark, end = sealed.rpartition(_MARK)
            if not mark:
                return None
            data = self._cipher.decrypt(nonce, encrypted, end)
        except (binascii.Error, ValueError, self._forged):
            return None
        expires_at = float(json.loads(end)["expires_at"])
        if expires_at <= now:
            return None
        # Base64 can write the same cookie in several ways.
        identity = hashlib.sha256(content).hexdigest()
        session = OldSession(json.loads(data))
        return OldCookie(identity=identity, session=session, expires_at=expires_at)
