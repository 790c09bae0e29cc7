"""A process that writes all the time until it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from coatcheck import Record, Store, open_store
from coatcheck.storekit import as_sync

from .clock import DAY
from .harness import resolve

#: The keys to which the process writes.
KEYS: Final = tuple(f"key{number}" for number in range(4))
#: Bytes of a record's data.
_SIZE: Final = 20_000
_SCRIPT: Final = "from coatcheck_conformance._kit.kill import write; write()"


def record_number(number: int, now: float) -> Record:
    """Return the record of the process's write with this number, which each part shows."""
    data = b"%08d" % number * (_SIZE // 8)
    return Record(data, now + DAY + number, f"owner{number}")


def write() -> None:
    """Write until killed; print the number of each write that was acknowledged."""
    url, opener, now = sys.argv[1], sys.argv[2], float(sys.argv[3])
    opened = resolve(opener) if opener else open_store
    store: Store = as_sync(opened(url, clock=lambda: now))
    number = 0
    while True:
        store.set(KEYS[number % len(KEYS)], record_number(number, now))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


@contextmanager
def writing(url: str, opener: str | None, now: float) -> Iterator[subprocess.Popen[str]]:
    """Run the process during the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(  # runs this interpreter
        [sys.executable, "-c", _SCRIPT, url, opener or "", repr(now)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_after(url: str, opener: str | None, now: float, seconds: float) -> int:
    """Let the process write that long, kill it, and return its last acknowledged number.

    :returns: -1 if it has acknowledged nothing.
    """
    with writing(url, opener, now) as process:
        assert process.stdout is not None, "it is a pipe"
        first = process.stdout.readline()
        time.sleep(seconds)  # until the moment of the kill
        process.kill()
        rest, _ = process.communicate()
    lines = [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
    return int(lines[-1]) if lines else -1
