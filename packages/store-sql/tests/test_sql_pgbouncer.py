"""PgBouncer in transaction mode: each transaction of a client may get another connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event

from coatcheck import ABSENT, AsyncStore, Record, Unchanged, open_async_store, open_store
from coatcheck.errors import StoreError
from coatcheck.storekit import as_async
from coatcheck_conformance import StoreConformance
from coatcheck_sql import SQLStore
from testing.conformance import harness_on
from testing.servers.postgresql import PgBouncer, PostgreSQLServer

pytestmark = pytest.mark.integration("pgbouncer")

#: Connections of PgBouncer's; clients have more.
SHARED = 2
CLIENTS = 8


@contextlib.contextmanager
def pool() -> Iterator[str]:
    with (
        PostgreSQLServer() as server,
        PgBouncer(server, f"default_pool_size = {SHARED}") as pooled,
    ):
        yield pooled.url


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with pool() as url:
        with closing(SQLStore.from_url(url)) as store:
            assert store.ensure_table()
        yield url


def prepares(url: str) -> bool:
    """Tell whether the store's connections prepare the statements that they repeat."""
    made: list[Any] = []
    event.listen(Engine, "connect", listener := lambda connection, _: made.append(connection))
    try:
        with closing(SQLStore.from_url(url)) as store:
            store.ensure_table()
            return made[0].prepare_threshold is not None
    finally:
        event.remove(Engine, "connect", listener)


def test_statements_are_prepared_where_no_pool_is_in_between(url: str) -> None:
    """They take half the time, and PgBouncer would lose them."""
    with PostgreSQLServer() as server:
        assert prepares(server.url)
    assert not prepares(url)


async def use(store: AsyncStore, number: int) -> None:
    for turn in range(10):
        key, old, new = f"{number} {turn} {time.time()}", b"old", b"new"
        expires_at = time.time() + 60
        assert await store.set(key, Record(old, expires_at, "owner"), ABSENT)
        assert not await store.set(key, Record(new, expires_at), ABSENT)
        assert await store.set(key, Record(new, expires_at), Unchanged(old))
        assert await store.get(key) == Record(new, expires_at)
        assert await store.touch(key, expires_at + 1)
        assert await store.destroy(key)


async def all_use(store: AsyncStore) -> None:
    uses = (use(store, number) for number in range(CLIENTS))
    outcomes = await asyncio.gather(*uses, return_exceptions=True)
    await store.close()
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


@pytest.mark.parametrize("api", ["sync", "async"])
def test_psycopg_through_a_pool(url: str, api: str) -> None:
    asyncio.run(all_use(open_async_store(url) if api == "async" else as_async(open_store(url))))


def test_asyncpg_needs_a_connection_of_its_own(url: str) -> None:
    """The error names the driver that has no such need."""
    store = open_async_store(url.replace("postgresql", "postgresql+asyncpg", 1))
    with pytest.raises(StoreError, match="use psycopg"):
        asyncio.run(all_use(store))


def test_asyncpg_through_a_pool_in_session_mode() -> None:
    """Each client has a connection for as long as it wants, and can prepare statements."""
    lent = ("pool_mode = session", f"default_pool_size = {CLIENTS}")
    with PostgreSQLServer() as server, PgBouncer(server, *lent) as pooled:
        with closing(SQLStore.from_url(server.url)) as store:
            store.ensure_table()
        url = f"{pooled.url.replace('postgresql', 'postgresql+asyncpg', 1)}?pool_size={CLIENTS}"
        asyncio.run(all_use(open_async_store(url)))


through_pgbouncer = harness_on(pool, "timeout=2")


@pytest.mark.slow
@pytest.mark.usefixtures("through_pgbouncer")
class TestPgBouncer(StoreConformance):
    pass
