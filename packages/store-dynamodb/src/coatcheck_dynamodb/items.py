"""The items, as connect-dynamodb has them::

    {id: "sess:KEY", expires: 1795456528, type: "connect-session", sess: "data", owner: "42",
     coatcheck_written: "9d41e0c2"}

``sess`` is a string where the data are UTF-8, and binary otherwise. ``expires`` is in seconds: what
removes expired items takes whole ones. ``owner`` is coatcheck's, and there alone where the record
has one. ``coatcheck_written`` names the write that made the item, so that one that was repeated
because its reply was lost is known again. What other programs add is left alone.

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
#: Bytes of data. An item may have 400 KiB, names and all; 4 KiB are for all but the data.
LARGEST: Final = 396 * 1024
#: POSIX seconds: the end of the year 9999. Numbers of DynamoDB go on.
_END: Final = 253_402_300_799.0
#: What is in `type`, for programs that keep other things in the table.
_TYPE: Final = "connect-session"
#: The attribute with the token of the write that made the item.
_WRITTEN: Final = "coatcheck_written"
#: The attribute of a tombstone, with the token of the call that ended the session.
_TOMBSTONE: Final = "coatcheck_tombstone"
#: Seconds that a tombstone must stay: longer than an ending is repeated.
_TOMBSTONE_SECONDS: Final = 60.0
#: Names of attributes that are reserved words in expressions, others' too.
_NAMES: Final = {"#t": "type", "#o": "owner"}
_LIVE: Final = (
    "expires > :now AND (attribute_type(sess, :S) OR attribute_type(sess, :B)) AND size(sess) > :0"
)
_SAME: Final = "expires > :now AND sess = :was"
#: That there is an item at all. DynamoDB Local tells several removals of one item that they removed
#: it, unless there is a condition.
PRESENT_AT_ALL: Final = "attribute_exists(id)"
_KINDS: Final = {":S": {"S": "S"}, ":B": {"S": "B"}, ":0": {"N": "0"}}

#: An item, or a part of one, in the form of the service: ``{"sess": {"S": "{}"}}``.
Item: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass
class Expression:
    """Parts of a request, and the names and values that they use.

    :ivar parts: arguments of the client's method: ``{"ConditionExpression": ...}``.
    """

    parts: dict[str, str] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, text: str, values: Mapping[str, Any]) -> Expression:
        """Add a part; return this."""
        self.parts[part] = text
        self._values.update(values)
        return self

    def arguments(self) -> dict[str, Any]:
        """Return the arguments; the service refuses names and values that nothing uses."""
        text = " ".join(self.parts.values())
        arguments: dict[str, Any] = dict(self.parts)
        if names := {name: word for name, word in _NAMES.items() if name in text}:
            arguments["ExpressionAttributeNames"] = names
        if self._values:
            arguments["ExpressionAttributeValues"] = self._values
        return arguments


def condition(only_if: Condition, now: float) -> Expression:
    """Return a condition, for writes."""
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
    """Return what a record is in an item, but for the id.

    :param token: names the write.
    :raises RecordTooLarge: the data are more than fit.
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
    """Return an expression to which the update that writes a record is added.

    :param token: names the write.
    :raises RecordTooLarge: the data are more than fit.
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
    """Return an expression to which the update of an expiry is added."""
    return expression.add("UpdateExpression", "SET expires = :e", {":e": seconds(expires_at)})


def tombstone(token: str, now: float) -> Item:
    """Return the tombstone of a session that was ended, without the id.

    :param token: names the call that ended it.
    """
    kept = {"expires": seconds(now + _TOMBSTONE_SECONDS), "type": {"S": _TYPE}}
    return {**kept, _TOMBSTONE: {"S": token}}


def is_tombstone_of(token: str, item: Item) -> bool:
    """Tell whether an item is the tombstone that a call has left."""
    return item.get(_TOMBSTONE) == {"S": token}


def record_of(item: Item | None) -> Record | None:
    """Return the record of an item, or None where it is malformed."""
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
    """Tell whether an item is what a write has left; its expiry others may have moved."""
    return item is not None and item.get(_WRITTEN) == {"S": token}


def stored(data: bytes) -> dict[str, Any]:
    """Return data as they are kept."""
    try:
        return {"S": data.decode()}
    except UnicodeDecodeError:
        return {"B": data}


def seconds(expires_at: float) -> dict[str, str]:
    """Return an expiry, earlier by less than a second.

    A float's last digits are noise: what is a second to the microsecond is that second.
    """
    return {"N": str(math.floor(round(expires_at, 6)))}


def _number(now: float) -> dict[str, str]:
    return {"N": f"{now:.6f}"}


def _data(value: Mapping[str, Any]) -> bytes | None:
    if "S" in value:
        text: str = value["S"]
        return text.encode()
    return value.get("B")
