"""Locks between threads and processes: a threading.Lock and an advisory lock of a file each.

The operating system drops a file's lock when its holder dies, so nothing has to be cleaned up.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import portalocker

from coatcheck.errors import StoreTimeout

_FLAGS: Final = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
_OPEN: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
#: Seconds between two tries: the first and the longest pause.
_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.01


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
        self._pid = os.getpid()
        self._threads: dict[str, threading.Lock] = {}

    @contextmanager
    def held(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a lock for the block.

        :param wait: False: do not wait for it.
        :raises Busy: not waiting, and somebody has it.
        :raises StoreTimeout: it was not to be had in time.
        """
        deadline = time.monotonic() + (self._timeout if wait else 0)
        threads = self._thread_lock(name)
        if not threads.acquire(timeout=self._timeout if wait else 0):
            raise _refusal(wait)
        try:
            file = os.open(f"{self._folder}{os.sep}{name}", _OPEN, 0o600)
            try:
                self._lock_file(file, deadline, wait)
                try:
                    yield
                finally:
                    # Not left to close(): a forked child may have the file open, too.
                    portalocker.unlock(file)
            finally:
                os.close(file)
        finally:
            threads.release()

    def _thread_lock(self, name: str) -> threading.Lock:
        if self._pid != os.getpid():
            # In a forked child: the threads that held them do not exist here.
            self._threads, self._pid = {}, os.getpid()
        lock = self._threads.get(name)
        return self._threads.setdefault(name, threading.Lock()) if lock is None else lock

    def _lock_file(self, file: int, deadline: float, wait: bool) -> None:
        pause = _PAUSE
        while True:
            try:
                portalocker.lock(file, _FLAGS)
                return
            except portalocker.AlreadyLocked:
                pass
            except portalocker.LockException as error:
                raise OSError(0, f"a file cannot be locked: {error.strerror}") from error
            if time.monotonic() >= deadline:
                raise _refusal(wait)
            time.sleep(pause * random.random())  # noqa: S311  # to part those who wait
            pause = min(pause * 2, _LONGEST_PAUSE)


def _refusal(wait: bool) -> Exception:
    if not wait:
        return Busy()
    return StoreTimeout("another process or thread does not let go of the file store's lock")
