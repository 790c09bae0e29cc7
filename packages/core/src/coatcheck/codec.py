"""From session to bytes and back: an extension point, with JSON as the native codec.

:class:`Codec` is what a codec has to be; a codec for the records of another program can use the
other public names here. The native record is one JSON object, the *envelope*::

    {"v":1,"t":1795456528.25,"c":{"max_age":2592000},"o":"42","d":{"user_id":42}}

``v`` is the format's version, ``t`` the creation time, ``c`` the session's own cookie settings,
``o`` its owner and ``d`` its data; ``c`` and ``o`` are left out when empty. Unknown members are
kept, so that an older release does not strip what a newer one added.

What JSON does not have travels as ``{"$":type,"=":value}``; a dictionary of the user's with a
key ``"$"`` is itself wrapped that way, so nothing is mistaken for a tag.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from .errors import CorruptRecord, SerializationError
from .nesting import DEEPEST, decode_deep, encode_deep

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
    cookie: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


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

        What could be stored can be read, however deep the stack of the caller is: a RecursionError
        says nothing about the record, and must not become a CorruptRecord.

        :raises CorruptRecord: they are not of this codec's making; nothing else is raised.
        """


_TAG: Final = "$"
_VALUE: Final = "="
_TAG_BYTES: Final = b'"$"'

#: Types whose values cannot change and which JSON has.
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

#: Types whose values cannot change: handing one out cannot lead to a modification.
IMMUTABLE: Final = _SCALARS | {bytes, datetime, date, time, timedelta, Decimal, UUID}


_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode_json(value: Any, encode: Callable[[Any], str] = _encode) -> str:
    """Return the JSON of a value that consists of JSON's own types.

    :raises ValueError: NaN, an infinity, or an integer of more than 4,300 digits.
    """
    try:
        return encode(value)
    except RecursionError:  # the stack is nearly used up, or the value is deep
        return encode_deep(value, encode)


def decode_json(text: str, decoder: json.JSONDecoder) -> Any:
    """Return what JSON text says, however little is left of the stack.

    :raises ValueError: the text is not JSON, or has more than :data:`DEEPEST` levels.
    """
    try:
        return decoder.decode(text)
    except RecursionError:  # the stack is nearly used up, or the text is deep
        return decode_deep(text, decoder)


#: Levels of containers that a session may have: its own, and 100 in each value.
_LEVELS: Final = 101

#: POSIX seconds beyond which a record is nonsense, and arithmetic would overflow.
_END_OF_TIME: Final = 1e12

#: What Python's decoders raise for bytes that are not of our making. A RecursionError is not among
#: them: it depends on the caller.
DECODING_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
)


class JSONCodec:
    """JSON with tags for the types that JSON lacks.

    **What comes back equals what was stored, and has one of these types**: None, bool, int, float,
    str, list and dict; bytes, tuple, set, frozenset, datetime, date, time, timedelta, Decimal and
    UUID. A value of a subclass comes back as the type that it extends: a ``defaultdict`` as dict, a
    named tuple as tuple, a ``StrEnum`` and a ``Markup`` as str.

    Keys of dictionaries are as in JSON: int, float, bool and None become strings, so ``{1: "a"}``
    comes back as ``{"1": "a"}``.

    All else is a :class:`~coatcheck.errors.SerializationError` that names the place and says what
    to store instead: other types and keys, two keys that become the same string, NaN and
    infinities, and more than 100 levels of lists and dictionaries.
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
            check_names(state.data)
            envelope["d"] = _tagged(state.data)
            for name, value in state.extra.items():
                envelope[name] = _tagged(value)
            return encode_json(envelope).encode("utf-8", "surrogatepass")
        except (Unstorable, ValueError, TypeError):
            envelope.clear()  # error reports show local variables
            content = b""
            raise locate_unserializable(state.data, _tagged) from None

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """See :meth:`Codec.pack`."""
        return content

    def loads(self, data: bytes, key: str) -> SessionState:
        """See :meth:`Codec.loads`."""
        try:
            # bytes would cost a guess at the encoding
            text = data.decode("utf-8", "surrogatepass")
            decoder = _tagged_decoder if _TAG_BYTES in data else _decoder
            try:
                envelope, end = decoder.raw_decode(text)
            except RecursionError:  # the stack is nearly used up, or nobody could store this
                envelope, end = decode_deep(text, decoder), len(text)
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


#: Returns what JSON has for a value, or raises Unstorable.
StoredForm: TypeAlias = Callable[[Any], Any]


class Unstorable(Exception):
    """A value without a stored form; the message says why."""


class TooDeep(Unstorable):
    """A value with too many levels.

    :param levels: how many there may be.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(
            f"it is nested too deeply (more than {levels:,} levels), or contains itself"
        )


