"""Make the keys of dictionaries strings, as Django's JSON serializer does."""

from __future__ import annotations

import json
from typing import Any, Final

_CONTAINERS: Final = (dict, list, tuple)


def with_text_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return data whose keys are strings.

    The data are copied only if there is another key. The last of two keys that become the same
    wins: a cart that was read has ``"5"``, and a view that puts ``5`` into it means that one.
    """
    try:
        converted: dict[str, Any] = _converted(data) if _has_others(data) else data
    except RecursionError:  # the codec refuses it
        return data
    return converted


def _has_others(value: Any) -> bool:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return True
        value = value.values()
    return any(_has_others(each) for each in value if isinstance(each, _CONTAINERS))


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(key): _converted(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_converted(each) for each in value)
    return value


def _text(key: Any) -> Any:
    """Return a key as JSON has it. The codec refuses those that JSON does not have."""
    if key is None or isinstance(key, int | float):
        try:
            return json.dumps(key, allow_nan=False)
        except ValueError:
            return key
    return key
