"""What a thread does that makes it wait, seen by the interpreter's audit events."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Audit events of calls that wait for a disk, a name server, another process or the clock.
_WAITING: Final = frozenset(
    (
        *("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir"),
        *("os.link", "os.truncate", "os.utime", "fcntl.flock", "fcntl.lockf", "sqlite3.connect"),
        *("subprocess.Popen", "os.system", "os.posix_spawn", "time.sleep"),
        *("socket.getaddrinfo", "socket.gethostbyname"),
    )
)

#: What each watched thread has done, by its id.
_watched: Final[dict[int, list[str]]] = {}
_guard: Final = threading.Lock()
_installed: Final[list[bool]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched:
        return
    seen = _watched.get(threading.get_ident())
    if seen is None:
        return
    if event == "socket.connect":
        # An event loop's own connect does not wait.
        if args[0].gettimeout() != 0:
            seen.append(f"{event} on a socket that waits")
    elif event in _WAITING:
        seen.append(f"{event}({args[0]!r})" if args else event)


@contextmanager
def watching_this_thread() -> Iterator[list[str]]:
    """Give a list of what the calling thread does in the block that may make it wait."""
    with _guard:
        if not _installed:  # it cannot be taken away again
            sys.addaudithook(_audit)
            _installed.append(True)
    seen: list[str] = []
    _watched[threading.get_ident()] = seen
    try:
        yield seen
    finally:
        del _watched[threading.get_ident()]
