"""The demo in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[str]:
    """Run the demo as a reader of the README would, and yield its URL.

    :param folder: the working directory.
    :param options: more words of the command line.
    """
    environment = {
        **os.environ, "SESSION_SECRET": "a secret for tests, of 32 bytes!", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "coatcheck", "demo", "--port", "0", "--store", "memory:"]
    process = subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = re.search(r"https?://[\d.:]+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the demo did not start")
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)
