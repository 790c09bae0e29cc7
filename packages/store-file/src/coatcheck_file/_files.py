"""Read, replace and remove whole files, durably if the caller asks for it."""

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
# O_NONBLOCK: opening a named pipe must not wait for its other end.
_READ: Final = os.O_RDONLY | _NO_FOLLOW | _BINARY | _CLOSE_ON_EXEC | getattr(os, "O_NONBLOCK", 0)
# O_EXCL: a file that exists already may be another user's.
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY | _CLOSE_ON_EXEC
_FOLDER: Final = os.O_RDONLY | _CLOSE_ON_EXEC

#: The error numbers of opening a folder, a symbolic link, a socket or the like.
NO_FILE: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO})


def is_foreign(status: os.stat_result) -> bool:
    """Tell whether something belongs to another user than this process's, and not to root."""
    if sys.platform == "win32":  # Windows has no such numbers
        return False
    return status.st_uid not in (0, os.geteuid())


def is_no_folder(error: OSError) -> bool:
    """Tell whether a call failed because a path is no folder, or does not exist."""
    return isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP


#: The end of the name of a file that is being written.
NEW: Final = ".new"

_WINDOWS: Final = sys.platform == "win32"
#: Seconds to try again on Windows, where a file is locked while another process has it open.
_RETRY_SECONDS: Final = 2.0


@contextmanager
def opened(path: str, flags: int = _READ) -> Iterator[int]:
    """Open a file or a folder for the block; yield its descriptor.

    :raises OSError: there is none, or it is a symbolic link.
    """
    # `map` opens a file and stores its descriptor in one step, and closes it in one step. An
    # exception of a signal handler between two steps would lose the descriptor.
    descriptors: list[int] = []
    closing = map(os.close, descriptors)
    try:
        _with_retries(lambda: descriptors.extend(map(os.open, (path,), (flags,), (0o600,))))
        yield descriptors[0]
    finally:
        any(closing)


def make_empty(path: str) -> None:
    """Make an empty file.

    :raises FileExistsError: the name is in use.
    """
    any(map(os.close, map(os.open, (path,), (_NEW_FILE,), (0o600,))))


def read(descriptor: int, size: int) -> bytes:
    """Return that many bytes from the file's current position, or fewer if the file ends there."""
    content = os.read(descriptor, size)
    while 0 < len(content) < size and (more := os.read(descriptor, size - len(content))):
        content += more
    return content


def replace(path: str, content: bytes, modified: int, *, durable: bool) -> None:
    """Put a whole file in the place of another one, or where there was none.

    A process that dies meanwhile leaves the old file or the new one, and perhaps ``path`` + NEW.

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
            os.unlink(temporary)  # it would take room on a full disk
        raise
    if durable:
        flush_folder(os.path.dirname(path))


def _write(path: str, content: bytes, modified: int, *, durable: bool) -> None:
    try:
        _write_into(path, content, modified, durable=durable)
    except FileExistsError:
        remove(path)  # a process that died left it, or another program put it there
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
    """Tell whether a path exists. Unlike ``os.path.exists``, this raises other errors."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def scanned(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Iterate over the entries of a folder.

    Their paths may be relative to the folder, which makes their ``stat`` a third faster.

    :raises FileNotFoundError: there is no such folder.
    """
    if os.scandir not in os.supports_fd:
        with os.scandir(folder) as entries:
            yield entries
        return
    with opened(folder, _FOLDER) as descriptor, os.scandir(descriptor) as entries:
        yield entries


def remove(path: str) -> bool:
    """Remove a file, or put a folder in its place aside. Return False if there is neither."""
    try:
        _with_retries(os.unlink, path)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        # The store made no such folder, so somebody may need it.
        os.rename(path, f"{path}.foreign-{os.urandom(4).hex()}")
    return True


def make_folder(path: str) -> None:
    """Make a folder for the user alone, unless it exists."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def flush_folder(path: str) -> None:
    """Return when the disk has the names of a folder. On Windows this is not possible."""
    if _WINDOWS:
        return
    with opened(path, _FOLDER) as folder:
        _flush(folder)


if sys.platform == "darwin":
    import fcntl

    def _flush(file: int) -> None:
        # On macOS fsync leaves the data in the drive's cache.
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)

else:
    _flush = os.fsync


def _with_retries(call: Callable[..., T], *arguments: object) -> T:
    """Call a function. On Windows, try again while another process has the file open."""
    if not _WINDOWS:
        return call(*arguments)
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return call(*arguments)
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01 * random.random())  # noqa: S311  # not for a secret
