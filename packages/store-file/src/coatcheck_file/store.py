"""The file store."""

from __future__ import annotations

import dataclasses
import functools
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import (
    Any,
    Concatenate,
    Final,
    Literal,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_args,
)

from coatcheck import (
    ALWAYS,
    Capabilities,
    Condition,
    Record,
    Store,
)
from coatcheck.errors import ConfigurationError, StoreClosed, StoreError, StoreUnavailable
from coatcheck.storekit import (
    check_owner,
    check_record,
    condition_holds,
    raise_interruption,
)

from .content import (
    FAR,
    HEADER_BYTES,
    Damaged,
    decode_name,
    encode_key,
    modification_time,
    pack,
    unpack,
    unpack_head,
)
from .files import (
    NO_FILE,
    exists,
    flush_folder,
    is_foreign,
    make_folder,
    opened,
    read,
    remove,
    replace,
    scanned,
    set_modified,
)
from .garbage import GarbageCollector
from .layout import SHARDS, Layout, digest, is_record_name
from .locks import Busy, Locks
from .owners import Owners
from .reports import Reports
from .url import parse

Durability: TypeAlias = Literal["full", "process"]

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that a call waits for another one that writes to the same part of the folder.
LOCK_SECONDS: Final = 5.0

_ABOUT: Final = b"coatcheck-file 1\n"
_ABOUT_TEXT: Final = (
    _ABOUT + b"Sessions of coatcheck-file. The modification time of each file in records/ is its "
    b"session's expiry:\ncopy them with their times (cp -a, rsync -a, tar), or they expire.\n"
)
#: Bytes that a record is read with at once, unless it has more.
_FIRST_BYTES: Final = 65536

#: A time that only a file system with steps of less than a microsecond keeps, in nanoseconds.
_PROBE: Final = 1_700_000_000_123_456_000


