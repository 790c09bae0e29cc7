"""Notice what a block of code does beyond computing, by the interpreter's audit events.

Imports, and reading the metadata of installed packages, are left out: they are not the store's own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

#: A connect of a socket that does not wait, as in an event loop; the interpreter has no such event.
_NOT_WAITING: Final = "socket.connect, without waiting"
#: Audit events of calls that use a file, a network or another process, or that wait.
IO_EVENTS: Final = frozenset(
    [
        "open",
        "os.listdir",
        "os.scandir",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "os.chmod",
        "os.chown",
        "os.setxattr",
        "os.system",
        "os.posix_spawn",
        "os.exec",
        "os.fork",
        "fcntl.flock",
        "fcntl.lockf",
        "shutil.rmtree",
        "tempfile.mkstemp",
        "tempfile.mkdtemp",
        "sqlite3.connect",
        "subprocess.Popen",
        "time.sleep",
        "socket.connect",
        _NOT_WAITING,
        "socket.bind",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
    ]
)
#: Audit events of calls that wait for a disk, a name server, another process or the clock.
WAITING_EVENTS: Final = IO_EVENTS - {
    *("os.fork", "os.exec", "socket.bind", "socket.sendto", "socket.sendmsg", _NOT_WAITING)
}
#: Started threads: the kit has an event of its own, because Python 3.11 has none.
THREAD_EVENTS: Final = frozenset({"coatcheck.thread"})


@dataclass(slots=True)
class Watch:
    """The events that were noticed.

    :ivar events: which audit events count.
    :ivar bystanders: threads that are not watched: those that ran before, except the caller's.
    :ivar seen: each event in words, with the thread's id.
    """

    events: frozenset[str]
    bystanders: frozenset[int]
    seen: list[tuple[str, int]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Return the events in words."""
        return [line for line, _ in self.seen]

    def lines_of_this_thread(self) -> list[str]:
        """Return the events of the calling thread, in words."""
        mine = threading.get_ident()
        return [line for line, thread in self.seen if thread == mine]


_watches: Final[list[Watch]] = []
_guard: Final = threading.Lock()
_installed: Final[list[bool]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watches or not (event in IO_EVENTS or event in THREAD_EVENTS):
        return
    if event == "socket.connect" and args[0].gettimeout() == 0:
        event = _NOT_WAITING
    thread = threading.get_ident()
    for watch in tuple(_watches):
        if event not in watch.events or thread in watch.bystanders:
            continue
        if not _is_of_an_import(sys._getframe(1)):
            watch.seen.append((f"{event}{_about(event, args)}", thread))


def _about(event: str, args: tuple[Any, ...]) -> str:
    if not args:
        return ""
    return f"({args[-1]!r})" if event.startswith("socket.") else f"({args[0]!r})"


def _is_of_an_import(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name == "importlib" or name.startswith(("importlib.", "_frozen_importlib")):
            return True
        frame = frame.f_back
    return False


_start: Final = threading.Thread.start


def _start_and_tell(thread: threading.Thread) -> None:
    sys.audit("coatcheck.thread", thread.name)
    _start(thread)


@contextmanager
def watching(events: frozenset[str]) -> Iterator[Watch]:
    """Watch the calling thread, and each thread that begins meanwhile, for the block."""
    with _guard:
        if not _installed:  # an audit hook cannot be removed
            sys.addaudithook(_audit)
            # The method's first argument has another name.
            threading.Thread.start = _start_and_tell  # type: ignore[assignment, method-assign]
            _installed.append(True)
    mine = threading.get_ident()
    others = frozenset(thread.ident or 0 for thread in threading.enumerate()) - {mine}
    watch = Watch(events, others)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)
