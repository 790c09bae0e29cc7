"""A session is stored as the codec would store its data, whatever the application did to them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webclient import SyncClient, asgi_app, sessions_in, wsgi_app

from coatcheck import JSONCodec, MemoryStore

Step = tuple[Callable[[Any, str, Any], None], str, Any]

KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("a$\u00e9", max_size=2)
#: Values that JSON has, and values that are tagged: within lists, under keys, instead of others.
VALUES = st.recursive(
    SCALARS | st.binary(max_size=2) | st.just(date(2030, 1, 2)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["x", "$", "="]), inner, max_size=2)
    ),
    max_leaves=4,
)


def set_item(data: Any, key: str, value: Any) -> None:
    data[key] = value


def update(data: Any, key: str, value: Any) -> None:
    data.update({key: value})


def set_default(data: Any, key: str, value: Any) -> None:
    data.setdefault(key, value)


def remove(data: Any, key: str, value: Any) -> None:
    data.pop(key, value)


def change_inside(data: Any, key: str, value: Any) -> None:
    inner = data.get(key)
    if isinstance(inner, list):
        inner.append(value)
    elif isinstance(inner, dict):
        inner["x"] = value


def clear(data: Any, key: str, value: Any) -> None:
    data.clear()
    data[key] = value


#: What an application does: a function with a key and a value.
STEPS = st.tuples(
    st.sampled_from([set_item, update, set_default, remove, change_inside, clear]),
    KEYS,
    SCALARS | VALUES,
)
REQUESTS = st.lists(st.lists(STEPS, max_size=4), min_size=1, max_size=4)


@pytest.mark.parametrize("driver", [asgi_app, wsgi_app])
@given(requests=REQUESTS)
def test_the_stored_form_is_that_of_the_data(driver: Any, requests: list[list[Step]]) -> None:
    """Each record has the bytes that the codec writes for the data, and is read back as them."""
    codec, store = JSONCodec(), MemoryStore()
    data: dict[str, Any] = {}
    steps: list[Step] = []

    def serve(session: Any, _: object) -> None:
        for step, key, value in steps:
            step(session, key, deepcopy(value))
        session["n"] = session.get("n", 0) + 1

    client = SyncClient(driver(serve, store=store))
    for steps in requests:
        client.get("/")
        for step, key, value in steps:
            step(data, key, deepcopy(value))
        data["n"] = data.get("n", 0) + 1
        [record] = sessions_in(store).values()
        state = codec.loads(record.data, "")
        assert state.data == data
        assert record.data == codec.dumps(state)


def make_a_list(session: Any, _: object) -> None:
    session["list"] = []


def append_a_tuple(session: Any, _: object) -> None:
    session["list"].append((1, 2))


def change_by_function(session: Any, _: object) -> None:
    session.change(lambda data: data.update(list=[(1, 2)]))


def count(session: Any, _: object) -> None:
    session["n"] = session.get("n", 0) + 1


def rotate_and_count(session: Any, _: object) -> None:
    session.regenerate(keep_data=True)
    count(session, _)


@pytest.mark.parametrize("first", [[make_a_list, append_a_tuple], [change_by_function]])
def test_a_tuple_stays_a_tuple(first: list[Callable[[Any, object], None]]) -> None:
    """It does, however it came into the session, and through later writes of other values."""
    store, steps = MemoryStore(), [*first, count, rotate_and_count]
    client = SyncClient(wsgi_app(lambda *request: steps.pop(0)(*request), store=store))
    while steps:
        client.get("/")
    [record] = sessions_in(store).values()
    assert JSONCodec().loads(record.data, "").data == {"list": [(1, 2)], "n": 2}
