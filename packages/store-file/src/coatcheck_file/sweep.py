"""Removing what has expired, and what somebody who died on the way has left."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from .content import FAR, FAR_SECONDS, HEADER_BYTES, SECOND, Damaged, unpack_head
from .files import NEW, exists, opened, read, remove
from .layout import STRIPES, Layout, is_digest, is_record_name
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
        # The round that goes on with the next write, and whose process it is. Whoever takes it
        # has it alone; meanwhile others begin rounds of their own. So there is no lock that an
        # exception of a signal handler, or a fork, could leave behind.
        self._waiting: deque[tuple[int, Round]] = deque(maxlen=1)
        self._stopped = False

    def is_expired(self, folder: str, name: str, modified: int) -> bool:
        """Tell whether the record in a file has expired.

        :param modified: its modification time in nanoseconds.
        """
        now = self._clock()
        if modified != FAR:
            return modified / SECOND <= now
        return now >= FAR_SECONDS and _far_expiry(f"{folder}{os.sep}{name}") <= now

    def some(self) -> None:
        """Make a few steps. What goes wrong can wait."""
        a_round = self._taken()
        with suppress(OSError):
            for _ in range(_STEPS):
                if next(a_round, _END) is _END:
                    return
            self._put_back(a_round)

    def examine(self, limit: int) -> int:
        """Examine up to that many files, from where the last call ended; count the removed."""
        removed = examined = 0
        a_round = self._taken()
        for _ in range(2):  # the rest of one round, and another one
            while examined < limit and (step := next(a_round, _END)) is not _END:
                examined += step is not None
                removed += bool(step)
            if examined >= limit:
                self._put_back(a_round)
                break
            a_round = self._make_round()
        return removed

    def everything(self) -> int:
        """Make a whole round, and return how many expired records it removed.

        :raises OSError: something could not be removed; everything else was.
        """
        failures: list[OSError] = []
        removed = sum(map(bool, self._make_round(failures)))
        if failures:
            raise failures[0]
        return removed

    def stop(self) -> None:
        """Let go of what is open, and keep nothing open any more."""
        self._stopped = True
        self._waiting.clear()

    def _taken(self) -> Round:
        with suppress(IndexError):
            process, a_round = self._waiting.pop()
            if process == os.getpid():
                return a_round
            # A forked child has the parent's folder open; it begins a round of its own.
        return self._make_round()

    def _put_back(self, a_round: Round) -> None:
        if not self._stopped:
            self._waiting.append((os.getpid(), a_round))

    def _make_round(self, failures: list[OSError] | None = None) -> Round:
        """Go through everything once, from anywhere.

        :param failures: wait for locks, and note here what fails; None: do not wait, and raise.
        """
        if failures is None:
            yield from self._anywhere()
            return
        for stripe in STRIPES:
            yield from self._records(stripe, failures)
        for stripe in STRIPES:  # now that it is known which records are left
            yield from self._marks(stripe, failures)

    def _anywhere(self) -> Round:
        """Begin at any file: many processes live for a few writes, and each begins here."""
        parts = [(part, stripe) for stripe in STRIPES for part in (self._records, self._marks)]
        first = random.randrange(len(parts))  # noqa: S311  # no secret
        for number, (part, stripe) in enumerate(parts[first:] + parts[:first]):
            yield from part(stripe, None, number == 0)

    def _records(
        self, stripe: str, failures: list[OSError] | None, anywhere: bool = False
    ) -> Round:
        folder = self._layout.stripe(stripe)
        for entry in _entries(folder, anywhere):
            yield self._noting(failures, self._record, stripe, entry, failures is not None)
        yield None  # a step, too: there may be many that are empty

    def _marks(self, stripe: str, failures: list[OSError] | None, anywhere: bool = False) -> Round:
        outer = os.path.join(self._layout.owners, stripe)
        for owner in self._folders_of_marks(outer, anywhere):
            yield None
            if owner.is_dir(follow_symlinks=False):
                folder = os.path.join(outer, owner.name)
                for entry in _entries(folder, anywhere):
                    if is_digest(entry.name):
                        self._noting(failures, self._mark, folder, entry.name, failures is not None)
                    yield False
                self._owners.remove_if_empty(folder)

    def _folders_of_marks(self, outer: str, anywhere: bool) -> Iterator[os.DirEntry[str]]:
        try:
            yield from _entries(outer, anywhere)
        except OSError as error:
            if not self._owners.is_no_index(error):
                raise

    def _noting(
        self, failures: list[OSError] | None, step: Callable[..., bool], *arguments: object
    ) -> bool:
        try:
            return step(*arguments)
        except OSError as error:
            if failures is None:
                raise
            failures.append(error)
            return False

    def _record(self, stripe: str, entry: os.DirEntry[str], wait: bool) -> bool:
        name = entry.name
        is_new = name.endswith(NEW) and is_record_name(name[: -len(NEW)])
        if not (is_new or is_record_name(name)) or not entry.is_file(follow_symlinks=False):
            return False  # not ours
        folder = self._layout.stripe(stripe)
        path = f"{folder}{os.sep}{name}"
        # Whoever writes it holds the lock: a .new file that is there under it is left over.
        if is_new or self._has_expired(folder, name):
            with suppress(Busy), self._locks.held(stripe, wait=wait):
                if is_new:
                    remove(path)
                elif self._has_expired(folder, name):
                    return remove(path)
        return False

    def _has_expired(self, folder: str, name: str) -> bool:
        try:
            modified = os.stat(f"{folder}{os.sep}{name}", follow_symlinks=False).st_mtime_ns
            return self.is_expired(folder, name, modified)
        except FileNotFoundError:
            return False

    def _mark(self, folder: str, key_digest: str, wait: bool) -> bool:
        if self._is_gone(key_digest):
            with suppress(Busy), self._locks.held(key_digest[:2], wait=wait):
                if self._is_gone(key_digest):
                    self._owners.remove_mark(folder, key_digest)
        return False

    def _is_gone(self, key_digest: str) -> bool:
        # Where the whole folder is missing, nobody knows what was in it.
        stripe = self._layout.stripe(key_digest[:2])
        return not exists(self._layout.record(key_digest)) and exists(stripe)


#: Comes after the last step of a round.
_END: Final = object()


def _entries(folder: str, anywhere: bool) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder.

    :param anywhere: begin in the middle, which takes reading all names first.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        if anywhere:
            names = list(entries)
            middle = random.randrange(len(names) + 1)  # noqa: S311  # no secret
            yield from names[middle:]
            yield from names[:middle]
        else:
            yield from entries


def _far_expiry(path: str) -> float:
    """Return the expiry that stands in the file; 0 where it is no record."""
    with opened(path) as file:
        status = os.fstat(file)
        try:
            return unpack_head(read(file, HEADER_BYTES), status.st_size, status.st_mtime_ns)
        except Damaged:
            return 0
