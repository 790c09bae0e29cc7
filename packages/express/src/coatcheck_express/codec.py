"""Read and write express-session's records.

A record is one JSON object with the data at its top level, and ``cookie`` is one of its keys::

    {"cookie":{"originalMaxAge":60000,"expires":"2026-11-23T17:54:48.167Z","httpOnly":true,
    "path":"/"},"user":{"name":"Ada"},"n":1}

docs/decisions/2026-11-30-express.md has the reasons.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from coatcheck.codec import (
    BASE_TYPES,
    DECODING_ERRORS,
    DEEPEST,
    SessionState,
    TooDeep,
    Unstorable,
    advice_for,
    check_names,
    decode_json,
    encode_json,
    json_items,
    locate_unserializable,
    refuse_constant,
)
from coatcheck.errors import ConfigurationError, CorruptRecord, SerializationError

from .cookie import member_of, settings_of, with_times

#: Top-level keys of a record that express-session does not give to the application: names of its
#: session object, or of any object.
_NODES_OWN: Final = frozenset(
    (
        "cookie", "id", "req", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate",
        "constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf",
        "propertyIsEnumerable", "__proto__", "__defineGetter__", "__defineSetter__",
        "__lookupGetter__", "__lookupSetter__",
    )
)  # fmt: skip
#: The key that session-file-store adds to the data.
STORE_KEYS: Final = ("__lastAccess",)

_NOTHING: Final[Mapping[type, Callable[[Any], Any]]] = {}

#: A double holds each integer up to this one (ECMA-262, 21.1.2.6).
_EXACT: Final = 2**53
#: Node writes integers from this one on with an exponent (ECMA-262, 6.1.6.1.20).
_EXPONENT: Final = 10**21


class ExpressCodec:
    """Read and write express-session's records.

    Values are of the types that JSON has in Node: None, bool, int, float, str, list and dict. The
    rule is that of :class:`~coatcheck.codec.JSONCodec`: a value that comes back equals the stored
    one, and has one of these types. So a value of a subclass comes back as the type of its base
    class, and keys of dictionaries become strings.

    Node has only one type of numbers, so a float without a fraction, such as -0.0 or 1.0, is stored
    as an integer. A :class:`~coatcheck.errors.SerializationError` is raised for integers that Node
    would change, NaN, infinities and all other types. It is also raised for keys that
    express-session does not return, and for more than 9,999 levels of lists and dictionaries.

    The record does not say when the session began: ``created_at`` is 0.0. The store keeps the
    owner.

    :param member: the exact member ``cookie`` of a new record, for settings that have their
        configured values.
    :param store_keys: top-level keys that a store of Express reserves for itself. They are not part
        of the data, and are kept as they are.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: ``store_keys`` are not strings.
    """

    canonical: bool = False
    keeps_created_at: bool = False
    whole_cookie: bool = True
    #: The most levels of lists and dictionaries. Each value that can be read can also be written.
    levels: int = DEEPEST - 1

    def __init__(
        self,
        member: Mapping[str, Any] | None = None,
        *,
        store_keys: Collection[str] = STORE_KEYS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(store_keys, str) or not (
            isinstance(store_keys, Collection) and all(isinstance(name, str) for name in store_keys)
        ):
            raise ConfigurationError(f"`store_keys` must be several strings, not {store_keys!r}")
        self._member = dict(member or {})
        self._store_keys = frozenset(store_keys)
        self._clock = clock

    def dumps(self, state: SessionState) -> bytes:
        """See :meth:`coatcheck.codec.Codec.dumps`.

        The record has no place for the owner, so the content has it on a line of its own. A change
        of the owner alone is then a change of the session.
        """
        known = state.extra.get("cookie", self._member)
        member = member_of({**settings_of(known), **state.cookie}, known)
        self._check_keys(state.data)
        check_names(state.data)
        try:
            data = self.stored_form({**state.data, **state.extra.get("store", {})})
            return self.encode_content(state.owner, member, data)
        except (Unstorable, ValueError, TypeError):
            raise locate_unserializable(state.data, self.json_form) from None

    def pack(self, content: bytes, state: SessionState, expires_at: float, key: str) -> bytes:
        """See :meth:`coatcheck.codec.Codec.pack`. Adds the times to the cookie's settings."""
        return self.encode_record(
            content, lambda member: with_times(member, expires_at, self._clock())
        )

    def loads(self, data: bytes, key: str) -> SessionState:
        """See :meth:`coatcheck.codec.Codec.loads`."""
        record = self.decode_record(data)
        member = record.get("cookie") if type(record) is dict else None
        if type(member) is list:
            member = {}  # an object without settings
        if type(member) is not dict:
            raise CorruptRecord("the record is not express-session's: it has no `cookie`")
        for name in _NODES_OWN.intersection(record):
            del record[name]
        extra = {"cookie": member}
        if not self._store_keys.isdisjoint(record):
            extra["store"] = {name: record.pop(name) for name in self._store_keys & record.keys()}
        return SessionState(record, 0.0, settings_of(member), extra=extra)

    # The form of a record in bytes. A codec for records that are not JSON overrides these.

    def stored_form(self, value: Any) -> Any:
        """Return a value as Node has it after reading and writing it.

        :raises Unstorable: Node would have another value, or none.
        """
        return as_node_has_it(value, levels=self.levels)

    def json_form(self, value: Any) -> Any:
        """Return the same value in JSON's types, to find the part that cannot be stored.

        :raises Unstorable: this value cannot be stored.
        """
        return self.stored_form(value)

    def encode_content(self, owner: str | None, member: Mapping[str, Any], data: Any) -> bytes:
        """Return the bytes that :meth:`dumps` returns."""
        return b"\n".join(map(_json, (owner, member, data)))

    def encode_record(self, content: bytes, timed: Callable[[Any], dict[str, Any]]) -> bytes:
        """Return the record for the content that :meth:`encode_content` returned.

        :param timed: adds the times to a member.
        """
        _, member, data = content.split(b"\n", 2)
        cookie = _json(timed(_load(member.decode())))
        return b'{"cookie":' + cookie + (b"}" if data == b"{}" else b"," + data[1:])

    def decode_record(self, data: bytes) -> Any:
        """Return the object in a record.

        :raises CorruptRecord: the record has no such object.
        """
        try:
            # As in Node, bytes that are not UTF-8 become U+FFFD.
            return _load(data.decode("utf-8", "replace"))
        except DECODING_ERRORS as error:
            raise CorruptRecord(f"the record is not JSON: {type(error).__name__}") from None

    def _check_keys(self, data: Mapping[str, Any]) -> None:
        for name in (self._store_keys | _NODES_OWN).intersection(data):
            owner = "a store" if name in self._store_keys else "express-session"
            path = f"session[{name!r}]"
            raise SerializationError(
                f"`{path}` cannot be stored: {owner} keeps this name for itself", path
            )


