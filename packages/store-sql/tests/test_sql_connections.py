"""Connections: those that ended, silent servers, locked rows, pools in between, and their ends."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sql_backend import (
    ALL,
    MARIADB,
    POSTGRESQL,
    SERVERS,
    SQLITE,
    Backend,
    backend_on,
    engine_of,
    record,
)
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from coatcheck import ABSENT, AsyncStore, Record, Unchanged
from coatcheck.errors import StoreClosed, StoreError, StoreTimeout, StoreUnavailable
from coatcheck_sql import AsyncSQLStore, SQLStore
from coatcheck_sql._drivers.base import Driver
from coatcheck_sql._drivers.mysql import AsyncMy, PyMySQL
from coatcheck_sql._drivers.postgresql import AsyncPG, Psycopg
from coatcheck_sql._drivers.sqlite import AIOSQLite
from coatcheck_sql._url import parse
from testing.servers.mariadb import MariaDBServer
from testing.servers.postgresql import PgBouncer, PostgreSQLServer


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, PostgreSQLServer | MariaDBServer]]:
    """Servers for what others must not notice; each is started when it is needed."""
    made: dict[str, PostgreSQLServer | MariaDBServer] = {}
    yield made
    for server in made.values():
        server.__exit__(None, None, None)


@pytest.fixture
def own(
    request: pytest.FixtureRequest, servers: dict[str, PostgreSQLServer | MariaDBServer]
) -> Iterator[tuple[PostgreSQLServer | MariaDBServer, Backend]]:
    """A server of these tests' own, and a table."""
    name = request.param[0].partition("+")[0]
    if name not in servers:
        kind = PostgreSQLServer if name == "postgresql" else MariaDBServer
        servers[name] = kind().__enter__()
    with backend_on(servers[name].url, request.param) as backend:
        yield servers[name], backend


def kill_connections(backend: Backend) -> None:
    """End the connections of all stores, as a restart of the server does."""
    if backend.database == "postgresql":
        backend.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return
    mine = backend.sql("SELECT id FROM information_schema.processlist WHERE command = 'Sleep'")
    for (number,) in mine:
        backend.sql(f"KILL {number}")


def connections(backend: Backend) -> int:
    """Return how many connections the server has, without the one that asks."""
    if backend.database == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    else:
        query = "SELECT count(*) FROM information_schema.processlist WHERE user = 'coatcheck'"
    return int(backend.sql(query)[0][0]) - 1


