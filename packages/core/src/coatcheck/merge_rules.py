"""Merge the values of keys that two requests change at the same time.

A rule is a function of three values: the one that both requests began with, this request's, and the
one that is stored by now. It returns the value to store::

    SessionMiddleware(app, merge={"attempts": counter, "seen": union}, ...)

A rule must not change its arguments. It is called again if another request was faster. It is not
called if one side has deleted the key: then the key stays deleted.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

__all__ = [
    "counter",
    "union",
]


def __dir__() -> list[str]:
    return __all__


def counter(base: Any, mine: Any, theirs: Any) -> Any:
    """Add the differences of both sides to a number.

    :raises TypeError: a value is no number.
    """
    return theirs + (mine - (0 if base is None else base))


def union(base: Any, mine: Any, theirs: Any) -> Any:
    """Keep the items that either side has added to a list or a set, without those removed.

    In a list the items that this request has added come last.

    :raises TypeError: the values are neither all lists nor all sets.
    """
    if isinstance(mine, AbstractSet) and isinstance(theirs, AbstractSet):
        before = set() if base is None else base
        return (theirs | (mine - before)) - (before - mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        before = [] if base is None else base
        merged = _without(theirs, _without(before, mine))
        return merged + _without(mine, before)
    raise TypeError(
        "the merge rule `union` is for lists or sets, not "
        f"{type(mine).__name__} and {type(theirs).__name__}"
    )


def _without(items: list[Any], removed: list[Any]) -> list[Any]:
    """Return a copy without the first item that equals each removed one."""
    left = [*items]
    for item in removed:
        if item in left:
            left.remove(item)
    return left
