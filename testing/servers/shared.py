"""One server for all processes of a test run: the first process that needs it starts it.

The process that runs the tests calls :func:`share`. Its workers inherit an environment variable
that names a folder. In the folder is a FIFO that the main process holds open; it is the standard
input of each server. When the main process ends for any reason, the servers read the end of their
input and stop.
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

#: The servers that this process started. They may outlive this process, and a `Popen` that is
#: collected earlier warns about that.
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

    An environment variable can name a running server. Otherwise it is the run's shared server, or a
    new one.

    :param name: the server's, for ``python -m testing.servers``.
    :param variable: the environment variable.
    :param start: starts a server and yields its URL.
    :raises ServerFailed: the server did not start; the message has its last output.
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
        # Opening must not wait for the main process, which may have ended.
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
            start_new_session=True,  # Ctrl-C must reach only the tests, which end first
        )
    _started.append(process)
    assert process.stdout is not None
    with process.stdout:
        url = process.stdout.readline().decode().strip()
    if not url:
        process.wait()
        raise ServerFailed(f"`python -m testing.servers {name}`: {log.read_text()[-2000:].strip()}")
    return url
