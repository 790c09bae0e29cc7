"""More calls at the same time than there are connections."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from typing import Any

import pytest

from coatcheck import open_async_store
from coatcheck.errors import StoreTimeout, StoreUnavailable
from coatcheck_sql import AsyncSQLStore, SQLStore
from coatcheck_sql._drivers.postgresql import AsyncPG, Psycopg
from testing.servers.postgresql import PostgreSQLServer, server

CALLS = 60


@pytest.mark.integration("postgresql")
def test_calls_that_wait_for_a_connection_take_turns() -> None:
    """A busy task does not keep the connection that another one waits for."""
    done = dict.fromkeys(range(6), 0)
    when_one_was_ready: list[int] = []

    async def work(store: AsyncSQLStore, number: int) -> None:
        for _ in range(CALLS):
            await store.get("key")
            done[number] += 1
        when_one_was_ready.append(min(done.values()))

    async def story(url: str) -> None:
        store = AsyncSQLStore.from_url(f"{url}?table=pool&pool_size=2")
        await store.ensure_table()
        await asyncio.gather(*(work(store, number) for number in done))
        await store.close()

    with server() as url:
        asyncio.run(story(url))
    assert when_one_was_ready[0] > CALLS / 2


@pytest.mark.integration("postgresql")
def test_a_call_that_gets_no_connection_in_time() -> None:
    async def story(url: str) -> None:
        store = AsyncSQLStore.from_url(f"{url}?pool_size=1&timeout=1")
        assert await store.get("key") is None
        database.pause()
        outcomes = await asyncio.gather(*map(store.get, "abc"), return_exceptions=True)
        database.resume()
        assert {type(outcome) for outcome in outcomes} == {StoreTimeout}
        assert [str(outcome) for outcome in outcomes if "pool_size" in str(outcome)]
        assert await store.get("key") is None
        await store.close()

    with PostgreSQLServer() as database:
        with closing(SQLStore.from_url(database.url)) as store:
            store.ensure_table()
        asyncio.run(story(database.url))


@pytest.mark.integration("postgresql")
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_connections_that_end_before_they_are_used(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator ends them faster than they are made."""
    kind: Any = {"psycopg": Psycopg, "asyncpg": AsyncPG}[driver]
    prepares = kind.connected

    def end_it(self: Any, connection: Any, info: dict[Any, Any]) -> None:
        prepares(self, connection, info)
        with suppress(Exception):
            connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with server() as url, closing(SQLStore.from_url(url)) as sound:
        sound.ensure_table()
        monkeypatch.setattr(kind, "connected", end_it)
        store = open_async_store(url.replace("postgresql", f"postgresql+{driver}", 1))
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            asyncio.run(store.get("key"))
