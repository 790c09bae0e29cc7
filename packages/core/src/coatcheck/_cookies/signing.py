"""Sign session ids for the cookie, and verify them: HMAC-SHA256 by itsdangerous.

The key is derived once for each secret and cookie name, so a value that was signed for one cookie
is invalid in another. Signatures are compared as text, because base64 can write the same bytes in
several ways and only one of them is ours.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Final

from itsdangerous import Signer as ItsdangerousSigner

from ..errors import ConfigurationError

_log = logging.getLogger("coatcheck")

_ADVISED_BYTES: Final = 32
#: The alphabet of RFC 4648, section 5.
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def url_safe(raw: bytes) -> str:
    """Return bytes as base64url without padding (RFC 4648, section 5)."""
    return b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


class Key:
    """Sign with HMAC-SHA256 (RFC 2104). The key is set up once instead of for each signature."""

    __slots__ = ("_hmac",)

    def __init__(self, key: bytes) -> None:
        self._hmac = hmac.new(key, digestmod="sha256")

    def signature(self, value: str) -> str:
        """Return the signature that itsdangerous' Signer makes with this key."""
        keyed = self._hmac.copy()
        keyed.update(value.encode("ascii"))
        return url_safe(keyed.digest())


class Signer:
    """Sign values with the first secret, and verify them with each.

    A new secret comes last until all processes have it. A process without it would take its
    signatures for forged ones.

    :param secrets: checked secrets, see :func:`check_secrets`.
    :param name: the cookie's name, which the keys are bound to.
    """

    def __init__(self, secrets: Sequence[bytes], name: str) -> None:
        self._keys = [Key(_derive_key(secret, name)) for secret in secrets]

    def sign(self, value: str) -> str:
        """Return ``value.signature``."""
        return f"{value}.{self._keys[0].signature(value)}"

    def unsign(self, signed: str) -> tuple[str, bool] | None:
        """Return the value, and whether the first secret signed it; None for a bad signature."""
        value, separator, signature = signed.rpartition(".")
        if not separator or not signed.isascii():
            return None
        for key in self._keys:
            if hmac.compare_digest(key.signature(value), signature):
                return value, key is self._keys[0]
        return None


def check_secrets(secret: object, minimum: int) -> tuple[bytes, ...]:
    """Check secrets, and return them as bytes, the signing one first.

    An error never has a secret in it.

    :param minimum: the fewest bytes that a secret may have.
    :raises ConfigurationError: there is none, or one is empty, too short or of another type.
    """
    given = (secret,) if isinstance(secret, str | bytes) else secret
    if given is None or not isinstance(given, Sequence) or not given:
        raise ConfigurationError(
            "`secret` must be a string, bytes or a non-empty sequence of them, not "
            + ("None; is its environment variable set? " if given is None else _kind(given))
            + "`python -m coatcheck secret` prints a good one"
        )
    return tuple(_check_secret(each, minimum) for each in given)


def _kind(given: object) -> str:
    return f"{'an empty one' if not given else type(given).__name__}; "


def _check_secret(secret: object, minimum: int) -> bytes:
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(
            f"`secret` must hold strings or bytes, not {type(secret).__name__}"
        )
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not raw:
        raise ConfigurationError("`secret` must not be empty; is its environment variable set?")
    if len(raw) < minimum:
        raise ConfigurationError(
            f"`secret` must have at least {minimum} bytes, this one has {len(raw)}; "
            "`python -m coatcheck secret` prints a good one"
        )
    if minimum <= len(raw) < _ADVISED_BYTES and minimum > 1:
        _log.warning(
            "`secret` has %d bytes; %d random bytes or more are advised", len(raw), _ADVISED_BYTES
        )
    return raw


def _derive_key(secret: bytes, name: str) -> bytes:
    signer = ItsdangerousSigner(
        secret,
        salt=b"coatcheck.cookie." + name.encode("ascii"),
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )
    return signer.derive_key()
