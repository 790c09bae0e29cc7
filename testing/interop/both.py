"""A random walk through what sessions can do, with Express and coatcheck on one store."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest

from coatcheck import AsyncStore, Store
from coatcheck.events import SessionEvent
from testing.servers.node import NodeServer

from .applications import asgi_server, options_of, wsgi_server
from .random_walk import EXPRESS, RandomWalk

#: How many steps a random walk takes; at night it takes more.
each_length = pytest.mark.parametrize("steps", [300, pytest.param(2000, marks=pytest.mark.slow)])
#: The seed, with which a random walk can be repeated.
SEED: Final = int(os.environ.get("COATCHECK_SEED", secrets.randbits(32)))


def random_walk_on_both(
    express: NodeServer,
    asynchronous: AsyncStore,
    plain: Store,
    expire: Callable[[str], None],
    remaining: Callable[[str], float],
    steps: int,
    **more: Any,
) -> None:
    """Take a random walk with an Express application, and with coatcheck over ASGI and WSGI.

    :param asynchronous: the ASGI application's store.
    :param plain: the WSGI application's.
    :param expire: lets a session expire in the store, by its id.
    :param remaining: returns the seconds that a session has left in the store, by its id.
    :param more: options of coatcheck's.
    :raises Difference: the sides do not see the same session.
    """
    events: list[SessionEvent] = []
    with (
        asgi_server(lambda path: options_of(path, asynchronous, [events.append], **more)) as asgi,
        wsgi_server(lambda path: options_of(path, plain, [events.append], **more)) as wsgi,
        httpx.Client() as client,
    ):
        servers = {EXPRESS: express.url, "asgi": asgi, "wsgi": wsgi}
        walk = RandomWalk(client, servers, expire, remaining, SEED)
        walk.run(steps)
    assert {event.kind for event in events}.isdisjoint({"corrupt", "store_error", "gone"})
    assert sum(walk.counts.values()) == steps
