"""Rules of every codec whose records are JSON, told once for the codecs of all packages."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import re
from collections import OrderedDict, UserString, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest

from coatcheck import SessionState
from coatcheck.codec import Codec
from coatcheck.errors import SerializationError
from testing.stack import near_the_end_of_the_stack


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Suit(enum.Enum):
    CLUBS = 1


@dataclass
class Cart:
    items: list[str]


class Model:
    def model_dump(self) -> dict[str, Any]:
        return {}


#: Ways to put a value into a container.
AROUND: list[Callable[[Any], Any]] = [
    lambda it: [it],
    lambda it: {"a": it},
    lambda it: (it,),
    lambda it: {"$": it},
    lambda it: OrderedDict(a=it),
]


def nested(depth: int, around: Callable[[Any], Any] = AROUND[0], inside: Any = 0) -> Any:
    value: Any = inside
    for _ in range(depth):
        value = around(value)
    return value


class JSONRules:
    """The rules, for subclasses whose names begin with ``Test``.

    :cvar codec: the codec that is tested.
    """

    codec: Codec

    @pytest.mark.parametrize(
        ("value", "back"),
        [
            ({1: "a", 2: {3: "b"}}, {"1": "a", "2": {"3": "b"}}),
            ({1.5: 1, -0.0: 2, 1e21: 3}, {"1.5": 1, "-0.0": 2, "1e+21": 3}),
            ({True: 1, False: 2, None: 3}, {"true": 1, "false": 2, "null": 3}),
            ({Size.BIG: 1, Colour.RED: 2}, {"3": 1, "red": 2}),
            ([{7: []}], [{"7": []}]),
        ],
    )
    def test_keys_of_dictionaries_become_strings_as_in_json(self, value: Any, back: Any) -> None:
        """Keys are what `json.dumps` makes of them."""
        state = SessionState({"value": value}, created_at=0)
        stored = self.codec.pack(self.codec.dumps(state), state, 60.0, "key")
        assert self.codec.loads(stored, "key").data == {"value": back}
        assert back == json.loads(json.dumps(value))
        assert self.codec.dumps(SessionState({"value": back}, 0)) == self.codec.dumps(state)

    @pytest.mark.parametrize(
        ("value", "path", "reason"),
        [
            ({1: "a", "1": "b"}, "", "its keys 1 and '1' are the same in JSON, where keys are str"),
            ([{"null": 1, None: 2}], "[0]", "its keys 'null' and None are the same in JSON"),
            ({"true": 1, True: 2}, "", "its keys 'true' and True are the same in JSON"),
            ({(1, 2): 1}, "", "it has a key of type tuple; keys must be strings, or int"),
            ({b"a": 1}, "", "it has a key of type bytes; keys must be strings, or int, float"),
            ({date(2026, 1, 2): 1}, "", "it has a key of type date; keys must be strings, or int"),
            ({math.nan: 1}, "", "have no JSON form"),
        ],
    )
    def test_keys_that_json_lacks_are_refused(self, value: Any, path: str, reason: str) -> None:
        """A key that cannot become a string, or not one of its own, is named with its place."""
        with pytest.raises(SerializationError, match=re.escape(reason)) as caught:
            self.codec.dumps(SessionState({"value": value}, 0))
        assert caught.value.path == f"session['value']{path}"

    @pytest.mark.parametrize(
        ("value", "advice"),
        [
            (Suit.CLUBS, "it is of type Suit; store its `value`; a session"),
            (Cart([]), "it is of type Cart; store `dataclasses.asdict(...)` of it; a session"),
            (Model(), "it is of type Model; store its `model_dump()`; a session"),
            (bytearray(), "it is of type bytearray; store `bytes(...)` of it; a session"),
            (MappingProxyType({}), "it is of type mappingproxy; store `dict(...)` of it; a"),
            (UserString("x"), "it is of type UserString; store `str(...)` of it; a session"),
            (deque(), "it is of type deque; store `list(...)` of it; a session"),
            (range(3), "it is of type range; store `list(...)` of it; a session"),
            (object(), "it is of type object; a session"),
            (Cart, "it is of type type; a session"),
            (1j, "it is of type complex; a session"),
        ],
    )
    def test_other_types_are_refused_with_advice(self, value: Any, advice: str) -> None:
        """The error names the place, and says what to store instead."""
        with pytest.raises(SerializationError, match=re.escape(advice)) as caught:
            self.codec.dumps(SessionState({"value": [value]}, 0))
        assert caught.value.path == "session['value'][0]"

    @pytest.mark.parametrize("around", AROUND[:2])
    @pytest.mark.parametrize("inside", ["plain", {"$": "tagged"}])
    def test_a_record_is_read_wherever_it_is_read(
        self, around: Callable[[Any], Any], inside: Any
    ) -> None:
        """Where the stack is nearly used up, a record is what it is elsewhere, not corrupt."""
        state = SessionState({"value": nested(99, around, inside)}, 0)
        stored = self.codec.pack(self.codec.dumps(state), state, 60.0, "key")
        elsewhere = self.codec.loads(stored, "key")
        assert near_the_end_of_the_stack(30, lambda: self.codec.loads(stored, "key")) == elsewhere
        # And at its very end nothing is said about the record.
        for room in range(1, 30):
            with contextlib.suppress(RecursionError):
                near_the_end_of_the_stack(room, lambda: self.codec.loads(stored, "key"))
            with contextlib.suppress(RecursionError):
                near_the_end_of_the_stack(room, lambda: self.codec.dumps(state))
