"""The records of sessions, and the values that cannot be in one."""

from __future__ import annotations

import enum
import json
import math
import os
import pickle
import re
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import markupsafe
import pytest
from codecrules import AROUND, Colour, JSONRules, Size, nested
from hypothesis import given
from hypothesis import strategies as st
from webclient import SECRET, Client, Clock, CountingStore, SyncClient, asgi_app, wsgi_app

from coatcheck import JSONCodec, MemoryStore, Record, SessionState
from coatcheck.cookie_format import NativeCookieFormat
from coatcheck.errors import CorruptRecord, SerializationError
from testing.stack import near_the_end_of_the_stack

codec = JSONCodec()

TAGGED: list[tuple[Any, str]] = [
    (datetime(2026, 1, 2, 3, 4, 5, 6), '{"$":"datetime","=":"2026-01-02T03:04:05.000006"}'),
    (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        '{"$":"datetime","=":"2026-01-02T03:04:05+00:00"}',
    ),
    (
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        '{"$":"datetime","=":"2026-01-02T00:00:00+05:30"}',
    ),
    (date(2026, 1, 2), '{"$":"date","=":"2026-01-02"}'),
    (
        UUID("12345678-1234-5678-1234-567812345678"),
        '{"$":"uuid","=":"12345678-1234-5678-1234-567812345678"}',
    ),
    (Decimal("1.50"), '{"$":"decimal","=":"1.50"}'),
    (Decimal("-Infinity"), '{"$":"decimal","=":"-Infinity"}'),
    (b"\x00\xff", '{"$":"bytes","=":"AP8="}'),
    (b"", '{"$":"bytes","=":""}'),
    (time(12, 30), '{"$":"time","=":"12:30:00"}'),
    (time(1, 2, 3, 4, tzinfo=UTC), '{"$":"time","=":"01:02:03.000004+00:00"}'),
    (timedelta(days=1, microseconds=1), '{"$":"timedelta","=":86400000001}'),
    (-timedelta.resolution, '{"$":"timedelta","=":-1}'),
    (frozenset("ba"), '{"$":"frozenset","=":["a","b"]}'),
    ({"b", "a", 3}, '{"$":"set","=":["a","b",3]}'),
    (set(), '{"$":"set","=":[]}'),
    ((1, "two"), '{"$":"tuple","=":[1,"two"]}'),
    ((), '{"$":"tuple","=":[]}'),
    ({(1, 2)}, '{"$":"set","=":[{"$":"tuple","=":[1,2]}]}'),
    ({"$": 1}, '{"$":"dict","=":[["$",1]]}'),
]

PLAIN: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (1, "1"),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (2**70, "1180591620717411303424"),
    ("é", '"é"'),
    ("\ud800", '"\ud800"'),
    ([], "[]"),
    ([1, [2]], "[1,[2]]"),
    ({}, "{}"),
    ({"b": 1, "a": {"": None}}, '{"b":1,"a":{"":null}}'),
]


def encoded(value: Any) -> bytes:
    return codec.dumps(SessionState({"value": value}, created_at=0))


def decoded(data: bytes) -> Any:
    return codec.loads(data, "key").data["value"]


