"""Run a load with a fault in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from coatcheck import AsyncStore
from testing.servers.process import ServerProcess

from .load import Load, Outcome


@dataclass(frozen=True)
class Timing:
    """The times of a run.

    :ivar seconds: how long the load runs.
    :ivar stall: how many seconds a server stands still, if it does.
    """

    seconds: float
    stall: float = 5.0

    async def wait(self, share: float) -> None:
        """Wait for a share of the load's time."""
        await asyncio.sleep(self.seconds * share)


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    :ivar name: a few words.
    :ivar backend: starts the server or servers; the object that it yields has a ``url``.
    :ivar during: causes the fault while the load runs; gets the object that was yielded.
    :ivar needs_root: whether only root can cause it.
    :ivar is_repeated: whether another server has a fault of the same kind.
    """

    name: str
    backend: Callable[[], AbstractContextManager[Any]]
    during: Callable[[Any, Timing], Awaitable[None]]
    needs_root: bool = False
    is_repeated: bool = False


async def kill_twice(server: ServerProcess, timing: Timing) -> None:
    """End a server without notice and start it again, twice."""
    for _ in range(2):
        await timing.wait(0.25)
        server.kill()
        await timing.wait(0.1)
        await asyncio.to_thread(server.start)


async def stop_for_a_while(server: ServerProcess, timing: Timing) -> None:
    """Let a server stand still."""
    await timing.wait(0.3)
    server.pause()
    await asyncio.sleep(timing.stall)
    server.resume()


async def outcome_of(
    fault: Fault,
    server: Any,
    opened: Callable[[str], AsyncStore],
    timing: Timing,
    *,
    workers: int,
    sessions: int,
) -> tuple[Outcome, float]:
    """Return the outcome, and seconds from the end of the fault to the first success.

    :param server: the object that the fault's ``backend`` yielded.
    :param opened: opens the store for a URL.
    """
    store = opened(server.url)
    load = Load(store, workers=workers, sessions=sessions)
    working = asyncio.create_task(load.run())

    began = time.monotonic()
    await fault.during(server, timing)
    over = time.monotonic()
    await asyncio.sleep(max(1.0, timing.seconds - (over - began)))
    load.done.set()
    await working
    await load.check()
    await store.close()
    return load.outcome, load.outcome.recovery(over)
