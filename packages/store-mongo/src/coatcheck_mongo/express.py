"""Read and write the records of connect-mongo with other options than its defaults.

This module needs ``coatcheck-mongo[express]``::

    from coatcheck_express import express_options
    from coatcheck_mongo.express import DocumentCodec

    options = express_options(
        secret=os.environ["SESSION_SECRET"],
        store="mongodb://localhost/shop?stringify=false",
        codec=DocumentCodec,
    )
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp

from coatcheck.codec import DECODING_ERRORS, SessionState, Unstorable
from coatcheck.errors import ConfigurationError, CorruptRecord

try:
    from coatcheck_express import ExpressCodec, as_node_has_it
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        'coatcheck_mongo.express needs `pip install "coatcheck-mongo[express]"`', name=_error.name
    ) from _error

__all__ = ["DocumentCodec", "WebCryptoCodec"]


def __dir__() -> list[str]:
    return __all__


_OPTIONS: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    # Otherwise bson would turn a dictionary with `$ref` and `$id` into a DBRef.
    document_class=RawBSONDocument,
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
#: Node's driver writes integers from here on as doubles.
_INT32: Final = 2**31
#: A double holds each integer up to here (ECMA-262, 21.1.2.6).
_EXACT: Final = 2**53
#: Node writes integers from here on with an exponent (ECMA-262, 6.1.6.1.20).
_EXPONENT: Final = 10**21

_Value = Callable[[Any], Any]


class DocumentCodec(ExpressCodec):
    """Reads and writes sessions of connect-mongo's ``stringify: false``, which are documents.

    The store needs ``stringify=False`` as well. A session may have the values of
    :class:`~coatcheck_express.ExpressCodec` and those of BSON: aware datetimes (to the
    millisecond), bytes, and bson's own types (ObjectId, Decimal128 and others). A number that is
    NaN in Node is None. A value may have 100 levels of lists and dictionaries, because MongoDB's
    own limit is not much higher.
    """

    levels = 100

    def stored_form(self, value: Any) -> Any:
        """See :meth:`coatcheck_express.ExpressCodec.stored_form`."""
        return as_node_has_it(value, _BEYOND_JSON, self.levels)

    def json_form(self, value: Any) -> Any:
        """See :meth:`coatcheck_express.ExpressCodec.json_form`."""
        try:
            bson.encode({"value": _mapped(self.stored_form(value), _for_node)})
        except (BSONError, UnicodeEncodeError):
            raise Unstorable(
                "BSON has no form for it: text without lone surrogates, and keys without NUL"
            ) from None

    def encode_content(self, owner: str | None, member: Mapping[str, Any], data: Any) -> bytes:
        """See :meth:`coatcheck_express.ExpressCodec.encode_content`."""
        try:
            return bson.encode({"owner": owner, "cookie": member, "data": _mapped(data, _for_node)})
        except BSONError as error:  # a key with NUL, for one
            raise ValueError(str(error)) from None

    def encode_record(self, content: bytes, timed: Callable[[Any], dict[str, Any]]) -> bytes:
        """See :meth:`coatcheck_express.ExpressCodec.encode_record`."""
        parts = _mapped(bson.decode(content, _OPTIONS), _same)
        cookie = timed(parts["cookie"])
        if isinstance(cookie.get("expires"), str):
            cookie["expires"] = datetime.fromisoformat(cookie["expires"])
        return bson.encode({"cookie": _mapped(cookie, _for_node), **parts["data"]})

    def decode_record(self, data: bytes) -> Any:
        """See :meth:`coatcheck_express.ExpressCodec.decode_record`."""
        try:
            record = _mapped(bson.decode(data, _OPTIONS), _from_node)
        except (BSONError, *DECODING_ERRORS) as error:
            if "recursion" in str(error):  # bson hides this, and the record may be sound
                raise RecursionError(str(error)) from error
            raise CorruptRecord(f"the record is not BSON: {type(error).__name__}") from None
        cookie = record.get("cookie")
        if type(cookie) is dict and isinstance(cookie.get("expires"), datetime):
            # All other codecs have text here, and the cookie's settings are read from it.
            text = cookie["expires"].isoformat(timespec="milliseconds")
            cookie["expires"] = text.replace("+00:00", "Z")
        return record


def _mapped(value: Any, scalar: _Value) -> Any:
    """Return a copy whose scalars are replaced, made of dictionaries and lists.

    It uses no recursion.
    """
    result: dict[str, Any] = {}
    left: list[tuple[Any, Any, Any]] = [(result, "value", value)]
    while left:
        place, name, item = left.pop()
        made: Any
        if isinstance(item, dict | RawBSONDocument):
            made = dict.fromkeys(item)
            left += ((made, key, inner) for key, inner in item.items())
        elif type(item) is list:
            made = [None] * len(item)
            left += ((made, index, inner) for index, inner in enumerate(item))
        else:
            made = scalar(item)
        place[name] = made
    return result["value"]


def _for_node(value: Any) -> Any:
    """Return a number in the form that Node's driver gives it."""
    return float(value) if type(value) is int and not -_INT32 <= value < _INT32 else value


