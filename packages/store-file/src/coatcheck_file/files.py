"""Reading, replacing and removing whole files, durably where that is asked for."""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

T = TypeVar("T")

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_CLOSE_ON_EXEC: Final = getattr(os, "O_CLOEXEC", 0)
# Not to wait for the other end of a named pipe that somebody put there.
_READ: Final = os.O_RDONLY | _NO_FOLLOW | _BINARY | _CLOSE_ON_EXEC | getattr(os, "O_NONBLOCK", 0)
# Never what is there already: whose it is nobody knows.
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY | _CLOSE_ON_EXEC
_FOLDER: Final = os.O_RDONLY | _CLOSE_ON_EXEC

#: What opening a folder, a symbolic link, a socket or the like fails with.
NO_FILE: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO})


def is_foreign(status: os.stat_result) -> bool:
    """Tell whether something belongs to another user than this process's, and not to root."""
    if sys.platform == "win32":  # which has no such numbers
        return False
    return status.st_uid not in (0, os.geteuid())


def is_no_folder(error: OSError) -> bool:
    """Tell whether a call failed because there is no folder: nothing, or something else."""
    return isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP


#: Behind the name of a file that is being written.
NEW: Final = ".new"

_WINDOWS: Final = sys.platform == "win32"
#: Seconds for which to try again on Windows, where a file that is open elsewhere is locked.
_RETRY_SECONDS: Final = 2.0


@contextmanager
def opened(path: str, flags: int = _READ) -> Iterator[int]:
    """Open a file or a folder for the block; yield its descriptor.

    :raises OSError: there is none, or it is a symbolic link.
    """
    # `map` opens and notes the descriptor in one step, and closes it in one: between two, an
    # exception of a signal handler would lose it.
    descriptors: list[int] = []
    closing = map(os.close, descriptors)
    try:
        _with_retries(lambda: descriptors.extend(map(os.open, (path,), (flags,), (0o600,))))
        yield descriptors[0]
    finally:
        any(closing)


def make_empty(path: str) -> None:
    """Make an empty file.

    :raises FileExistsError: there is something of this name.
    """
    any(map(os.close, map(os.open, (path,), (_NEW_FILE,), (0o600,))))


def read(descriptor: int, size: int) -> bytes:
    """Return up to that many bytes from where the file stands; fewer only at its end."""
    content = os.read(descriptor, size)
    while 0 < len(content) < size and (more := os.read(descriptor, size - len(content))):
        content += more
    return content


def replace(path: str, content: bytes, modified: int, *, durable: bool) -> None:
    """Put a whole file in place of another, or where there was none.

    Whoever dies on the way leaves the old file, or the new one, and perhaps ``path`` + NEW.

    :param modified: the file's modification time in nanoseconds.
    :param durable: return when the disk has it.
    """
    temporary = path + NEW
    try:
        _write(temporary, content, modified, durable=durable)
        try:
            _with_retries(os.replace, temporary, path)
        except IsADirectoryError:
            remove(path)
            os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)  # a full disk has no room for it
        raise
    if durable:
        flush_folder(os.path.dirname(path))


def _write(path: str, content: bytes, modified: int, *, durable: bool) -> None:
    try:
        _write_into(path, content, modified, durable=durable)
    except FileExistsError:
        remove(path)  # what somebody has left who died on the way, or put there
        _write_into(path, content, modified, durable=durable)


def _write_into(path: str, content: bytes, modified: int, *, durable: bool) -> None:
    with opened(path, _NEW_FILE) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.utime(file if os.utime in os.supports_fd else path, ns=(modified, modified))
        if durable:
            _flush(file)


def set_modified(path: str, modified: int, *, durable: bool) -> None:
    """Set the modification time of a file, in nanoseconds.

    :param durable: return when the disk has it.
    """
    os.utime(path, ns=(modified, modified))
    if durable:
        with opened(path) as file:
            _flush(file)


def exists(path: str) -> bool:
    """Tell whether there is something. Unlike ``os.path.exists``, it raises what goes wrong."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def scanned(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Iterate over what is in a folder.

    The entries' paths may be relative to the folder, which makes their ``stat`` a third faster.

    :raises FileNotFoundError: there is no such folder.
    """
    if os.scandir not in os.supports_fd:
        with os.scandir(folder) as entries:
            yield entries
        return
    with opened(folder, _FOLDER) as descriptor, os.scandir(descriptor) as entries:
        yield entries


def remove(path: str) -> bool:
    """Remove a file, and put a folder aside that stands in its place. Returns False without one."""
    try:
        _with_retries(os.unlink, path)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        # Not ours, and perhaps somebody's.
        os.rename(path, f"{path}.foreign-{os.urandom(4).hex()}")
    return True


def make_folder(path: str) -> None:
    """Make a folder for the user alone, unless it is there."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def flush_folder(path: str) -> None:
    """Return when the disk has the names of a folder. Windows has no way to ask for it."""
    if _WINDOWS:
        return
    with opened(path, _FOLDER) as folder:
        _flush(folder)


if sys.platform == "darwin":
    import fcntl

    def _flush(file: int) -> None:
        # Its fsync leaves the data in the drive's cache.
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)

else:
    _flush = os.fsync


def _with_retries(call: Callable[..., T], *arguments: object) -> T:
    """Call, and where Windows refuses because somebody else has the file open, try again."""
    if not _WINDOWS:
        return call(*arguments)
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return call(*arguments)
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01 * random.random())  # noqa: S311  # to part those who wait
