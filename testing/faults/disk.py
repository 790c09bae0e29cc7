"""A small disk in memory, which can become full. Only root can mount it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from testing.servers.process import ServerProcess

from .run import Timing


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    """Let a folder, which does not exist yet, be a disk of that size."""
    folder.mkdir()
    size = f"size={mebibytes}m"
    subprocess.run(("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", str(folder)), check=True)


@contextlib.contextmanager
def disk_of(server: ServerProcess, folder: Path, mebibytes: int) -> Iterator[None]:
    """Let a folder of a server, which does not exist yet, be a disk of that size."""
    with small_disk(folder, mebibytes):
        server.give(folder)
        yield


@contextlib.asynccontextmanager
async def full(folder: Path) -> AsyncIterator[None]:
    """Fill the disk of a folder, and empty it again."""
    filling = folder / "filling"
    await asyncio.to_thread(_fill, filling)
    try:
        yield
    finally:
        filling.unlink()


async def fill_for_a_while(server: ServerProcess, folder: Path, timing: Timing) -> None:
    """Fill the disk of a server's folder and empty it again; start the server if it has ended."""
    await timing.wait(0.3)
    async with full(folder):
        await timing.wait(0.3)
    if not server.runs():
        await asyncio.to_thread(server.start)


def _fill(path: Path) -> None:
    with path.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()
