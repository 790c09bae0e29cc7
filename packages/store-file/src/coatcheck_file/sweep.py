"""Removing what has expired, and what somebody who died on the way has left."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from .content import FAR, FAR_SECONDS, HEAD_BYTES, SECOND, Damaged, unpack_head
from .files import NEW, exists, open_to_read, read, remove, scanned
from .layout import STRIPES, Layout, is_record_name
from .locks import Busy, Locks
from .owners import Owners

#: Yields for each step whether it removed an expired record; None where it examined nothing.
Round: TypeAlias = Generator[bool | None, None, None]

#: Steps of a round that each write makes.
_STEPS: Final = 4


class Sweep:
    """Goes through the whole folder, round and round, a few steps at a time.

    No data is opened: whether a record has expired is in its modification time.

    :param clock: returns POSIX seconds.
    """

    def __init__(
        self, layout: Layout, locks: Locks, owners: Owners, clock: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._locks = locks
        self._owners = owners
        self._clock = clock
        self._round: Round | None = None
        self._turn = threading.Lock()
        self._pid = os.getpid()

    def is_expired(self, folder: str, name: str, modified: int) -> bool:
        """Tell whether the record in a file has expired.

        :param modified: its modification time in nanoseconds.
        """
        now = self._clock()
        if modified != FAR:
            return modified / SECOND <= now
        return now >= FAR_SECONDS and _far_expiry(f"{folder}{os.sep}{name}") <= now

    def some(self) -> None:
        """Make a few steps, unless somebody else is at it. What goes wrong can wait."""
        turn = self._own_turn()
        if turn.acquire(blocking=False):
            try:
                with suppress(OSError):
                    for _ in range(_STEPS):
                        self._next()
            finally:
                turn.release()

    def examine(self, limit: int) -> int:
        """Examine up to that many files, from where the last call ended; count the removed."""
        with self._own_turn():
            removed = examined = rounds = 0
            while examined < limit and rounds < 2:  # the rest of one, and one
                if self._round is None:
                    rounds += 1
                step = self._next()
                examined += step is not None
                removed += bool(step)
            return removed

    def everything(self) -> int:
        """Make a whole round, and return how many expired records it removed."""
        return sum(map(bool, self._make_round(wait=True)))

    def stop(self) -> None:
        """Let go of what is open."""
        with self._own_turn():
            self._round = None

    def _own_turn(self) -> threading.Lock:
        if self._pid != os.getpid():
            # In a forked child: the folder that is open belongs to the parent's round, too, and
            # the thread that held the lock does not exist here.
            self._turn, self._round, self._pid = threading.Lock(), None, os.getpid()
        return self._turn

    def _next(self) -> bool | None:
        if self._round is None:
            self._round = self._make_round(wait=False)
        try:
            return next(self._round)
        except BaseException as error:
            self._round = None
            if isinstance(error, StopIteration):
                return None
            raise

    def _make_round(self, *, wait: bool) -> Round:
        # Processes begin in different places, so as not to do the same twice.
        first = random.randrange(len(STRIPES))  # noqa: S311  # no secret
        for stripe in STRIPES[first:] + STRIPES[:first]:
            for entry in _entries(self._layout.stripe(stripe)):
                yield None if entry is None else self._record(stripe, entry, wait)
        for outer in STRIPES:
            marks = os.path.join(self._layout.owners, outer)
            for entry in _entries(marks):
                yield None
                if entry is not None and entry.is_dir(follow_symlinks=False):
                    yield from self._owner(os.path.join(marks, entry.name), wait)

    def _owner(self, folder: str, wait: bool) -> Round:
        for key_digest in self._owners.marks_in(folder):
            self._mark(folder, key_digest, wait)
            yield False
        self._owners.remove_if_empty(folder)

    def _record(self, stripe: str, entry: os.DirEntry[str], wait: bool) -> bool:
        name = entry.name
        is_new = name.endswith(NEW) and is_record_name(name[: -len(NEW)])
        if not (is_new or is_record_name(name)) or not entry.is_file(follow_symlinks=False):
            return False  # not ours
        folder = self._layout.stripe(stripe)
        with suppress(FileNotFoundError, Busy):
            # Whoever writes it holds the lock: a .new file that is there under it is left over.
            if is_new or self._is_expired(folder, name, entry.stat(follow_symlinks=False)):
                path = f"{folder}{os.sep}{name}"
                with self._locks.held(stripe, wait=wait):
                    if is_new:
                        remove(path)
                    elif self._is_expired(folder, name, os.stat(path, follow_symlinks=False)):
                        return remove(path)
        return False

    def _is_expired(self, folder: str, name: str, status: os.stat_result) -> bool:
        return self.is_expired(folder, name, status.st_mtime_ns)

    def _mark(self, folder: str, key_digest: str, wait: bool) -> None:
        if self._is_gone(key_digest):
            with suppress(Busy), self._locks.held(key_digest[:2], wait=wait):
                if self._is_gone(key_digest):
                    self._owners.remove_mark(folder, key_digest)

    def _is_gone(self, key_digest: str) -> bool:
        # Where the whole folder is missing, nobody knows what was in it.
        stripe = self._layout.stripe(key_digest[:2])
        return not exists(self._layout.record(key_digest)) and exists(stripe)


def _entries(folder: str) -> Iterator[os.DirEntry[str] | None]:
    """Yield what is in a folder, and None at its end: a step, too, where there are many."""
    with suppress(FileNotFoundError), scanned(folder) as entries:
        yield from entries
    yield None


def _far_expiry(path: str) -> float:
    """Return the expiry that stands in the file; 0 where it is no record."""
    file = open_to_read(path)
    try:
        status = os.fstat(file)
        return unpack_head(read(file, HEAD_BYTES), status.st_size, status.st_mtime_ns)[1]
    except Damaged:
        return 0
    finally:
        os.close(file)
