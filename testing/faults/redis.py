"""The faults of a Redis server under load."""

from __future__ import annotations

from functools import partial
from typing import Final

import redis
from testing.servers.redis import RedisServer, ask

from .run import Fault, Timing, kill_twice, stop_for_a_while


async def _full(server: RedisServer, timing: Timing) -> None:
    await timing.wait(0.3)
    ask(server.port, "CONFIG", "SET", "maxmemory", "1")
    await timing.wait(0.3)
    ask(server.port, "CONFIG", "SET", "maxmemory", "0")


async def _overrun(server: RedisServer, timing: Timing) -> None:
    # The administrator connects first, because nobody can connect when the limit is reached.
    with redis.Redis(port=server.port, single_connection_client=True) as administrator:
        await timing.wait(0.3)
        administrator.config_set("maxclients", 4)
        administrator.client_kill_filter(_type="normal", skipme=True)
        await timing.wait(0.3)
        administrator.config_set("maxclients", 1000)


FAULTS: Final = (
    Fault(
        "killed twice, restarted",
        partial(RedisServer, "--appendonly", "yes", "--appendfsync", "always"),
        kill_twice,
    ),
    Fault("stands still", RedisServer, stop_for_a_while),
    Fault(
        "memory full (noeviction)",
        partial(RedisServer, "--maxmemory-policy", "noeviction"),
        _full,
    ),
    Fault("too many clients", RedisServer, _overrun),
)