def expect_soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not (is_true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)  # the server notices a little later
    assert is_true


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_connections_that_ended_while_idle_are_replaced(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    """A write is not tried again, so the store has to know before it sends one."""
    _, backend = own
    store = backend.store()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store.set(f"key{n}", record()), range(8)))
    kill_connections(backend)
    expect_soon(lambda: connections(backend) == 0)
    time.sleep(0.1)  # the ends of the connections arrive
    for number in range(8):
        assert store.set(f"new{number}", record(), ABSENT)
    store.close()


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_a_server_that_ends_and_comes_back(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    """An acknowledged session survives `kill -9` of the server."""
    server, backend = own
    store = backend.store("&timeout=2")
    assert store.set("key", record())
    server.kill()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
            store.get("key")
        assert time.monotonic() - began < 3
    server.start()
    assert store.set("other", record())
    assert store.get("key") is not None
    store.close()


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_a_server_that_does_not_answer(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    """Neither on a connection that is open, nor on a new one."""
    server, backend = own
    store, other = backend.store("&timeout=1"), backend.store("&timeout=1")
    assert store.set("key", record())
    server.pause()
    try:
        for call in (
            lambda: store.get("key"), lambda: store.set("key", record()), store.ping, other.ping,
        ):  # fmt: skip
            began = time.monotonic()
            with pytest.raises(StoreTimeout):
                call()
            assert time.monotonic() - began < 4
    finally:
        server.resume()
    assert store.get("key") is not None
    for each in (store, other):
        each.close()


@pytest.mark.parametrize("own", POSTGRESQL[2:], indirect=True)
def test_close_does_not_wait_for_a_silent_server(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    server, backend = own
    expect_soon(lambda: connections(backend) == 0)

    async def story() -> float:
        store = AsyncSQLStore.from_url(f"{backend.url}&timeout=1")
        await asyncio.gather(store.get("key"), store.get("other"))
        server.pause()
        began = time.monotonic()
        try:
            await asyncio.wait_for(store.close(), 5)
        finally:
            server.resume()
        return time.monotonic() - began

    assert asyncio.run(story()) < 4
    expect_soon(lambda: connections(backend) == 0)


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_row_that_stays_locked(backend: Backend) -> None:
    """The server gives up as well: the write does not follow when the row is free again."""
    store = backend.store("&timeout=1")
    assert store.set("key", record())
    engine = engine_of(backend.server_url).execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as other:
        other.execute(text(f"UPDATE {backend.table} SET owner = 'other'"))
        with pytest.raises(StoreTimeout):
            store.set("key", record(b"late"), Unchanged(b"d4ta"))
        found = store.get("key")  # readers do not wait
        assert found is not None
        expect_soon(lambda: _waiting(backend) == 0)
        other.commit()
    found = store.get("key")
    assert found is not None
    assert (found.data, found.owner) == (b"d4ta", "other")
    store.close()


def _waiting(backend: Backend) -> int:
    """Return how many statements wait for a row of the table."""
    if backend.database == "postgresql":
        query = "pg_stat_activity WHERE wait_event_type = 'Lock' AND query"
    else:
        query = "information_schema.processlist WHERE command = 'Query' AND info"
    found = backend.sql(f"SELECT count(*) FROM {query} LIKE 'UPDATE {backend.table}%'")
    return int(found[0][0])


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_pool_without_a_free_connection(backend: Backend) -> None:
    store = backend.store("&timeout=1&pool_size=1")
    assert store.set("key", record())
    engine = engine_of(backend.server_url).execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as other, ThreadPoolExecutor(2) as pool:
        other.execute(text(f"UPDATE {backend.table} SET owner = 'other'"))
        calls = [pool.submit(store.touch, "key", time.time() + 60) for _ in range(2)]
        for call in calls:
            with pytest.raises(StoreTimeout):
                call.result(20)
        other.rollback()
    assert store.touch("key", time.time() + 60)
    store.close()


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_no_transaction_is_left_open(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    """Neither by a store of a URL, nor by one of the application's engine."""
    _, backend = own
    store = backend.store()
    store.set("key", record(), ABSENT)
    with pytest.raises(StoreError), _without_table(backend):
        store.set("key", record())
    assert _open_transactions(backend) == 0
    store.close()
    if backend.is_async:
        asyncio.run(_use_async_engine(backend))
    else:
        _use_engine(backend)


def _use_engine(backend: Backend) -> None:
    engine = create_engine(engine_of(backend.server_url).url)
    store = SQLStore(engine, table=backend.table)
    assert store.set("key", record(b"other"), Unchanged(b"d4ta"))
    assert store.set("key", record(b"again"), Unchanged(b"other"))
    with pytest.raises(StoreError), _without_table(backend):
        store.set("key", record())
    assert _open_transactions(backend) == 0
    engine.dispose()


async def _use_async_engine(backend: Backend) -> None:
    drivers = {"mariadb": "asyncmy", "postgresql": "psycopg", "postgresql+asyncpg": "asyncpg"}
    url = engine_of(backend.server_url).url
    engine = create_async_engine(
        url.set(drivername=f"{backend.database}+{drivers[backend.scheme]}")
    )
    store = AsyncSQLStore(engine, table=backend.table)
    assert await store.set("key", record(b"other"), Unchanged(b"d4ta"))
    assert await store.set("key", record(b"again"), Unchanged(b"other"))
    with pytest.raises(StoreError), _without_table(backend):
        await store.set("key", record())
    assert _open_transactions(backend) == 0
    await engine.dispose()


def _open_transactions(backend: Backend) -> int:
    if backend.database == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%in transaction%'"
    else:
        query = "SELECT count(*) FROM information_schema.INNODB_TRX"
    return int(backend.sql(query)[0][0])


@contextmanager
def _without_table(backend: Backend) -> Iterator[None]:
    backend.sql(f"ALTER TABLE {backend.table} RENAME TO {backend.table}_away")
    try:
        yield
    finally:
        backend.sql(f"ALTER TABLE {backend.table}_away RENAME TO {backend.table}")


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_close_lets_go_of_all_connections(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    _, backend = own
    expect_soon(lambda: connections(backend) == 0)
    store = backend.store()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store.set(f"key{n}", record()), range(8)))
    assert connections(backend) > 0
    store.close()
    expect_soon(lambda: connections(backend) == 0)
    with pytest.raises(StoreClosed):
        store.get("key")


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_a_connection_that_cannot_be_prepared_is_closed(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, and the store goes on when new connections can be prepared."""

    def fail(_: Driver, connection: Any, __: Any) -> None:
        made.append(weakref.ref(getattr(connection, "driver_connection", connection)))
        connection.cursor().execute("SELECT 1 FROM nowhere")

    made: list[weakref.ref[Any]] = []
    _, backend = own
    expect_soon(lambda: connections(backend) == 0)
    store = backend.store("&pool_size=1")
    with monkeypatch.context() as patch:
        for kind in (Psycopg, AsyncPG, PyMySQL, AsyncMy):
            patch.setattr(kind, "connected", fail)
        for _ in range(2):
            with pytest.raises(StoreError):
                store.get("key")
    expect_soon(lambda: connections(backend) == 0)
    gc.collect()
    assert [each() for each in made] == [None, None]
    assert not caplog.records
    assert store.set("key", record(), ABSENT)
    store.close()


@pytest.mark.parametrize("own", [*POSTGRESQL[1:], *MARIADB[1:]], indirect=True)
def test_event_loops_that_end_let_go_of_their_connections(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend],
) -> None:
    """Also those that are closed without a word."""
    _, backend = own
    expect_soon(lambda: connections(backend) == 0)
    store = backend.native()
    assert isinstance(store, AsyncStore)
    for _ in range(3):
        asyncio.run(store.set("key", record()))
    expect_soon(lambda: connections(backend) == 0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.set("key", record()))
    loop.close()
    del loop
    asyncio.run(store.set("key", record()))
    gc.collect()
    expect_soon(lambda: connections(backend) == 0)


@pytest.mark.integration("pgbouncer")
@pytest.mark.parametrize("own", POSTGRESQL[:2], indirect=True)
def test_pgbouncer_may_lend_a_connection_after_each_statement(
    own: tuple[Any, Backend],
) -> None:
    """No statement is left prepared. The time limit of the server is not accepted, and left out."""
    server, backend = own
    with PgBouncer(server, "default_pool_size = 2") as pool:
        url = f"{backend.url_at(pool.url)}?table={backend.table}"
        stores = [backend.store(url=url) for _ in range(4)]
        with ThreadPoolExecutor(8) as threads:
            for number in range(12):
                key, now = f"key{number}", time.time() + 60
                calls = [
                    threads.submit(store.set, f"{key} {n}", record(), ABSENT)
                    for n, store in enumerate(stores)
                ]
                assert all(call.result(20) for call in calls)
                assert all(store.touch(f"{key} {n}", now) for n, store in enumerate(stores))
        assert stores[0].length() == 48
        with engine_of(pool.url).connect() as connection:
            query = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql"
            assert connection.exec_driver_sql(query).scalar_one() == 0
        for store in stores:
            store.close()


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_cancelled_call_leaves_the_store_usable(backend: Backend) -> None:
    """With one connection, which each call needs."""

    async def story(store: AsyncStore) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        assert await store.set("key", record())
        for delay in (0, 0.0005, 0.001, 0.002, 0.004):
            call = asyncio.ensure_future(store.set("key", record(b"x" * 10_000)))
            await asyncio.sleep(delay)
            call.cancel()
            await asyncio.wait([call])
            found = await store.get("key")
            assert found is not None
            assert len(found.data) in (4, 10_000)
        await store.close()

    told: list[Any] = []
    store = backend.native("&pool_size=1")
    if isinstance(store, AsyncStore):
        asyncio.run(story(store))
    gc.collect()
    assert told == []


@pytest.mark.integration("postgresql")
@pytest.mark.parametrize("backend", [*POSTGRESQL[1:], *MARIADB[1:]], indirect=True)
def test_a_call_that_is_cancelled_while_it_connects(backend: Backend) -> None:
    """Nothing is logged, and no connection is left."""

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        for number in range(40):
            store = backend.native()
            assert isinstance(store, AsyncStore)
            call = asyncio.ensure_future(store.get("key"))
            await asyncio.sleep(number * 0.0002)
            call.cancel()
            await asyncio.wait([call])
            await store.close()
        gc.collect()

    told: list[Any] = []
    before = connections(backend)
    asyncio.run(story())
    gc.collect()
    assert told == []
    expect_soon(lambda: connections(backend) <= before)


@pytest.mark.parametrize("own", SERVERS, indirect=True)
def test_a_read_on_a_connection_that_breaks_is_tried_again(
    own: tuple[PostgreSQLServer | MariaDBServer, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, backend = own
    store = backend.store("&pool_size=1")
    assert store.set("key", Record(b"x", time.time() + 60))
    kind: Any = type(parse(backend.url, is_async=backend.is_async).driver)
    looks, broken = kind.is_dead, []

    def break_once(*given: Any) -> bool:
        found = looks(*given)
        if not broken:
            broken.append(True)
            kill_connections(backend)
        return found

    monkeypatch.setattr(kind, "is_dead", break_once)
    assert store.get("key") is not None
    assert broken
    store.close()


@pytest.mark.parametrize("backend", SQLITE[1:], indirect=True)
def test_a_call_that_is_cancelled_while_its_connection_is_prepared(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at once, and the thread of the connection as well."""
    threads = threading.active_count()
    prepares = AIOSQLite.connected

    def cancelled(self: AIOSQLite, connection: Any, info: dict[Any, Any]) -> None:
        prepares(self, connection, info)
        raise asyncio.CancelledError

    async def story() -> None:
        store = AsyncSQLStore.from_url(backend.url)
        with monkeypatch.context() as patch:
            patch.setattr(AIOSQLite, "connected", cancelled)
            task = asyncio.ensure_future(store.get("key"))
            await asyncio.wait([task], timeout=5)
            assert task.cancelled()
        assert await store.get("key") is None
        await store.close()

    asyncio.run(story())
    expect_soon(lambda: threading.active_count() == threads)


@pytest.mark.parametrize("backend", SQLITE[1:], indirect=True)
def test_a_call_that_is_cancelled_again_leaves_no_task(backend: Backend) -> None:
    """anyio cancels a task until it ends."""
    threads = threading.active_count()

    async def story() -> None:
        store = AsyncSQLStore.from_url(backend.url)
        assert await store.set("key", record())
        with backend.connection() as other:
            other.execute(text("BEGIN IMMEDIATE"))
            task = asyncio.ensure_future(store.set("key", record()))
            while not task.done():
                await asyncio.sleep(0.05)
                task.cancel()
            other.execute(text("ROLLBACK"))
        assert await store.get("key") is not None
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await store.close()
        # The threads reply to this event loop.
        await asyncio.to_thread(expect_soon, lambda: threading.active_count() == threads + 1)

    asyncio.run(story())


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
def test_an_error_that_the_caller_keeps_has_no_cursor(backend: Backend) -> None:
    """SQLite's file would stay open after `close`."""

    def cursors() -> list[sqlite3.Cursor]:
        return [each for each in gc.get_objects() if isinstance(each, sqlite3.Cursor)]

    store = backend.store()
    assert store.get("key") is None
    backend.sql(f"DROP TABLE {backend.table}")
    before = cursors()
    with pytest.raises(StoreError) as kept:
        store.get("key")
    store.close()
    assert kept.value.__traceback__ is not None
    assert cursors() == before
