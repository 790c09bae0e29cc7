"""Listing, counting and clearing the records of a store, folder by folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coatcheck import Record

from ._content import HEADER_BYTES, Damaged, decode_name
from ._files import exists, flush_folder, remove, scanned
from ._folder import Folder
from ._garbage import GarbageCollector
from ._layout import SHARDS, Layout, is_record_name
from ._locks import Busy, Locks
from ._records import Records


class Listing:
    """All records of a store, or all of an owner.

    :param layout: the paths of the records.
    :param folder: the store's folder.
    :param locks: the locks of the shards.
    :param records: reads the records.
    :param garbage: tells which files have expired.
    """

    def __init__(
        self,
        layout: Layout,
        folder: Folder,
        locks: Locks,
        records: Records,
        garbage: GarbageCollector,
    ) -> None:
        self._layout = layout
        self._folder = folder
        self._locks = locks
        self._records = records
        self._garbage = garbage

    def all(self) -> Iterator[tuple[str, Record]]:
        """Yield each key with its live record."""
        if not self._folder.is_there():
            return
        for key_digest in self._digests():
            found = self._records.read(key_digest, None)
            if found is not None and self._records.live(found[1]) is not None:
                yield decode_name(found[0]), found[1]

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield each key with its live record, for an owner. Remove index entries of others."""
        if not self._folder.is_there():
            return
        owners = self._records.owners
        folder = owners.folder_of(owner)
        entries = owners.entries_in(folder)
        if not entries:
            self._folder.check_still_there()
        for key_digest in entries:
            found = self._records.read(key_digest, None)
            if found is None or found[1].owner != owner:
                self._drop_entry(folder, key_digest, owner)
            elif self._records.live(found[1]) is not None:
                yield decode_name(found[0]), found[1]

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield the path of each file that should be a record and is none, with the reason."""
        self._folder.check_layout()
        for key_digest in self._digests():
            try:
                self._records.open(key_digest, None)
            except FileNotFoundError:
                continue
            except Damaged as damage:
                yield Path(self._layout.record(key_digest)), str(damage)

    def count(self) -> int:
        """Return the number of live records, by the names and times of their files."""
        return sum(map(self._count, SHARDS)) if self._folder.is_there() else 0

    def clear(self, *, durable: bool) -> None:
        """Remove all records.

        :param durable: return when the disk has the change.
        """
        for shard in SHARDS:
            folder = self._layout.shard(shard)
            with self._unchanging(shard) as is_there:
                for name in self._names(shard) if is_there else ():
                    remove(os.path.join(folder, name))
                if is_there and durable:
                    flush_folder(folder)

    @contextmanager
    def _unchanging(self, shard: str) -> Iterator[bool]:
        """Keep others from writing into a folder of records. Yield whether the folder exists.

        If files are replaced during a listing, some may be missing in it. This happens on tmpfs.
        """
        if exists(self._layout.shard(shard)):
            with self._locks.held(shard):
                yield True
        else:
            self._folder.check_still_there()
            yield False

    def _names(self, shard: str) -> list[str]:
        """Return the names of the records in a folder."""
        return [*filter(is_record_name, os.listdir(self._layout.shard(shard)))]

    def _digests(self) -> Iterator[str]:
        """Yield the digests of all keys."""
        for shard in SHARDS:
            with self._unchanging(shard) as is_there:
                names = self._names(shard) if is_there else []
            for name in names:
                yield shard + name

    def _drop_entry(self, folder: str, key_digest: str, owner: str) -> None:
        with suppress(Busy), self._locks.held(key_digest[:2], wait=False):
            found = self._records.read(key_digest, None)
            shard = self._layout.shard(key_digest[:2])
            if (found is None and exists(shard)) or (found and found[1].owner != owner):
                self._records.owners.remove_entry(folder, key_digest)

    def _count(self, shard: str) -> int:
        count, folder, is_expired = 0, self._layout.shard(shard), self._garbage.is_expired
        with self._unchanging(shard) as is_there:
            if not is_there:
                return 0
            with scanned(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_size > HEADER_BYTES and is_record_name(entry.name):
                        is_file = stat.S_ISREG(status.st_mode)
                        count += is_file and not is_expired(folder, entry.name, status.st_mtime_ns)
        return count
