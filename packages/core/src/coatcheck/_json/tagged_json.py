"""Turn values into JSON and back, with tags for the types that JSON lacks.

A value of such a type is ``{"$":type,"=":value}``. A dictionary of the user's with a key ``"$"``
is wrapped in the same way, so no data is mistaken for a tag.

docs/decisions/2026-11-30-values.md has the reasons.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from .json_text import encode_json, refuse_constant
from .unserializable import TooDeep, Unstorable, advice_for

_TAG: Final = "$"
_VALUE: Final = "="
#: The bytes that JSON has wherever it has a tag.
TAG_BYTES: Final = b'"$"'
#: One of them. Most JSON lacks it, and that is found out ten times faster.
TAG_BYTE: Final = TAG_BYTES[1]

#: Types whose values cannot change and that JSON has.
SCALARS: Final[frozenset[type[Any]]] = frozenset({str, int, float, bool, type(None)})

#: Levels of containers that a session may have: its own, and 100 in each value.
_LEVELS: Final = 101


def is_plain(value: Any, levels: int = _LEVELS) -> bool:
    """Tell whether JSON has all types in a value, as it has those of most sessions.

    :param levels: how many levels of containers the value may have.
    """
    kind = type(value)
    if kind is dict and levels:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in SCALARS and not is_plain(item, levels - 1):
                return False
        return True
    if kind is list and levels:
        for item in value:
            if type(item) not in SCALARS and not is_plain(item, levels - 1):
                return False
        return True
    return kind in SCALARS


def tagged(value: Any, levels: int = _LEVELS) -> Any:
    """Return the value with a tag wherever JSON lacks the type.

    :param levels: how many levels of containers the value may have.
    :raises Unstorable: a type has no stored form, or there are too many levels.
    """
    kind = type(value)
    if kind in SCALARS:
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
            return tagged(BASE_TYPES[base](value), levels)
    for base, (name, encode) in _TAGS.items():
        if isinstance(value, base):
            return {_TAG: name, _VALUE: encode(value, levels)}
    raise Unstorable(_reason(value))


def _tagged_dict(value: dict[Any, Any], levels: int) -> dict[str, Any]:
    inner = _within(levels)
    plain = {name: tagged(item, inner) for name, item in json_items(value)}
    if _TAG in plain:
        return {_TAG: "dict", _VALUE: list(map(list, plain.items()))}
    return plain


def _within(levels: int) -> int:
    """Return how many levels the values in a container may have.

    :param levels: how many levels the container may have.
    :raises TooDeep: none, so there may be no container.
    """
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
    """Return the string that a key of a dictionary is in JSON.

    :raises Unstorable: JSON has no such keys.
    """
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, int | float):
        plain = key if type(key) in SCALARS else _plain(key)
        return encode_json(plain)
    raise Unstorable(
        f"it has a key of type {type(key).__name__}; keys must be strings, or int, float, bool "
        "and None, which become strings"
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


def _encode_sequence(value: Any, levels: int) -> list[Any]:
    inner = _within(levels)
    return [tagged(item, inner) for item in value]


def _encode_set(value: Iterable[Any], levels: int) -> list[Any]:
    # Sorted by what is written: the order of a set of strings differs between processes.
    inner = _within(levels)
    return sorted([tagged(item, inner) for item in value], key=encode_json)


_MICROSECOND: Final = timedelta(microseconds=1)

#: The name and the encoder of each type. The first type that a value is an instance of counts,
#: because a datetime is a date, too.
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

#: The types of JSON as which values of subclasses are stored, and functions that convert to them.
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


#: Decodes text without tags.
plain_decoder: Final = json.JSONDecoder(parse_constant=refuse_constant)

#: Decodes text with tags.
tagged_decoder: Final = json.JSONDecoder(parse_constant=refuse_constant, object_hook=_untag)