def shape(value: Any) -> Any:
    """Return something whose equality tells types apart, too."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(repr, value))
    return type(value), repr(value)


@pytest.mark.parametrize(("value", "written"), TAGGED + PLAIN)
def test_each_type_has_its_form_and_comes_back(value: Any, written: str) -> None:
    """A type that JSON lacks is written as a tag, and every value comes back with its type."""
    data = encoded(value)
    assert data == ('{"v":1,"t":0,"d":{"value":' + written + "}}").encode("utf-8", "surrogatepass")
    assert shape(decoded(data)) == shape(value)


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
    | st.binary(max_size=20)
    | st.dates()
    | st.times().map(lambda moment: moment.replace(fold=0))
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(minutes=-90))])).map(
        lambda moment: moment.replace(fold=0)  # ISO 8601 has no word for it
    )
)
_keys = st.sampled_from(["$", "=", "v", "d"]) | st.text(max_size=5)
VALUES = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(_scalars, max_size=4)
        | st.frozensets(_scalars, max_size=4)
        | st.dictionaries(_keys, inner, max_size=4)
    ),
    max_leaves=12,
)
DATA = st.dictionaries(_keys, VALUES, max_size=4)


@given(DATA, st.none() | st.text(min_size=1))
def test_whatever_can_be_stored_comes_back_and_encodes_to_the_same_bytes(
    data: dict[str, Any], owner: str | None
) -> None:
    """The codec is canonical: what it wrote decodes to the same data and encodes to itself."""
    written = codec.dumps(SessionState(data, 1.5, {"max_age": 60}, owner))
    state = codec.loads(written, "key")
    assert (shape(state.data), state.owner) == (shape(data), owner)
    assert (state.created_at, state.cookie) == (1.5, {"max_age": 60})
    assert codec.dumps(state) == written == codec.pack(written, state, 99.0, "key")


LOOKALIKES = [
    {"$": "set", "=": ["a"]},
    {"$": "unknown"},
    {"$": None},
    {"$": {"$": {"$": "dict", "=": []}}},
    {"$": "dict", "=": [["$", 1]], "more": (1,)},
    {"=": 1},
]


@pytest.mark.parametrize("lookalike", LOOKALIKES)
@pytest.mark.parametrize(
    "around",
    [
        lambda it: it,
        lambda it: {"value": it},
        lambda it: {"value": [it]},
        lambda it: {"value": {"deeper": {"$": (it,)}}},
    ],
    ids=["top", "value", "in-list", "deep"],
)
def test_user_data_that_looks_like_a_tag_survives(lookalike: Any, around: Any) -> None:
    """No data of the user's are mistaken for a tag, at any depth."""
    data = around(lookalike)
    assert codec.loads(codec.dumps(SessionState(data, 0)), "key").data == data


class Day(date, enum.Enum):
    FIRST = 2026, 1, 2


class Point(NamedTuple):
    x: int
    y: list[Colour]


class Frozen(datetime):
    def isoformat(self, *_: Any, **__: Any) -> str:
        return "always the same"


class Number(UUID):
    def __str__(self) -> str:
        return "a number"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Size.BIG, 3),
        (Day.FIRST, date(2026, 1, 2)),
        (markupsafe.Markup("<b>"), "<b>"),
        (defaultdict(list, a=[Size.BIG]), {"a": [3]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (Point(1, [Colour.RED]), (1, ["red"])),
        (type("Row", (list,), {})([1]), [1]),
        (type("Ratio", (float,), {})(0.5), 0.5),
        (type("Blob", (bytes,), {})(b"x"), b"x"),
        (type("Sum", (Decimal,), {})("1.50"), Decimal("1.50")),
        (type("Group", (set,), {})("x"), {"x"}),
        (type("Fixed", (frozenset,), {})("x"), frozenset("x")),
        (type("Span", (timedelta,), {})(1), timedelta(1)),
        (type("Noon", (time,), {})(12), time(12)),
        (Frozen(2026, 1, 2, 3), datetime(2026, 1, 2, 3)),
        (Number(int=1), UUID(int=1)),
        ({Colour.RED: 1}, {"red": 1}),
    ],
)
def test_what_comes_back_is_equal_and_plain(value: Any, plain: Any) -> None:
    """A value of a subclass comes back as the type that it extends, and as an equal value."""
    assert value == plain
    assert shape(decoded(encoded(value))) == shape(plain)


class TestJSONCodec(JSONRules):
    codec = codec


def test_an_empty_cookie_and_no_owner_take_no_room() -> None:
    """The envelope holds version, creation time and data, and the rest only where there is any."""
    assert codec.dumps(SessionState({}, 1.25)) == b'{"v":1,"t":1.25,"d":{}}'
    full = SessionState({"n": 1}, 1.25, {"max_age": 60}, "42")
    assert codec.dumps(full) == b'{"v":1,"t":1.25,"c":{"max_age":60},"o":"42","d":{"n":1}}'


def looped() -> list[Any]:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    return loop


