"""A clock that the test sets, a store on it, and a folder in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_disk import Clock

from coatcheck_file import FileStore
from testing.machine import folder_in_memory


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[FileStore]:
    """A store whose folder does not exist yet."""
    store = FileStore(tmp_path / "sessions", durability="process", clock=clock)
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: the system calls are the same, and a disk is slow."""
    memory = folder_in_memory()
    if memory is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
