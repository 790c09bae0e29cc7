"""Locks between threads and processes: advisory file locks, each with a file of its own.

Each holder opens the file again, so threads exclude each other as processes do. Nothing has to be
cleaned up: the operating system drops a lock when its holder dies, and Python closes the file if an
exception of a signal handler interrupts the holder.
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
# This is no Python function, because an exception of a signal handler in it would lose the file.
_OPENER: Final = functools.partial(os.open, mode=0o600)
#: Seconds: the first and the longest pause between two attempts.
_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.005


class Busy(Exception):
    """Another thread or process has the lock."""


class Locks:
    """Named locks, with their files in one folder.

    :param folder: the folder of the files. It must exist when a lock is taken.
    :param timeout: seconds after which waiting ends.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = str(folder)
        self._timeout = timeout

    @contextmanager
    def held(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a lock for the block.

        :param wait: whether to wait for the lock.
        :raises Busy: ``wait`` is False, and another thread or process has the lock.
        :raises StoreTimeout: the lock did not become free in time.
        """
        with io.FileIO(f"{self._folder}{os.sep}{name}", "a+", opener=_OPENER) as file:
            self._lock(file, wait)
            try:
                yield
            finally:
                # `close` would not be enough, because a forked child may have the file open as
                # well. If unlocking fails, the block's work is done nevertheless.
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
                    f"another process or thread did not release a lock in {self._folder} in time"
                )
            time.sleep(pause * random.random())  # noqa: S311  # not for a secret
            pause = min(pause * 2, _LONGEST_PAUSE)
