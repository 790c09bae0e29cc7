"""The messages between the net store's client and its server.

A message is its length in four bytes, and JSON. A connection begins with the password.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, Final

from coatcheck import (
    Condition,
    Record,
    Unchanged,
)
from coatcheck.storekit import Presence

_LARGEST: Final = 64 * 2**20


class ProtocolError(Exception):
    """The client library's own exception: the reply makes no sense."""


def packed(message: object) -> bytes:
    """Return the bytes of a message."""
    content = json.dumps(message).encode()
    return struct.pack("!I", len(content)) + content


def length_of(head: bytes) -> int:
    """Return how many bytes follow the length of a message."""
    (length,) = struct.unpack("!I", head)
    if length > _LARGEST:
        raise ProtocolError("the reply has an impossible length")
    return int(length)


def result_of(content: bytes) -> Any:
    """Return the result in a reply."""
    try:
        reply = json.loads(content)
    except ValueError as error:
        raise ProtocolError("the reply is no JSON") from error
    if not isinstance(reply, dict) or "result" not in reply:
        raise ProtocolError("the server refused")
    return reply["result"]


def row_of(record: Record) -> list[Any]:
    """Return a record as a message holds it."""
    return [base64.b64encode(record.data).decode(), record.expires_at, record.owner]


def record_of(row: Any) -> Record | None:
    """Return the record that a message holds, or None."""
    if row is None:
        return None
    return Record(base64.b64decode(row[0]), row[1], row[2])


def item_of(row: Any) -> tuple[str, Record]:
    """Return the key and the record of one row of a listing."""
    return row[0], Record(base64.b64decode(row[1][0]), row[1][1], row[1][2])


def condition_row(only_if: Condition) -> Any:
    """Return a condition as a message holds it."""
    if isinstance(only_if, Unchanged):
        return [base64.b64encode(only_if.data).decode()]
    return only_if.value


def condition_of(row: Any) -> Condition:
    """Return the condition that a message holds."""
    return Unchanged(base64.b64decode(row[0])) if isinstance(row, list) else Presence(row)
