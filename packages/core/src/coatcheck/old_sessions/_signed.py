"""Check what readers of signed cookies are given, and what signed cookies say of their time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from itsdangerous.encoding import base64_decode

from ..cookie import checked_seconds
from ..errors import ConfigurationError


def check_key(option: str, key: object) -> str | bytes:
    """Return a secret key of another library. An error never has the key in it.

    :raises ConfigurationError: it is empty, or neither a string nor bytes.
    """
    if not isinstance(key, str | bytes):
        raise ConfigurationError(
            f"`{option}` must be the secret key of the old sessions, a string or bytes, "
            f"not {type(key).__name__}"
        )
    if not key:
        raise ConfigurationError(f"`{option}` must not be empty; is its variable set?")
    return key


def check_keys(option: str, keys: object) -> list[str | bytes]:
    """Return several secret keys of another library.

    :raises ConfigurationError: they are no list, or one is no key.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        raise ConfigurationError(
            f"`{option}` must be a list of secret keys, not {type(keys).__name__}"
        )
    return [check_key(option, key) for key in keys]


def check_age(option: str, seconds: object, until: float | None) -> float:
    """Return for how many seconds a cookie is accepted; infinity if `until` alone is the limit.

    :raises ConfigurationError: it is no duration, or there is no limit at all.
    """
    if seconds is not None:
        return checked_seconds(f"`{option}`", seconds) or 0.0
    if until is None:
        raise ConfigurationError(
            f"`{option}=None` needs `until`: otherwise an old cookie would never expire"
        )
    return math.inf


def expiry(signed_at: float, now: float, seconds: float) -> float | None:
    """Return when a cookie expires. None if it has expired, or was signed in the future.

    The times are POSIX seconds.
    """
    return signed_at + seconds if 0 <= now - signed_at <= seconds else None


#: The scope of all readers whose cookies are signed or encrypted, and their identities hold the
#: signature: no two keys make the same one.
SIGNED: Final = "signed"


def signed_identity(value: str, separator: str = ".") -> str:
    """Return what tells a signed cookie from all others, those of other keys among them.

    :param value: the cookie, whose signature is good. It can be written in several ways.
    """
    text, _, signature = value.rpartition(separator)
    return f"{text}{separator}{base64_decode(signature).hex()}"
