"""Sessions in the application's own transaction: both are stored, or neither."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from shop import engine, orders_in, sessions
from sql_backend import ALL, MARIADB, POSTGRESQL, SQLITE, Backend, record
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session as ORMSession

from coatcheck import ABSENT, open_async_store, open_store
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck_sql import AsyncSQLStore, SQLStore


@pytest.fixture
def orders(backend: Backend) -> Iterator[str]:
    with orders_in(backend) as name:
        yield name


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


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_connection_in_autocommit_is_refused(backend: Backend) -> None:
    """A rollback would undo nothing."""

    async def story() -> None:
        store = AsyncSQLStore(own, table=backend.table)
        async with own.connect() as connection:
            store.bind(connection)
            await connection.rollback()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            with pytest.raises(ConfigurationError, match="is in autocommit"):
                store.bind(connection)
        with pytest.raises(ConfigurationError, match="connection that is open"):
            store.bind(connection)
        with pytest.raises(ConfigurationError, match="connection that is open"):
            store.bind(own.connect())
        await own.dispose()

    own = engine(backend)
    if backend.is_async:
        asyncio.run(story())
        return
    store = SQLStore(own, table=backend.table)
    with own.connect() as connection:
        store.bind(connection)
    with pytest.raises(ConfigurationError, match="connection that is open"):
        store.bind(connection)
    own.dispose()
    automatic = create_engine(own.url, isolation_level="AUTOCOMMIT")
    for each in (automatic, own.execution_options(isolation_level="AUTOCOMMIT")):
        with each.connect() as connection, pytest.raises(ConfigurationError, match="autocommit"):
            store.bind(connection)
        each.dispose()


@pytest.mark.parametrize("backend", POSTGRESQL[:1], indirect=True)
def test_autocommit_that_the_driver_was_given_is_refused(backend: Backend) -> None:
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    given = create_engine(own.url, connect_args={"autocommit": True})
    with given.connect() as connection, pytest.raises(ConfigurationError, match="autocommit"):
        store.bind(connection)
    for each in (own, given):
        each.dispose()


@pytest.mark.parametrize("backend", SQLITE[:1], indirect=True)
def test_transactions_of_sqlite_that_the_application_begins(backend: Backend, orders: str) -> None:
    """As SQLAlchemy's documentation advises for sqlite3."""
    own = engine(backend)
    event.listen(own, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(own, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    plain = SQLStore.from_url(backend.url)
    made = sessions(plain).create({"cart": ["hat"]})
    with own.connect() as connection:
        bound = plain.bind(connection)
        assert sessions(bound).update(made.ref, empty_the_cart)
        connection.rollback()
    plain.close()
    own.dispose()
    assert _outcome(backend, orders, made.ref) == (0, ["hat"])


@pytest.mark.parametrize("backend", MARIADB[:1], indirect=True)
def test_mysql_and_mariadb_are_one_kind(backend: Backend) -> None:
    own = engine(backend)
    store = SQLStore.from_url(backend.url.replace("mariadb:", "mysql:"))
    with own.connect() as connection:
        assert connection.dialect.name == "mariadb"
        assert store.bind(connection).set("key", record(), ABSENT)
    own.dispose()
    store.close()


@pytest.mark.parametrize("backend", MARIADB, indirect=True)
def test_a_key_that_another_transaction_has_taken(backend: Backend) -> None:
    """MariaDB shows the state at the beginning of a transaction, unless a row is locked."""

    async def story() -> None:
        store = AsyncSQLStore(own, table=backend.table)
        async with own.connect() as connection:
            await connection.execute(text(f"SELECT * FROM {backend.table}"))
            assert await store.set("key", record())
            assert not await store.bind(connection).set("key", record(), ABSENT)
        await own.dispose()

    own = engine(backend)
    if backend.is_async:
        asyncio.run(story())
        return
    store = SQLStore(own, table=backend.table)
    with own.connect() as connection:
        connection.execute(text(f"SELECT * FROM {backend.table}"))
        assert store.set("key", record())
        assert not store.bind(connection).set("key", record(), ABSENT)
    own.dispose()


@pytest.mark.parametrize("backend", POSTGRESQL[:1], indirect=True)
@pytest.mark.parametrize("is_used", [True, False])
def test_the_table_is_looked_at_once(backend: Backend, is_used: bool) -> None:
    own = engine(backend)
    store = SQLStore(own, table=backend.table)
    sent: list[str] = []
    if is_used:
        store.ping()
    with own.connect() as connection:
        store.bind(connection).ping()
        event.listen(own, "before_cursor_execute", lambda *words: sent.append(words[2]))
        for _ in range(2):
            assert store.bind(connection).get("key") is None
        assert store.get("key") is None
    own.dispose()
    assert len(sent) == 3


def test_a_bridged_store_says_which_store_binds() -> None:
    bridged: Any = open_store("postgresql+asyncpg://app@localhost/shop")
    with pytest.raises(AttributeError, match=r"`store\.store\.bind`, of the async API"):
        bridged.bind(None)
    other: Any = open_async_store("sqlite:////nowhere.db")
    with pytest.raises(AttributeError, match=r"a SQLStore has: .*, of the sync API"):
        other.ensure_table()
    with pytest.raises(AttributeError, match="object has no attribute 'bound'"):
        other.bound()
    assert (bridged.transaction, other.transaction) == (None, None)
