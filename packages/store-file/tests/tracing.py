"""Kills a child process before its n-th system call, by ptrace(2), on Linux.

Whatever a process does to the world it does in a system call. Before one is after the one
before: killing a process at each of them, the exit included, leaves every state that a killed
process can leave.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

_TRACEME: Final = 0
_SYSCALL: Final = 24
_SETOPTIONS: Final = 0x4200
#: A bit tells the stops at system calls from signals; the child dies with its tracer.
_OPTIONS: Final = 0x1 | 0x100000
_AT_SYSTEM_CALL: Final = signal.SIGTRAP | 0x80

#: The numbers of fsync(2).
_FSYNC: Final = {"x86_64": "74", "aarch64": "82"}.get(platform.machine())

_RETURNED: Final = b"returned"


@dataclass(frozen=True)
class Attempt:
    """The fate of a child process.

    :ivar killed: it was killed; False: it ended before it came so far.
    :ivar returned: what it had to do was done, as far as it could tell anybody.
    :ivar error: the traceback of what it raised.
    """

    killed: bool
    returned: bool
    error: str


def killed_at(
    call: int, act: Callable[[], object], look: Callable[[int], None] | None = None
) -> Attempt:
    """Let a forked child act, and kill it with SIGKILL before one of its system calls.

    :param call: the number of the system call, from 1.
    :param look: called with the child's process id while the child waits before a system call.
    :raises OSError: tracing is not possible here.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _act(writer, act)
    os.close(writer)
    try:
        killed = _stepped(pid, call, look)
    except BaseException:
        _kill(pid)
        raise
    finally:
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
    error = "" if said in (b"", _RETURNED) else said.decode()
    return Attempt(killed, said == _RETURNED, error)


def obstacle() -> str | None:
    """Return why processes cannot be traced here, or None if they can."""
    if not sys.platform.startswith("linux"):
        return "system calls are traced on Linux only"
    try:
        attempt = killed_at(1, os.getppid)
    except OSError as error:
        return f"processes cannot be traced here: {error.strerror}"
    return None if attempt.killed else f"processes cannot be traced here: {attempt.error}"


def waits_for_disk(pid: int) -> bool | None:
    """Tell whether a child waits before fsync(2). None: this is not known."""
    try:
        number, *_ = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return None
    return None if _FSYNC is None else number == _FSYNC


def _act(writer: int, act: Callable[[], object]) -> NoReturn:
    try:
        _ptrace(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        act()
        os.write(writer, _RETURNED)
    except BaseException:
        os.write(writer, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _stepped(pid: int, call: int, look: Callable[[int], None] | None) -> bool:
    """Go on until the call and kill there; False if the child ended before."""
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return False
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    # The child stops before a call and after it.
    stops, pending = 0, 0
    while True:
        _ptrace(_SYSCALL, pid, pending)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return False
        pending = os.WSTOPSIG(status)
        if pending == _AT_SYSTEM_CALL:
            stops, pending = stops + 1, 0
            if look is not None and stops % 2:
                look(pid)
            if stops == 2 * call - 1:
                _kill(pid)
                return True


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
        pass  # a stop that was on its way


def _ptrace(request: int, pid: int, data: int) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if sys.platform.startswith("linux"):
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.ptrace.restype = ctypes.c_long
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