def _translated(
    operation: Callable[Concatenate[FileStore, P], R],
) -> Callable[Concatenate[FileStore, P], R]:
    """Refuse the operation on a closed store, and turn what the system raises into a StoreError."""

    @functools.wraps(operation)
    def translated(self: FileStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._check_open()
        try:
            return operation(self, *args, **kwargs)
        except OSError as error:
            self._fail(error)

    return translated


class FileStore(Store):
    """Sessions in the files of a folder, for all processes of one machine.

    :param folder: where they are; made at the first write, for the user alone. Relative to the
        working directory at the time of the call.
    :param durability: what a returned write survives. ``"full"``: a power failure, because it
        waits for the disk. ``"process"``: the end of the process, but not of the machine.
    :param clock: returns POSIX seconds.
    :param lock_timeout: seconds after which a call that waits for another raises StoreTimeout.
    :raises ConfigurationError: an option that cannot work.
    """

    capabilities = Capabilities(
        enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
    )

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_SECONDS,
    ) -> None:
        if durability not in get_args(Durability):
            raise ConfigurationError(
                f"`durability` must be `full` or `process`, not {durability!r}"
            )
        is_number = isinstance(lock_timeout, int | float) and not isinstance(lock_timeout, bool)
        if not is_number or not lock_timeout > 0:
            raise ConfigurationError(
                f"`lock_timeout` must be seconds, more than zero, not {lock_timeout!r}"
            )
        path = _absolute(folder)
        self._durable = durability == "full"
        self._clock = clock
        self._layout = Layout(path)
        self._locks = Locks(self._layout.locks, lock_timeout)
        self._owners = Owners(self._layout, durable=self._durable)
        self._garbage = GarbageCollector(self._layout, self._locks, self._owners, clock)
        self._reports = Reports()
        self._ready: set[str] = set()
        self._was_there = False
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> FileStore:
        """Open ``file:///folder`` or ``file:folder``, both with ``?durability=process``.

        :raises ConfigurationError: the URL has a part that a file store does not know.
        """
        folder, options = parse(url)
        durability: Any = options.pop("durability", "full")
        if options:
            raise ConfigurationError(
                f"a file store's URL has no option {min(options)!r}; it has `durability`"
            )
        return cls(folder, durability=durability, clock=clock)

    @property
    def folder(self) -> Path:
        """Where the sessions are."""
        return self._layout.folder

    def __repr__(self) -> str:
        return f"<FileStore {str(self.folder)!r}>"

    @_translated
    def get(self, key: str) -> Record | None:
        name = encode_key(key)
        found = self._read(digest(name), name)
        return None if found is None else self._live(found[1])

    @_translated
    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        check_record(record)
        name = encode_key(key)
        key_digest = digest(name)
        self._prepare(key_digest[:2])
        try:
            with self._locks.held(key_digest[:2]):
                return self._set(key_digest, name, record, only_if)
        finally:
            # Also where it failed: a full disk needs it most.
            self._garbage.collect_some()

    @_translated
    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        name = encode_key(key)
        key_digest = digest(name)
        if not self._exists(key_digest):
            return False
        with self._locks.held(key_digest[:2]):
            found = self._read(key_digest, name)
            live = None if found is None else self._live(found[1])
            ends = live is not None and condition_holds(only_if, live)
            if ends or (live is None and only_if is ALWAYS):
                self._remove(key_digest, None if found is None else found[1].owner)
            return ends

    @_translated
    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        name = encode_key(key)
        key_digest = digest(name)
        if not self._exists(key_digest):
            return False
        with self._locks.held(key_digest[:2]):
            return self._touch(key_digest, name, expires_at)

    def all(self) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return self._listed(self._all())

    @_translated
    def length(self) -> int:
        return sum(map(self._count, SHARDS)) if self._is_there() else 0

    @_translated
    def clear(self) -> None:
        if not self._is_there():
            return
        for shard in SHARDS:
            folder = self._layout.shard(shard)
            with self._unchanging(shard) as is_there:
                for name in self._names(shard) if is_there else ():
                    remove(os.path.join(folder, name))
                if is_there and self._durable:
                    flush_folder(folder)
        self._garbage.collect_all()  # the index entries that are left, and half-written files

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        self._check_open()
        return self._listed(self._owned_by(check_owner(owner)))

    @_translated
    def prune(self, limit: int | None = None) -> int:
        if not self._is_there():
            return 0
        self._check_still_there()
        return self._garbage.collect_all() if limit is None else self._garbage.examine(limit)

    @_translated
    def ping(self) -> None:
        self._prepare(SHARDS[0])
        self._check_layout()
        self._check_still_there()
        if not os.access(self._layout.records, os.W_OK | os.X_OK):
            raise StoreUnavailable(f"{self.folder} cannot be written to")

    def close(self) -> None:
        self._closed = True
        self._garbage.stop()

    @_translated
    def check_layout(self) -> None:
        """Return if the folder is a file store of this version; nothing is made.

        :raises StoreError: it is not.
        """
        self._check_layout()

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield the path of each file that should be a record and is none, with the reason.

        :raises StoreError: the folder cannot be read.
        """
        self._check_open()
        return self._listed(self._damaged())

    # Reading

    def _live(self, record: Record) -> Record | None:
        return record if record.expires_at > self._clock() else None

    def _read(self, key_digest: str, name: bytes | None) -> tuple[bytes, Record] | None:
        """Return what is stored, expired or not; None where there is no sound record.

        :param name: the key that the file must have; None: the one that its name says.
        """
        if not (self._was_there or self._is_there()):
            return None
        try:
            return self._open(key_digest, name)
        except FileNotFoundError:
            self._check_still_there()
        except Damaged as damage:
            self._reports.damaged(self._layout.record(key_digest), str(damage))
        return None

    def _open(self, key_digest: str, name: bytes | None) -> tuple[bytes, Record]:
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
                    # Not the whole of whatever it is, before it is known to be ours.
                    unpack_head(content, status.st_size, status.st_mtime_ns)
                    content += read(file, status.st_size - _FIRST_BYTES)
        except OSError as error:
            if error.errno in NO_FILE:
                raise Damaged("it is no file") from error
            raise
        found, record = unpack(content, status.st_mtime_ns)
        _check_name(found, name, key_digest)
        return found, record

    def _exists(self, key_digest: str) -> bool:
        if not (self._was_there or self._is_there()):
            return False
        if exists(self._layout.record(key_digest)):
            return True
        self._check_still_there()
        return False

    @contextmanager
    def _unchanging(self, shard: str) -> Iterator[bool]:
        """Let nobody write into a folder of records. Gives whether it is there.

        Where files are replaced meanwhile, a listing may miss some: tmpfs does.
        """
        if exists(self._layout.shard(shard)):
            with self._locks.held(shard):
                yield True
        else:
            self._check_still_there()
            yield False

    def _names(self, shard: str) -> list[str]:
        """Return the names of the records in a folder."""
        return [*filter(is_record_name, os.listdir(self._layout.shard(shard)))]

    def _all(self) -> Iterator[tuple[str, Record]]:
        for shard in SHARDS if self._is_there() else ():
            with self._unchanging(shard) as is_there:
                names = self._names(shard) if is_there else []
            for name in names:
                found = self._read(shard + name, None)
                if found is not None and self._live(found[1]) is not None:
                    yield decode_name(found[0]), found[1]

    def _owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        if not self._is_there():
            return
        folder = self._owners.folder_of(owner)
        entries = self._owners.entries_in(folder)
        if not entries:
            self._check_still_there()
        for key_digest in entries:
            found = self._read(key_digest, None)
            if found is None or found[1].owner != owner:
                self._drop_entry(folder, key_digest, owner)
            elif self._live(found[1]) is not None:
                yield decode_name(found[0]), found[1]

    def _drop_entry(self, folder: str, key_digest: str, owner: str) -> None:
        with suppress(Busy), self._locks.held(key_digest[:2], wait=False):
            found = self._read(key_digest, None)
            shard = self._layout.shard(key_digest[:2])
            if (found is None and exists(shard)) or (found and found[1].owner != owner):
                self._owners.remove_entry(folder, key_digest)

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

    def _damaged(self) -> Iterator[tuple[Path, str]]:
        self._check_layout()
        for shard in SHARDS:
            with self._unchanging(shard) as is_there:
                names = self._names(shard) if is_there else []
            for name in names:
                try:
                    self._open(shard + name, None)
                except FileNotFoundError:
                    continue
                except Damaged as damage:
                    yield Path(self._layout.record(shard + name)), str(damage)

    def _listed(self, items: Iterator[R]) -> Iterator[R]:
        """Iterate, and turn what the system raises into a StoreError."""
        while True:
            self._check_open()
            try:
                item = next(items)
            except StopIteration:
                return
            except OSError as error:
                self._fail(error)
            yield item

    # Writing, with the lock held

    def _set(self, key_digest: str, name: bytes, record: Record, only_if: Condition) -> bool:
        found = self._read(key_digest, name)
        before = None if found is None else found[1]
        if not condition_holds(only_if, None if before is None else self._live(before)):
            return False
        former = None if before is None else before.owner
        if self._live(record) is None:
            self._remove(key_digest, former)
            return True
        self._add_entry(key_digest, record.owner, former)
        path = self._layout.record(key_digest)
        modified = modification_time(record.expires_at)
        replace(path, pack(name, record), modified, durable=self._durable)
        if former is not None and former != record.owner:
            self._owners.remove(former, key_digest)
        return True

    def _add_entry(self, key_digest: str, owner: str | None, former: str | None) -> None:
        """Make the owner's index entry, also if there was one that somebody has removed."""
        if owner is not None and (owner != former or not self._owners.has(owner, key_digest)):
            self._owners.add(owner, key_digest)

    def _remove(self, key_digest: str, owner: str | None) -> None:
        path = self._layout.record(key_digest)
        if remove(path) and self._durable:
            flush_folder(os.path.dirname(path))
        if owner is not None:
            self._owners.remove(owner, key_digest)

    def _touch(self, key_digest: str, name: bytes, expires_at: float) -> bool:
        found = self._read(key_digest, name)
        if found is None or self._live(found[1]) is None:
            return False
        record = dataclasses.replace(found[1], expires_at=expires_at)
        if self._live(record) is None:
            self._remove(key_digest, record.owner)
            return True
        self._add_entry(key_digest, record.owner, record.owner)
        path, modified = self._layout.record(key_digest), modification_time(expires_at)
        if modified == FAR:
            replace(path, pack(name, record), modified, durable=self._durable)
        else:
            # A longer life that is lost with the machine ends a session early, at worst.
            shortens = expires_at < found[1].expires_at
            set_modified(path, modified, durable=self._durable and shortens)
        return True

    # The folder

    def _prepare(self, shard: str) -> None:
        """Make the folders that a write needs, once for each process."""
        if shard in self._ready:
            return
        if not self._ready:
            self._make_layout()
        folder = self._layout.shard(shard)
        make_folder(folder)
        _check_owner(folder)
        if self._durable:
            # Whoever made it: it has to be on the disk before what is written into it.
            flush_folder(self._layout.records)
        self._ready.add(shard)

    def _make_layout(self) -> None:
        layout = self._layout
        if self._is_there():
            # Whatever was there and is missing now is not made again, but missed.
            self._check_still_there()
            make_folder(str(layout.locks))
        else:
            layout.folder.parent.mkdir(parents=True, exist_ok=True)
            make_folder(str(layout.folder))
            self._warn_of_loose_permissions()
            self._check_owners()
            for folder in (layout.records, layout.owners, str(layout.locks)):
                make_folder(folder)
            self._check_owners()
            self._write_about()
        if self._durable:
            # Whoever made them: they have to be on the disk before what is written into them.
            flush_folder(str(layout.folder))
            flush_folder(str(layout.folder.parent))
        self._was_there = True

    def _write_about(self) -> None:
        about = self._layout.about
        with self._locks.held("about"):
            replace(about, _ABOUT_TEXT, _PROBE, durable=self._durable)
            if abs(os.stat(about).st_mtime_ns - _PROBE) >= 1000:  # nanoseconds: one microsecond
                os.unlink(about)
                raise StoreError(
                    "the file system keeps times in steps of more than a microsecond: the file "
                    "store cannot keep expiries there"
                )

    def _warn_of_loose_permissions(self) -> None:
        if sys.platform != "win32":
            mode = stat.S_IMODE(os.stat(self._layout.folder).st_mode)
            if mode & 0o077:
                self._reports.loose_permissions(self._layout.folder, mode)

    def _check_owners(self) -> None:
        """Raise StoreError where somebody else could read or write sessions: they have the folder.

        Everything below these has the permissions that this store gave it. Files are looked at when
        they are read, and never written into.
        """
        layout = self._layout
        levels = (layout.folder, layout.about, layout.records, layout.owners, layout.locks)
        for level in levels:
            _check_owner(level)

    def _check_layout(self) -> None:
        """Raise StoreError unless the folder is one of ours, and of this version."""
        self._check_owners()
        try:
            with open(self._layout.about, "rb") as about:  # a str, not a Path
                version = about.read(len(_ABOUT))
        except FileNotFoundError as error:
            raise StoreUnavailable(f"there is no file store in {self.folder}") from error
        if version != _ABOUT:
            raise StoreError(
                f"the layout of {self.folder} is not the one of this version of coatcheck-file: "
                f"its file `coatcheck-file` begins with {version!r} instead of {_ABOUT!r}"
            )

    def _is_there(self) -> bool:
        """Tell whether there is a file store yet, and raise StoreError if another version's."""
        if not self._was_there:
            try:
                self._check_layout()
            except StoreUnavailable:
                return False
            self._warn_of_loose_permissions()
            self._was_there = True
        return True

    def _check_still_there(self) -> None:
        """Raise StoreUnavailable where what is missing is not a file, but all of them."""
        layout = self._layout
        for path in (layout.about, layout.records, layout.owners):
            try:
                if is_foreign(os.stat(path)):
                    _check_owner(path)
            except FileNotFoundError as error:
                self._ready.clear()
                raise StoreUnavailable(f"{self.folder} has vanished, or a part of it") from error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this file store is closed")

    def _fail(self, error: OSError) -> NoReturn:
        # The next write looks again whether the folders are there.
        self._ready.clear()
        raise_interruption(error)
        # Not the path of the file, which the text of the error has: it is a key's hash.
        reason = error.strerror or type(error).__name__
        raise StoreUnavailable(f"the file system failed in {self.folder}: {reason}") from error


