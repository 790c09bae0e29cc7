"""Define the form of the cookie's value: an extension point for the cookies of other programs.

A :class:`CookieFormat` is configuration. Bound to a cookie name and secrets it gives a
:class:`CookieWriter`, which the middleware uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from ._cookies.cookie_header import MAX_CANDIDATES, CookieAttributes, cookie_values, set_cookie_line
from ._cookies.signing import Signer

__all__ = [
    "CookieFormat",
    "CookieToken",
    "CookieWriter",
    "NativeCookieFormat",
    "is_hash",
    "is_native_id",
]


def __dir__() -> list[str]:
    return __all__


_ID = re.compile(r"[A-Za-z0-9_-]{16,128}")
_HASH_UNCOMPILED = r"[0-9a-f]{64}"


class CookieToken(NamedTuple):
    """Hold a session id from a cookie with a good signature.

    :ivar id: the session id.
    :ivar current: whether the cookie is signed like a new one. If not, a new cookie is sent.
    :ivar other_key: another key of the store that the session may be under, in addition to the one
        that follows from the id. Its record ends with the session.
    :ivar lookup_other_key: whether to look the session up under ``other_key`` if it is not under
        its own key.
    :ivar migrate: whether to move a session that was found under ``other_key`` to its own key.
    :ivar accepts: tells for a key and the data found under it whether that can be the session;
        None accepts everything.
    """

    id: str
    current: bool
    other_key: str | None = None
    lookup_other_key: bool = False
    migrate: bool = False
    accepts: Callable[[str, bytes], bool] | None = None

    def __repr__(self) -> str:
        return f"<CookieToken current={self.current}>"


class CookieWriter(Protocol):
    """Read and write the session cookies of one name."""

    def candidates(self, headers: Iterable[str]) -> Iterable[str]:
        """Return the values in the Cookie header lines that may be ours, as many as are tried."""

    def unsign(self, value: str) -> CookieToken | None:
        """Return the token in a cookie value, or None if the signature is bad."""

    def sign(self, session_id: str) -> str:
        """Return the cookie value for an id."""

    def valid_id(self, session_id: str) -> bool:
        """Tell whether an id has the syntax of our ids. Other ids never reach the store."""

    def set_cookie(self, value: str, attributes: CookieAttributes) -> str:
        """Return the value of the Set-Cookie header."""


class CookieFormat(Protocol):
    """Configure how ids are written in cookies.

    :ivar minimum_secret_bytes: the fewest bytes that a secret may have.
    """

    minimum_secret_bytes: int

    def bind(self, name: str, secrets: Sequence[bytes]) -> CookieWriter:
        """Return the writer for a cookie name.

        :param secrets: checked secrets, the signing one first.
        """


def is_native_id(session_id: str) -> bool:
    """Tell whether an id has 16 to 128 characters of ``A-Za-z0-9_-``."""
    return _ID.fullmatch(session_id) is not None


def is_hash(key: str) -> bool:
    """Tell whether a store's key has the form of a hashed id: 64 characters of ``0-9a-f``."""
    return re.fullmatch(_HASH_UNCOMPILED, key) is not None


class NativeCookieFormat:
    """Write cookies as ``id.signature``, both URL-safe.

    The signature is bound to the cookie's name.
    """

    minimum_secret_bytes: int = 16

    def bind(self, name: str, secrets: Sequence[bytes]) -> CookieWriter:
        """See :meth:`CookieFormat.bind`."""
        return _NativeCookieWriter(name, secrets)


class _NativeCookieWriter:
    __slots__ = ("_name", "_signer")

    def __init__(self, name: str, secrets: Sequence[bytes]) -> None:
        self._name: Final = name
        self._signer: Final = Signer(secrets, name)

    def candidates(self, headers: Iterable[str]) -> Iterable[str]:
        return cookie_values(headers, self._name, MAX_CANDIDATES)

    def unsign(self, value: str) -> CookieToken | None:
        unsigned = self._signer.unsign(value)
        return None if unsigned is None else CookieToken(*unsigned)

    def sign(self, session_id: str) -> str:
        return self._signer.sign(session_id)

    def valid_id(self, session_id: str) -> bool:
        return _ID.fullmatch(session_id) is not None  # `is_native_id` would be one more call

    def set_cookie(self, value: str, attributes: CookieAttributes) -> str:
        return set_cookie_line(self._name, value, attributes)
