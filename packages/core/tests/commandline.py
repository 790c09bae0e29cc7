"""Command lines, run in this process: an interpreter of their own takes most of a second."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout


def run_here(
    main: Callable[[Sequence[str]], int], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line, and return what running it in a process of its own would."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            status: object = main(arguments)
        except SystemExit as ended:  # argparse ends the process by itself
            status = ended.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())
