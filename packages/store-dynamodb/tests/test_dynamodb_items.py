"""The items in the table, and those that other programs put there."""

from __future__ import annotations

import time

import pytest
from dynamodb_backend import Backend

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._items import seconds
from testing.records import check_largest_record

pytestmark = pytest.mark.integration("dynamodb")

LATER = {"N": "4102444800"}


def later() -> float:
    return time.time() + 3600


def test_an_item_is_connect_dynamodbs(store: DynamoDBStore, backend: Backend) -> None:
    store.set("key", Record(b'{"cart":["hat"]}', 4102444800.9, "ann"))
    item = dict(backend.item("key") or {})
    assert len(item.pop("coatcheck_written")["S"]) == 16
    assert item == {
        "id": {"S": f"{backend.prefix}key"},
        "expires": {"N": "4102444800"},
        "type": {"S": "connect-session"},
        "sess": {"S": '{"cart":["hat"]}'},
        "owner": {"S": "ann"},
    }


def test_fractions_of_a_second_are_read(store: DynamoDBStore, backend: Backend) -> None:
    backend.put("key", sess={"S": "{}"}, expires={"N": "4102444800.5"})
    assert store.get("key") == Record(b"{}", 4102444800.5)
    assert store.set("key", Record(b"new", later()), Unchanged(b"{}"))


def test_the_owner_goes_and_binary_data_stay_binary(store: DynamoDBStore, backend: Backend) -> None:
    store.set("key", Record(b"\xff\x00", later(), "ann"))
    item = backend.item("key")
    assert item is not None
    assert item["sess"] == {"B": b"\xff\x00"}
    store.set("key", Record(b"text", later()), PRESENT)
    assert "owner" not in (backend.item("key") or {})


def test_what_others_keep_in_the_item_stays(store: DynamoDBStore, backend: Backend) -> None:
    backend.put("key", sess={"S": "{}"}, expires=LATER, user={"S": "ann"})
    assert store.set("key", Record(b'{"n":1}', later()), Unchanged(b"{}"))
    assert store.touch("key", later() + 5)
    assert (backend.item("key") or {})["user"] == {"S": "ann"}


def test_nothing_of_an_expired_session_is_in_a_new_one(
    store: DynamoDBStore, backend: Backend
) -> None:
    backend.put("key", sess={"S": "{}"}, expires={"N": "1"}, user={"S": "ann"})
    assert store.set("key", Record(b'{"n":1}', later()), ABSENT)
    assert "user" not in (backend.item("key") or {})


def test_a_touch_never_makes_a_ghost(store: DynamoDBStore, backend: Backend) -> None:
    assert not store.touch("key", later())
    assert backend.item("key") is None
    backend.put("key", expires=LATER)  # connect-dynamodb's own touch makes such items
    assert store.get("key") is None
    assert store.set("key", Record(b"data", later()), ABSENT)


def test_what_has_expired_is_absent_while_it_is_there(store: DynamoDBStore) -> None:
    store.set("key", Record(b"data", time.time() - 5, "ann"))
    assert store.get("key") is None
    assert (store.length(), list(store.all()), list(store.owned_by("ann"))) == (0, [], [])
    assert not store.touch("key", later())
    assert not store.set("key", Record(b"new", later()), PRESENT)
    assert not store.set("key", Record(b"new", later()), Unchanged(b"data"))
    assert not store.destroy("key", Unchanged(b"data"))
    assert store.set("key", Record(b"new", later()), ABSENT)


def test_what_a_session_that_goes_on_elsewhere_leaves(
    store: DynamoDBStore, backend: Backend
) -> None:
    """A tombstone, without anything of the session."""
    for condition in (PRESENT, Unchanged(b"{}")):
        backend.put("key", sess={"S": "{}"}, expires=LATER, owner={"S": "ann"}, user={"S": "ann"})
        before = time.time()
        assert store.destroy("key", condition)
        item = backend.item("key")
        assert item is not None
        assert item.keys() == {"id", "type", "expires", "coatcheck_tombstone"}
        # No longer than that, and not before a repetition has seen it.
        assert before + 59 <= float(item["expires"]["N"]) <= time.time() + 60
        assert (store.get("key"), store.length(), list(store.owned_by("ann"))) == (None, 0, [])
        assert not store.destroy("key", condition)
        assert not store.touch("key", later())
    assert store.set("key", Record(b"{}", later()))
    assert "coatcheck_tombstone" not in (backend.item("key") or {})
    assert store.destroy("key")
    assert backend.item("key") is None


def test_another_namespace_is_left_alone(store: DynamoDBStore, backend: Backend) -> None:
    store.set("key", Record(b"data", later(), "ann"))
    backend.client.put_item(
        TableName=backend.table,
        Item={"id": {"S": "x" + backend.prefix}, "sess": {"S": "{}"}, "expires": LATER,
              "owner": {"S": "ann"}},
    )  # fmt: skip
    assert [key for key, _ in store.owned_by("ann")] == ["key"]
    assert [key for key, _ in store.all()] == ["key"]
    store.clear()
    assert store.length() == 0
    found = backend.client.get_item(
        TableName=backend.table, Key={"id": {"S": "x" + backend.prefix}}, ConsistentRead=True
    )
    assert "Item" in found


def test_many_sessions_of_an_owner_and_in_all(store: DynamoDBStore) -> None:
    """More than one request may read or remove."""
    size = 130
    for number in range(size):
        store.set(str(number), Record(b"x" * 10_000, later(), "ann"))
    everything = {str(number) for number in range(size)}
    assert {key for key, _ in store.owned_by("ann")} == everything
    assert {key for key, _ in store.all()} == everything
    assert store.length() == size
    store.clear()
    assert store.length() == 0


def test_a_record_that_does_not_fit(store: DynamoDBStore) -> None:
    check_largest_record(store)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1.0, "1"), (1.9, "1"), (1.9999999, "2"), (4102444800.5, "4102444800"), (0.0, "0")],
)
def test_expiries_are_whole_seconds_rounded_down(given: float, expected: str) -> None:
    assert seconds(given) == {"N": expected}
