"""The faults of DynamoDB Local, and of the network in front of it, under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from coatcheck_conformance._kit.proxy import Proxy
from coatcheck_dynamodb import DynamoDBStore
from testing.servers.dynamodb import CREDENTIALS, DynamoDBServer, store_url

from .run import Fault, Timing, kill_twice, stop_for_a_while

#: Seconds in which replies are lost, and in which they arrive, in turn.
_LOST, _ARRIVING = 0.01, 0.09


@dataclass(frozen=True)
class _Way:
    """A disturbed connection to the service.

    :ivar proxy: the proxy in front of the service.
    :ivar url: the URL of a store behind the proxy.
    """

    proxy: Proxy
    url: str


@contextlib.contextmanager
def _service() -> Iterator[DynamoDBServer]:
    """Start the service with its table; both are stored in files."""
    for name, value in CREDENTIALS.items():
        os.environ.setdefault(name, value)
    with DynamoDBServer(keeps=True) as server:
        with contextlib.closing(DynamoDBStore.from_url(server.url)) as store:
            store.ensure_table()
        yield server


@contextlib.contextmanager
def _far_away(answer: bytes = b"") -> Iterator[_Way]:
    """Start a service behind a proxy.

    :param answer: what the proxy replies in its mode ``garbage``.
    """
    with _service() as server:
        proxy = Proxy(("127.0.0.1", server.port), answer)
        try:
            yield _Way(proxy, store_url(f"http://127.0.0.1:{proxy.port}"))
        finally:
            proxy.close()


def _refusing(code: str) -> Callable[[], AbstractContextManager[_Way]]:
    """Return a backend that can refuse everything with a code, in the form that AWS documents."""
    body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"no"}}'
    answer = (
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    return partial(_far_away, answer.encode())


async def _replies_lost(way: _Way, timing: Timing) -> None:
    await timing.wait(0.2)
    finished = asyncio.ensure_future(timing.wait(0.5))
    while not finished.done():
        with way.proxy.doing("lost"):
            await asyncio.sleep(_LOST)
        await asyncio.sleep(_ARRIVING)


async def _refused(way: _Way, timing: Timing) -> None:
    await timing.wait(0.3)
    with way.proxy.doing("garbage"):
        await timing.wait(0.3)


FAULTS: Final = (
    Fault("killed twice, restarted", _service, kill_twice, is_repeated=True),
    Fault("stands still", _service, stop_for_a_while, is_repeated=True),
    Fault("replies lost, again and again", _far_away, _replies_lost),
    Fault("throttled", _refusing("ProvisionedThroughputExceededException"), _refused),
    Fault("credentials expired", _refusing("ExpiredTokenException"), _refused),
)
