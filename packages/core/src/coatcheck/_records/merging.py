"""Merge two changed copies of one session, key by key: a three-way merge."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from ..codec import SessionState

_ABSENT: Final = object()

#: Returns the stored form of one value. Values are compared by their stored forms.
EncodeValue = Callable[[Any], bytes]

#: Returns the value of a key that both sides have changed: (base, mine, theirs) -> merged. The base
#: is None if the key did not exist before.
MergeRule: TypeAlias = Callable[[Any, Any, Any], Any]

#: Two values of one of these types have the same stored form if, and only if, they are equal.
PLAIN: Final = frozenset({str, int, bool, bytes, type(None)})
#: A version of marshal's format that does not depend on which objects are shared.
_MARSHAL_VERSION: Final = 2


def merge(
    base: SessionState,
    mine: SessionState,
    theirs: SessionState,
    encode: EncodeValue,
    rules: Mapping[str, MergeRule] | None = None,
) -> SessionState:
    """Return the state with the changes of both sides.

    A key that one side deleted and the other changed is deleted. If both sides changed a key, its
    rule decides. Without a rule the value is mine, because I write later. The owner and the cookie
    settings are merged like two more keys.

    :param base: the state that both sides started from.
    :param encode: returns the stored form of a value: 1, 1.0 and True differ.
    :param rules: by key. A rule is also asked if both sides have made the same change.
    """
    data = _merged_data(base.data, mine.data, theirs.data, encode, rules or {})
    settings = _choose(_settings(base), _settings(mine), _settings(theirs), encode)
    owner = _choose(_owner(base), _owner(mine), _owner(theirs), encode)
    return SessionState(
        data=data,
        created_at=theirs.created_at,
        cookie=_or(settings, {}),
        owner=_or(owner, None),
        extra=theirs.extra,
    )


def without_undone(
    base: SessionState,
    before: SessionState,
    mine: SessionState,
    theirs: SessionState,
    encode: EncodeValue,
) -> SessionState:
    """Return a base without the additions that are not stored, and that I have changed since.

    :param before: what the base was made from. A key that it has was deleted by others.
    """

    def is_undone(base_value: Any, before_value: Any, my_value: Any, their_value: Any) -> bool:
        return (
            before_value is _ABSENT
            and their_value is _ABSENT
            and not _same(base_value, my_value, encode)
        )

    data = {
        key: value
        for key, value in base.data.items()
        if not is_undone(value, *(each.data.get(key, _ABSENT) for each in (before, mine, theirs)))
    }
    states = base, before, mine, theirs
    return replace(
        base,
        data=data,
        cookie={} if is_undone(*map(_settings, states)) else base.cookie,
        owner=None if is_undone(*map(_owner, states)) else base.owner,
    )


def _merged_data(
    base_data: dict[str, Any],
    my_data: dict[str, Any],
    their_data: dict[str, Any],
    encode: EncodeValue,
    rules: Mapping[str, MergeRule],
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key in (*their_data, *(key for key in my_data if key not in their_data)):
        my_value, their_value = my_data.get(key, _ABSENT), their_data.get(key, _ABSENT)
        kind = type(my_value)
        if (
            kind in PLAIN
            and kind is type(their_value)
            and my_value == their_value
            and key not in rules
        ):
            merged[key] = my_value  # nearly always
            continue
        base_value = base_data.get(key, _ABSENT)
        value = _choose(base_value, my_value, their_value, encode, rules.get(key))
        if value is not _ABSENT:
            merged[key] = value
    return merged


def _choose(
    base_value: Any,
    my_value: Any,
    their_value: Any,
    encode: EncodeValue,
    rule: MergeRule | None = None,
) -> Any:
    """Return the merged value of one key."""
    agree = _same(my_value, their_value, encode)
    if agree and (rule is None or _same(base_value, my_value, encode)):
        return my_value  # the object that the application may hold
    if not agree and _same(my_value, base_value, encode):
        return their_value
    if not agree and _same(their_value, base_value, encode):
        return my_value
    if rule is not None and my_value is not _ABSENT and their_value is not _ABSENT:
        return rule(_or(base_value, None), my_value, their_value)
    return _ABSENT if their_value is _ABSENT else my_value


def _same(one: Any, other: Any, encode: EncodeValue) -> bool:
    """Tell whether two values have the same stored form, without encoding them if possible."""
    if one is other:
        return True
    if one is _ABSENT or other is _ABSENT:
        return False
    kind = type(one)
    if kind is type(other):
        if kind in PLAIN:
            return bool(one == other)
        try:
            if marshal.dumps(one, _MARSHAL_VERSION) == marshal.dumps(other, _MARSHAL_VERSION):
                return True
        except ValueError:
            pass  # they have types that marshal lacks
    return encode(one) == encode(other)


def _settings(state: SessionState) -> Any:
    # Sorted, because the order in which the settings were made does not matter.
    return dict(sorted(state.cookie.items())) or _ABSENT


def _owner(state: SessionState) -> Any:
    return _ABSENT if state.owner is None else state.owner


def _or(value: Any, default: Any) -> Any:
    return default if value is _ABSENT else value
