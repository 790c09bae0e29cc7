"""Running ``python -m coatcheck demo`` in tests, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what would change the demo."""
    kept = {name: value for name, value in os.environ.items() if name != "SESSION_SECRET"}
    return {**kept, "PYTHONPATH": "", **variables}


def demo(
    *arguments: str, folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m coatcheck demo`` to its end.

    :param folder: the working directory.
    """
    return subprocess.run(
        [sys.executable, "-m", "coatcheck", "demo", *arguments],
        env=environment(**variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def served(
    *arguments: str, folder: Path | None = None, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demo until the end of the block, and give its process and its URL.

    :param folder: the working directory.
    """
    command = [sys.executable, "-m", "coatcheck", "demo", *arguments]
    with subprocess.Popen(
        command,
        env=environment(**variables),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(r"The demo is at (https?://127\.0\.0\.1:\d+) ", line)
            assert found, line
            yield process, found[1]
        finally:
            process.kill()