_NUMBERS = "NaN, infinities and integers of more than 4,300 digits have no JSON form"
_TYPES = (
    "a session keeps None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, "
    "datetime, date, time, timedelta, Decimal and UUID"
)


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (math.nan, "", _NUMBERS),
        ([1, {"x": math.inf}], "[1]['x']", _NUMBERS),
        ((0, -math.inf), "[1]", _NUMBERS),
        ({"n": 10**5000}, "['n']", _NUMBERS),
        ({1.0, math.inf}, "{...}", _NUMBERS),
        (nested(100, inside=math.nan), "[0]" * 100, _NUMBERS),
        ([object()], "[0]", f"it is of type object; {_TYPES}"),
        ({1j}, "{...}", f"it is of type complex; {_TYPES}"),
        ({frozenset({1j})}, "{...}{...}", f"it is of type complex; {_TYPES}"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    """The error names the place of the value and why it cannot be stored."""
    with pytest.raises(SerializationError) as caught:
        codec.dumps(SessionState({"fine": 1, "value": value}, 0))
    assert caught.value.path == f"session['value']{path}"
    assert str(caught.value) == f"`session['value']{path}` cannot be stored: {reason}"


@pytest.mark.parametrize(
    "value",
    [looped(), nested(10_000), *(nested(101, around) for around in AROUND)],
    ids=["cycle", "deep", "lists", "dictionaries", "tuples", "lookalikes", "mixed"],
)
def test_a_cycle_and_bottomless_nesting_are_refused_with_their_key(value: Any) -> None:
    """Data that contain themselves, or nest too deeply, are named by their key."""
    with pytest.raises(SerializationError) as caught:
        codec.dumps(SessionState({"fine": 1, "loop": value}, 0))
    assert caught.value.path == "session['loop']"
    assert str(caught.value) == (
        "`session['loop']` cannot be stored: it is nested too deeply (more than 100 levels), or "
        "contains itself"
    )


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("inside", [0, Decimal("1.5"), Colour.RED])
def test_a_hundred_levels_are_stored(around: Callable[[Any], Any], inside: Any) -> None:
    """The limit is the same whatever the containers are."""
    value = nested(99, around, inside=[inside])
    assert decoded(encoded(value)) == value


def test_a_visitor_stays_logged_in_at_the_end_of_the_stack() -> None:
    """A session that is read deep inside the application is the one that was saved."""

    def read(session: Any) -> Any:
        return near_the_end_of_the_stack(90, lambda: session["value"])

    steps = iter([_set(value=nested(90)), read, dict])
    app = wsgi_app(lambda session, environ: next(steps)(session), store=MemoryStore(clock=Clock()))
    browser = SyncClient(app)
    assert browser.get("/").status_code == 200
    cookie = dict(browser.cookies)
    assert browser.get("/").text == repr(nested(90))
    assert browser.get("/").text == repr({"value": nested(90)})
    assert dict(browser.cookies) == cookie


@pytest.mark.parametrize("key", [1, None, True, 1.5, b"a", (1,)])
def test_a_key_of_the_session_that_is_no_string_is_refused(key: Any) -> None:
    """The session's own keys are strings, however the data got there."""
    with pytest.raises(SerializationError, match="keys must be strings") as caught:
        codec.dumps(SessionState({key: "x"}, 0))
    assert caught.value.path == "session"


CORRUPT = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe",
    "not JSON": b"{",
    "NaN": b'{"v":1,"t":1,"d":{"a":NaN}}',
    "a number": b"1",
    "a list": b"[1]",
    "no version": b'{"t":1,"d":{}}',
    "another version": b'{"v":2,"t":1,"d":{}}',
    "version true": b'{"v":true,"t":1,"d":{}}',
    "version text": b'{"v":"1","t":1,"d":{}}',
    "no creation time": b'{"v":1,"d":{}}',
    "creation time text": b'{"v":1,"t":"1","d":{}}',
    "creation time true": b'{"v":1,"t":true,"d":{}}',
    "creation time infinite": b'{"v":1,"t":1e999,"d":{}}',
    "creation time huge": b'{"v":1,"t":1' + b"0" * 400 + b',"d":{}}',
    "no data": b'{"v":1,"t":1}',
    "data a list": b'{"v":1,"t":1,"d":[]}',
    "data tagged": b'{"v":1,"t":1,"d":{"$":"tuple","=":[]}}',
    "owner a number": b'{"v":1,"t":1,"o":1,"d":{}}',
    "cookie a list": b'{"v":1,"t":1,"c":[1],"d":{}}',
    "max_age text": b'{"v":1,"t":1,"c":{"max_age":"1"},"d":{}}',
    "max_age infinite": b'{"v":1,"t":1,"c":{"max_age":1e999},"d":{}}',
    "expires huge": b'{"v":1,"t":1,"c":{"expires":1' + b"0" * 400 + b'},"d":{}}',
    "unknown tag": b'{"v":1,"t":1,"d":{"a":{"$":"code","=":1}}}',
    "tag without value": b'{"v":1,"t":1,"d":{"a":{"$":"set"}}}',
    "bad date": b'{"v":1,"t":1,"d":{"a":{"$":"date","=":"soon"}}}',
    "bad decimal": b'{"v":1,"t":1,"d":{"a":{"$":"decimal","=":"x"}}}',
    "bad base64": b'{"v":1,"t":1,"d":{"a":{"$":"bytes","=":"***"}}}',
    "unhashable": b'{"v":1,"t":1,"d":{"a":{"$":"set","=":[[]]}}}',
    "deep": b'{"v":1,"t":1,"d":{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}}",
    "digits": b'{"v":1,"t":1,"d":{"a":' + b"9" * 5000 + b"}}",
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT)
def test_bytes_of_another_making_are_corrupt(data: bytes) -> None:
    """Bytes that this codec did not write are a CorruptRecord, whose message quotes none."""
    with pytest.raises(CorruptRecord) as caught:
        codec.loads(data, "key")
    assert re.fullmatch(
        r"the record's envelope has another version|the record is not coatcheck's JSON: \w+|"
        r"the record has no envelope of coatcheck's|"
        r"a member of the record's envelope has the wrong type",
        str(caught.value),
    )


