"""Turn sessions into bytes and back.

:class:`Codec` is the extension point, and :class:`JSONCodec` the native codec. A codec for the
records of another program can use the other public names of this module.

The native record is one JSON object, the *envelope*::

    {"v":1,"t":1795456528.25,"c":{"max_age":2592000},"o":"42","d":{"user_id":42}}

``v`` is the version of the format, ``t`` the creation time, ``c`` the session's own cookie
settings, ``o`` its owner and ``d`` its data. ``c`` and ``o`` are left out when empty. Unknown
members are kept, so an older release does not remove what a newer one added.
``coatcheck/_json/tagged_json.py`` says how values are written for which JSON has no type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from ._json.json_text import DECODING_ERRORS, decode_json, encode_json, refuse_constant
from ._json.nesting import DEEPEST, decode_deep
from ._json.tagged_json import (
    BASE_TYPES,
    SCALARS,
    TAG_BYTE,
    TAG_BYTES,
    is_plain,
    json_items,
    plain_decoder,
    tagged,
    tagged_decoder,
)
from ._json.unserializable import (
    StoredForm,
    TooDeep,
    Unstorable,
    advice_for,
    check_names,
    locate_unserializable,
)
from .errors import CorruptRecord

__all__ = [
    "BASE_TYPES",
    "DECODING_ERRORS",
    "DEEPEST",
    "Codec",
    "JSONCodec",
    "SessionState",
    "StoredForm",
    "TooDeep",
    "Unstorable",
    "advice_for",
    "check_names",
    "decode_json",
    "encode_json",
    "json_items",
    "locate_unserializable",
    "refuse_constant",
]


def __dir__() -> list[str]:
    return __all__


@dataclass(slots=True)
class SessionState:
    """Hold a session in the form that codecs read and write.

    :ivar data: the application's data.
    :ivar created_at: when the session began, in POSIX seconds.
    :ivar cookie: the session's own cookie settings, those that differ from the configured ones.
    :ivar owner: the owner's name, or None.
    :ivar extra: envelope members that this release does not know.
    """

    data: dict[str, Any] = field(repr=False)
    created_at: float
    cookie: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Codec(Protocol):
    """Turn a session into bytes and back.

    :ivar canonical: whether :meth:`pack` stores exactly the bytes of :meth:`dumps`, and these
        decode and encode to themselves. If so, the loaded bytes show whether a session was
        modified. Otherwise the loaded bytes are decoded and encoded once more to find out.

    For records of other programs a codec may have two more attributes. ``keeps_created_at`` is
    False where the record does not say when the session began, so there is no absolute timeout.
    ``whole_cookie`` is True where the record holds all settings of the cookie, so a new session's
    ``cookie`` has them all.
    """

    canonical: bool

    def dumps(self, state: SessionState) -> bytes:
        """Encode a session without its volatile parts.

        Equal sessions give equal bytes, in every process.

        :raises SerializationError: a value cannot be stored; the error names its key path.
        """

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """Return the bytes to store.

        :param content: the bytes that :meth:`dumps` returned for ``state``.
        :param expires_at: POSIX seconds at which the record will expire.
        :param key: the store's key, for codecs that bind a record to it.
        """

    def loads(self, data: bytes, key: str) -> SessionState:
        """Decode stored bytes.

        A record that could be stored can be read, however deep the stack of the caller is. A
        RecursionError says nothing about the record, and must not become a CorruptRecord.

        :raises CorruptRecord: this codec has not written the bytes. Nothing else is raised.
        """


#: Types whose values cannot change: handing one out cannot lead to a modification.
IMMUTABLE: Final[frozenset[type[Any]]] = SCALARS | {
    bytes,
    datetime,
    date,
    time,
    timedelta,
    Decimal,
    UUID,
}

#: POSIX seconds beyond which a record is nonsense, and arithmetic would overflow.
_END_OF_TIME: Final = 1e12


class JSONCodec:
    """Store sessions as JSON, with tags for the types that JSON lacks.

    **A value that is read equals the value that was stored, and has one of these types**: None,
    bool, int, float, str, list and dict; bytes, tuple, set, frozenset, datetime, date, time,
    timedelta, Decimal and UUID. A value of a subclass comes back as the type that it extends: a
    ``defaultdict`` as dict, a named tuple as tuple, a ``StrEnum`` and a ``Markup`` as str.

    Keys of dictionaries are as in JSON: int, float, bool and None become strings, so ``{1: "a"}``
    comes back as ``{"1": "a"}``.

    Everything else raises a :class:`~coatcheck.errors.SerializationError` that names the place
    and says what to store instead: other types and keys, two keys that become the same
    string, NaN and infinities, and more than 100 levels of lists and dictionaries.
    """

    canonical: bool = True

    def dumps(self, state: SessionState) -> bytes:
        """See :meth:`Codec.dumps`."""
        return dumps_json(state, False)

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """See :meth:`Codec.pack`."""
        return content

    def loads(self, data: bytes, key: str) -> SessionState:
        """See :meth:`Codec.loads`."""
        try:
            # The decoder would have to guess the encoding of bytes.
            text = data.decode("utf-8", "surrogatepass")
            has_tags = TAG_BYTE in data and TAG_BYTES in data
            decoder = tagged_decoder if has_tags else plain_decoder
            try:
                envelope, end = decoder.raw_decode(text)
            except RecursionError:  # the stack is nearly used up, or the text is too deep
                envelope, end = decode_deep(text, decoder), len(text)
            if end != len(text):
                raise ValueError("more than one value")
        except DECODING_ERRORS as error:
            raise CorruptRecord(
                f"the record is not coatcheck's JSON: {type(error).__name__}"
            ) from None
        return _open_envelope(envelope)


def dumps_json(state: SessionState, knows_plain: bool) -> bytes:
    """Return what :meth:`JSONCodec.dumps` returns.

    :param knows_plain: whether the caller knows that JSON has each type in the data.
    """
    envelope: dict[str, Any] = {"v": 1, "t": state.created_at}
    if state.cookie:
        envelope["c"] = state.cookie
    if state.owner is not None:
        envelope["o"] = state.owner
    envelope["d"] = state.data
    if state.extra:
        envelope.update(state.extra)
    try:
        if (knows_plain or is_plain(state.data)) and (not state.extra or is_plain(state.extra)):
            content = encode_json(envelope).encode("utf-8", "surrogatepass")
            # An application's key that looks like a tag is rare, so this comes afterwards.
            if TAG_BYTE not in content or TAG_BYTES not in content:
                return content
        check_names(state.data)
        envelope["d"] = tagged(state.data)
        for name, value in state.extra.items():
            envelope[name] = tagged(value)
        return encode_json(envelope).encode("utf-8", "surrogatepass")
    except (Unstorable, ValueError, TypeError):
        envelope.clear()  # error reports show local variables
        content = b""
        raise locate_unserializable(state.data, tagged) from None


def _open_envelope(envelope: Any) -> SessionState:
    try:
        version = envelope.pop("v")
        created_at = envelope.pop("t")
        data = envelope.pop("d")
        cookie = envelope.pop("c", None) or {}
        owner = envelope.pop("o", None)
    except (AttributeError, KeyError, TypeError):
        raise CorruptRecord("the record has no envelope of coatcheck's") from None
    if version != 1 or version is True:
        raise CorruptRecord("the record's envelope has another version")
    if (
        type(data) is not dict
        or not _is_time(created_at)
        or type(cookie) is not dict
        or (cookie and not _has_lifetimes(cookie))
        or not (owner is None or type(owner) is str)
    ):
        raise CorruptRecord("a member of the record's envelope has the wrong type")
    return SessionState(data, created_at, cookie, owner, envelope)


def _has_lifetimes(cookie: dict[str, Any]) -> bool:
    lifetimes = (cookie.get("max_age"), cookie.get("expires"))
    return all(value is None or _is_time(value) for value in lifetimes)


def _is_time(value: Any) -> bool:
    return type(value) in (float, int) and abs(value) < _END_OF_TIME
