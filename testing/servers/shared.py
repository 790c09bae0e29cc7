"""One server for all processes of a test run: the first that asks starts it.

The process that runs the tests calls :func:`share`. Its workers inherit an environment variable
that names a folder. In the folder is a FIFO which the main process holds open, and which each
server has as its standard input: when the main process ends, however it ends, the servers read the
end of their input and stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from .process import ServerFailed
from .programs import ROOT

#: The folder of the run's servers.
FOLDER_VARIABLE: Final = "COATCHECK_TEST_SERVERS"

#: Those that this process started. They outlive it where another process is the main one, and a
#: `Popen` that is collected warns about that.
_started: Final[list[subprocess.Popen[bytes]]] = []


@contextlib.contextmanager
def share() -> Iterator[None]:
    """Let this process and its children share servers until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="coatcheck-shared-"))
    os.mkfifo(folder / "lifeline")
    lifeline = os.open(folder / "lifeline", os.O_RDWR)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[FOLDER_VARIABLE]
        os.close(lifeline)
        with (folder / "running").open("ab") as running:
            fcntl.flock(running, fcntl.LOCK_EX)  # the last server has ended
        shutil.rmtree(folder)


@contextlib.contextmanager
def shared_or_own(
    name: str, variable: str, start: Callable[[], AbstractContextManager[str]]
) -> Iterator[str]:
    """Yield the URL of a server for tests.

    It is the one that an environment variable names, or the run's shared one, or a new one.

    :param name: the server's, for ``python -m testing.servers``.
    :param variable: may hold the URL of a server that is running.
    :param start: starts a server and yields its URL.
    :raises ServerFailed: the server did not start; the message has its last words.
    """
    if url := os.environ.get(variable):
        yield url
    elif folder := os.environ.get(FOLDER_VARIABLE):
        yield _shared(name, Path(folder))
    else:
        with start() as url:
            yield url


def _shared(name: str, folder: Path) -> str:
    with (folder / f"{name}.url").open("a+") as known:
        fcntl.flock(known, fcntl.LOCK_EX)
        known.seek(0)
        url = known.read()
        if not url:
            url = _start(name, folder)
            known.write(url)
    return url


def _start(name: str, folder: Path) -> str:
    log = folder / f"{name}.log"
    with (
        # It does not wait for the main process, which may have ended.
        os.fdopen(os.open(folder / "lifeline", os.O_RDONLY | os.O_NONBLOCK), "rb") as lifeline,
        (folder / "running").open("ab") as running,
        log.open("wb") as errors,
    ):
        os.set_blocking(lifeline.fileno(), True)
        fcntl.flock(running, fcntl.LOCK_SH)
        process = subprocess.Popen(
            (sys.executable, "-m", "testing.servers", name),
            cwd=ROOT,
            stdin=lifeline,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(running.fileno(),),
            start_new_session=True,  # Ctrl-C is for the tests, which end first
        )
    _started.append(process)
    assert process.stdout is not None
    with process.stdout:
        url = process.stdout.readline().decode().strip()
    if not url:
        process.wait()
        raise ServerFailed(f"`python -m testing.servers {name}`: {log.read_text()[-2000:].strip()}")
    return url