def as_node_has_it(
    value: Any,
    also: Mapping[type, Callable[[Any], Any]] = _NOTHING,
    levels: int = DEEPEST - 1,
) -> Any:
    """Return a value as Node has it after reading and writing it.

    There is no recursion, so each value that can be read can also be written.

    :param also: types that the record has beyond JSON's, and what Node makes of a value.
    :param levels: how many levels of containers a container may have.
    :raises Unstorable: Node would have another value, or none.
    """
    result: list[Any] = []
    around: list[tuple[Iterator[tuple[Any, Any]], Any]] = [(enumerate([value]), result)]
    while around:
        pairs, place = around[-1]
        for name, item in pairs:
            plain = item if type(item) in _PLAIN else _as_plain(item, also)
            kind = type(plain)
            inner: Any = None
            if kind is dict:
                inner = {}
                around.append((json_items(plain), inner))
            elif kind is list:
                inner = []
                around.append((enumerate(plain), inner))
            elif kind is int and not -_EXACT <= plain <= _EXACT:
                plain = _large(plain)
            elif kind is float:
                plain = _number(plain)
            if type(place) is list:
                place.append(plain if inner is None else inner)
            else:
                place[name] = plain if inner is None else inner
            if inner is not None:
                break
        else:
            around.pop()
        if len(around) > levels + 2:  # the result, and the session
            raise TooDeep(levels)
    return result[0]


#: The types that JSON in Node has.
_PLAIN: Final = frozenset({str, int, float, bool, type(None), list, dict})


def _as_plain(value: Any, also: Mapping[type, Callable[[Any], Any]]) -> Any:
    if type(value) in also:
        return also[type(value)](value)
    for base, plain in (*BASE_TYPES.items(), *also.items()):
        if isinstance(value, base):
            return plain(value)
    raise Unstorable(
        f"it is of type {type(value).__name__}; {_advice_for(value)}a session that Node reads "
        "keeps None, bool, int, float, str, list and dict"
    )


def _advice_for(value: object) -> str:
    if isinstance(value, date | time_of_day):
        return "store its `isoformat()`; "
    if isinstance(value, timedelta):
        return "store its `total_seconds()`; "
    if isinstance(value, Decimal | UUID):
        return "store `str(...)` of it; "
    if isinstance(value, bytes):
        return "store its `hex()`; "
    return advice_for(value)


def _large(value: int) -> float:
    """Return the number for an integer beyond 2**53, if a double holds it exactly."""
    try:
        if int(double := float(value)) == value:
            return _number(double)
    except OverflowError:
        pass
    raise Unstorable(
        "Node has no integers beyond 2**53 and would change its last digits; store a string"
    )


def _number(value: float) -> float:
    if value - value != 0.0:
        raise Unstorable("NaN and infinities have no JSON form, and Node would store null")
    return int(value) if value.is_integer() and abs(value) < _EXPONENT else value


def _read_int(text: str) -> float | None:
    """Return an integer as Node has it; other programs may have written larger ones."""
    return int(text) if len(text) < 16 else _read_number(text)


def _read_number(text: str) -> float | None:
    value = float(text)
    # JSON has larger numbers than a double: infinite in Node, and null when it writes them.
    return _number(value) if value - value == 0.0 else None


_decoder: Final = json.JSONDecoder(
    parse_int=_read_int,
    parse_float=_read_number,
    parse_constant=refuse_constant,
)


def _load(text: str) -> Any:
    return decode_json(text, _decoder)


_encode_ascii: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _json(value: Any) -> bytes:
    text = encode_json(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # UTF-8 has no lone surrogates. They are escaped, as in Node.
        return encode_json(value, _encode_ascii).encode("ascii")
