"""Sessions in the application's own transaction: both are stored, or neither."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from typing import Any

import pytest
from sql_backend import ALL, POSTGRESQL, SQLITE, Backend, engine_of
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session as ORMSession

from coatcheck import SessionOptions, Sessions
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck_sql import AsyncSQLStore, SQLStore

SECRET = "a secret of the tests, of 32 bytes"
_ASYNC_DRIVERS = {
    "sqlite+aiosqlite": "aiosqlite",
    "postgresql": "psycopg",
    "postgresql+asyncpg": "asyncpg",
    "mariadb": "asyncmy",
}


@pytest.fixture
def orders(backend: Backend) -> Any:
    """The name of a table of the application's."""
    name = f"{backend.table}_o"
    backend.sql(f"CREATE TABLE {name} (what VARCHAR(20))")
    yield name
    backend.sql(f"DROP TABLE {name}")


def engine(backend: Backend) -> Any:
    """Return an engine of the application's, for the API of the test."""
    url = engine_of(backend.server_url).url
    if not backend.is_async:
        return create_engine(url)
    return create_async_engine(
        url.set(drivername=f"{backend.database}+{_ASYNC_DRIVERS[backend.scheme]}")
    )


def sessions(store: Any) -> Sessions:
    return Sessions(store, SessionOptions(secret=SECRET, store=store))


def empty_the_cart(data: dict[str, Any]) -> None:
    data["cart"] = []


def _outcome(backend: Backend, orders: str, ref: str) -> tuple[int, Any]:
    """Return how many orders there are, and what is in the cart."""
    with_url = backend.store()
    found = sessions(with_url).get(ref)
    with_url.close()
    assert found is not None
    return backend.sql(f"SELECT count(*) FROM {orders}")[0][0], found.data["cart"]


async def _order(backend: Backend, orders: str, *, commits: bool) -> tuple[int, Any]:
    """Order what is in a cart, with the API of the test."""
    statement = text(f"INSERT INTO {orders} VALUES ('hat')")
    own = engine(backend)
    if backend.is_async:
        store = AsyncSQLStore(own, table=backend.table)
        created = await sessions(store).acreate({"cart": ["hat"]})
        async with own.connect() as connection:
            await connection.execute(statement)
            bound = store.bind(connection)
            assert await sessions(bound).aupdate(created.ref, empty_the_cart)
            await bound.close()
            seen = await sessions(store).aget(created.ref)
            assert seen is not None
            assert seen.data["cart"] == ["hat"]  # nobody else sees it yet
            await (connection.commit() if commits else connection.rollback())
        await own.dispose()
    else:
        plain = SQLStore(own, table=backend.table)
        created = sessions(plain).create({"cart": ["hat"]})
        with own.connect() as connection:
            connection.execute(statement)
            assert sessions(plain.bind(connection)).update(created.ref, empty_the_cart)
            before = sessions(plain).get(created.ref)
            assert before is not None
            assert before.data["cart"] == ["hat"]
            (connection.commit if commits else connection.rollback)()
        own.dispose()
    return await asyncio.to_thread(_outcome, backend, orders, created.ref)


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_commit_stores_both(backend: Backend, orders: str) -> None:
    assert asyncio.run(_order(backend, orders, commits=True)) == (1, [])


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_rollback_leaves_the_session_as_it_was(backend: Backend, orders: str) -> None:
    assert asyncio.run(_order(backend, orders, commits=False)) == (0, ["hat"])


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[0]], indirect=True)
def test_a_session_of_the_orm_commits_both(backend: Backend, orders: str) -> None:
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    created = sessions(store).create({"cart": ["hat"]})
    with ORMSession(own) as orm:
        orm.execute(text(f"INSERT INTO {orders} VALUES ('hat')"))
        sessions(store.bind(orm.connection())).update(created.ref, empty_the_cart)
        orm.commit()
    own.dispose()
    assert _outcome(backend, orders, created.ref) == (1, [])


def _order_and_die(backend: Backend, orders: str, ref: str) -> None:
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    with own.connect() as connection:
        connection.execute(text(f"INSERT INTO {orders} VALUES ('hat')"))
        sessions(store.bind(connection)).update(ref, empty_the_cart)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("backend", [SQLITE[0], POSTGRESQL[0]], indirect=True)
def test_a_process_that_is_killed_in_between_stores_neither(backend: Backend, orders: str) -> None:
    own = engine(backend)
    ref = sessions(SQLStore(own, table=backend.table)).create({"cart": ["hat"]}).ref
    own.dispose()
    killed = multiprocessing.get_context("spawn").Process(
        target=_order_and_die, args=(backend, orders, ref)
    )
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert _outcome(backend, orders, ref) == (0, ["hat"])


@pytest.mark.parametrize("backend", POSTGRESQL[:1], indirect=True)
def test_nothing_is_repeated_in_the_transaction(backend: Backend) -> None:
    """An error ends a transaction of PostgreSQL."""
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    sent: list[str] = []
    with own.connect() as connection:
        bound = store.bind(connection)
        assert bound.get("key") is None
        connection.execute(text("SET LOCAL transaction_read_only = on"))
        event.listen(own, "before_cursor_execute", lambda *words: sent.append(words[2]))
        with pytest.raises(StoreError):
            bound.get("key")  # it locks the row
    assert len(sent) == 1
    own.dispose()


def test_another_connection_is_refused(tmp_path: Any) -> None:
    store = SQLStore.from_url("postgresql://app@localhost/shop")
    own = create_engine(f"sqlite:///{tmp_path}/x.db")
    with own.connect() as connection, pytest.raises(ConfigurationError, match="leads to sqlite"):
        store.bind(connection)
    with pytest.raises(ConfigurationError, match=r"`connection\(\)`"):
        store.bind(ORMSession(own))
    own.dispose()