@pytest.mark.parametrize(
    "member",
    [
        '"new":1',
        '"z":{"b":[1,null],"a":"x"}',
        '"n":{"$":"set","=":["a","b"]}',
        '"e":[{"$":"dict","=":[["$","x"]]}]',
    ],
)
def test_unknown_envelope_members_are_kept(member: str) -> None:
    """A member that a newer release put beside the data survives a write by this one."""
    stored = ('{"v":1,"t":1,"d":{"n":1},' + member + "}").encode()
    state = codec.loads(stored, "key")
    assert codec.dumps(state) == stored
    state.data["n"] = 2
    assert codec.dumps(state) == stored.replace(b'"n":1}', b'"n":2}')


@given(DATA)
def test_encoding_is_deterministic(data: dict[str, Any]) -> None:
    """Equal states give equal bytes, and encoding changes nothing in the state."""
    state = SessionState(data, 0)
    before = shape(data)
    assert codec.dumps(state) == codec.dumps(SessionState(dict(data), 0))
    assert shape(state.data) == before


_REENCODE = """
import sys
from coatcheck import JSONCodec, SessionState
codec = JSONCodec()
stored = sys.stdin.buffer.read()
state = codec.loads(stored, "key")
fresh = {word for word in "the quick brown fox jumps over the lazy dog".split()}
sys.stdout.buffer.write(codec.dumps(state) + b"\\n")
sys.stdout.buffer.write(codec.dumps(SessionState({"words": fresh}, 0)) + b"\\n")
sys.stdout.write("".join(fresh))
"""


