"""What is the SQLite store's own, and in no clause of the contract."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from coatcheck_sqlite import SQLiteStore

from coatcheck import ABSENT, Record
from coatcheck.errors import ConfigurationError, StoreClosed, StoreTimeout, StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path / "sessions.db")) as opened:
        yield opened


def record(data: bytes = b"data", life: float = 60) -> Record:
    return Record(data, time.time() + life, "ann")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite-file:",
        "sqlite-file:///",
        "sqlite-file:sessions.db",
        "sqlite-file://host/sessions.db",
        "sqlite-file:///folder/",
        "sqlite-file:///sessions.db#part",
        "sqlite-file:///sessions.db?name=a",
        "sqlite-file:///sessions.db?namespace=",
        "sqlite-file:///sessions.db?namespace=A",
        "sqlite-file:///sessions.db?namespace=a&namespace=b",
        "sqlite-file:///a%00b",
    ],
)
def test_urls_that_cannot_be_understood(url: str) -> None:
    with pytest.raises(ConfigurationError):
        SQLiteStore.from_url(url)


def test_paths_are_decoded(tmp_path: Path) -> None:
    with closing(SQLiteStore.from_url(f"sqlite-file:///{tmp_path}/a%20%3F%23b.db")) as store:
        store.ping()
    assert (tmp_path / "a ?#b.db").exists()


def test_files_are_the_users_own(store: SQLiteStore, tmp_path: Path) -> None:
    store.set("key", record())
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}


def test_a_file_that_has_vanished_is_not_made_again(store: SQLiteStore, tmp_path: Path) -> None:
    store.set("key", record())
    file = tmp_path / "sessions.db"
    file.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreUnavailable):
        store.get("key")
    assert not file.exists()


def test_a_file_that_was_replaced_is_noticed(store: SQLiteStore, tmp_path: Path) -> None:
    store.set("key", record())
    with closing(SQLiteStore(tmp_path / "backup.db")) as other:
        other.set("key", record(b"restored"))
    for name in ("sessions.db-wal", "sessions.db-shm"):
        (tmp_path / name).unlink()
    (tmp_path / "backup.db").rename(tmp_path / "sessions.db")
    found = store.get("key")
    assert found is not None
    assert found.data == b"restored"


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "sessions.db", timeout=0.1)) as store:
        store.set("key", record())
        with closing(sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert store.get("key") is not None
            with pytest.raises(StoreTimeout):
                store.set("key", record())


def open_and_create(path: Path) -> bool:
    with closing(SQLiteStore(path)) as store:
        return store.set("key", record(), ABSENT)


def test_many_threads_make_the_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        for number in range(10):
            results = [*pool.map(open_and_create, [tmp_path / f"{number}.db"] * 16)]
            assert results.count(True) == 1


def test_many_processes_make_the_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(10):
            results = pool.map(open_and_create, [tmp_path / f"{number}.db"] * 8, chunksize=1)
            assert results.count(True) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it takes Linux")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # pytest may have threads
def test_nothing_is_open_in_a_forked_child(store: SQLiteStore, tmp_path: Path) -> None:
    store.set("key", record())
    child = os.fork()
    if child == 0:
        names = {os.path.realpath(name) for name in Path("/proc/self/fd").iterdir()}
        store.set("child", record())
        os._exit(any(name.startswith(str(tmp_path)) for name in names))
    assert os.waitpid(child, 0)[1] == 0
    assert store.get("key") is not None
    assert store.get("child") is not None


def test_close_ends_what_other_threads_do(store: SQLiteStore) -> None:
    has_written = threading.Semaphore(0)

    def write() -> None:
        while True:
            store.set("key", record())
            has_written.release()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write) for _ in range(4)]
        for _ in range(100):
            has_written.acquire()
        store.close()
        for writer in writers:
            with pytest.raises(StoreClosed):
                writer.result()


def test_lookups_use_the_indices(store: SQLiteStore, tmp_path: Path) -> None:
    store.ping()
    values = dict.fromkeys(("key", "now", "last", "limit", "owner"), 0)
    plans = {}
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as database:
        for name in ("get", "all", "owned", "length", "prune"):
            rows = database.execute(f"EXPLAIN QUERY PLAN {getattr(store._sql, name)}", values)
            plans[name] = " / ".join(row[3] for row in rows)
    assert "(key=?)" in plans["get"]
    assert "USING INTEGER PRIMARY KEY (rowid>?)" in plans["all"]
    assert "(owner=? AND rowid>?)" in plans["owned"]
    assert "COVERING INDEX" in plans["length"]
    assert "COVERING INDEX coatcheck_sessions:expires_at (expires_at<?)" in plans["prune"]
    assert not any("TEMP B-TREE" in plan for plan in plans.values())
