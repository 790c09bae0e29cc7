"""Read the sessions that Flask keeps in its signed cookie.

The cookie has the data, as Flask's tagged JSON, signed by itsdangerous' URLSafeTimedSerializer with
the salt ``cookie-session``. A JSON object with one key that begins with a blank is a tag: see
``flask.json.tag``.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from uuid import UUID

from itsdangerous import BadSignature, URLSafeTimedSerializer

from ..cookie import MAX_AGE_LIMIT, CookieOptions
from . import OldCookie, OldSession, OldSessions
from ._signed import SIGNED, check_age, check_key, check_keys, expiry, signed_identity

__all__ = ["FlaskSessions"]


def __dir__() -> list[str]:
    return __all__


class FlaskSessions(OldSessions):
    """Read the sessions in Flask's cookie. The defaults are those of Flask's configuration.

    Values come back as Flask reads them, but a ``Markup`` as the text that it is. The key
    ``_permanent`` becomes the ``max_age`` of the session's cookie.

    :param secret_key: ``SECRET_KEY``.
    :param name: ``SESSION_COOKIE_NAME``.
    :param lifetime: ``PERMANENT_SESSION_LIFETIME``, for which Flask accepts any cookie.
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
        name: str = "session",
        lifetime: float | timedelta = timedelta(days=31),
        fallbacks: Sequence[str | bytes] = (),
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(name, cookie=cookie, until=until)
        self.scope = SIGNED
        # The last one signs, and all verify.
        keys = [*check_keys("fallbacks", fallbacks), check_key("secret_key", secret_key)]
        self._serializer = URLSafeTimedSerializer(
            keys,  # type: ignore[arg-type]  # strings and bytes may be mixed
            salt="cookie-session",
            serializer=_TaggedJSON,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
        )
        self._lifetime = check_age("lifetime", lifetime, self.until)

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        try:
            data, signed_at = self._serializer.loads(value, return_timestamp=True)
        except BadSignature:
            return None
        end = expiry(signed_at.timestamp(), now, self._lifetime)
        if end is None:
            return None
        session = session_of_flask(data, self._lifetime)
        return OldCookie(identity=signed_identity(value), session=session, expires_at=end)


def session_of_flask(data: dict[str, Any], lifetime: float) -> OldSession:
    """Return a session of Flask, whose data say whether its cookie outlives the browser.

    :param lifetime: how long it does so, in seconds.
    """
    permanent = data.pop("_permanent", False)
    return OldSession(data, min(lifetime, MAX_AGE_LIMIT) if permanent else None)


class _TaggedJSON:
    """Read Flask's tagged JSON. itsdangerous wants both methods of a serializer."""

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return json.loads(text, object_hook=_untagged)

    @staticmethod
    def dumps(value: Any) -> str:
        return json.dumps(value)


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        ((tag, value),) = found.items()
        if tag in _TAGS:
            return _TAGS[tag](value)
    return found


def _escaped(value: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary whose only key looks like a tag; Flask marks it with ``__``."""
    ((key, inner),) = value.items()
    return {key.removesuffix("__"): inner}


_TAGS: Final[dict[str, Callable[[Any], Any]]] = {
    " di": _escaped,
    " t": tuple,
    " b": b64decode,
    " m": str,
    " u": UUID,
    " d": parsedate_to_datetime,
}
