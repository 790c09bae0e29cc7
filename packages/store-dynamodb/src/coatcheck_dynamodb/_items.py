"""The items of the table, in the form that connect-dynamodb gives them.

::

    {id: "sess:KEY", expires: 1795456528, type: "connect-session", sess: "data", owner: "42",
     coatcheck_written: "9d41e0c2"}

``sess`` is a string if the data are UTF-8, and binary otherwise. ``expires`` is in whole seconds,
as DynamoDB's removal of expired items requires. ``owner`` is coatcheck's own; it is there only if
the record has an owner. ``coatcheck_written`` names the write that made the item: a write that is
repeated because its reply was lost recognizes itself by it. Attributes that other programs add are
left alone.

A session that goes on under another key, as after a login, leaves a tombstone for a minute::

    {id: "sess:KEY", expires: 1795456528, type: "connect-session", coatcheck_tombstone: "5f0c7a9e"}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from coatcheck import ABSENT, ALWAYS, Condition, Record, Unchanged
from coatcheck.errors import RecordTooLarge

#: Seconds.
GRANULARITY: Final = 1.0
#: Bytes of data. An item may have 400 KiB with its names; 4 KiB are kept for all but the data.
LARGEST: Final = 396 * 1024
#: POSIX seconds: the end of the year 9999. DynamoDB's numbers may be larger.
_END: Final = 253_402_300_799.0
#: The value of `type`. Other programs may keep other things in the table.
_TYPE: Final = "connect-session"
#: The attribute with the token of the write that made the item.
_WRITTEN: Final = "coatcheck_written"
#: The attribute of a tombstone, with the token of the call that ended the session.
_TOMBSTONE: Final = "coatcheck_tombstone"
#: Seconds that a tombstone must stay: longer than a removal may be repeated.
_TOMBSTONE_SECONDS: Final = 60.0
#: Names of attributes that are reserved words in expressions.
_NAMES: Final = {"#t": "type", "#o": "owner"}
_LIVE: Final = (
    "expires > :now AND (attribute_type(sess, :S) OR attribute_type(sess, :B)) AND size(sess) > :0"
)
_SAME: Final = "expires > :now AND sess = :was"
#: The condition that there is an item at all. Without a condition, DynamoDB Local tells each of
#: several removals of one item that it removed the item.
PRESENT_AT_ALL: Final = "attribute_exists(id)"
_KINDS: Final = {":S": {"S": "S"}, ":B": {"S": "B"}, ":0": {"N": "0"}}

#: An item, or a part of one, in the service's form: ``{"sess": {"S": "{}"}}``.
Item: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass
class Expression:
    """Parts of a request, with the names and values that they use.

    :ivar parts: arguments of the client's method: ``{"ConditionExpression": ...}``.
    """

    parts: dict[str, str] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, text: str, values: Mapping[str, Any]) -> Expression:
        """Add a part, and return this expression."""
        self.parts[part] = text
        self._values.update(values)
        return self

    def arguments(self) -> dict[str, Any]:
        """Return the arguments. The service refuses unused names and values, so none is there."""
        text = " ".join(self.parts.values())
        arguments: dict[str, Any] = dict(self.parts)
        if names := {name: word for name, word in _NAMES.items() if name in text}:
            arguments["ExpressionAttributeNames"] = names
        if self._values:
            arguments["ExpressionAttributeValues"] = self._values
        return arguments


def condition(only_if: Condition, now: float) -> Expression:
    """Return a condition in the form that writes take."""
    expression = Expression()
    if only_if is ALWAYS:
        return expression
    if isinstance(only_if, Unchanged):
        values = {":now": _number(now), ":was": stored(only_if.data)}
        return expression.add("ConditionExpression", _SAME, values)
    text = f"NOT ({_LIVE})" if only_if is ABSENT else _LIVE
    return expression.add("ConditionExpression", text, {":now": _number(now), **_KINDS})


def live(prefix: str, now: float) -> Expression:
    """Return a filter for live records of a namespace."""
    values = {":now": _number(now), ":prefix": {"S": prefix}, **_KINDS}
    return Expression().add("FilterExpression", f"begins_with(id, :prefix) AND {_LIVE}", values)


def attributes(record: Record, token: str) -> Item:
    """Return the attributes of a record's item, without the id.

    :param token: names the write.
    :raises RecordTooLarge: the data do not fit into an item.
    """
    if len(record.data) > LARGEST:
        raise RecordTooLarge(len(record.data), LARGEST)
    found: dict[str, dict[str, Any]] = {
        "sess": stored(record.data),
        "expires": seconds(record.expires_at),
        "type": {"S": _TYPE},
        _WRITTEN: {"S": token},
    }
    if record.owner is not None:
        found["owner"] = {"S": record.owner}
    return found


def writing(record: Record, token: str, expression: Expression) -> Expression:
    """Add the update that writes a record to an expression, and return the expression.

    :param token: names the write.
    :raises RecordTooLarge: the data do not fit into an item.
    """
    found = attributes(record, token)
    values = {":s": found["sess"], ":e": found["expires"], ":t": found["type"]}
    values[":w"] = found[_WRITTEN]
    text = f"SET sess = :s, expires = :e, #t = :t, {_WRITTEN} = :w"
    if "owner" in found:
        text += f", #o = :o REMOVE {_TOMBSTONE}"
        values[":o"] = found["owner"]
    else:
        text += f" REMOVE {_TOMBSTONE}, #o"
    return expression.add("UpdateExpression", text, values)


def touching(expires_at: float, expression: Expression) -> Expression:
    """Add the update of an expiry to an expression, and return the expression."""
    return expression.add("UpdateExpression", "SET expires = :e", {":e": seconds(expires_at)})


def tombstone(token: str, now: float) -> Item:
    """Return the tombstone of an ended session, without the id.

    :param token: names the call that ended it.
    """
    kept = {"expires": seconds(now + _TOMBSTONE_SECONDS), "type": {"S": _TYPE}}
    return {**kept, _TOMBSTONE: {"S": token}}


def is_tombstone_of(token: str, item: Item) -> bool:
    """Tell whether an item is the tombstone that a call left."""
    return item.get(_TOMBSTONE) == {"S": token}


def record_of(item: Item | None) -> Record | None:
    """Return the record of an item, or None if the item is malformed."""
    if not item:
        return None
    data, expires = _data(item.get("sess", {})), item.get("expires", {}).get("N")
    if not data or expires is None:
        return None
    return Record(data, min(float(expires), _END), item.get("owner", {}).get("S") or None)


def lives_until(item: Item | None, expires_at: float) -> bool:
    """Tell whether an item is a record that expires at a time."""
    return bool(item and record_of(item) and item.get("expires") == seconds(expires_at))


def is_written_by(token: str, item: Item | None) -> bool:
    """Tell whether a write made an item. Other requests may have moved its expiry since."""
    return item is not None and item.get(_WRITTEN) == {"S": token}


def stored(data: bytes) -> dict[str, Any]:
    """Return data in the form in which the item has them."""
    try:
        return {"S": data.decode()}
    except UnicodeDecodeError:
        return {"B": data}


def seconds(expires_at: float) -> dict[str, str]:
    """Return an expiry, rounded down to a whole second.

    A float's last digits are noise, so the expiry is first rounded to a microsecond.
    """
    return {"N": str(math.floor(round(expires_at, 6)))}


def _number(now: float) -> dict[str, str]:
    return {"N": f"{now:.6f}"}


def _data(value: Mapping[str, Any]) -> bytes | None:
    if "S" in value:
        text: str = value["S"]
        return text.encode()
    return value.get("B")
