"""Slow down when one call of the store needs many requests: a rate limiter and a backoff."""

from __future__ import annotations

import random
import time
from typing import Final

from coatcheck.errors import StoreUnavailable

#: How many attempts without progress are made.
_REPEATS: Final = 6
#: Seconds: the first pause.
_PAUSE: Final = 0.05


class RateLimiter:
    """Limits the capacity units that are used in a second, on average."""

    def __init__(self, units: float) -> None:
        self._units = units
        self._began, self._used = time.monotonic(), 0.0

    def wait(self, used: float) -> None:
        """Add used units, and wait until all used units are within the limit."""
        self._used += used
        time.sleep(max(0.0, self._began + self._used / self._units - time.monotonic()))


class Backoff:
    """Waits longer after each attempt without progress, and gives up after several."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._attempts = 0

    def wait(self, left: int) -> None:
        """Wait, except before the first attempt. Progress resets the pause.

        :param left: the number of items that are left.
        :raises StoreUnavailable: several attempts made no progress.
        """
        if self._left is not None:
            self._attempts = self._attempts + 1 if left >= self._left else 0
            if self._attempts == _REPEATS:
                raise StoreUnavailable("DynamoDB has not enough capacity for the requests")
            share = random.uniform(0.5, 1.0)  # noqa: S311  # not for a secret
            time.sleep(share * _PAUSE * 2**self._attempts)
        self._left = left
