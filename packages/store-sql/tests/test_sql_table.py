"""The table: its creation, and tables that do not fit."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
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


def test_a_file_that_cannot_be_created(tmp_path: Path) -> None:
    """The command names the folder that is missing, or in the way."""
    for path, words in (
        (tmp_path / "missing" / "sessions.db", f"the folder {tmp_path}/missing does not exist"),
        (tmp_path, f"there is a folder at {tmp_path}: the URL must have the path of a file"),
    ):
        done = run_here(main, "create-table", f"sqlite:///{path}")
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def somebody_s_folder() -> Iterator[Path]:
    """A folder that other users can enter, and not write."""
    with tempfile.TemporaryDirectory(prefix="coatcheck-sql-") as folder:
        Path(folder).chmod(0o555)
        yield Path(folder)
        Path(folder).chmod(0o755)


@contextmanager
def without_root() -> Iterator[None]:
    """Do without the rights of root, whom no file refuses."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


def test_rights_in_the_file_system(somebody_s_folder: Path) -> None:
    """A folder or a file that this user may not write or open is named."""
    path = somebody_s_folder / "sessions.db"
    with without_root():
        done = run_here(main, "create-table", f"sqlite:///{path}")
    assert done.returncode == 2
    assert f"this user may not create a file in the folder {somebody_s_folder}" in done.stderr

    somebody_s_folder.chmod(0o755)
    assert run_here(main, "create-table", f"sqlite:///{path}").returncode == 0
    path.chmod(0o444)
    somebody_s_folder.chmod(0o555)
    store = SQLStore.from_url(f"sqlite:///{path}")
    with without_root(), pytest.raises(StoreError, match=f"{path} .*this user"):
        store.set("key", record())
    store.close()
    path.chmod(0o000)
    store = SQLStore.from_url(f"sqlite:///{path}")
    with without_root(), pytest.raises(StoreUnavailable, match="this user may not open it"):
        store.get("key")
    store.close()


def test_a_file_that_vanishes(url: str, tmp_path: Path) -> None:
    """Its error names the command, and the store goes on when there is a file again."""
    run_here(main, "create-table", url)
    with closing(SQLStore.from_url(url)) as store:
        assert store.set("key", record())
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(StoreUnavailable, match="create-table"):
            store.get("key")
        run_here(main, "create-table", url)
        assert store.get("key") is None


def test_a_file_that_is_damaged(url: str, tmp_path: Path) -> None:
    run_here(main, "create-table", url)
    (tmp_path / "sessions.db").write_bytes(b"<html>502 Bad Gateway</html>" * 999)
    store = SQLStore.from_url(url)
    with pytest.raises(StoreError, match="its files are damaged"):
        store.get("key")
    store.close()


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
