"""How fast the service is asked, where a call of the store is many requests."""

from __future__ import annotations

import random
import time
from typing import Final

from coatcheck.errors import StoreUnavailable

#: How often what a batch left undone is asked for again, and the first pause, in seconds.
_REPEATS: Final = 6
_PAUSE: Final = 0.05


class Pace:
    """Lets capacity be used at a rate: so many units a second, on the average."""

    def __init__(self, units: float) -> None:
        self._units = units
        self._began, self._used = time.monotonic(), 0.0

    def keep(self, used: float) -> None:
        """Wait until as many units as were used are due."""
        self._used += used
        time.sleep(max(0.0, self._began + self._used / self._units - time.monotonic()))


class Patience:
    """Waits ever longer for a service that leaves undone what it is asked for, and then no more."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._attempts = 0

    def wait(self, left: int) -> None:
        """Wait, unless this is the first time; begin anew if there was progress.

        :param left: how much is to be done.
        :raises StoreUnavailable: nothing was done in several attempts.
        """
        if self._left is not None:
            self._attempts = self._attempts + 1 if left >= self._left else 0
            if self._attempts == _REPEATS:
                raise StoreUnavailable("DynamoDB is asked for more than its capacity")
            share = random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            time.sleep(share * _PAUSE * 2**self._attempts)
        self._left = left
