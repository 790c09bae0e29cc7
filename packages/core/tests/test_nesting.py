"""JSON without recursion does what the standard library does."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coatcheck._json.nesting import DEEPEST, decode_deep, encode_deep

DECODERS = [json.JSONDecoder(), json.JSONDecoder(object_hook=lambda pairs: list(pairs.items()))]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)
PIECES = st.sampled_from([*'[]{},: \n"\\', '"a"', '"a":', "1", "-", "true", "null", "[]", "{}"])


def outcome(decode: Any, text: str) -> Any:
    with contextlib.suppress(ValueError):
        return repr(decode(text))
    return ValueError


@given(VALUES, st.sampled_from([None, 1]))
def test_values_are_written_and_read_alike(value: Any, indent: int | None) -> None:
    """The text is the same, and what comes back, with blanks and without."""
    plain = json.JSONEncoder(separators=(",", ":")).encode
    assert encode_deep(value, plain) == plain(value)
    text = json.dumps(value, indent=indent)
    for decoder in DECODERS:
        assert decode_deep(text, decoder) == decoder.decode(text)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("")
@example("[1,]")
@example('{"a":1,}')
@example('{"a":1,"a":2}')
@example("{1:2}")
@example('{"a" :[ ] , "b":{ }}\n')
@example("[1] 2")
@example('{"a"}')
@example("[{]}")
def test_text_is_read_or_refused_alike(text: str) -> None:
    """Text that is not JSON is a ValueError, and nothing else is one."""
    for decoder in DECODERS:
        assert outcome(lambda it, d=decoder: decode_deep(it, d), text) == outcome(
            decoder.decode, text
        )


@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_depth_needs_no_stack(left: str, right: str) -> None:
    """Text that nobody's stack would do for is read and written; without end it is refused."""
    text = left * DEEPEST + "1" + right * DEEPEST
    assert encode_deep(decode_deep(text, DECODERS[0]), json.dumps) == text
    for deeper in (left + text + right, left * 10**6):
        with pytest.raises(ValueError, match="too deep"):
            decode_deep(deeper, DECODERS[0])
