"""From session to bytes and back: a seam, with JSON as the native codec.

The native record is one JSON object, the *envelope*::

    {"v":1,"t":1795456528.25,"c":{"max_age":2592000},"o":"42","d":{"user_id":42}}

``v`` is the format's version, ``t`` the creation time, ``c`` the session's own cookie settings,
``o`` its owner and ``d`` its data; ``c`` and ``o`` are left out when empty. Unknown members are
kept, so that an older release does not strip what a newer one added.

What JSON does not have travels as ``{"$":type,"=":value}``; a dictionary of the user's with a
key ``"$"`` is itself wrapped that way, so nothing is mistaken for a tag.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from .errors import CorruptRecord, SerializationError


@dataclass(slots=True)
class SessionState:
    """A session as the codec sees it.

    :ivar data: the application's data.
    :ivar created_at: POSIX seconds.
    :ivar cookie: the session's own cookie settings, those that differ from the configured ones.
    :ivar owner: whose session it is.
    :ivar extra: envelope members that this release does not know.
    """

    data: dict[str, Any] = field(repr=False)
    created_at: float
    cookie: dict[str, Any] = field(default_factory=dict)
    owner: str | None = field(default=None, repr=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)


class Codec(Protocol):
    """Turns a session into bytes and back.

    :ivar canonical: whatever :meth:`dumps` wrote is what :meth:`pack` stores, and decodes and
        encodes to itself. Then the loaded bytes show whether a session was modified; otherwise
        the engine decodes and encodes them once more to find out.

    For layouts of other programs a codec may have two attributes more: ``keeps_created_at``,
    False where the record does not say when the session began, so that there is no absolute
    timeout; and ``whole_cookie``, True where the record holds all settings of the cookie, so that
    a new session's ``cookie`` has them all.
    """

    canonical: bool

    def dumps(self, state: SessionState) -> bytes:
        """Encode without volatile parts: equal sessions give equal bytes, in every process.

        :raises SerializationError: a value cannot be stored; names its key path.
        """

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """Return what is stored.

        :param content: what :meth:`dumps` returned for ``state``.
        :param expires_at: POSIX seconds at which the record will expire.
        :param key: the store's key, for codecs that bind a record to it.
        """

    def loads(self, data: bytes, key: str) -> SessionState:
        """Decode stored bytes.

        :raises CorruptRecord: they are not of this codec's making; nothing else is raised.
        """


_TAG: Final = "$"
_VALUE: Final = "="
_TAG_BYTES: Final = b'"$"'

#: Types whose values cannot change and which JSON has.
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

#: Types whose values cannot change: handing one out cannot lead to a modification.
IMMUTABLE: Final = _SCALARS | {bytes, datetime, date, Decimal, UUID}


def _prepared_encode() -> Callable[[Any], str]:
    """Return a JSON encoder's ``encode``, set up once instead of for each value.

    The class that does the work is a detail of CPython's. Where it is missing or has changed,
    the documented way is as good, and slower.
    """
    encoder = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    )
    internal: Any = json.encoder
    try:
        chunks = internal.c_make_encoder(
            None, encoder.default, internal.encode_basestring, None, ":", ",", False, False, False
        )
        if "".join(chunks(_SAMPLE, 0)) == encoder.encode(_SAMPLE):
            return lambda value: "".join(chunks(value, 0))
    except (AttributeError, TypeError):
        pass
    return encoder.encode


_SAMPLE: Final[dict[str, Any]] = {
    "text": 'ü"\\\n',
    "numbers": [1, 1.5, True, None],
    "more": [{}, []],
}

encode_json: Final = _prepared_encode()


#: POSIX seconds beyond which a record is nonsense, and arithmetic would overflow.
_END_OF_TIME: Final = 1e12

#: What Python's decoders raise for bytes that are not of our making.
DECODING_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class JSONCodec:
    """JSON with tags for datetime, date, UUID, Decimal, bytes, set and tuple.

    Subclasses of str, int, float, list and dict are stored as the plain type. Everything else, a
    dictionary key that is not a string, NaN and infinities are a
    :class:`~coatcheck.errors.SerializationError`.
    """

    canonical: bool = True

    def dumps(self, state: SessionState) -> bytes:
        """See :meth:`Codec.dumps`."""
        envelope: dict[str, Any] = {"v": 1, "t": state.created_at}
        if state.cookie:
            envelope["c"] = state.cookie
        if state.owner is not None:
            envelope["o"] = state.owner
        envelope["d"] = state.data
        if state.extra:
            envelope.update(state.extra)
        try:
            if _is_plain(state.data) and (not state.extra or _is_plain(state.extra)):
                content = encode_json(envelope).encode("utf-8", "surrogatepass")
                # A key of the application's that looks like a tag is rare: looked for afterwards.
                if _TAG_BYTES not in content:
                    return content
            envelope["d"] = _tagged(state.data)
            for name, value in state.extra.items():
                envelope[name] = _tagged(value)
            return encode_json(envelope).encode("utf-8", "surrogatepass")
        except (Unstorable, RecursionError, ValueError, TypeError):
            raise blame(state.data, _tagged) from None

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """See :meth:`Codec.pack`."""
        return content

    def loads(self, data: bytes, key: str) -> SessionState:
        """See :meth:`Codec.loads`."""
        try:
            # bytes would cost a guess at the encoding
            text = data.decode("utf-8", "surrogatepass")
            envelope, end = (_decode_tagged if _TAG_BYTES in data else _decode)(text)
            if end != len(text):
                raise ValueError("more than one value")
        except DECODING_ERRORS as error:
            raise CorruptRecord(
                f"the record is not coatcheck's JSON: {type(error).__name__}"
            ) from None
        return _open_envelope(envelope)


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


_TOO_DEEP: Final = "it is nested too deeply, or contains itself"


#: Returns what JSON has for a value, or raises Unstorable.
StoredForm: TypeAlias = Callable[[Any], Any]


class Unstorable(Exception):
    """A value without a stored form; the message says why."""


def _is_plain(value: Any) -> bool:
    """Tell whether JSON has all of the types in it, as it has of most sessions."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SCALARS and not _is_plain(item):
                return False
        return True
    if kind is list:
        for item in value:
            if type(item) not in _SCALARS and not _is_plain(item):
                return False
        return True
    return kind in _SCALARS


