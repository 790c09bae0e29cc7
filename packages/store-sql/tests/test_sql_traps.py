"""The mistakes that SQL databases invite: names, numbers of rows, types, sizes, removals."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sql_backend import ALL, MARIADB, POSTGRESQL, SERVERS, SQLITE, Backend, engine_of, record
from sqlalchemy import text

from coatcheck import ABSENT, PRESENT, Record, Store, Unchanged
from coatcheck.errors import RecordTooLarge
from coatcheck_sql._operations import LARGEST

#: Names that a collation, a pattern or a text column would confuse.
NAMES = (
    "k", "k ", " k", "K", "\u212a", "k\0", "\0", "\u00e9", "e\u0301", "%", "_", "k%", "ss",
    "\u00df", "\\", "'", "🔑", "\U0010ffff" * 256,
)  # fmt: skip


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_names_are_compared_byte_for_byte(store: Store) -> None:
    """MySQL ignores spaces at the end under a binary collation, and PostgreSQL's texts lack NUL."""
    for number, name in enumerate(NAMES):
        assert store.set(name, record(b"%d" % number, owner=name), ABSENT), name
    for number, name in enumerate(NAMES):
        found = store.get(name)
        assert found is not None
        assert (found.data, found.owner) == (b"%d" % number, name)
        assert [key for key, _ in store.owned_by(name)] == [name]
    assert {key for key, _ in store.all()} == set(NAMES)


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_rows_are_counted_that_match_and_not_that_change(store: Store) -> None:
    """MySQL counts changed rows, unless its client asks for the others."""
    kept = record()
    assert store.set("key", kept, ABSENT)
    assert store.set("key", kept)
    assert store.set("key", kept, PRESENT)
    assert store.set("key", kept, Unchanged(kept.data))
    assert store.touch("key", kept.expires_at)


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_the_count_of_an_insertion_is_known(store: Store) -> None:
    """SQLAlchemy forgets the count of an INSERT. MySQL counts a kept row like an inserted one."""
    assert store.set("new", record(b"one"), ABSENT)
    assert not store.set("new", record(b"two"), ABSENT)
    assert not store.set("new", record(b"one"), ABSENT)
    assert store.set("old", record(b"dead", life=-1), ABSENT)
    assert store.set("old", record(b"live"), ABSENT)
    assert not store.set("old", record(b"late"), ABSENT)
    found = [store.get(key) for key in ("new", "old")]
    assert [each and each.data for each in found] == [b"one", b"live"]


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_expiries_are_exact(store: Store) -> None:
    """A FLOAT of MySQL would lose minutes."""
    for expires_at in (2.0**31 + 0.123456, 4e9 + 1e-6, 253_402_300_798.75):
        store.set("key", Record(b"x", expires_at))
        found = store.get("key")
        assert found is not None
        assert found.expires_at == expires_at


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_the_largest_data_fit_into_a_statement(store: Store) -> None:
    """Also with the former data in the condition, and with bytes that take two in MySQL's text."""
    large = b"\0" * LARGEST
    assert store.set("key", record(large))
    assert store.set("key", record(large[:-1] + b"'"), Unchanged(large))
    with pytest.raises(RecordTooLarge) as caught:
        store.set("key", record(large + b"x"))
    assert (caught.value.size, caught.value.limit) == (LARGEST + 1, LARGEST)


