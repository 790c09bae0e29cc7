"""Whatever comes in, only documented errors come out."""

from __future__ import annotations

import contextlib
import json
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from coatcheck import CookieOptions, JSONCodec, SessionState, open_async_store, open_store
from coatcheck._cookies.cookie_header import cookie_values, http_date, path_matches, set_cookie_line
from coatcheck.cookie_format import NativeCookieFormat
from coatcheck.errors import ConfigurationError, CorruptRecord, SerializationError
from coatcheck.store import AsyncStore, Store

#: For inputs that mostly fail early: few examples would reach little of the code behind.
often = settings(max_examples=5 * settings.default.max_examples)

SECRETS = [b"a secret of thirty-two bytes, more"]
ID = "abcdefghijklmnopqrstuvwxyz012345"

_separators = st.sampled_from([";", "=", " ", "\t", '"', ",", "sid", "sid=", "\r\n", "\x00", "."])
HEADERS = st.lists(
    st.lists(_separators | st.text(st.characters(max_codepoint=255), max_size=4)).map("".join),
    max_size=3,
)


@given(HEADERS, st.sampled_from(["sid", "s", "=", "__Host-sid"]))
def test_any_cookie_header_can_be_read(headers: list[str], name: str) -> None:
    """Reading yields pieces of the header without blanks around them, and never fails."""
    for value in cookie_values(headers, name):
        assert value == "" or any(value in header for header in headers)
        assert ";" not in value


@given(st.lists(st.text(st.characters(exclude_characters=' \t;"'), max_size=8), max_size=4))
def test_what_was_written_into_a_header_is_read_from_it(values: list[str]) -> None:
    """Cookies between others come back in order."""
    header = "; ".join(["first=1", *(f"sid={value}" for value in values), "last=sid"])
    assert list(cookie_values([header], "sid")) == values


@given(st.text(max_size=80) | st.text(max_size=3).map(lambda tail: f"{ID}.{tail}"))
def test_any_text_can_be_unsigned(value: str) -> None:
    """What we did not sign is None, whatever letters it has."""
    writer = NativeCookieFormat().bind("sid", SECRETS)
    assert writer.unsign(value) is None
    assert writer.valid_id(value) in (True, False)


@given(st.text(st.characters(max_codepoint=127), max_size=150))
def test_whatever_is_signed_is_read_back(value: str) -> None:
    """Signing accepts any ASCII text, and gives one that fits into a header."""
    writer = NativeCookieFormat().bind("sid", SECRETS)
    token = writer.unsign(writer.sign(value))
    assert token is not None
    assert (token.id, token.current) == (value, True)


@given(st.text(max_size=10), st.text(max_size=10).map("/{}".format))
def test_any_path_can_be_matched(request_path: str, cookie_path: str) -> None:
    """A path is within itself and below itself, and matching anything else never fails."""
    assert path_matches(request_path, cookie_path) in (True, False)
    assert path_matches(cookie_path, cookie_path)
    assert path_matches(f"{cookie_path}/x", cookie_path)


_anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.datetimes()
    | st.timedeltas()
    | st.lists(st.integers(), max_size=2)
)


@given(
    st.dictionaries(
        st.sampled_from([*CookieOptions.__dataclass_fields__]),
        _anything | st.sampled_from(["lax", "auto", "none", "/shop", "shop.test", "high", 60]),
        max_size=3,
    ),
    st.booleans(),
)
def test_cookie_options_are_refused_or_make_a_clean_line(
    options: dict[str, Any], is_https: bool
) -> None:
    """Any values are a ConfigurationError or give one line of printable ASCII."""
    try:
        made = CookieOptions(**options)
        made.check_name("sid")
    except ConfigurationError:
        return
    line = set_cookie_line("sid", "value", made.resolve("sid", is_https))
    assert line.isascii()
    assert line.isprintable()
    if isinstance(made.expires, int | float):
        assert http_date(made.expires).endswith(" GMT")