def _from_node(value: Any) -> Any:
    """Return a number as Node has it. Node has only one kind of numbers."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < _EXPONENT else value
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return _int64(value) if type(value) is Int64 else value


def _int64(value: int) -> int:
    """Return an int if Node has the value as a number, and an Int64 if Node has it as a Long."""
    return int(value) if abs(value) <= _EXACT else value


def _date(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise Unstorable("it is a datetime without a time zone, and Node keeps instants")
    try:
        instant = value.astimezone(UTC)
    except OverflowError:
        raise Unstorable("it is a datetime beyond the years that there are") from None
    return instant - timedelta(microseconds=instant.microsecond % 1000)


def _same(value: Any) -> Any:
    return value


_BEYOND_JSON: Final[Mapping[type, _Value]] = {
    datetime: _date,
    Int64: _int64,
    **dict.fromkeys(
        (
            bytes,
            Binary,
            Code,
            DatetimeMS,
            Decimal128,
            MaxKey,
            MinKey,
            ObjectId,
            Regex,
            Timestamp,
        ),
        _same,
    ),
}


class WebCryptoCodec(ExpressCodec):
    """Reads and writes sessions that connect-mongo's WebCrypto adapter encrypts (since 6.0).

    A record is the base64 of 12 random bytes and of the JSON, encrypted by AES-256-GCM. A record
    that cannot be decrypted is no session.

    For :func:`~coatcheck_express.express_options`:
    ``codec=functools.partial(WebCryptoCodec, crypto_secret=...)``. It needs ``cryptography``, which
    ``coatcheck-mongo[crypto]`` brings.

    :param crypto_secret: the adapter's ``secret``. It is not the cookie's secret.
    :param salt: the adapter's salt for the key.
    :param iterations: the adapter's iterations of PBKDF2-HMAC-SHA256 (RFC 8018, 5.2).
    :raises ConfigurationError: ``cryptography`` is not installed, or the secret is missing.
    """

    def __init__(
        self,
        member: Mapping[str, Any] | None = None,
        *,
        crypto_secret: str | bytes,
        salt: str | bytes = "connect-mongo:webcrypto-default-salt",
        iterations: int = 310_000,
        **more: Any,
    ) -> None:
        super().__init__(member, **more)
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
        except ImportError as error:
            raise ConfigurationError(
                'WebCryptoCodec needs `pip install "coatcheck-mongo[crypto]"`'
            ) from error
        for name, value in (("crypto_secret", crypto_secret), ("salt", salt)):
            if not isinstance(value, str | bytes) or not value:
                raise ConfigurationError(f"`{name}` must be text or bytes, and not empty")
        if type(iterations) is not int or iterations < 1:
            raise ConfigurationError("`iterations` must be a whole number from 1")
        key = PBKDF2HMAC(SHA256(), 32, _octets(salt), iterations).derive(_octets(crypto_secret))
        self._cipher = AESGCM(key)
        self._wrong = InvalidTag

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """See :meth:`coatcheck.codec.Codec.pack`."""
        nonce = os.urandom(_NONCE)
        text = super().pack(content, state, expires_at, key)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text, None))

    def decode_record(self, data: bytes) -> Any:
        """See :meth:`coatcheck_express.ExpressCodec.decode_record`."""
        try:
            encrypted = base64.b64decode(data, validate=True)
            text = self._cipher.decrypt(encrypted[:_NONCE], encrypted[_NONCE:], None)
        except (ValueError, self._wrong):
            raise CorruptRecord("the record cannot be decrypted") from None
        return super().decode_record(text)


#: The length of the nonce in bytes (NIST SP 800-38D, 5.2.1.1).
_NONCE: Final = 12


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
