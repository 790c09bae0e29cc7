"""Faults of a disk, for stores that keep files in a folder.

Python's own functions are replaced, and fail for paths below the folder. A library written in C
that a store uses beside them meets no fault.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from .harness import Fault

#: Functions of ``os`` whose first argument is a path or a descriptor, and that only read.
_READING: Final = (
    "open", "read", "pread", "listdir", "scandir", "stat", "lstat", "access",
)  # fmt: skip
#: Functions that change something.
_WRITING: Final = (
    "write", "pwrite", "writev", "replace", "rename", "link", "symlink", "unlink", "remove",
    "mkdir", "rmdir", "fsync", "fdatasync", "ftruncate", "truncate", "utime", "chmod",
)  # fmt: skip
#: Functions that also take up space.
_GROWING: Final = ("write", "pwrite", "writev", "link", "symlink", "mkdir", "fsync", "fdatasync")

_guard: Final = threading.Lock()


def disk_faults(folder: Path) -> list[Fault]:
    """Return faults that hit everything below a folder."""

    def failing(number: int, functions: tuple[str, ...], **ways: bool) -> Callable[[], Any]:
        return lambda: _failing(folder, number, functions, **ways)

    everything = (*_READING, *_WRITING)
    return [
        Fault("unavailable", "access to the folder is denied", failing(errno.EACCES, everything)),
        Fault("unavailable", "the disk fails", failing(errno.EIO, everything)),
        Fault(
            "unavailable",
            "the disk is full",
            failing(errno.ENOSPC, _GROWING, reading=False),
            reads=False,
        ),
        Fault(
            "unavailable",
            "the disk fails in the middle of a write",
            failing(errno.EIO, _GROWING, reading=False, torn=True),
            reads=False,
        ),
    ]


@contextmanager
def _failing(
    folder: Path, number: int, functions: tuple[str, ...], *, reading: bool = True,
    torn: bool = False,
) -> Iterator[None]:  # fmt: skip
    root = (os.path.realpath(folder), os.path.abspath(folder))  # noqa: PTH100  # see _is_below
    error = OSError(number, os.strerror(number))
    file_class = _file_class(root, number, reading=reading, torn=torn)
    with _guard, ExitStack() as patches:
        for name in functions:
            if hasattr(os, name):
                function = _failing_function(name, getattr(os, name), root, error, torn=torn)
                patches.enter_context(patch.object(os, name, function))
        patches.enter_context(patch.object(io, "FileIO", file_class))
        opened = _opening(io.open, file_class, root)
        patches.enter_context(patch.object(io, "open", opened))
        patches.enter_context(patch.object(builtins, "open", opened))
        with _still_supported(functions):
            yield


@contextmanager
def _still_supported(names: tuple[str, ...]) -> Iterator[None]:
    """Keep the replaced functions in the sets of functions that take a descriptor.

    The functions are replaced already when it is entered, so the real ones are found by name.
    """
    added = []
    for supports in (os.supports_fd, os.supports_follow_symlinks, os.supports_dir_fd):
        real = {getattr(function, "__name__", "") for function in supports}
        for name in names:
            function = getattr(os, name, None)
            if name in real and function is not None and function not in supports:
                supports.add(function)
                added.append((supports, function))
    try:
        yield
    finally:
        for supports, function in added:
            supports.discard(function)


def _failing_function(
    name: str, real: Callable[..., Any], root: tuple[str, ...], error: OSError, *, torn: bool
) -> Callable[..., Any]:
    def failing(target: Any = ".", *args: Any, **kwargs: Any) -> Any:
        if not _is_below(target, root):
            return real(target, *args, **kwargs)
        if name == "access":
            return False
        if torn and name == "write":
            real(target, bytes(args[0])[: len(args[0]) // 2])
        raise OSError(error.errno, error.strerror)

    failing.__name__ = name
    return failing


def _file_class(
    root: tuple[str, ...], number: int, *, reading: bool, torn: bool
) -> type[io.FileIO]:
    real = io.FileIO

    class FailingFile(real):  # type: ignore[misc, valid-type]  # a class in a variable
        def __init__(self, file: Any, *args: Any, **kwargs: Any) -> None:
            if reading and _is_below(file, root):
                raise OSError(number, os.strerror(number))
            super().__init__(file, *args, **kwargs)

        def write(self, content: Any) -> int:
            if not _is_below(self.name, root):
                written: int = super().write(content)
                return written
            if torn:
                super().write(bytes(content)[: len(bytes(content)) // 2])
            raise OSError(number, os.strerror(number))

    return FailingFile


def _opening(
    real: Callable[..., Any], file_class: type[io.FileIO], root: tuple[str, ...]
) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
        if not _is_below(file, root):
            return real(file, mode, buffering, *args, **kwargs)
        plain = mode.replace("b", "").replace("t", "")
        raw = file_class(file, plain, kwargs.get("closefd", True), kwargs.get("opener"))
        if buffering == 0:
            return raw
        buffered = _buffered(raw, plain)
        if "b" in mode:
            return buffered
        names = ("encoding", "errors", "newline")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        return io.TextIOWrapper(buffered, **{n: given[n] for n in names if n in given})

    return opened


def _buffered(raw: io.FileIO, mode: str) -> Any:
    if "+" in mode:
        return io.BufferedRandom(raw)
    return io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)


def _is_below(target: Any, root: tuple[str, ...]) -> bool:
    """Tell whether a path, or the file of a descriptor, is the folder or below it."""
    if isinstance(target, int):
        try:
            path = _readlink(f"/proc/self/fd/{target}")
        except OSError:
            return False
    else:
        try:
            # Not Path, which would read the disk.
            path = os.path.abspath(os.fsdecode(target))  # noqa: PTH100  # see above
        except (TypeError, ValueError):
            return False
    return any(path == folder or path.startswith(folder + os.sep) for folder in root)


_readlink: Final = os.readlink