codec = JSONCodec()
WRITTEN = codec.dumps(
    SessionState(
        {
            "n": [1, 2.5, None, True, {"$": "x", "deep": [{}]}],
            "t": (b"\x00\x01", Decimal("1.5")),
            "s": {"a", "b"},
            "d": date(2026, 1, 2),
        },
        1.5,
        {"max_age": 60, "path": "/shop"},
        "42",
        {"later": {"$": 1}},
    )
)


def load(data: bytes) -> None:
    """Load bytes as a request does, and use what came out of them."""
    try:
        state = codec.loads(data, "key")
    except CorruptRecord:
        return
    assert type(state.data) is dict
    assert state.owner is None or type(state.owner) is str
    assert abs(state.created_at) < 1e12
    with contextlib.suppress(SerializationError):
        again = codec.dumps(state)
        assert codec.dumps(codec.loads(again, "key")) == again


@often
@given(st.binary(max_size=200))
@example(b"{}")
@example(b"[]")
def test_any_bytes_are_a_session_or_corrupt(data: bytes) -> None:
    """Bytes from anywhere are a CorruptRecord and no other error."""
    load(data)


@often
@given(
    st.lists(
        st.tuples(st.integers(0, len(WRITTEN)), st.integers(0, 8), st.binary(max_size=4)),
        min_size=1,
        max_size=3,
    )
)
def test_a_damaged_record_is_a_session_or_corrupt(damages: list[tuple[int, int, bytes]]) -> None:
    """A record with bytes lost, added or replaced is a CorruptRecord and no other error."""
    data = WRITTEN
    for place, lost, added in damages:
        data = data[:place] + added + data[place + lost :]
    load(data)


_json = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 10**30, "", "$", "set", "dict", "datetime", "bytes"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$", "=", "a"]), inner, max_size=3)
        | st.tuples(
            st.sampled_from(
                ["dict", "tuple", "set", "datetime", "date", "uuid", "decimal", "bytes", "x"]
            ),
            inner,
        ).map(lambda pair: {"$": pair[0], "=": pair[1]})
    ),
    max_leaves=8,
)


@often
@given(
    st.fixed_dictionaries(
        {"v": st.just(1), "t": st.just(1) | _json, "d": st.just({}) | _json},
        optional={"c": _json, "o": _json, "x": _json},
    )
)
@example({"v": 1, "t": 1, "d": {"a": {"$": "dict", "=": [[1, 2]]}}})
@example({"v": 1, "t": 1, "d": {"a": {"$": "decimal", "=": [0, [1], "n"]}}})
def test_an_envelope_of_anything_is_a_session_or_corrupt(envelope: dict[str, Any]) -> None:
    """An envelope whose members are of any shape is a CorruptRecord and no other error."""
    load(json.dumps(envelope).encode())


_scheme = st.sampled_from(["memory:", "memory://", "MEMORY:", "redis:", "file:", "x", ""])
_piece = st.sampled_from(
    ["[", "]", "//", "/", "?", "&", "=", "#", "@", ":", "%00", "max_sessions=", "max_sessions", "5"]
) | st.text(max_size=4)
URLS = st.tuples(_scheme, st.lists(_piece, max_size=6)).map(
    lambda parts: parts[0] + "".join(parts[1])
)


@often
@given(URLS | st.text(max_size=20))
@example("memory://[")
@example("memory:?max_sessions=" + "9" * 5000)
@example("memory:?max_sessions=٣")
@example("memory://\u2100.test")
@example("\ud800:")
@example("redis://x?y")  # this one and the next two: where these stores are installed
@example("redis://x")
@example("file:x")
def test_any_url_is_a_store_or_a_configuration_error(url: str) -> None:
    """A URL opens a store or is refused as configuration, and nothing else happens."""
    for opener, kind in ((open_store, Store), (open_async_store, AsyncStore)):
        try:
            store = opener(url)
        except ConfigurationError:
            continue
        assert isinstance(store, kind)
