"""The faults of processes that share a file of SQLite, under load."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coatcheck import open_store
from coatcheck_conformance._kit.kill import KEYS, killed_after, record_number
from coatcheck_sql import SQLStore
from testing.machine import folder_in_memory

from .disk import full, small_disk
from .run import Fault, Timing

#: Seconds that a process writes before it is killed.
_LIFE: Final = 0.3
#: MiB of the disk that becomes full.
_DISK: Final = 64


@dataclass(frozen=True)
class _File:
    """A file of SQLite with the table of sessions.

    :ivar path: its path.
    """

    path: Path

    @property
    def url(self) -> str:
        """Return the URL of a store."""
        return f"sqlite:///{self.path}"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="coatcheck-faults-", dir=folder_in_memory()) as folder:
        yield Path(folder)


def _file_in(folder: Path) -> _File:
    file = _File(folder / "sessions.db")
    with contextlib.closing(SQLStore.from_url(file.url)) as store:
        store.ensure_table()
    return file


@contextlib.contextmanager
def _file() -> Iterator[_File]:
    with _folder() as folder:
        yield _file_in(folder)


@contextlib.contextmanager
def _on_a_small_disk() -> Iterator[_File]:
    with _folder() as folder, small_disk(folder / "disk", _DISK):
        yield _file_in(folder / "disk")
        gc.collect()  # exceptions that are kept have cursors, which keep the file open


async def _neighbours_killed(file: _File, timing: Timing) -> None:
    """Kill processes that write all the time; what they have acknowledged must be there."""
    end = time.monotonic() + timing.seconds * 0.7
    while time.monotonic() < end:
        await asyncio.to_thread(_kill_one, file.url)


def _kill_one(url: str) -> None:
    now = time.time()
    last = killed_after(url, None, now, _LIFE)
    with contextlib.closing(open_store(url)) as store:
        for number in range(max(0, last - len(KEYS) + 1), last + 1):
            found = store.get(KEYS[number % len(KEYS)])
            # The write after the last acknowledged one may also be there.
            expected = (record_number(number, now), record_number(number + len(KEYS), now))
            assert found in expected, f"the acknowledged write {number} of a killed process is lost"


async def _locked(file: _File, timing: Timing) -> None:
    """Let another process stand still in the middle of a write."""
    await timing.wait(0.3)
    with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(timing.stall)
        database.execute("ROLLBACK")


async def _full(file: _File, timing: Timing) -> None:
    """Fill the disk while a reader, such as a backup, keeps SQLite from using its log again."""
    await timing.wait(0.3)
    async with full(file.path.parent):
        with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM coatcheck_sessions").fetchone()
            await timing.wait(0.3)


FAULTS: Final = (
    Fault("another process killed, again and again", _file, _neighbours_killed),
    Fault("another writer stands still", _file, _locked, is_repeated=True),
    Fault("disk full, then not", _on_a_small_disk, _full, needs_root=True),
)
