"""Running a load with a fault in it."""

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

#: Waits for a part of the time that the load runs.
Wait = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    :ivar name: in a few words.
    :ivar backend: starts the server or servers; what it yields has a ``url``.
    :ivar during: does it, given what was started, and a way to wait for a share of the load's time.
    :ivar needs_root: whether bringing it about takes root.
    """

    name: str
    backend: Callable[[], AbstractContextManager[Any]]
    during: Callable[[Any, Wait], Awaitable[None]]
    needs_root: bool = False


async def kill_twice(server: ServerProcess, wait: Wait) -> None:
    """End a server without notice, and start it again; all of it twice."""
    for _ in range(2):
        await wait(0.25)
        server.kill()
        await wait(0.1)
        await asyncio.to_thread(server.start)


async def stop_for_a_while(server: ServerProcess, wait: Wait) -> None:
    """Let a server stand still for five seconds."""
    await wait(0.3)
    server.pause()
    await asyncio.sleep(5)
    server.resume()


async def outcome_of(
    fault: Fault,
    server: Any,
    opened: Callable[[str], AsyncStore],
    *,
    seconds: float,
    workers: int,
    sessions: int,
) -> tuple[Outcome, float]:
    """Return what happened, and seconds from the end of the fault to the first success.

    :param server: what the fault's ``backend`` yielded.
    :param opened: opens the store for a URL.
    :param seconds: how long the load runs.
    """
    store = opened(server.url)
    load = Load(store, workers=workers, sessions=sessions)
    working = asyncio.create_task(load.run())

    async def wait(share: float) -> None:
        await asyncio.sleep(seconds * share)

    began = time.monotonic()
    await fault.during(server, wait)
    over = time.monotonic()
    await asyncio.sleep(max(2.0, seconds - (over - began)))
    load.done.set()
    await working
    await load.check()
    await store.close()
    return load.outcome, load.outcome.recovery(over)
