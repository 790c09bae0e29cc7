"""The table: its creation, and tables that do not fit."""

from __future__ import annotations

import asyncio
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commandline import run_here
from sqlalchemy import MetaData, NullPool, create_engine, inspect, text

from coatcheck import Record, open_store
from coatcheck._command_line.commands import main
from coatcheck.errors import ConfigurationError, StoreError, StoreUnavailable
from coatcheck_sql import SQLStore, create_tables, metadata, sessions_table


def record() -> Record:
    return Record(b"d4ta", time.time() + 3600, "0wner")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sessions.db"


def test_the_command_creates_file_table_and_indexes(url: str, tmp_path: Path) -> None:
    for expected in ("created", "it is there already"):
        assert run_here(main, "create-table", url).stdout.strip() == expected
    assert stat.S_IMODE((tmp_path / "sessions.db").stat().st_mode) == 0o600
    store = open_store(url)
    assert store.set("key", record())
    assert store.length() == 1
    store.close()
    found = inspect(create_engine(url, poolclass=NullPool)).get_indexes("coatcheck_sessions")
    assert {index["name"] for index in found} == {
        "coatcheck_sessions_expires_at",
        "coatcheck_sessions_owner",
    }


def test_the_command_works_with_an_async_driver(url: str) -> None:
    url = url.replace("sqlite:", "sqlite+aiosqlite:")
    assert run_here(main, "create-table", url).stdout.strip() == "created"
    store = open_store(url)
    assert store.set("key", record())
    store.close()


def test_without_a_file_the_error_names_the_command(url: str, tmp_path: Path) -> None:
    """And no file is created."""
    store = SQLStore.from_url(url)
    for call in (store.ping, lambda: store.get("key"), lambda: store.set("key", record())):
        with pytest.raises(StoreUnavailable, match="python -m coatcheck create-table URL"):
            call()
    assert not list(tmp_path.iterdir())


def test_without_a_table_the_error_names_the_command(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    store = SQLStore(engine, table="other")
    with pytest.raises(StoreError, match=r"no table `other`.*python -m coatcheck create-table URL"):
        store.get("key")
    assert create_tables(engine, "other")
    assert not create_tables(engine, "other")
    assert store.set("key", record())


def test_a_table_that_is_dropped_later_is_missed(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    create_tables(engine)
    store = SQLStore(engine)
    store.ping()
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE coatcheck_sessions"))
    with pytest.raises(StoreError, match="create-table"):
        store.set("key", record())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("(id INTEGER PRIMARY KEY, name TEXT)", "none of coatcheck's.*`key`"),
        (
            "(key TEXT PRIMARY KEY, data BLOB, expires_at DOUBLE, owner BLOB,"
            " version SMALLINT DEFAULT 1)",
            "`key`",
        ),
        (
            "(key BLOB PRIMARY KEY, data BLOB, expires_at REAL, owner BLOB,"
            " version SMALLINT DEFAULT 1)",
            "`expires_at`",
        ),
        (
            "(key BLOB PRIMARY KEY, data BLOB, expires_at DOUBLE, owner BLOB,"
            " version SMALLINT DEFAULT 2)",
            "another layout",
        ),
    ],
)
def test_another_table_is_refused_and_not_touched(url: str, table: str, words: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE coatcheck_sessions {table}"))
    store = SQLStore(engine)
    calls = (
        store.ping, store.length, store.clear, store.prune, store.ensure_table,
        lambda: store.get("key"), lambda: store.set("key", record()),
        lambda: store.destroy("key"), lambda: list(store.all()), lambda: create_tables(engine),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(StoreError, match=words):
            call()
    with engine.connect() as connection:
        assert not inspect(connection).get_indexes("coatcheck_sessions")


def test_columns_of_the_application_s_own_do_not_disturb(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE coatcheck_sessions ADD COLUMN note TEXT"))
    store = SQLStore(engine)
    assert store.set("key", record())
    assert store.get("key") == Record(b"d4ta", pytest.approx(time.time() + 3600, abs=9), "0wner")


def test_the_table_can_be_part_of_other_metadata(url: str) -> None:
    engine, own = create_engine(url, poolclass=NullPool), MetaData()
    table = sessions_table(own, "visits")
    assert sessions_table(own, "visits") is table
    own.create_all(engine)
    assert not create_tables(engine, "visits")
    assert SQLStore(engine, table="visits").set("key", record())
    assert list(metadata.tables) == ["coatcheck_sessions"]


@pytest.mark.parametrize("name", ["", "a b", "1a", "a.b.c", "é", 'a"', "a" * 49])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="table"):
        sessions_table(MetaData(), name)


def test_many_callers_can_create_the_table_at_once(url: str) -> None:
    stores = [SQLStore.from_url(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(SQLStore.ensure_table, stores))
    assert any(made)
    for store in stores:
        assert store.set("key", record())
        store.close()


def test_a_store_of_an_async_engine_creates_its_table(url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    from coatcheck_sql import AsyncSQLStore

    async def story() -> None:
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        store = AsyncSQLStore(engine)
        assert await store.ensure_table()
        assert await store.set("key", record())
        await store.close()
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            assert names == ["coatcheck_sessions"]
        await engine.dispose()

    asyncio.run(story())
