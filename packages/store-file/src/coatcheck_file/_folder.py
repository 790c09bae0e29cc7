"""The folder of a store: the first write makes it, and later calls check that it is still there."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from coatcheck.errors import ConfigurationError, StoreError, StoreUnavailable

from ._files import flush_folder, is_foreign, make_folder, replace
from ._layout import SHARDS, Layout
from ._locks import Locks
from ._reports import Reports

_ABOUT: Final = b"coatcheck-file 1\n"
_ABOUT_TEXT: Final = (
    _ABOUT + b"Sessions of coatcheck-file. The modification time of each file in records/ is its "
    b"session's expiry:\ncopy them with their times (cp -a, rsync -a, tar), or they expire.\n"
)
#: Nanoseconds: a time that a file system keeps only if its steps are shorter than a microsecond.
_PROBE: Final = 1_700_000_000_123_456_000


class Folder:
    """The folder of a store, and the folders below it.

    :param layout: the paths of the folders.
    :param locks: the locks of the store.
    :param reports: what the operator is told.
    :param durable: whether a returned call has waited for the disk.
    :ivar was_there: whether this process has seen the folder. From then on a missing folder is an
        error, and not an empty store.
    """

    def __init__(self, layout: Layout, locks: Locks, reports: Reports, *, durable: bool) -> None:
        self._layout = layout
        self._locks = locks
        self._reports = reports
        self._durable = durable
        self._ready: set[str] = set()
        self.was_there = False

    @property
    def path(self) -> Path:
        """Return the path of the folder."""
        return self._layout.folder

    def prepare(self, shard: str) -> None:
        """Make the folders that a write needs, once for each process."""
        if shard in self._ready:
            return
        if not self._ready:
            self._make_layout()
        folder = self._layout.shard(shard)
        make_folder(folder)
        _check_owner(folder)
        if self._durable:
            # Another process may have made it. It must be on the disk before what is written there.
            flush_folder(self._layout.records)
        self._ready.add(shard)

    def look_again(self) -> None:
        """Have the next write check the folders again."""
        self._ready.clear()

    def is_there(self) -> bool:
        """Tell whether there is a file store yet.

        :raises StoreError: the folder belongs to another user or to another version's store.
        """
        if not self.was_there:
            try:
                self.check_layout()
            except StoreUnavailable:
                return False
            self._warn_of_loose_permissions()
            self.was_there = True
        return True

    def check_still_there(self) -> None:
        """Raise StoreUnavailable if all files are missing, and not just one of them."""
        layout = self._layout
        for path in (layout.about, layout.records, layout.owners):
            try:
                if is_foreign(os.stat(path)):
                    _check_owner(path)
            except FileNotFoundError as error:
                self.look_again()
                raise StoreUnavailable(
                    f"{self.path} is missing, or a part of it: bring it back and this process goes "
                    "on; to begin without sessions, remove all of it and restart the application"
                ) from error

    def check_layout(self) -> None:
        """Check that the folder is a file store of this version.

        :raises StoreUnavailable: there is no file store.
        :raises StoreError: it belongs to another user or version.
        """
        self._check_owners()
        try:
            with open(self._layout.about, "rb") as about:  # a str, not a Path
                version = about.read(len(_ABOUT))
        except FileNotFoundError as error:
            raise StoreUnavailable(f"there is no file store in {self.path}") from error
        if version != _ABOUT:
            raise StoreError(
                f"the layout of {self.path} is not the one of this version of coatcheck-file: "
                f"its file `coatcheck-file` begins with {version!r} instead of {_ABOUT!r}"
            )

    def check_usable(self) -> None:
        """Check that records can be written.

        :raises StoreError: they cannot.
        """
        self.prepare(SHARDS[0])
        self.check_layout()
        self.check_still_there()
        if not os.access(self._layout.records, os.W_OK | os.X_OK):
            raise StoreUnavailable(
                f"this process may not write to {self.path}: change its permissions"
            )

    def _make_layout(self) -> None:
        layout = self._layout
        if self.is_there():
            # A part that was there is not made again if it is missing now.
            self.check_still_there()
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
            # Another process may have made them. They must be on the disk before their content.
            flush_folder(str(layout.folder))
            flush_folder(str(layout.folder.parent))
        self.was_there = True

    def _write_about(self) -> None:
        about = self._layout.about
        with self._locks.held("about"):
            replace(about, _ABOUT_TEXT, _PROBE, durable=self._durable)
            if abs(os.stat(about).st_mtime_ns - _PROBE) >= 1000:  # nanoseconds: one microsecond
                os.unlink(about)
                raise StoreError(
                    "the file system keeps times in steps of more than a microsecond, so the file "
                    "store cannot keep expiries there: give it a folder on another file system"
                )

    def _warn_of_loose_permissions(self) -> None:
        if sys.platform != "win32":
            mode = stat.S_IMODE(os.stat(self.path).st_mode)
            if mode & 0o077:
                self._reports.loose_permissions(self.path, mode)

    def _check_owners(self) -> None:
        """Raise StoreError if another user owns a folder, and so could read or write sessions.

        Everything below these folders has the permissions that this store gave it. Files are
        checked when they are read, and are never written into.
        """
        layout = self._layout
        levels = (layout.folder, layout.about, layout.records, layout.owners, layout.locks)
        for level in levels:
            _check_owner(level)


def absolute_path(folder: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a store's folder.

    :raises ConfigurationError: it cannot be the path of such a folder.
    """
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
    """Raise StoreError if a file or folder, or the link to it, belongs to another user."""
    for look in (os.lstat, os.stat):
        with suppress(FileNotFoundError):
            if is_foreign(status := look(path)):
                raise StoreError(
                    f"{path} belongs to the user {status.st_uid}, who could read and make "
                    f"sessions: give the file store another folder, or give this one to the user "
                    f"{os.geteuid()} that this process runs as (`chown -R`)"
                )
