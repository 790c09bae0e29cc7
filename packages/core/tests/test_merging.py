"""Two requests changed one session: what the session holds afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck._records.merging import merge
from coatcheck.codec import JSONCodec, SessionState


def encode(value: Any) -> bytes:
    return JSONCodec().dumps(SessionState({"value": value}, created_at=0))


def encoded(state: SessionState) -> dict[str, bytes]:
    """Return the data by stored form, in which 1, 1.0 and True differ."""
    return {key: encode(value) for key, value in state.data.items()}


def merged(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, bytes]:
    states = (SessionState(data, created_at=0) for data in (base, mine, theirs))
    return encoded(merge(*states, encode))


VALUES = st.sampled_from(
    [None, True, False, 0, 1, 1.0, "1", "", [], [1], [1.0], [True], {"n": 1}, {"n": True}, b"1"]
)
DATA = st.dictionaries(st.sampled_from("abcd"), VALUES)
STATES = st.builds(
    SessionState,
    data=DATA,
    created_at=st.just(0.0),
    cookie=st.sampled_from([{}, {"max_age": 1}, {"max_age": 2}, {"secure": True}]),
    owner=st.sampled_from([None, "ann", "bob"]),
)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "result"),
    [
        pytest.param({}, {}, {}, {}, id="nothing"),
        pytest.param({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="both-added-another-key"),
        pytest.param({}, {"a": 1}, {"a": 2}, {"a": 1}, id="both-added-one-key"),
        pytest.param({"a": 0}, {"a": 1}, {"a": 0}, {"a": 1}, id="i-changed"),
        pytest.param({"a": 0}, {"a": 0}, {"a": 2}, {"a": 2}, id="they-changed"),
        pytest.param({"a": 0}, {"a": 1}, {"a": 1}, {"a": 1}, id="the-same-change"),
        pytest.param({"a": 0}, {"a": 1}, {"a": 2}, {"a": 1}, id="both-changed"),
        pytest.param({"a": 0}, {}, {"a": 0}, {}, id="i-deleted"),
        pytest.param({"a": 0}, {"a": 0}, {}, {}, id="they-deleted"),
        pytest.param({"a": 0}, {}, {}, {}, id="both-deleted"),
        pytest.param({"a": 0}, {}, {"a": 2}, {}, id="i-deleted-they-changed"),
        pytest.param({"a": 0}, {"a": 1}, {}, {}, id="they-deleted-i-changed"),
        pytest.param({"a": 0}, {}, {"a": 0, "b": 1}, {"b": 1}, id="i-cleared-they-added"),
        pytest.param({"a": 0}, {"a": None}, {"a": 0}, {"a": None}, id="None-is-a-value"),
        pytest.param({"a": None}, {"a": None}, {}, {}, id="None-was-deleted"),
        pytest.param({"a": None}, {"a": 1}, {}, {}, id="None-was-deleted-and-changed"),
        pytest.param({}, {"a": None}, {}, {"a": None}, id="None-was-added"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, {"a": [1, 3]}, {"a": [1, 2]}, id="lists-are-whole"),
        pytest.param(
            {"a": {"x": 1}},
            {"a": {"x": 1, "y": 2}},
            {"a": {"x": 1, "z": 3}},
            {"a": {"x": 1, "y": 2}},
            id="nested-keys-are-not-merged",
        ),
    ],
)
def test_each_key_is_settled_by_who_changed_it(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], result: dict[str, Any]
) -> None:
    """Changes of both sides are kept; a deletion wins over a change, and the later of two changes
    wins over the earlier."""
    assert merged(base, mine, theirs) == encoded(SessionState(result, created_at=0))


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (1.0, True), (0, False)])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [{"deep": value}]])
def test_values_that_python_takes_for_equal_are_changes(before: Any, after: Any, wrap: Any) -> None:
    """1, 1.0 and True are three values, at any depth."""
    old, new = {"a": wrap(before)}, {"a": wrap(after)}
    assert merged(old, new, old) == {"a": encode(wrap(after))}
    assert merged(old, old, new) == {"a": encode(wrap(after))}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "result"),
    [
        (None, None, "bob", "bob"),
        (None, "ann", None, "ann"),
        (None, "ann", "bob", "ann"),
        ("ann", "ann", None, None),
        ("ann", None, "ann", None),
        ("ann", None, "bob", None),
        ("ann", "bob", None, None),
    ],
)
def test_the_owner_merges_as_one_more_key(
    base: str | None, mine: str | None, theirs: str | None, result: str | None
) -> None:
    """An owner that one side removed stays removed, and data do not matter to it."""
    states = (SessionState({}, created_at=0, owner=owner) for owner in (base, mine, theirs))
    assert merge(*states, encode).owner == result


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "result"),
    [
        ({}, {}, {"max_age": 2}, {"max_age": 2}),
        ({}, {"max_age": 1}, {}, {"max_age": 1}),
        ({}, {"max_age": 1}, {"max_age": 2}, {"max_age": 1}),
        ({}, {"max_age": 1}, {"secure": True}, {"max_age": 1}),
        ({"max_age": 0}, {"max_age": 0}, {}, {}),
        ({"max_age": 0}, {}, {"max_age": 2}, {}),
        ({"max_age": 0}, {"max_age": 1}, {}, {}),
    ],
)
def test_the_cookie_settings_merge_as_one_more_key(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], result: dict[str, Any]
) -> None:
    """The settings of one session are taken from one side, as a whole."""
    states = (SessionState({}, created_at=0, cookie=cookie) for cookie in (base, mine, theirs))
    assert merge(*states, encode).cookie == result


def test_what_the_application_cannot_change_is_what_is_stored() -> None:
    """The creation time and members of a newer release come from the stored record."""
    mine = SessionState({"a": 1}, created_at=1)
    theirs = SessionState({}, created_at=2, extra={"x": "new"})
    result = merge(SessionState({}, created_at=1), mine, theirs, encode)
    assert (result.created_at, result.extra) == (2, {"x": "new"})


@given(base=STATES, theirs=STATES)
def test_who_changed_nothing_gets_the_others_session(
    base: SessionState, theirs: SessionState
) -> None:
    """Without a change of mine the result is theirs."""
    result = merge(base, base, theirs, encode)
    assert encoded(result) == encoded(theirs)
    assert (result.owner, result.cookie) == (theirs.owner, theirs.cookie)


@given(base=STATES, mine=STATES)
def test_who_met_no_change_keeps_the_own_session(base: SessionState, mine: SessionState) -> None:
    """Without a change of theirs the result is mine."""
    result = merge(base, mine, base, encode)
    assert encoded(result) == encoded(mine)
    assert (result.owner, result.cookie) == (mine.owner, mine.cookie)


@given(base=STATES, both=STATES)
def test_the_same_changes_are_no_conflict(base: SessionState, both: SessionState) -> None:
    """Two sides that agree get what they agree on."""
    result = merge(base, both, both, encode)
    assert encoded(result) == encoded(both)
    assert (result.owner, result.cookie) == (both.owner, both.cookie)


@given(base=DATA, mine=DATA, theirs=DATA)
def test_what_either_side_deleted_is_deleted(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """A key that was there and is missing from a side is missing from the result, in whichever
    order the two sides are saved."""
    deleted = {key for key in base if key not in mine or key not in theirs}
    assert deleted.isdisjoint(merged(base, mine, theirs))
    assert deleted.isdisjoint(merged(base, theirs, mine))


@given(base=DATA, mine=DATA, theirs=DATA)
def test_the_order_matters_to_double_changes_only(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """In either order the keys are the same, and so are the values that one side changed."""
    one, other = merged(base, mine, theirs), merged(base, theirs, mine)
    assert one.keys() == other.keys()
    for key in one:
        if one[key] != other[key]:
            assert (one[key], other[key]) == (encode(mine[key]), encode(theirs[key]))


@given(base=DATA, mine=DATA, theirs=DATA)
def test_no_value_is_invented(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Each value of the result is one of the two sides' own, and no key is new."""
    sides = [{key: encode(value) for key, value in side.items()} for side in (mine, theirs)]
    for key, value in merged(base, mine, theirs).items():
        assert value in (sides[0].get(key), sides[1].get(key))


@given(base=STATES, mine=STATES, theirs=STATES)
def test_merging_changes_none_of_the_three(
    base: SessionState, mine: SessionState, theirs: SessionState
) -> None:
    """The states that are merged stay what they were."""
    before = [JSONCodec().dumps(state) for state in (base, mine, theirs)]
    merge(base, mine, theirs, encode)
    assert [JSONCodec().dumps(state) for state in (base, mine, theirs)] == before


def test_cookie_settings_in_another_order_are_no_change() -> None:
    base = SessionState({}, 0, {"max_age": 1, "path": "/"})
    mine = SessionState({"a": 1}, 0, {"path": "/", "max_age": 1})
    theirs = SessionState({}, 0, {"max_age": 2, "path": "/"})
    assert merge(base, mine, theirs, encode).cookie == {"max_age": 2, "path": "/"}