def _is_plain(value: Any, levels: int = _LEVELS) -> bool:
    """Tell whether JSON has all of the types in it, as it has of most sessions.

    :param levels: how many levels of containers it may have.
    """
    kind = type(value)
    if kind is dict and levels:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _SCALARS and not _is_plain(item, levels - 1):
                return False
        return True
    if kind is list and levels:
        for item in value:
            if type(item) not in _SCALARS and not _is_plain(item, levels - 1):
                return False
        return True
    return kind in _SCALARS


def _tagged(value: Any, levels: int = _LEVELS) -> Any:
    """Return the value with a tag wherever JSON lacks the type.

    :param levels: how many levels of containers it may have.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return _encode_sequence(value, levels)
    if kind is dict:
        return _tagged_dict(value, levels)
    tag = _TAGS.get(kind)
    if tag is not None:
        name, encode = tag
        return {_TAG: name, _VALUE: encode(value, levels)}
    for base in BASE_TYPES:
        if isinstance(value, base):
            return _tagged(BASE_TYPES[base](value), levels)
    for base, (name, encode) in _TAGS.items():
        if isinstance(value, base):
            return {_TAG: name, _VALUE: encode(value, levels)}
    raise Unstorable(_reason(value))


def _tagged_dict(value: dict[Any, Any], levels: int) -> dict[str, Any]:
    inner = _within(levels)
    plain = {name: _tagged(item, inner) for name, item in json_items(value)}
    if _TAG in plain:
        return {_TAG: "dict", _VALUE: list(map(list, plain.items()))}
    return plain


def _within(levels: int) -> int:
    """Return how many levels a value may have in a container that may have so many."""
    if not levels:
        raise TooDeep(_LEVELS - 1)
    return levels - 1


def json_items(value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a dictionary with its keys as JSON has them.

    :raises Unstorable: JSON has no such keys, or two are the same there.
    """
    if all(type(key) is str for key in value):
        yield from value.items()
        return
    seen: dict[str, Any] = {}
    for key, item in value.items():
        name = _json_key(key)
        if name in seen:
            raise Unstorable(
                f"its keys {seen[name]!r} and {key!r} are the same in JSON, where keys are strings"
            )
        seen[name] = key
        yield name, item


def _json_key(key: object) -> str:
    """Return what a key of a dictionary is in JSON.

    :raises Unstorable: JSON has no such keys.
    """
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, int | float):
        plain = key if type(key) in _SCALARS else _plain(key)
        return encode_json(plain)
    raise Unstorable(
        f"it has a key of type {type(key).__name__}; keys must be strings, or int, float, bool "
        "and None, which become strings"
    )


def check_names(data: Iterable[object]) -> None:
    """Refuse keys of the session itself that are not strings.

    :raises SerializationError: there is one.
    """
    for key in data:
        if not isinstance(key, str):
            kind = type(key).__name__
            raise SerializationError(
                f"`session` cannot be stored: it has a key of type {kind}; keys must be strings"
            )


def _plain(value: Any) -> Any:
    """Return a value of a subclass of one of JSON's types as that type."""
    return next(plain(value) for base, plain in BASE_TYPES.items() if isinstance(value, base))


def _reason(value: Any) -> str:
    return (
        f"it is of type {type(value).__name__}; {advice_for(value)}"
        "a session keeps None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, "
        "datetime, date, time, timedelta, Decimal and UUID"
    )


