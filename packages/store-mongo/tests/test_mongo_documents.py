"""The documents in the database, and those that other programs put there."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Timestamp
from bson.datetime_ms import DatetimeMS
from mongo_backend import Backend
from pymongo import MongoClient
from pymongo.server_api import ServerApi

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck.errors import StoreError
from coatcheck_mongo import MongoStore
from coatcheck_mongo._documents import milliseconds
from testing.records import check_largest_record

pytestmark = pytest.mark.integration("mongo")


def later() -> float:
    return time.time() + 3600


def test_a_document_is_connect_mongos(store: MongoStore, backend: Backend) -> None:
    store.set("key", Record(b'{"cart":["hat"]}', 1_900_000_000.1239))
    assert backend.collection.find_one() == {
        "_id": "key",
        "session": '{"cart":["hat"]}',
        "expires": datetime(2030, 3, 17, 17, 46, 40, 123000),
    }


def test_owner_and_binary_data(store: MongoStore, backend: Backend) -> None:
    store.set("key", Record(b"\xff\x00", later(), "ann"))
    found = backend.collection.find_one()
    assert (found["session"], found["owner"]) == (b"\xff\x00", "ann")
    store.set("key", Record(b"text", later()), PRESENT)
    assert "owner" not in backend.collection.find_one()


def test_what_others_keep_in_the_document_stays(store: MongoStore, backend: Backend) -> None:
    modified = datetime(2026, 1, 2, 3, 4, 5)
    backend.collection.insert_one(
        {"_id": "key", "session": "{}", "expires": datetime(2100, 1, 1), "lastModified": modified}
    )
    assert store.set("key", Record(b'{"n":1}', later()), Unchanged(b"{}"))
    assert store.touch("key", later() + 5)
    assert backend.collection.find_one()["lastModified"] == modified


def test_ids_that_are_no_text_are_no_sessions(store: MongoStore, backend: Backend) -> None:
    store.set("key", Record(b"data", later(), "ann"))
    backend.collection.insert_one(
        {"session": "{}", "expires": datetime(2100, 1, 1), "owner": "ann"}
    )
    assert [key for key, _ in store.all()] == ["key"]
    assert [key for key, _ in store.owned_by("ann")] == ["key"]


def test_broken_text_stops_no_listing(store: MongoStore, backend: Backend) -> None:
    raw = bson.encode({"_id": "bad", "session": "XX", "expires": datetime(2100, 1, 1)})
    backend.collection.insert_one(bson.raw_bson.RawBSONDocument(raw.replace(b"XX", b"\xff\xfe")))
    store.set("good", Record(b"data", later()))
    assert store.get("bad") is None
    assert [key for key, _ in store.all()] == ["good"]


def test_an_expired_document_is_replaced(store: MongoStore, backend: Backend) -> None:
    store.set("key", Record(b"old", time.time() - 5, "ann"))
    assert store.set("key", Record(b"new", later()), ABSENT)
    assert not store.set("key", Record(b"newer", later()), ABSENT)
    assert backend.collection.find_one()["session"] == "new"
    assert list(store.owned_by("ann")) == []


def test_what_changes_nothing_is_done_all_the_same(store: MongoStore) -> None:
    """MongoDB says how many documents changed; whether the condition held is another question."""
    same = Record(b"data", later(), "ann")
    assert store.set("key", same)
    assert store.set("key", same, PRESENT)
    assert store.set("key", same, Unchanged(b"data"))
    assert store.touch("key", same.expires_at)
    assert not store.set("key", same, ABSENT)
    expired = Record(b"data", time.time() - 5)
    assert store.set("key", expired)
    for only_if, expected in ((ABSENT, True), (PRESENT, False), (Unchanged(b"data"), False)):
        assert store.set("key", expired, only_if) is expected
    assert not store.touch("key", expired.expires_at)


def test_an_expired_record_is_absent_in_its_last_millisecond(backend: Backend) -> None:
    """MongoDB keeps milliseconds: what expires later in this one is as good as expired."""
    now = 1_900_000_000.0
    with closing(MongoStore.from_url(backend.url, clock=lambda: now)) as store:
        for _ in range(2):
            assert store.set("key", Record(b"data", now + 0.0004), ABSENT)
            assert store.get("key") is None


def test_a_client_of_the_stable_api_alone(backend: Backend) -> None:
    api = ServerApi("1", strict=True)
    with MongoClient[dict[str, Any]](backend.server_url, server_api=api) as client:
        store = MongoStore(client, database="coatcheck", collection=backend.name)
        for owner in (None, "ann"):
            assert store.set("key", Record(b"first", later(), "bob"), ABSENT)
            assert not store.set("key", Record(b"other", later(), owner), ABSENT)
            assert store.set("key", Record(b"second", later(), owner), Unchanged(b"first"))
            assert store.set("key", Record(b"third", later(), owner), PRESENT)
            assert store.touch("key", later() + 5)
            found = store.get("key")
            assert found is not None
            assert found.owner == owner
            assert [key for key, _ in store.all()] == ["key"]
            assert store.length() == 1
            assert store.destroy("key", Unchanged(b"third"))


def test_text_that_looks_like_mongodbs_language(store: MongoStore) -> None:
    for data, owner in ((b"$expires", "$_id"), (b"$$ROOT", "$$NOW"), (b"$$REMOVE", "$")):
        wanted = Record(data, 1_900_000_000.5, owner)
        assert store.set("key", wanted)
        assert store.set("key", wanted, Unchanged(data))
        changed = Record(data + b"!", wanted.expires_at, owner)
        assert store.set("key", changed, Unchanged(data))
        assert store.set("key", wanted, PRESENT)
        assert store.get("key") == wanted
        assert store.destroy("key", Unchanged(data))
        assert store.set("key", wanted, ABSENT)
        assert store.get("key") == wanted


@pytest.mark.parametrize(
    "malformed",
    [
        {"session": ["data"], "expires": datetime(2100, 1, 1)},
        {"session": "data", "expires": [datetime(2100, 1, 1)]},
        {"session": "data", "expires": Timestamp(4_102_444_800, 1)},
        {"session": "data", "expires": "2100-01-01"},
        {"session": "data"},
        {"session": "", "expires": datetime(2100, 1, 1)},
        {"session": b"", "expires": datetime(2100, 1, 1)},
        {"session": None, "expires": datetime(2100, 1, 1)},
        {"session": 7, "expires": datetime(2100, 1, 1)},
    ],
)
def test_what_is_malformed_is_absent_to_every_operation(
    store: MongoStore, backend: Backend, malformed: dict[str, Any]
) -> None:
    document = {"_id": "key", **malformed}
    backend.collection.insert_one(document)
    record = Record(b"data", later())
    assert store.get("key") is None
    assert list(store.all()) == []
    assert not store.touch("key", later())
    assert not store.set("key", record, PRESENT)
    assert not store.set("key", record, Unchanged(b"data"))
    assert not store.destroy("key", Unchanged(b"data"))
    assert backend.collection.find_one() == document
    assert store.set("key", record, ABSENT)
    assert store.get("key") is not None


def test_no_listing_is_too_long_for_the_time_limit(backend: Backend) -> None:
    """It is of each page: all that a cursor takes counts against one."""
    size = 20_000
    expires = datetime(2100, 1, 1)
    for start in range(0, size, 1000):
        backend.collection.insert_many(
            {"_id": str(number), "session": "data", "expires": expires, "owner": "ann"}
            for number in range(start, start + 1000)
        )
    backend.collection.create_index("owner", sparse=True)
    store = MongoStore.from_url(f"{backend.url}&timeoutMS=150")
    assert len({key for key, _ in store.all()}) == size
    assert len({key for key, _ in store.owned_by("ann")}) == size
    store.close()


def test_several_owners_are_none(store: MongoStore, backend: Backend) -> None:
    backend.collection.insert_one(
        {"_id": "key", "session": "{}", "expires": datetime(2100, 1, 1), "owner": ["ann", "bob"]}
    )
    assert list(store.owned_by("ann")) == []
    assert [record.owner for _, record in store.all()] == [None]


def test_an_index_of_somebody_elses_is_no_answer(store: MongoStore, backend: Backend) -> None:
    backend.collection.create_index("session", unique=True)
    assert store.set("one", Record(b"data", later()))
    with pytest.raises(StoreError):
        store.set("two", Record(b"data", later()))


def test_the_indexes(store: MongoStore, backend: Backend) -> None:
    assert backend.collection.index_information() == {}  # the opening created nothing
    store.get("key")
    assert backend.collection.index_information() == {}
    store.set("key", Record(b"data", later()))
    about = backend.collection.index_information()
    assert about["expires_1"]["expireAfterSeconds"] == 0
    assert about["owner_1"]["sparse"]


def test_no_indexes_where_none_are_wanted(backend: Backend) -> None:
    store = MongoStore.from_url(f"{backend.url}&indexes=false")
    store.set("key", Record(b"data", later(), "ann"))
    assert list(backend.collection.index_information()) == ["_id_"]
    assert [key for key, _ in store.owned_by("ann")] == ["key"]
    store.close()


def test_an_index_that_cannot_be_is_a_warning(
    store: MongoStore, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.collection.create_index("expires", expireAfterSeconds=60)
    assert store.set("key", Record(b"data", later()))
    assert store.set("key", Record(b"more", later()))
    (warning,) = [record for record in caplog.records if record.name == "coatcheck"]
    assert 'createIndex({expires: 1}, {"expireAfterSeconds": 0})' in warning.getMessage()
    assert "owner_1" in backend.collection.index_information()


def test_the_server_removes_what_has_expired(store: MongoStore, backend: Backend) -> None:
    """By the index's definition; that MongoDB keeps to it, once a minute, is MongoDB's to test."""
    store.set("key", Record(b"data", later()))
    (index,) = [one for one in backend.collection.list_indexes() if one["name"] == "expires_1"]
    assert dict(index["key"]) == {"expires": 1}
    assert type(backend.collection.find_one()["expires"]) is datetime


def test_a_record_that_does_not_fit(store: MongoStore) -> None:
    check_largest_record(store)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.001, 1001), (1.0019999, 1002), (1.0019, 1001), (0.0, 0),
        (1795456528.123, 1795456528123), (1795456528.1239, 1795456528123),
        (253402300799.0, 253402300799000),
    ],
)  # fmt: skip
def test_dates_are_rounded_down(seconds: float, expected: int) -> None:
    assert int(milliseconds(seconds)) == expected


class TestNativeDocuments:
    """`stringify=false`: the session is a document, and its BSON bytes are the data."""

    @pytest.fixture
    def native(self, backend: Backend) -> MongoStore:
        return MongoStore(
            backend.client, database="coatcheck", collection=backend.name, stringify=False
        )

    def test_there_and_back(self, native: MongoStore, backend: Backend) -> None:
        data = bson.encode({"cart": ["hat"], "at": datetime(2026, 1, 2, tzinfo=UTC), "none": None})
        assert native.set("key", Record(data, later()), ABSENT)
        assert backend.collection.find_one()["session"]["cart"] == ["hat"]
        found = native.get("key")
        assert found is not None
        assert found.data == data
        assert native.set("key", Record(bson.encode({"n": 2}), later()), Unchanged(data))
        assert not native.set("key", Record(data, later()), Unchanged(data))
        assert not native.destroy("key", Unchanged(data))
        assert native.touch("key", later())
        assert native.destroy("key")

    def test_numbers_of_another_type_are_a_change(self, native: MongoStore) -> None:
        """MongoDB compares 1 and 1.0 as equal; but the write is done nevertheless."""
        first, second = bson.encode({"n": 1}), bson.encode({"n": 1.0})
        assert native.set("key", Record(first, 1_900_000_000.0))
        assert native.set("key", Record(second, 1_900_000_000.0), Unchanged(first))
        found = native.get("key")
        assert found is not None
        assert found.data == second

    def test_dates_beyond_pythons(self, native: MongoStore) -> None:
        data = bson.encode({"at": DatetimeMS(8_640_000_000_000_000)})
        assert native.set("key", Record(data, later()))
        assert native.set("key", Record(data, later()), Unchanged(data))

    def test_text_is_malformed_there(self, native: MongoStore, store: MongoStore) -> None:
        store.set("key", Record(b"{}", later()))
        assert native.get("key") is None
        assert not native.touch("key", later())
        assert not native.destroy("key")

    @pytest.mark.parametrize("data", [b"{}", b"\x05\x00\x00\x00\x01", b"x" * 40])
    def test_what_is_no_document_is_refused(self, native: MongoStore, data: bytes) -> None:
        with pytest.raises(StoreError, match="BSON"):
            native.set("key", Record(data, later()))
