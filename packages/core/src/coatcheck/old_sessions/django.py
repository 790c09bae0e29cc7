"""Read the sessions that Django keeps in a signed cookie.

They are those of ``django.contrib.sessions.backends.signed_cookies``. The cookie has the data:
``base64url(JSON):timestamp:signature``, where the JSON may be compressed. The signature is that of
itsdangerous with the key derivation ``concat``, and the timestamp has digits of base 62.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from itsdangerous import BadSignature, Signer

from ..cookie import CookieOptions
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_age, check_key, check_keys, expiry, signed_identity

__all__ = ["DjangoCookieSessions"]


def __dir__() -> list[str]:
    return __all__


_SALT: Final = b"django.contrib.sessions.backends.signed_cookiessigner"
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class DjangoCookieSessions(OldSessions):
    """Read the sessions in Django's signed cookie. The defaults are those of Django's settings.

    Sessions of Django's former PickleSerializer are not read.

    :param secret_key: ``SECRET_KEY``.
    :param name: ``SESSION_COOKIE_NAME``.
    :param age: ``SESSION_COOKIE_AGE``, in seconds.
    :param fallbacks: ``SECRET_KEY_FALLBACKS``.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        secret_key: str | bytes,
        *,
        name: str = "sessionid",
        age: float | timedelta = timedelta(weeks=2),
        fallbacks: Sequence[str | bytes] = (),
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(name, cookie=cookie, until=until)
        self.scope = SIGNED
        keys = [*check_keys("fallbacks", fallbacks), check_key("secret_key", secret_key)]
        self._signer = Signer(
            keys,  # type: ignore[arg-type]  # strings and bytes may be mixed
            salt=_SALT,
            sep=":",
            key_derivation="concat",
            digest_method=hashlib.sha256,
        )
        self._age = check_age("age", age, self.until)

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            signed = self._signer.unsign(value).decode()
        except BadSignature:
            return None
        text, _, timestamp = signed.rpartition(":")
        end = expiry(_from_base_62(timestamp), now, self._age)
        if end is None:
            return None
        session = OldSession(_data_of(text))
        return OldCookie(identity=signed_identity(value, ":"), session=session, expires_at=end)


def _data_of(text: str) -> Any:
    is_compressed = text.startswith(".")
    text = text.removeprefix(".")
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return json.loads((zlib.decompress(raw) if is_compressed else raw).decode("latin-1"))


def _from_base_62(text: str) -> int:
    number = 0
    for digit in text:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    return number
