"""Find out whether this process is one of several workers of a server."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path


def is_one_of_several() -> bool:
    """Tell whether this process is one of several workers of a server, as far as can be seen.

    Workers have the same parent and the same command line. Unless multiprocessing has started them,
    the parent has this command line, too: a shell that has started two applications is no server.
    """
    if not Path("/proc/self/task").exists():  # not Linux
        workers = os.environ.get("WEB_CONCURRENCY", "").strip()  # gunicorn and uvicorn go by it
        return workers.isdecimal() and int(workers) > 1
    parent = os.getppid()
    own = _command("self")
    multiprocessing = sys.modules.get("multiprocessing.process")
    is_child = multiprocessing is not None and multiprocessing.parent_process() is not None
    is_gunicorn = "gunicorn" in os.environ.get("SERVER_SOFTWARE", "")
    if not (is_child or is_gunicorn or _command(parent) == own):
        return False
    return [_command(child) for child in _children(parent)].count(own) > 1


def _command(process: int | str) -> bytes:
    """Return a process's command line without numbers, because workers may differ in these."""
    try:
        return re.sub(rb"\d+", b"", Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:  # it has ended
        return b""


def _children(process: int) -> set[str]:
    try:
        threads = Path(f"/proc/{process}/task").iterdir()
        return {child for each in threads for child in (each / "children").read_text().split()}
    except OSError:  # it has ended, or does not show them
        return set()
