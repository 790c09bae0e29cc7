"""A small disk in memory, which can become full. Only root can mount it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testing.servers.process import ServerProcess

from .run import Timing


@contextlib.contextmanager
def small_disk(server: ServerProcess, folder: Path, mebibytes: int) -> Iterator[None]:
    """Let a folder of a server, which does not exist yet, be a disk of that size."""
    folder.mkdir()
    size = f"size={mebibytes}m"
    subprocess.run(("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)), check=True)
    try:
        server.give(folder)
        yield
    finally:
        subprocess.run(("umount", str(folder)), check=True)


async def fill_for_a_while(server: ServerProcess, folder: Path, timing: Timing) -> None:
    """Fill the disk of a server's folder and empty it again; start the server if it has ended."""
    await timing.wait(0.3)
    filling = folder / "filling"
    await asyncio.to_thread(_fill, filling)
    await timing.wait(0.3)
    filling.unlink()
    if not server.runs():
        await asyncio.to_thread(server.start)


def _fill(path: Path) -> None:
    with path.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()
