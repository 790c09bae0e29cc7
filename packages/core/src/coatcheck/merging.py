"""Three-way merge of two changed copies of one session, key by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .codec import SessionState

_ABSENT: Final = object()

#: Returns the stored form of one value, which is what values are compared by.
EncodeValue = Callable[[Any], bytes]


def merge(
    base: SessionState, mine: SessionState, theirs: SessionState, encode: EncodeValue
) -> SessionState:
    """Return the state with the changes of both sides.

    A key that one side deleted and the other changed is deleted; one that both changed is mine,
    because I write later. The owner and the cookie settings merge as two more keys.

    :param base: what both sides started from.
    :param encode: gives the stored form of a value: 1, 1.0 and True differ.
    """

    def choose(base_value: Any, my_value: Any, their_value: Any) -> Any:
        before, my, their = (
            None if value is _ABSENT else encode(value)
            for value in (base_value, my_value, their_value)
        )
        if my == their:
            return my_value  # the very object that the application may hold
        if my == before:
            return their_value
        if their == before or their is not None:
            return my_value
        return _ABSENT

    merged = {}
    for key in (*theirs.data, *(key for key in mine.data if key not in theirs.data)):
        value = choose(
            base.data.get(key, _ABSENT),
            mine.data.get(key, _ABSENT),
            theirs.data.get(key, _ABSENT),
        )
        if value is not _ABSENT:
            merged[key] = value
    return SessionState(
        data=merged,
        created_at=theirs.created_at,
        cookie=_or(choose(*(_settings(state) for state in (base, mine, theirs))), {}),
        owner=_or(choose(*(_or_absent(state.owner) for state in (base, mine, theirs))), None),
        extra=theirs.extra,
    )


def _settings(state: SessionState) -> Any:
    # In one order: what was set first does not matter.
    return dict(sorted(state.cookie.items())) or _ABSENT


def _or_absent(value: Any) -> Any:
    return _ABSENT if value is None else value


def _or(value: Any, default: Any) -> Any:
    return default if value is _ABSENT else value
