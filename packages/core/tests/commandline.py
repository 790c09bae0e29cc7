"""Command lines, run in this process: an interpreter of their own takes most of a second."""

from __future__ import annotations

import io
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import NoReturn


def run_here(
    main: Callable[[Sequence[str]], int], *arguments: str, timeout: int = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command line, and return what running it in a process of its own would.

    :param timeout: seconds after which it is ended: one that should have been refused may serve.
    :raises TimeoutError: it had to be.
    """
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors), _limited(timeout):
        try:
            status: object = main(arguments)
        except SystemExit as ended:  # argparse ends the process by itself
            status = ended.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def end(*_: object) -> NoReturn:
        raise TimeoutError(f"the command line did not end within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
