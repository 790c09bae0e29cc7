"""The documents of the collection, in the form that connect-mongo gives them.

::

    {_id: "key", session: "data", expires: ISODate("2026-11-28T21:00:00.123Z"), owner: "42"}

``session`` is a string if the data are UTF-8, and binary otherwise. In collections of
connect-mongo's ``stringify: false`` it is a document whose BSON bytes are the data. ``owner`` is
coatcheck's own; it is there only if the record has an owner. Fields that other programs add are
left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidBSON
from bson.min_key import MinKey
from bson.raw_bson import RawBSONDocument

from coatcheck import ALWAYS, Condition, Record, Unchanged
from coatcheck.errors import RecordTooLarge, StoreError
from coatcheck.storekit import is_text

#: Seconds. BSON's dates are milliseconds.
GRANULARITY: Final = 0.001
#: Bytes of data. A document may have 16 MiB, and so may a command. A command that compares has the
#: old data, the new data, the key, the owner and the names of fields.
LARGEST: Final = 8 * 2**20 - 2**14

#: POSIX seconds: the end of the year 9999. BSON's dates may be later.
_END: Final = 253_402_300_799.0

_Document = Mapping[str, Any]
#: An expression of MongoDB's aggregation language.
Expression: TypeAlias = dict[str, Any]
#: An update with `$set`, and with `$unset` if necessary.
Update: TypeAlias = dict[str, Any]


class Documents:
    """Turns records into documents and back.

    :param stringify: whether ``session`` is text or binary. Otherwise it is a document.
    :ivar options: the options by which the driver must read documents.
    """

    def __init__(self, *, stringify: bool) -> None:
        self._stringify = stringify
        self._types = ["string", "binData"] if stringify else ["object"]
        self.options: CodecOptions[Any] = CodecOptions(
            document_class=dict if stringify else RawBSONDocument,
            datetime_conversion=DatetimeConversion.DATETIME_MS,
            # Broken text of other programs must not stop a listing.
            unicode_decode_error_handler="surrogateescape",
        )

    def live(self, now: float, only_if: Condition = ALWAYS) -> Expression:
        """Return an expression that is true for a live document that meets a condition.

        It is not a filter, because filters look into arrays, and no record has arrays.
        """
        if isinstance(only_if, Unchanged):
            session = [{"$eq": ["$session", {"$literal": self.stored(only_if.data)}]}]
        else:
            session = [{"$in": [{"$type": "$session"}, self._types]}]
            if self._stringify:
                session.append({"$not": [{"$in": ["$session", ["", b""]]}]})
        expires = [
            {"$eq": [{"$type": "$expires"}, "date"]},
            {"$gt": ["$expires", milliseconds(now)]},
        ]
        return {"$and": session + expires}

    def update(self, record: Record) -> Update:
        """Return the update that writes a record.

        :raises RecordTooLarge: the data do not fit into a document.
        """
        if len(record.data) > LARGEST:
            raise RecordTooLarge(len(record.data), LARGEST)
        fields = {"session": self.stored(record.data), "expires": milliseconds(record.expires_at)}
        if record.owner is None:
            return {"$set": fields, "$unset": {"owner": ""}}
        return {"$set": {**fields, "owner": record.owner}}

    def stored(self, data: bytes) -> str | bytes | RawBSONDocument:
        """Return data in the form in which the document has them.

        :raises StoreError: they must be a document, and are not.
        """
        if self._stringify:
            try:
                return data.decode()
            except UnicodeDecodeError:
                return data
        try:
            document: RawBSONDocument = bson.decode(data, self.options)
            return document
        except (InvalidBSON, ValueError, TypeError) as error:
            raise StoreError(
                "with `stringify=false` sessions are documents, so the codec must write BSON: "
                "see coatcheck_mongo.express"
            ) from error

    def record(self, document: _Document | None) -> Record | None:
        """Return the record of a document, or None if the document is malformed."""
        if document is None:
            return None
        expires, owner = document.get("expires"), document.get("owner")
        data = self._data(document.get("session"))
        if not data or type(expires) is not DatetimeMS:
            return None
        if type(owner) is not str or not is_text(owner):
            owner = None
        return Record(data, min(int(expires) / 1000, _END), owner or None)

    def _data(self, session: object) -> bytes | None:
        if not self._stringify:
            return bytes(session.raw) if isinstance(session, RawBSONDocument) else None
        if type(session) is str:
            try:
                return session.encode()
            except UnicodeEncodeError:
                return None  # the bytes in the document were not UTF-8
        return session if type(session) is bytes else None


def milliseconds(seconds: float) -> DatetimeMS:
    """Return a time as a BSON date, rounded down to a whole millisecond.

    A float's last digits are noise, so the time is first rounded to a microsecond.
    """
    return DatetimeMS(math.floor(round(seconds * 1_000_000) / 1000))


def only_where(condition: Expression, update: Update) -> list[dict[str, Any]]:
    """Return an update that does the same if a condition holds, and nothing otherwise."""
    # `$unsetField` is not in the Stable API. So a field that must go gets a value that no record
    # has, and the next stage removes it.
    removed = dict.fromkeys(update.get("$unset", ()), MinKey())
    written = {"$literal": {**update["$set"], **removed}}
    changed: Expression = {"$mergeObjects": ["$$ROOT", written]}
    stages: list[Expression] = [{"$replaceWith": {"$cond": [condition, changed, "$$ROOT"]}}]
    for field, value in removed.items():
        without: Expression = {"$cond": [{"$eq": [f"${field}", value]}, "$$REMOVE", f"${field}"]}
        stages.append({"$set": {field: without}})
    return stages
