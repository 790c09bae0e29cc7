"""Three-way merge of two changed copies of one session, key by key."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from .codec import SessionState

_ABSENT: Final = object()

#: Returns the stored form of one value, which is what values are compared by.
EncodeValue = Callable[[Any], bytes]

#: Returns the value of a key that both sides have changed: (base, mine, theirs) -> merged. The base
#: is None where the key was not there.
MergeRule: TypeAlias = Callable[[Any, Any, Any], Any]

#: Types whose values have equal stored forms if they are equal, and other ones if they are not.
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

    A key that one side deleted and the other changed is deleted. Of one that both changed the rule
    of the key decides; without a rule it is mine, because I write later. The owner and the cookie
    settings merge as two more keys.

    :param base: what both sides started from.
    :param encode: gives the stored form of a value: 1, 1.0 and True differ.
    :param rules: by key. A rule is asked also where both sides have made the same change.
    """

    def choose(base_value: Any, my_value: Any, their_value: Any, rule: MergeRule | None) -> Any:
        agree = _same(my_value, their_value, encode)
        if agree and (rule is None or _same(base_value, my_value, encode)):
            return my_value  # the very object that the application may hold
        if not agree and _same(my_value, base_value, encode):
            return their_value
        if not agree and _same(their_value, base_value, encode):
            return my_value
        if rule is not None and my_value is not _ABSENT and their_value is not _ABSENT:
            return rule(_or(base_value, None), my_value, their_value)
        return _ABSENT if their_value is _ABSENT else my_value

    merged = {}
    rules = rules or {}
    base_data, my_data, their_data = base.data, mine.data, theirs.data
    for key in (*their_data, *(key for key in my_data if key not in their_data)):
        my_value, their_value = my_data.get(key, _ABSENT), their_data.get(key, _ABSENT)
        kind = type(my_value)
        if (
            kind in PLAIN
            and kind is type(their_value)
            and my_value == their_value
            and key not in rules
        ):
            merged[key] = my_value  # as nearly always
            continue
        value = choose(base_data.get(key, _ABSENT), my_value, their_value, rules.get(key))
        if value is not _ABSENT:
            merged[key] = value
    settings = choose(_settings(base), _settings(mine), _settings(theirs), None)
    owner = choose(_owner(base), _owner(mine), _owner(theirs), None)
    return SessionState(
        data=merged,
        created_at=theirs.created_at,
        cookie=_or(settings, {}),
        owner=_or(owner, None),
        extra=theirs.extra,
    )


def _same(one: Any, other: Any, encode: EncodeValue) -> bool:
    """Tell whether two values have one stored form; without encoding them, where that is plain."""
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
            pass  # of types that marshal lacks
    return encode(one) == encode(other)


def _settings(state: SessionState) -> Any:
    # In one order: what was set first does not matter.
    return dict(sorted(state.cookie.items())) or _ABSENT


def _owner(state: SessionState) -> Any:
    return _ABSENT if state.owner is None else state.owner


def _or(value: Any, default: Any) -> Any:
    return default if value is _ABSENT else value
