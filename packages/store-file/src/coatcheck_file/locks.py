"""Locks between threads and processes: advisory locks of files, one file each.

Whoever takes one opens its file anew, so threads exclude each other as processes do. Nothing
has to be cleaned up: the operating system drops a lock when its holder dies, and Python closes
the file of a holder whom an exception of a signal handler threw out.
"""

from __future__ import annotations

import functools
import io
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import portalocker

from coatcheck.errors import StoreTimeout

_FLAGS: Final = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
# No function of Python's: an exception of a signal handler in there would lose the file.
_OPENER: Final = functools.partial(os.open, mode=0o600)
#: Seconds between two tries: the first and the longest pause.
_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.005


class Busy(Exception):
    """Somebody else has the lock."""


class Locks:
    """Named locks, whose files stand in one folder.

    :param folder: where the files are; it must exist when a lock is taken.
    :param timeout: seconds after which waiting is given up.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = str(folder)
        self._timeout = timeout

    @contextmanager
    def held(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a lock for the block.

        :param wait: False: do not wait for it.
        :raises Busy: not waiting, and somebody has it.
        :raises StoreTimeout: it was not to be had in time.
        """
        with io.FileIO(f"{self._folder}{os.sep}{name}", "a+", opener=_OPENER) as file:
            self._lock(file, wait)
            try:
                yield
            finally:
                # Not left to close(): a forked child may have the file open, too. If it fails,
                # what the block did is done all the same.
                with suppress(portalocker.LockException):
                    portalocker.unlock(file)

    def _lock(self, file: io.FileIO, wait: bool) -> None:
        deadline, pause = time.monotonic() + self._timeout, _PAUSE
        while True:
            try:
                portalocker.lock(file, _FLAGS)
                return
            except portalocker.AlreadyLocked:
                pass
            except portalocker.LockException as error:
                raise OSError(0, f"a file cannot be locked: {error.strerror}") from error
            if not wait:
                raise Busy
            if time.monotonic() >= deadline:
                raise StoreTimeout(
                    f"another process or thread does not let go of a lock in {self._folder}"
                )
            time.sleep(pause * random.random())  # noqa: S311  # to part those who wait
            pause = min(pause * 2, _LONGEST_PAUSE)