def _absolute(folder: str | os.PathLike[str]) -> Path:
    try:
        given = os.fsdecode(folder)
        path = Path(os.path.abspath(given))
        os.fsencode(path)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"`folder` must be a path that this system can have: {type(error).__name__}"
        ) from error
    if given.startswith("file:"):
        raise ConfigurationError("`folder` must be a path; `FileStore.from_url` takes URLs")
    if not given or path == path.parent or "\0" in given:
        raise ConfigurationError("`folder` must be a folder of the store's own, not the root")
    return path


def _check_owner(path: str | Path) -> None:
    """Raise StoreError where a file or folder, or the link to it, belongs to another user."""
    for look in (os.lstat, os.stat):
        with suppress(FileNotFoundError):
            if is_foreign(status := look(path)):
                raise StoreError(
                    f"{path} belongs to the user {status.st_uid}, who could read and make "
                    f"sessions: give the file store another folder, or give this one to the user "
                    f"{os.geteuid()} that this process runs as (`chown -R`)"
                )


def _check_name(found: bytes, name: bytes | None, key_digest: str) -> None:
    """Raise Damaged where a record is not the one that its file's name says."""
    if found != name and (name is not None or digest(found) != key_digest):
        raise Damaged("it is another key's record")
    if name is None:
        decode_name(found)