def test_processes_with_different_hash_seeds_write_the_same_bytes() -> None:
    """A set of strings costs no write because another process orders it differently."""
    words = {"the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"}
    stored = codec.dumps(SessionState({"w": words, "n": [words, {"deep": {"x": 1}}]}, 0))
    outputs = []
    for seed in ("0", "1", "2", "3", "4"):
        child = subprocess.run(
            [sys.executable, "-c", _REENCODE],
            input=stored,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        outputs.append(child.stdout.split(b"\n"))
    assert {again for again, _, _ in outputs} == {stored}
    assert {fresh for _, fresh, _ in outputs} == {codec.dumps(SessionState({"words": words}, 0))}
    assert len({order for _, _, order in outputs}) > 1, "the seeds made no difference"


async def story(
    store: CountingStore, write: Any, then: Any, **options: Any
) -> tuple[list[str], Any]:
    """Write in one request, do something in the next: return the second one's store calls."""
    steps = iter([write, then, dict])
    app = asgi_app(lambda session, scope: next(steps)(session), store=store, **options)
    browser = Client(app)
    await browser.get("/")
    store.taken()
    await browser.get("/")
    calls = store.taken()
    return calls, await browser.get("/")


def _set(**values: Any) -> Any:
    return lambda session: session.update(values)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "read_or_assign"),
    [
        ({"a", "b", "c"}, lambda session: session["v"]),
        ({"a", "b", "c"}, lambda session: session.update(v={"c", "b", "a"})),
        ([{"deep": (1, 2)}], lambda session: session.update(v=[{"deep": (1, 2)}])),
        (datetime(2026, 1, 1), lambda session: session["v"]),
        ([datetime(2026, 1, 1)], lambda session: session["v"]),
        (Decimal("1.50"), lambda session: session.update(v=Decimal("1.50"))),
    ],
)
async def test_equal_values_cost_no_write(value: Any, read_or_assign: Any) -> None:
    """Reading a nested value, or assigning an equal one, writes nothing to the store."""
    calls, _ = await story(CountingStore(clock=Clock()), _set(v=value), read_or_assign)
    assert calls == ["get"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, True),
        (1, 1.0),
        (True, 1),
        (0, False),
        (0.0, -0.0),
        ([1], [True]),
        ((1,), [1]),
        (Decimal("1.5"), Decimal("1.50")),
        ("1", 1),
    ],
)
async def test_a_value_of_another_type_is_a_change(value: Any, other: Any) -> None:
    """Replacing 1 by True, which Python calls equal, is saved."""
    store = CountingStore(clock=Clock())
    calls, response = await story(store, _set(v=value), _set(v=other))
    assert calls == ["get", "set"]
    assert response.text == repr({"v": other})


@pytest.mark.anyio
async def test_a_type_changed_inside_a_nested_value_is_a_change() -> None:
    """Replacing 1 by True inside a list that was handed out is saved, too."""

    def change(session: Any) -> None:
        session["v"][0]["n"] = True

    calls, _ = await story(CountingStore(clock=Clock()), _set(v=[{"n": 1}]), change)
    assert calls == ["get", "set"]


class Planted:
    """Executes when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_a_planted_pickle_is_corrupt_and_not_executed(protocol: int, tmp_path: Path) -> None:
    """Write access to the store is not enough to make the application run code."""
    target = tmp_path / "executed"
    planted = pickle.dumps(Planted(target), protocol)
    with pytest.raises(CorruptRecord):
        codec.loads(planted, "key")

    store, kinds = MemoryStore(), []
    store.set("a" * 32, Record(planted, 1e11))
    app = asgi_app(
        lambda session, scope: (session.is_new, dict(session)),
        store=store,
        hash_ids=False,
        observers=[lambda event: kinds.append(event.kind)],
    )
    signed = NativeCookieFormat().bind("sid", [SECRET.encode()]).sign("a" * 32)
    response = await Client(app).get("/", headers={"cookie": f"sid={signed}"})
    assert (response.status_code, response.text) == (200, "(True, {})")
    assert kinds == ["corrupt"]
    assert not target.exists()
    pickle.loads(planted)
    assert target.exists(), "the planted pickle would not have done anything"


def test_the_envelope_is_one_json_object() -> None:
    """Other programs read a record with any JSON parser."""
    data = codec.dumps(SessionState({"n": 1, "when": date(2026, 1, 2)}, 5.0, {}, "42"))
    assert json.loads(data) == {
        "v": 1,
        "t": 5.0,
        "o": "42",
        "d": {"n": 1, "when": {"$": "date", "=": "2026-01-02"}},
    }