def _tagged(value: Any) -> Any:
    """Return the value with a tag wherever JSON lacks the type."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind is dict:
        return _tagged_dict(value)
    tag = _TAGS.get(kind)
    if tag is not None:
        name, encode = tag
        return {_TAG: name, _VALUE: encode(value)}
    for base in BASES:
        if isinstance(value, base):
            return _tagged(BASES[base](value))
    raise Unstorable(
        f"it is of type {kind.__name__}; a session keeps None, bool, int, float, str, bytes, "
        "list, tuple, dict, set, datetime, date, Decimal and UUID"
    )


def _tagged_dict(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise Unstorable(f"it has a key of type {type(key).__name__}; keys must be strings")
    plain = {str.__str__(key): _tagged(item) for key, item in value.items()}
    if _TAG in plain:
        return {_TAG: "dict", _VALUE: list(map(list, plain.items()))}
    return plain


def _encode_sequence(value: Any) -> list[Any]:
    return [_tagged(item) for item in value]


def _encode_set(value: set[Any]) -> list[Any]:
    # Sorted by what is written: the order of a set of strings differs between processes.
    return sorted(map(_tagged, value), key=encode_json)


_TAGS: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    tuple: ("tuple", _encode_sequence),
    set: ("set", _encode_set),
    datetime: ("datetime", lambda value: value.isoformat()),
    date: ("date", lambda value: value.isoformat()),
    UUID: ("uuid", lambda value: str(value)),
    Decimal: ("decimal", lambda value: str(value)),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode("ascii")),
}

#: Subclasses are stored as the plain type.
BASES: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
    tuple: tuple,
}

_UNTAG: Final[dict[str, Callable[[Any], Any]]] = {
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "decimal": Decimal,
    "bytes": lambda text: base64.b64decode(text, validate=True),
}


def _untag(pairs: dict[str, Any]) -> Any:
    if _TAG not in pairs:
        return pairs
    return _UNTAG[pairs[_TAG]](pairs[_VALUE])


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(parse_constant=refuse_constant).raw_decode

_decode_tagged: Final = json.JSONDecoder(
    parse_constant=refuse_constant, object_hook=_untag
).raw_decode


def blame(value: Any, stored_form: StoredForm, path: str = "session") -> SerializationError:
    """Name the innermost value that cannot be stored.

    :param stored_form: returns what JSON has for a value, and raises :class:`Unstorable`.
    """
    reason = _failure(value, stored_form)
    for part, item in () if reason == _TOO_DEEP and path != "session" else _items(value):
        if _failure(item, stored_form) is not None:
            return blame(item, stored_form, path + part)
    return SerializationError(f"`{path}` cannot be stored: {reason}", path)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f"[{key!r}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    return (("{...}", item) for item in value) if isinstance(value, set) else iter(())


def _failure(value: Any, stored_form: StoredForm) -> str | None:
    try:
        encode_json(stored_form(value))
    except Unstorable as error:
        return str(error)
    except RecursionError:
        return _TOO_DEEP
    except (ValueError, TypeError):
        return "NaN, infinities and integers of more than 4,300 digits have no JSON form"
    return None