def advice_for(value: object) -> str:
    """Return what to store instead of a value, as the beginning of a sentence, or nothing."""
    if isinstance(value, type):
        return ""
    if isinstance(value, enum.Enum):
        return "store its `value`; "
    if is_dataclass(value):
        return "store `dataclasses.asdict(...)` of it; "
    if hasattr(type(value), "model_dump"):
        return "store its `model_dump()`; "
    if isinstance(value, bytearray | memoryview):
        return "store `bytes(...)` of it; "
    if isinstance(value, Mapping):
        return "store `dict(...)` of it; "
    return "store `list(...)` of it; " if isinstance(value, Iterable) else ""


def _encode_sequence(value: Any, levels: int) -> list[Any]:
    inner = _within(levels)
    return [_tagged(item, inner) for item in value]


def _encode_set(value: Iterable[Any], levels: int) -> list[Any]:
    # Sorted by what is written: the order of a set of strings differs between processes.
    inner = _within(levels)
    return sorted([_tagged(item, inner) for item in value], key=encode_json)


_MICROSECOND: Final = timedelta(microseconds=1)

#: The first that a value is an instance of counts: a datetime is a date, too.
_TAGS: Final[dict[type, tuple[str, Callable[[Any, int], Any]]]] = {
    tuple: ("tuple", _encode_sequence),
    set: ("set", _encode_set),
    frozenset: ("frozenset", _encode_set),
    datetime: ("datetime", lambda value, _: datetime.isoformat(value)),
    date: ("date", lambda value, _: date.isoformat(value)),
    time: ("time", lambda value, _: time.isoformat(value)),
    timedelta: ("timedelta", lambda value, _: value // _MICROSECOND),
    UUID: ("uuid", lambda value, _: UUID.__str__(value)),
    Decimal: ("decimal", lambda value, _: Decimal.__str__(value)),
    bytes: ("bytes", lambda value, _: base64.b64encode(value).decode("ascii")),
}

#: The types of JSON by which values of subclasses are stored, and what makes such a value plain.
BASE_TYPES: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
}

_UNTAG: Final[dict[str, Callable[[Any], Any]]] = {
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": partial(timedelta, 0, 0),
    "uuid": UUID,
    "decimal": Decimal,
    "bytes": partial(base64.b64decode, validate=True),
}


def _untag(pairs: dict[str, Any]) -> Any:
    if _TAG not in pairs:
        return pairs
    return _UNTAG[pairs[_TAG]](pairs[_VALUE])


def refuse_constant(name: str) -> Any:
    """Refuse NaN and infinities: the ``parse_constant`` of a JSON decoder.

    :raises ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(parse_constant=refuse_constant)

_tagged_decoder: Final = json.JSONDecoder(parse_constant=refuse_constant, object_hook=_untag)


def locate_unserializable(
    value: Any, stored_form: StoredForm, path: str = "session"
) -> SerializationError:
    """Return the error that names the innermost value that cannot be stored.

    :param stored_form: returns what JSON has for a value, and raises :class:`Unstorable`.
    """
    inside = path != "session"
    reason = _failure(value, stored_form, inside)
    if not (inside and isinstance(reason, TooDeep)):
        for part, item in _items(value):
            if _failure(item, stored_form, True) is not None:
                return locate_unserializable(item, stored_form, path + part)
    return SerializationError(f"`{path}` cannot be stored: {reason}", path)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f"[{key!r}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    return (("{...}", item) for item in value) if isinstance(value, set | frozenset) else iter(())


_NO_NUMBER: Final = "NaN, infinities and integers of more than 4,300 digits have no JSON form"


def _failure(value: Any, stored_form: StoredForm, inside: bool) -> Unstorable | None:
    """Return why a value cannot be stored.

    :param inside: the value is in a session, and is not the whole of it.
    """
    try:
        # What is inside of something may have a level less.
        encode_json(stored_form([value] if inside else value))
    except Unstorable as error:
        return error
    except (ValueError, TypeError):
        return Unstorable(
            "NaN, infinities and integers of more than 4,300 digits have no JSON form"
        )
    return None
