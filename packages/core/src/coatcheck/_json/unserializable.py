"""Find the value that cannot be stored, and say what to store instead.

A codec calls this module after encoding has failed: then there is time to look for the place.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeAlias

from ..errors import SerializationError
from .json_text import encode_json

#: Returns the form in which JSON has a value, or raises Unstorable.
StoredForm: TypeAlias = Callable[[Any], Any]


class Unstorable(Exception):
    """A value has no stored form; the message says why."""


class TooDeep(Unstorable):
    """A value has too many levels.

    :param levels: how many there may be.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(
            f"it is nested too deeply (more than {levels:,} levels), or contains itself"
        )


def locate_unserializable(
    value: Any, stored_form: StoredForm, path: str = "session"
) -> SerializationError:
    """Return the error that names the innermost value that cannot be stored.

    :param stored_form: returns the form in which JSON has a value, or raises
        :class:`Unstorable`.
    """
    inside = path != "session"
    reason = _failure(value, stored_form, inside)
    if not (inside and isinstance(reason, TooDeep)):
        for part, item in _items(value):
            if _failure(item, stored_form, True) is not None:
                return locate_unserializable(item, stored_form, path + part)
    return SerializationError(f"`{path}` cannot be stored: {reason}", path)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f"[{key!r}]", item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    return (("{...}", item) for item in value) if isinstance(value, set | frozenset) else iter(())


def _failure(value: Any, stored_form: StoredForm, inside: bool) -> Unstorable | None:
    """Return why a value cannot be stored.

    :param inside: whether the value is a part of the session and not the whole.
    """
    try:
        # A value inside another one may have one level less.
        encode_json(stored_form([value] if inside else value))
    except Unstorable as error:
        return error
    except (ValueError, TypeError):
        return Unstorable(
            "NaN, infinities and integers of more than 4,300 digits have no JSON form"
        )
    return None


def check_names(data: Iterable[object]) -> None:
    """Refuse keys of the session itself that are not strings.

    :raises SerializationError: there is one.
    """
    for key in data:
        if not isinstance(key, str):
            kind = type(key).__name__
            raise SerializationError(
                f"`session` cannot be stored: it has a key of type {kind}; keys must be strings"
            )


def advice_for(value: object) -> str:
    """Return what to store instead of a value, as the beginning of a sentence, or nothing."""
    if isinstance(value, type):
        return ""
    if isinstance(value, enum.Enum):
        return "store its `value`; "
    if is_dataclass(value):
        return "store `dataclasses.asdict(...)` of it; "
    if hasattr(type(value), "model_dump"):
        return "store its `model_dump()`; "
    if isinstance(value, bytearray | memoryview):
        return "store `bytes(...)` of it; "
    if isinstance(value, Mapping):
        return "store `dict(...)` of it; "
    if hasattr(type(value), "casefold"):  # as a text that is translated when it is shown
        return "store `str(...)` of it; "
    return "store `list(...)` of it; " if isinstance(value, Iterable) else ""
