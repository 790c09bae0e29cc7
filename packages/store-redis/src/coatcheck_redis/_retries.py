"""When a command is sent again."""

from __future__ import annotations

import random
from typing import Final

from coatcheck.errors import StoreError
from coatcheck.storekit import interruption
from redis import exceptions

from ._failures import PACKAGES

#: Seconds: the longest pause between two attempts.
_LONGEST_PAUSE: Final = 0.3
#: Errors after which another attempt is useless: the server has answered, or its time is over.
_FINAL: Final = (
    exceptions.AuthenticationError,
    exceptions.ResponseError,
    exceptions.TimeoutError,
    StoreError,
)


class Retries:
    """Decides whether a command is sent again after a failure.

    Each command may be repeated: see _lua/live.lua.

    :param retries: how often a command is sent again at most.
    :ivar closed: whether the connections were closed. Then nothing is sent again.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self.closed = False

    def pause_after(self, error: Exception, failures: int) -> float | None:
        """Return the seconds until the next attempt, a random number; None if there is none.

        :param failures: how many attempts have failed.
        """
        if interruption(error, PACKAGES) is not None or self.is_final(error):
            return None
        if self.closed or failures > self._retries:
            return None
        longest = min(_LONGEST_PAUSE, _LONGEST_PAUSE / 3 * 2.0**failures)
        return random.random() * longest  # noqa: S311  # not for a secret

    def is_final(self, error: Exception) -> bool:
        """Tell whether another attempt is useless after a failure."""
        return isinstance(error, _FINAL)
