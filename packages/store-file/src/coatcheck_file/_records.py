"""The records of a store: reading one, and writing one while its lock is held."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable
from typing import Final

from coatcheck import Condition, Record
from coatcheck.storekit import condition_holds

from ._content import FAR, Damaged, decode_name, modification_time, pack, unpack, unpack_head
from ._files import (
    NO_FILE,
    exists,
    flush_folder,
    is_foreign,
    opened,
    read,
    remove,
    replace,
    set_modified,
)
from ._folder import Folder
from ._layout import Layout, digest
from ._owners import Owners
from ._reports import Reports

#: How many bytes of a record's file are read at first.
_FIRST_BYTES: Final = 65536


class Records:
    """The records of a store, by the digests of their keys.

    :param layout: the paths of the records.
    :param folder: the store's folder.
    :param owners: the index of owners.
    :param reports: what the operator is told.
    :param clock: returns POSIX seconds.
    :param durable: whether a returned call has waited for the disk.
    :ivar owners: the index of owners.
    :ivar clock: returns POSIX seconds.
    """

    def __init__(
        self,
        layout: Layout,
        folder: Folder,
        owners: Owners,
        reports: Reports,
        clock: Callable[[], float],
        *,
        durable: bool,
    ) -> None:
        self.owners = owners
        self.clock = clock
        self._layout = layout
        self._folder = folder
        self._reports = reports
        self._durable = durable

    def live(self, record: Record) -> Record | None:
        """Return a record, or None if it has expired."""
        return record if record.expires_at > self.clock() else None

    def exists(self, key_digest: str) -> bool:
        """Tell whether a record has a file, which may be expired or damaged."""
        if not (self._folder.was_there or self._folder.is_there()):
            return False
        if exists(self._layout.record(key_digest)):
            return True
        self._folder.check_still_there()
        return False

    def read(self, key_digest: str, name: bytes | None) -> tuple[bytes, Record] | None:
        """Return a key and its record, which may be expired; None if there is no sound record.

        :param name: the key that the file must have. None: the one that belongs to its name.
        """
        if not (self._folder.was_there or self._folder.is_there()):
            return None
        try:
            return self.open(key_digest, name)
        except FileNotFoundError:
            self._folder.check_still_there()
        except Damaged as damage:
            self._reports.damaged(self._layout.record(key_digest), str(damage))
        return None

    def open(self, key_digest: str, name: bytes | None) -> tuple[bytes, Record]:
        """Return a key and its record, which may be expired.

        :param name: see :meth:`read`.
        :raises FileNotFoundError: there is no file.
        :raises Damaged: the file is no sound record.
        """
        path = self._layout.record(key_digest)
        try:
            with opened(path) as file:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise Damaged("it is no file")
                if is_foreign(status):
                    raise Damaged("it belongs to another user")
                content = read(file, min(status.st_size, _FIRST_BYTES))
                if status.st_size > _FIRST_BYTES:
                    # The rest of a large file is read only if it is a record.
                    unpack_head(content, status.st_size, status.st_mtime_ns)
                    content += read(file, status.st_size - _FIRST_BYTES)
        except OSError as error:
            if error.errno in NO_FILE:
                raise Damaged("it is no file") from error
            raise
        found, record = unpack(content, status.st_mtime_ns)
        _check_name(found, name, key_digest)
        return found, record

    def set(self, key_digest: str, name: bytes, record: Record, only_if: Condition) -> bool:
        """Write a record if a condition holds, and return whether it does. The lock must be held.

        :param name: the key.
        """
        found = self.read(key_digest, name)
        before = None if found is None else found[1]
        if not condition_holds(only_if, None if before is None else self.live(before)):
            return False
        former = None if before is None else before.owner
        if self.live(record) is None:
            self.remove(key_digest, former)
            return True
        self.add_entry(key_digest, record.owner, former)
        path = self._layout.record(key_digest)
        modified = modification_time(record.expires_at)
        replace(path, pack(name, record), modified, durable=self._durable)
        if former is not None and former != record.owner:
            self.owners.remove(former, key_digest)
        return True

    def add_entry(self, key_digest: str, owner: str | None, former: str | None) -> None:
        """Make the owner's index entry, also if somebody has removed the one that there was."""
        if owner is not None and (owner != former or not self.owners.has(owner, key_digest)):
            self.owners.add(owner, key_digest)

    def remove(self, key_digest: str, owner: str | None) -> None:
        """Remove a record and its index entry. The lock must be held."""
        path = self._layout.record(key_digest)
        if remove(path) and self._durable:
            flush_folder(os.path.dirname(path))
        if owner is not None:
            self.owners.remove(owner, key_digest)

    def touch(self, key_digest: str, name: bytes, expires_at: float) -> bool:
        """Move the expiry of a live record, and return whether there is one. The lock must be held.

        :param name: the key.
        """
        found = self.read(key_digest, name)
        if found is None or self.live(found[1]) is None:
            return False
        record = dataclasses.replace(found[1], expires_at=expires_at)
        if self.live(record) is None:
            self.remove(key_digest, record.owner)
            return True
        self.add_entry(key_digest, record.owner, record.owner)
        path, modified = self._layout.record(key_digest), modification_time(expires_at)
        if modified == FAR:
            replace(path, pack(name, record), modified, durable=self._durable)
        else:
            # If the machine loses a longer life, the session ends early, which does no harm.
            shortens = expires_at < found[1].expires_at
            set_modified(path, modified, durable=self._durable and shortens)
        return True


def _check_name(found: bytes, name: bytes | None, key_digest: str) -> None:
    """Raise Damaged if a record is not the one that belongs to its file's name."""
    if found != name and (name is not None or digest(found) != key_digest):
        raise Damaged("it is another key's record")
    if name is None:
        decode_name(found)
