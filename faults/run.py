"""Running a load with a fault in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from coatcheck import AsyncStore
from servers.redis import RedisServer

from .load import Load, Outcome
from .redis import Fault


async def outcome_of(
    fault: Fault,
    server: RedisServer,
    opened: Callable[[str], AsyncStore],
    *,
    seconds: float,
    workers: int,
    sessions: int,
) -> tuple[Outcome, float]:
    """Return what happened, and seconds from the end of the fault to the first success.

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