@pytest.mark.parametrize("backend", ALL, indirect=True)
def test_a_removal_takes_no_more_than_it_is_asked_for(
    backend: Backend, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL may choose rows again for each row, and would find others then."""
    monkeypatch.setattr("coatcheck_sql._operations.EVERY", 10**9)  # writes remove none
    for number in range(60):
        store.set(f"key{number}", record(life=0.1 + number / 1000))
    store.set("live", record())
    time.sleep(0.2)
    assert store.prune(7) == 7
    assert backend.sql(f"SELECT count(*) FROM {backend.table}") == [(54,)]
    assert store.prune() == 53
    assert store.length() == 1


@pytest.mark.parametrize("backend", POSTGRESQL[:1], indirect=True)
def test_a_removal_is_chosen_once_by_any_plan(backend: Backend) -> None:
    """A nested loop would run a plain subquery once for each row of the table."""
    from sqlalchemy import MetaData

    from coatcheck_sql._databases import PostgreSQL
    from coatcheck_sql._statements import Statements
    from coatcheck_sql._table import metadata, sessions_table  # noqa: F401

    statements = Statements(sessions_table(MetaData(), backend.table), PostgreSQL())
    backend.sql(
        f"INSERT INTO {backend.table} SELECT decode(lpad(n::text, 8, '0'), 'hex'), 'x', n, NULL, 1"
        " FROM generate_series(1, 500) AS n"
    )
    with backend.connection() as connection:
        for word in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "memoize"):
            connection.execute(text(f"SET enable_{word} = off"))
        assert statements.prune is not None
        values = {"limit": 5, "now": 1e9}
        assert connection.execute(statements.prune, values).rowcount == 5


@pytest.mark.parametrize("backend", POSTGRESQL, indirect=True)
def test_several_prunes_share_the_work(
    backend: Backend, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that another transaction removes is skipped, and nobody waits for it."""
    monkeypatch.setattr("coatcheck_sql._operations.EVERY", 10**9)
    for number in range(10):
        store.set(f"key{number}", record(life=0.1))
    time.sleep(0.2)
    engine = engine_of(backend.server_url).execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as other:
        other.execute(text(f"DELETE FROM {backend.table} WHERE key = 'key3'"))
        assert store.prune() == 9
        other.commit()
    assert backend.sql(f"SELECT count(*) FROM {backend.table}") == [(0,)]


@pytest.mark.parametrize("backend", MARIADB, indirect=True)
def test_a_deadlock_is_tried_again(backend: Backend, store: Store) -> None:
    """The transaction that did less is the victim, and that is the store's."""
    for name, count, expires_at in (("key", 20, 1), ("live", 200, 9e9)):
        backend.sql(
            f"INSERT INTO {backend.table} SELECT CONCAT('{name}', seq), 'x', {expires_at}, NULL, 1"
            f" FROM seq_1_to_{count}"
        )
    engine = engine_of(backend.server_url).execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        touch = f"UPDATE {backend.table} SET version = 2 WHERE `key` LIKE :key"
        other.execute(text(touch), {"key": "live%"})
        other.execute(text(touch), {"key": "key9"})
        pruned = pool.submit(store.prune)
        _wait_for_a_lock(backend)
        other.execute(text(touch), {"key": "key1"})
        other.rollback()
        assert pruned.result(20) == 20


def _wait_for_a_lock(backend: Backend) -> None:
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM information_schema.INNODB_LOCK_WAITS"
    while backend.sql(query) == [(0,)] and time.monotonic() < deadline:
        time.sleep(0.15)  # the server answers from memory if it was asked less than 0.1 s ago


@pytest.mark.parametrize("backend", POSTGRESQL, indirect=True)
def test_a_transaction_that_cannot_be_serialised_is_tried_again(backend: Backend) -> None:
    """Stores of a URL avoid that by `read committed`; others have what their database has."""
    from sqlalchemy import create_engine

    from coatcheck_sql import SQLStore

    engine = create_engine(
        engine_of(backend.server_url).url,
        connect_args={"options": r"-c default_transaction_isolation=repeatable\ read"},
    )
    store = SQLStore(engine, table=backend.table)
    store.set("key", record())
    later = time.time() + 9000
    plain = engine_of(backend.server_url).execution_options(isolation_level="READ COMMITTED")
    with plain.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text(f"UPDATE {backend.table} SET data = 'other' WHERE key = 'key'"))
        touched = pool.submit(store.touch, "key", later)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while backend.sql(waiting) == [(0,)]:
            time.sleep(0.02)
        other.commit()
        assert touched.result(20)
    assert store.get("key") == Record(b"other", later, "0wner")
    engine.dispose()


@pytest.mark.parametrize("backend", SQLITE, indirect=True)
def test_writers_wait_for_each_other(backend: Backend, store: Store) -> None:
    """None of them finds the database locked."""
    store.set("key", Record(b"0", time.time() + 3600))
    barrier = threading.Barrier(8)

    def count(_: int) -> None:
        barrier.wait(20)
        for _ in range(10):
            while True:
                found = store.get("key")
                assert found is not None
                new = Record(b"%d" % (int(found.data) + 1), found.expires_at)
                if store.set("key", new, Unchanged(found.data)):
                    break

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    found = store.get("key")
    assert found is not None
    assert found.data == b"80"


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_the_table_can_be_created_by_many_at_once(backend: Backend) -> None:
    """PostgreSQL's `CREATE TABLE IF NOT EXISTS` fails if two run at the same time."""
    name = f"{backend.table}_b"
    stores = [backend.store(url=f"{backend.url}_b") for _ in range(8)]
    natives = [getattr(each, "store", each) for each in stores]
    barrier = threading.Barrier(8)

    def make(number: int) -> None:
        barrier.wait(20)
        if backend.is_async:
            import asyncio

            asyncio.run(natives[number].ensure_table())
        else:
            natives[number].ensure_table()

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(8)))
        for each in stores:
            assert each.set("key", record())
            each.close()
    finally:
        backend.sql(f"DROP TABLE {name}")
