"""Call a function near the end of the stack."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def near_the_end_of_the_stack(room: int, call: Callable[[], T]) -> T:
    """Call a function with about that many frames left, and return the result."""
    depth, frame = 0, sys._getframe()
    while (above := frame.f_back) is not None:
        depth, frame = depth + 1, above

    def descend(left: int) -> T:
        return descend(left - 1) if left else call()

    return descend(sys.getrecursionlimit() - depth - room - 5)
