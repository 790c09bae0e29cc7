"""The clock by which a store under test lives."""

from __future__ import annotations

import math
import threading
import time
from typing import Final

#: Seconds of a day.
DAY: Final = 86400.0
#: The first second of the year 2100, in POSIX seconds.
YEAR_2100: Final = 4102444800.0


class Clock:
    """POSIX seconds that do not change until a case moves them.

    The clock begins at a whole minute, one to two minutes ahead. So expiries of coarse backends are
    exact, and a backend that removes records by its own clock removes nothing too early.

    :ivar now: POSIX seconds.
    :ivar pause: seconds that each reading takes, so that a caller is delayed in the middle of its
        work and other callers come first.
    :ivar readings: how often the clock was read.
    """

    def __init__(self, now: float | None = None) -> None:
        self.start: float = math.ceil(time.time() / 60 + 1) * 60.0 if now is None else now
        self.now: float = self.start
        self.pause: float = 0.0
        self.readings: int = 0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            self.readings += 1
        if self.pause:
            time.sleep(self.pause)  # the only way to delay a thread at this point
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
