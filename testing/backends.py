"""The stores, and the kinds of servers behind them, that this repository checks with the kit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from .servers.urls import STARTERS


@dataclass(frozen=True)
class Backend:
    """A store on one kind of server.

    :ivar name: the name of its report.
    :ivar start: starts the server, if there is one, and yields the URL of a store.
    :ivar server: the server that the store needs: one of :data:`.machine.SERVERS`, or nothing.
    :ivar seconds: roughly how long the kit takes; most of it waits for servers that do not reply.
    """

    name: str
    start: Callable[[], AbstractContextManager[str]]
    server: str = ""
    seconds: int = 10


@contextlib.contextmanager
def _memory() -> Iterator[str]:
    yield "memory:"


@contextlib.contextmanager
def _file() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="coatcheck-reports-") as folder:
        yield f"file:{folder}/sessions"


@contextlib.contextmanager
def _sql(server: str, scheme: str) -> Iterator[str]:
    with STARTERS[server]() as url:
        yield f"{scheme}:{url.partition(':')[2]}"


@contextlib.contextmanager
def _sqlite(driver: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="coatcheck-reports-") as folder:
        yield f"{driver}:///{folder}/sessions.db"


def _redis(name: str, kind: str, seconds: int, *, cluster: bool = False) -> Backend:
    starter = STARTERS["redis-cluster" if cluster else "redis"]
    server = {"system": "redis-server", "redis-6.2": "redis-6.2"}.get(kind, "redis")
    return Backend(name, partial(starter, kind), server, seconds)


#: All of them. docs/conformance.md has one line for each, in this order.
BACKENDS: Final = (
    Backend("memory", _memory),
    Backend("file", _file, seconds=70),
    _redis("redis-valkey", "valkey", 220),
    _redis("redis-6.2", "redis-6.2", 250),
    _redis("redis-system", "system", 250),
    _redis("redis-valkey-cluster", "valkey", 90, cluster=True),
    Backend("mongo-single", STARTERS["mongo"], "mongo", 1800),
    Backend("mongo-replica-set", STARTERS["mongo-replica-set"], "mongo", 130),
    Backend("postgresql", STARTERS["postgresql"], "postgresql", seconds=400),
    Backend(
        "postgresql-asyncpg", partial(_sql, "postgresql", "postgresql+asyncpg"), "postgresql", 400
    ),
    Backend("mariadb", STARTERS["mariadb"], "mariadb", seconds=400),
    Backend("sqlite", partial(_sqlite, "sqlite"), seconds=150),
    Backend("sqlite-aiosqlite", partial(_sqlite, "sqlite+aiosqlite"), seconds=150),
    Backend("dynamodb", STARTERS["dynamodb"], "dynamodb", 400),
)


def backend_of(name: str) -> Backend:
    """Return the backend of a name."""
    return next(backend for backend in BACKENDS if backend.name == name)
