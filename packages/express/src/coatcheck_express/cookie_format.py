"""The session cookie as express-session signs, escapes and writes it.

The value is ``encodeURIComponent("s:" + id + "." + signature)``, where the signature is
HMAC-SHA256 of the id, in the standard base64 without padding. It depends on the secret alone, and
not on the cookie's name or a time.
"""

from __future__ import annotations

import hmac
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from coatcheck.cookie import CookieAttributes, cookie_values, set_cookie_line
from coatcheck.cookie_format import CookieToken, CookieWriter, is_native_id

from .cookie import on_the_calendar

#: Characters that encodeURIComponent keeps, beside letters and digits (ECMA-262, 19.2.6.4).
_UNESCAPED: Final = "-_.!~*'()"
_PREFIX: Final = "s:"
#: The most characters of a store's key.
_MAX_KEY: Final = 256
#: A percent sign that begins no escape.
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class ExpressCookieFormat:
    """``s:id.signature`` of express-session and cookie-signature.

    Of several cookies with the same name only the first is read, and Max-Age is never sent. Both
    are as in Express.

    :param valid_id: tells whether an id may reach the store. Default: 16 to 128 of
        ``A-Za-z0-9_-``, as in express-session's own ids; a ``genid`` of another form needs it.
    """

    minimum_secret_bytes: int = 1

    def __init__(self, valid_id: Callable[[str], bool] = is_native_id) -> None:
        self._valid_id = valid_id

    def bind(self, name: str, secrets: Sequence[bytes]) -> CookieWriter:
        """See :meth:`coatcheck.cookie_format.CookieFormat.bind`."""
        return _ExpressCookieWriter(name, secrets, self._valid_id)


class _ExpressCookieWriter:
    __slots__ = ("_name", "_secrets", "_valid_id")

    def __init__(
        self, name: str, secrets: Sequence[bytes], valid_id: Callable[[str], bool]
    ) -> None:
        self._name: Final = name
        self._secrets: Final = tuple(secrets)
        self._valid_id: Final = valid_id

    def candidates(self, headers: Iterable[str]) -> Iterable[str]:
        return islice(cookie_values(headers, self._name), 1)

    def unsign(self, value: str) -> CookieToken | None:
        text = _decoded(value)
        if not text.startswith(_PREFIX):
            return None
        session_id, dot, signature = text.removeprefix(_PREFIX).rpartition(".")
        if not dot:
            return None
        given = signature.encode("utf-8", "surrogatepass")
        for index, secret in enumerate(self._secrets):
            # Texts are compared: the last character of base64 has two bits without meaning.
            if hmac.compare_digest(_signature(secret, session_id).encode("ascii"), given):
                return CookieToken(session_id, index == 0)
        return None

    def sign(self, session_id: str) -> str:
        signed = f"{_PREFIX}{session_id}.{_signature(self._secrets[0], session_id)}"
        return quote(signed, safe=_UNESCAPED)

    def valid_id(self, session_id: str) -> bool:
        # The id is the store's key, so it must be a valid one.
        return 0 < len(session_id) <= _MAX_KEY and self._valid_id(session_id)

    def set_cookie(self, value: str, attributes: CookieAttributes) -> str:
        if attributes.expires is not None:
            end = on_the_calendar(attributes.expires)
            attributes = replace(attributes, max_age=None, expires=end)
        return set_cookie_line(self._name, value, attributes)


def _signature(secret: bytes, session_id: str) -> str:
    digest = hmac.digest(secret, session_id.encode("utf-8", "surrogatepass"), "sha256")
    return b2a_base64(digest, newline=False).rstrip(b"=").decode("ascii")


def _decoded(value: str) -> str:
    """Undo encodeURIComponent; other texts stay as they are, as in Node's `cookie`."""
    if "%" not in value or _BAD_ESCAPE.search(value):
        return value
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return value
