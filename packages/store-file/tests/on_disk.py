"""Where the file store keeps things, and a clock: what several of its tests need."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from coatcheck_file import FileStore

NOW: Final = 1_700_000_000.0
DAY: Final = 86400.0


class Clock:
    """A clock that the test sets.

    :ivar meanwhile: called once, the next time that somebody reads the clock.
    """

    def __init__(self) -> None:
        self.now = NOW
        self.meanwhile: Callable[[], object] | None = None

    def __call__(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self.now


def digest(name: str) -> str:
    """Return the form in which file names have a key or an owner."""
    return hashlib.sha256(name.encode()).hexdigest()


def record_path(store: FileStore, key: str) -> Path:
    """Return the path of a key's record."""
    name = digest(key)
    return store.folder / "records" / name[:2] / name[2:]


def owner_folder(store: FileStore, owner: str) -> Path:
    """Return the folder of an owner's index entries."""
    name = digest(owner)
    return store.folder / "owners" / name[:2] / name[2:]


def record_files(store: FileStore) -> set[Path]:
    """Return all files below `records`."""
    return {path for path in (store.folder / "records").rglob("*") if path.is_file()}


def index_entries(store: FileStore) -> set[str]:
    """Return the names of all files in the owner index."""
    return {path.name for path in (store.folder / "owners").rglob("*") if path.is_file()}


def snapshot(*roots: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Return everything below: mode, modification time and content."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            modified = 0 if path.is_dir() else status.st_mtime_ns
            found[path] = (status.st_mode, modified, content)
    return found


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the content of a file, and not its modification time."""
    status = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def full_disk(size: int = 2000) -> Iterator[None]:
    """Let no file become larger than that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
