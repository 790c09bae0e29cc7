"""The garbage collection, which removes expired records and the files of processes that died."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from ._content import FAR, FAR_SECONDS, HEADER_BYTES, SECOND, Damaged, unpack_head
from ._files import NEW, exists, opened, read, remove
from ._layout import SHARDS, Layout, is_digest, is_record_name
from ._locks import Busy, Locks
from ._owners import Owners

#: A pass through the whole folder. It yields for each step whether the step removed an expired
#: record, or None if it examined nothing.
Pass: TypeAlias = Generator[bool | None, None, None]

#: How many steps of a pass each write makes.
_STEPS: Final = 4


class GarbageCollector:
    """Goes through the whole folder, pass after pass, a few steps at a time.

    It opens no record: the modification time tells whether a record has expired.

    :param clock: returns POSIX seconds.
    """

    def __init__(
        self, layout: Layout, locks: Locks, owners: Owners, clock: Callable[[], float]
    ) -> None:
        self._layout = layout
        self._locks = locks
        self._owners = owners
        self._clock = clock
        # The pass that the next write continues, with the id of its process. Only one caller can
        # take it, and others begin passes of their own meanwhile. So there is no lock that an
        # exception of a signal handler or a fork could leave held.
        self._waiting: deque[tuple[int, Pass]] = deque(maxlen=1)
        self._stopped = False

    def is_expired(self, folder: str, name: str, modified: int) -> bool:
        """Tell whether the record in a file has expired.

        :param modified: its modification time in nanoseconds.
        """
        now = self._clock()
        if modified != FAR:
            return modified / SECOND <= now
        return now >= FAR_SECONDS and _far_expiry(f"{folder}{os.sep}{name}") <= now

    def collect_some(self) -> None:
        """Make a few steps, and ignore errors, because a later pass tries again."""
        current = self._taken()
        with suppress(OSError):
            for _ in range(_STEPS):
                if next(current, _END) is _END:
                    return
            self._put_back(current)

    def examine(self, limit: int) -> int:
        """Examine up to that many files, from where the last call ended.

        :returns: how many expired records were removed.
        """
        removed = examined = 0
        current = self._taken()
        for _ in range(2):  # the rest of one pass, and another one
            while examined < limit and (step := next(current, _END)) is not _END:
                examined += step is not None
                removed += bool(step)
            if examined >= limit:
                self._put_back(current)
                break
            current = self._new_pass()
        return removed

    def collect_all(self) -> int:
        """Make a whole pass, and return how many expired records it removed.

        :raises OSError: something could not be removed; everything else was.
        """
        failures: list[OSError] = []
        removed = sum(map(bool, self._new_pass(failures)))
        if failures:
            raise failures[0]
        return removed

    def stop(self) -> None:
        """Close the pass that waits, and keep none any more."""
        self._stopped = True
        self._waiting.clear()

    def _taken(self) -> Pass:
        with suppress(IndexError):
            process, current = self._waiting.pop()
            if process == os.getpid():
                return current
            # A forked child must not use the folder that its parent opened.
        return self._new_pass()

    def _put_back(self, current: Pass) -> None:
        if not self._stopped:
            self._waiting.append((os.getpid(), current))

    def _new_pass(self, failures: list[OSError] | None = None) -> Pass:
        """Go through everything once.

        :param failures: wait for locks, and add errors to this list. None: begin anywhere, do not
            wait, and raise errors.
        """
        if failures is None:
            yield from self._anywhere()
            return
        for shard in SHARDS:
            yield from self._records(shard, failures)
        for shard in SHARDS:  # the records that are left are known now
            yield from self._index_entries(shard, failures)

    def _anywhere(self) -> Pass:
        """Begin at a random file, because many processes end after a few writes."""
        parts = [(part, shard) for shard in SHARDS for part in (self._records, self._index_entries)]
        first = random.randrange(len(parts))  # noqa: S311  # not for a secret
        for number, (part, shard) in enumerate(parts[first:] + parts[:first]):
            yield from part(shard, None, number == 0)

    def _records(self, shard: str, failures: list[OSError] | None, anywhere: bool = False) -> Pass:
        folder = self._layout.shard(shard)
        for entry in _entries(folder, anywhere):
            yield self._collecting(failures, self._record, shard, entry, failures is not None)
        yield None  # an empty folder is a step as well, because there may be many

    def _index_entries(
        self, shard: str, failures: list[OSError] | None, anywhere: bool = False
    ) -> Pass:
        outer = os.path.join(self._layout.owners, shard)
        for owner in self._owner_folders(outer, anywhere):
            yield None
            if owner.is_dir(follow_symlinks=False):
                folder = os.path.join(outer, owner.name)
                for entry in _entries(folder, anywhere):
                    if is_digest(entry.name):
                        self._collecting(
                            failures, self._index_entry, folder, entry.name, failures is not None
                        )
                    yield False
                self._owners.remove_if_empty(folder)

    def _owner_folders(self, outer: str, anywhere: bool) -> Iterator[os.DirEntry[str]]:
        try:
            yield from _entries(outer, anywhere)
        except OSError as error:
            if not self._owners.is_no_index(error):
                raise

    def _collecting(
        self, failures: list[OSError] | None, step: Callable[..., bool], *arguments: object
    ) -> bool:
        try:
            return step(*arguments)
        except OSError as error:
            if failures is None:
                raise
            failures.append(error)
            return False

    def _record(self, shard: str, entry: os.DirEntry[str], wait: bool) -> bool:
        name = entry.name
        is_new = name.endswith(NEW) and is_record_name(name[: -len(NEW)])
        if not (is_new or is_record_name(name)) or not entry.is_file(follow_symlinks=False):
            return False  # not ours
        folder = self._layout.shard(shard)
        path = f"{folder}{os.sep}{name}"
        # A process that writes the file holds the lock. So a .new file that exists while this
        # process holds the lock is left over.
        if is_new or self._has_expired(folder, name):
            with suppress(Busy), self._locks.held(shard, wait=wait):
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

    def _index_entry(self, folder: str, key_digest: str, wait: bool) -> bool:
        if self._is_gone(key_digest):
            with suppress(Busy), self._locks.held(key_digest[:2], wait=wait):
                if self._is_gone(key_digest):
                    self._owners.remove_entry(folder, key_digest)
        return False

    def _is_gone(self, key_digest: str) -> bool:
        # If the whole folder is missing, nobody knows which records were in it.
        shard = self._layout.shard(key_digest[:2])
        return not exists(self._layout.record(key_digest)) and exists(shard)


#: The value of `next` after the last step of a pass.
_END: Final = object()


def _entries(folder: str, anywhere: bool) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder.

    :param anywhere: begin in the middle. This reads all names first.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        if anywhere:
            names = list(entries)
            middle = random.randrange(len(names) + 1)  # noqa: S311  # not for a secret
            yield from names[middle:]
            yield from names[:middle]
        else:
            yield from entries


def _far_expiry(path: str) -> float:
    """Return the expiry in a file, or 0 if the file is no record."""
    with opened(path) as file:
        status = os.fstat(file)
        try:
            return unpack_head(read(file, HEADER_BYTES), status.st_size, status.st_mtime_ns)
        except Damaged:
            return 0
