"""Read the cookie sessions of Starlette's ``SessionMiddleware``, which FastAPI uses as well.

The cookie has the data: ``base64(JSON).timestamp.signature``, signed by itsdangerous'
TimestampSigner. Starlette signs it again when the session changes, and older releases with each
response. The timestamp is the time of that.
"""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from typing import Literal

from itsdangerous import BadSignature, TimestampSigner

from ..cookie import CookieOptions
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_age, check_key, expiry, signed_identity

__all__ = ["StarletteSessions"]


def __dir__() -> list[str]:
    return __all__


class StarletteSessions(OldSessions):
    """Read Starlette's cookie sessions. The parameters are those of Starlette's middleware.

    :param secret_key: the key that signed the old cookies.
    :param max_age: how many seconds after its signing a cookie is accepted. With None there is no
        limit but ``until``, which is required then.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        secret_key: object,
        session_cookie: str = "session",
        max_age: int | None = 14 * 86400,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
        *,
        until: datetime | float | None = None,
    ) -> None:
        cookie = CookieOptions(
            path=path,
            domain=domain,
            secure=https_only or "auto",
            same_site=same_site,
            partitioned=partitioned,
        )
        super().__init__(session_cookie, cookie=cookie, until=until)
        self.scope = SIGNED
        # Starlette's Secret is a type of its own, and `str` shows what it holds.
        self._signer = TimestampSigner(check_key("secret_key", str(secret_key)))
        self._max_age = check_age("max_age", max_age, self.until)

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            payload, signed_at = self._signer.unsign(value, return_timestamp=True)
        except BadSignature:
            return None
        end = expiry(signed_at.timestamp(), now, self._max_age)
        if end is None:
            return None
        session = OldSession(json.loads(b64decode(payload)))
        return OldCookie(identity=signed_identity(value), session=session, expires_at=end)
