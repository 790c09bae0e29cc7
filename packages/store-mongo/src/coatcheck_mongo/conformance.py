"""The conformance kit's harnesses for MongoDB. Only the kit imports this module."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import bson
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import DuplicateKeyError
from pymongo.results import UpdateResult

from coatcheck_conformance import ClientStore, Harness

from ._logs import keep_out
from ._store import AsyncMongoStore, MongoStore
from ._url import parse


def harness_of(url: str) -> MongoHarness:
    """Return the harness of a URL, after asking the server whether it is one of several."""
    with MongoClient[dict[str, Any]](parse(url).uri) as client:
        alone = "setName" not in client.admin.command("hello") and not client.is_mongos
    return MongoHarness(url) if alone else ReplicaSetHarness(url)


#: A value of each type that BSON has.
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    7,
    7.5,
    float("nan"),
    "",
    b"",
    b"owner",
    [],
    {},
    ObjectId("0123456789abcdef01234567"),
    Regex("(("),
    Decimal128("NaN"),
    MinKey(),
    MaxKey(),
    Timestamp(1, 2),
    Code("x"),
    Code("x", {"y": 1}),
    DatetimeMS(2**62),
    Binary(b"x" * 16, 4),
    Binary(b"x" * 3, 4),
    {"$ref": 1, "$id": 2},
    {"$ref": "x"},
    {"$ref": "x", "$id": {}, "$db": 1},
)


class MongoHarness(Harness):
    """Opens stores with collections of their own in the database of a URL.

    :param url: a MongoDB store's URL, without the option ``collection``.
    """

    unsupported: ClassVar[Mapping[str, str]] = {"folder": "there are no files"}

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._settings = parse(url)
        self._base = f"coatcheck-kit-{uuid.uuid4().hex[:8]}-"
        self._client: MongoClient[dict[str, Any]] = MongoClient(self._settings.uri)
        keep_out(self._client)  # the store must not be blamed for what the kit writes
        self._database = self._client[self._settings.database]

    def url(self, namespace: str) -> str:
        """See :meth:`coatcheck_conformance.Harness.url`."""
        start, _, query = self._url.partition("?")
        if not urlsplit(self._url).path:
            start += "/"
        option = f"collection={self._name(namespace)}"
        return f"{start}?{'&'.join(filter(None, (query, option)))}"

    def has(self, feature: str) -> bool:
        """See :meth:`coatcheck_conformance.Harness.has`."""
        return feature == "url" or super().has(feature)

    def address(self) -> tuple[str, int] | None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        host, port = self._settings.hosts[0]
        return None if port is None else (host, port)

    def remove(self, namespace: str) -> None:
        """See :meth:`coatcheck_conformance.Harness.remove`."""
        self._collection(namespace).drop()

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        super().finish()
        self._client.close()

    def backend(self) -> str:
        """Return the server's version and form."""
        with MongoClient[dict[str, Any]](self._settings.uri) as client:  # after `finish`
            about = client.server_info()["version"]
            hello = client.admin.command("hello")
        if "setName" in hello:
            return f"MongoDB {about}, a replica set of {len(hello['hosts'])}"
        return f"MongoDB {about}"

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        collection = self._collection(namespace)

        def change(**update: Any) -> Callable[[], None]:
            return lambda: _changed(collection.update_one({"_id": key}, update))

        later = datetime.now(UTC) + timedelta(days=900)
        return {
            "no session": change(**{"$unset": {"session": ""}}),
            "an empty session": change(**{"$set": {"session": ""}}),
            "a number for the session": change(**{"$set": {"session": 1}}),
            "null for the session": change(**{"$set": {"session": None}}),
            "an array of sessions": change(**{"$set": {"session": ["data"]}}),
            "a document for the session": change(**{"$set": {"session": {"data": "data"}}}),
            "no expiry": change(**{"$unset": {"expires": ""}}),
            "a number for the expiry": change(**{"$set": {"expires": later.timestamp()}}),
            "text for the expiry": change(**{"$set": {"expires": later.isoformat()}}),
            "an array of expiries": change(**{"$set": {"expires": [later]}}),
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""
        collection = self._collection(namespace)

        def change(**fields: Any) -> Callable[[], None]:
            return lambda: _changed(collection.update_one({"_id": key}, {"$set": fields}))

        def beside(*documents: Mapping[str, Any]) -> Callable[[], None]:
            return lambda: _insert(collection, documents)

        later = datetime.now(UTC) + timedelta(days=900)
        fields = {"session": "data", "expires": later, "owner": owner}
        owners = [
            None, True, 7, "", b"owner", later, [owner], {"x": owner}, MinKey(), Regex("(("),
            {"$ref": 1, "$id": owner},
        ]  # fmt: skip
        return {
            **{
                f"an owner of type {type(value).__name__} ({number})": change(owner=value)
                for number, value in enumerate(owners)
            },
            "other fields": change(**{f"other{n}": value for n, value in enumerate(_VALUES)}),
            **{
                f"an expiry {value} milliseconds after 1970": change(expires=DatetimeMS(value))
                for value in (2**62, -(2**62), 253_402_300_800_000)
            },
            "documents with other ids": beside(
                *({"_id": value, **fields} for value in _VALUES if _can_be_an_id(value))
            ),
            "documents whose ids are no text": beside(
                *(_no_text({"_id": f"~{number}", **fields}) for number in range(40))
            ),
            "a document whose owner is no text": beside(
                _no_text({"_id": "stranger", **fields, "session": 1, "owner": "~"})
            ),
            "a document whose other field is no text": beside(
                _no_text({"_id": "another", **fields, "session": 1, "other": {"~": "~"}})
            ),
        }

    def stored(self, namespace: str, key: str) -> str | bytes | None:
        """See :meth:`coatcheck_conformance.Harness.stored`."""
        found = self._collection(namespace).find_one({"_id": key})
        return None if found is None else found["session"]

    def foreign(self, namespace: str) -> Callable[[], bool]:
        """See :meth:`coatcheck_conformance.Harness.foreign`."""
        collection = self._database[f"{self._name(namespace)}.foreign"]
        document = {"_id": "key", "session": "not a session"}
        collection.insert_one(document)
        return lambda: collection.find_one({"_id": "key"}) == document

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_client`."""
        client: MongoClient[dict[str, Any]] = MongoClient(self._settings.uri)
        store = MongoStore(
            client, database=self._settings.database, collection=self._name(namespace), clock=clock
        )

        def is_open() -> bool:
            return bool(client.admin.command("ping"))

        return ClientStore(store, is_open, client.close)

    async def with_async_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_async_client`."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self._settings.uri)
        store = AsyncMongoStore(
            client, database=self._settings.database, collection=self._name(namespace), clock=clock
        )

        async def is_open() -> bool:
            return bool(await client.admin.command("ping"))

        return ClientStore(store, is_open, client.close)

    def _collection(self, namespace: str) -> Any:
        return self._database[self._name(namespace)]

    def _name(self, namespace: str) -> str:
        return f"{self._base}{namespace}"


class ReplicaSetHarness(MongoHarness):
    """Opens stores with collections of their own on the replica set of a URL."""

    unsupported: ClassVar[Mapping[str, str]] = {
        **MongoHarness.unsupported,
        **dict.fromkeys(
            ("address", "unavailable", "stall", "garbage", "traffic", "credentials"),
            "the servers are reached at the addresses that they announce, past a proxy",
        ),
    }

    def address(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        return


def _can_be_an_id(value: object) -> bool:
    return not isinstance(value, list | Regex) and not (isinstance(value, dict) and "$ref" in value)


def _no_text(document: Mapping[str, Any]) -> RawBSONDocument:
    """Return a document in which each `~` is replaced by a byte that is no UTF-8."""
    return RawBSONDocument(bson.encode(document).replace(b"~", b"\xff"))


def _insert(collection: Any, documents: Iterable[Mapping[str, Any]]) -> None:
    any_date = CodecOptions[Any](datetime_conversion=DatetimeConversion.DATETIME_MS)
    for document in documents:
        # The kit calls this once for each record that the documents are beside.
        with suppress(DuplicateKeyError):
            collection.with_options(any_date).insert_one(document)


def _changed(result: UpdateResult) -> None:
    assert result.matched_count == 1, "there is a record to damage"
