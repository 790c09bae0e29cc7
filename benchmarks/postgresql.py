"""The SQL store on PostgreSQL: with more and more sessions, while it prunes, and after updates."""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg

from coatcheck import ABSENT, Record, Unchanged
from coatcheck_sql import SQLStore
from testing.servers.postgresql import PostgreSQLServer

LIFETIME: Final = 86400.0
_DATA: Final = b"x" * 500
#: Rows of expired sessions, and of all sessions, when the store prunes.
_EXPIRED: Final = 100_000
#: The share of logins whose key has an expired row.
_REUSED: Final = 0.1
#: Sessions, how often each of them is kept alive, and how often so, for the growth by updates.
_UPDATED, _TIMES, _ROUNDS = 10_000, 5, 2

#: How many rows a write removes at most; here none has expired.
_SWEPT: Final = 100

#: A server like those that people have, instead of the smallest one.
_OPTIONS: Final = (
    "-c", "shared_buffers=256MB", "-c", "max_wal_size=2GB",
    "-c", "shared_preload_libraries=pg_stat_statements",
)  # fmt: skip

Database = psycopg.Connection[Any]


@contextmanager
def _server() -> Iterator[tuple[PostgreSQLServer, Database]]:
    with (
        PostgreSQLServer(*_OPTIONS) as server,
        psycopg.connect(server.url, autocommit=True) as database,
    ):
        database.execute("CREATE EXTENSION pg_stat_statements")
        yield server, database


def _store(server: PostgreSQLServer, table: str) -> SQLStore:
    store = SQLStore.from_url(f"{server.url}?table={table}&timeout=60")
    store.ensure_table()
    return store


def _key(number: int) -> str:
    return f"{number:064x}"


def _fill(database: Database, table: str, first: int, size: int, expires_at: float) -> None:
    """Insert rows as the store does, but many at a time."""
    database.execute(
        f"INSERT INTO {table} (key, data, expires_at, owner, version)"
        " SELECT lpad(to_hex(number), 64, '0')::bytea, %s, %s + number * 1e-3, NULL, 1"
        " FROM generate_series(%s::bigint, %s::bigint) AS number ON CONFLICT DO NOTHING",
        (_DATA, expires_at, first, first + size - 1),
    )


def growth(largest: int) -> None:
    """Print µs of calls with more and more sessions: the driver's read and the store's calls."""
    with _server() as (server, database):
        sizes = [10**power for power in range(3, 10) if 10**power <= largest]
        stores = {size: _store(server, f"growth{size}") for size in sizes}
        timings: dict[int, list[list[float]]] = {size: [] for size in sizes}
        for size in sizes:
            _fill(database, f"growth{size}", 0, size, time.time() + LIFETIME)
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")
        for _ in range(20):  # in turns, so that a change of the machine's speed affects all alike
            for size, store in stores.items():
                timings[size].append(_calls(database, store, size))
        print(f"\n{'sessions':>9}{'SELECT':>9}{'read':>9}{'touch':>9}{'write':>9}{'new':>9}  µs")
        for size, rounds in timings.items():
            columns = [statistics.median(column) for column in zip(*rounds, strict=True)]
            print(f"{size:9}" + "".join(f"{each:9.1f}" for each in columns))
            stores[size].close()


_new = itertools.count()


def _calls(database: Database, store: SQLStore, size: int) -> list[float]:
    end = time.time() + LIFETIME
    select = f"SELECT data FROM growth{size} WHERE key = %s"

    def key() -> str:
        return _key(random.randrange(size))

    def changed() -> Record:
        return Record(_DATA, end + next(_new))

    return [
        _median(lambda: database.execute(select, (key().encode(),)).fetchone()),
        _median(lambda: store.get(key())),
        _median(lambda: store.touch(key(), changed().expires_at)),
        _median(lambda: store.set(key(), changed(), Unchanged(_DATA))),
        _median(lambda: store.set(f"new{next(_new)}", changed(), ABSENT)),
    ]


def _median(call: Callable[[], object], calls: int = 50) -> float:
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


def prune(largest: int) -> None:
    """Print how long locks are held, and how long other calls take, while the store prunes."""
    with _server() as (server, database), closing(_store(server, "pruned")) as store:
        now = time.time()
        _fill(database, "pruned", 0, largest, now + LIFETIME)
        database.execute("VACUUM ANALYZE")
        quiet = _while(server, largest, lambda: time.sleep(2))
        _fill(database, "pruned", 2 * largest, _EXPIRED, now - LIFETIME)
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")
        database.execute("SELECT pg_stat_statements_reset()")
        removed: list[int] = []
        began = time.perf_counter()
        busy = _while(server, largest, lambda: removed.append(store.prune()))
        seconds = time.perf_counter() - began
        row = database.execute(
            "SELECT calls, max_exec_time, mean_exec_time FROM pg_stat_statements"
            " WHERE query LIKE '%DELETE FROM pruned%' AND rows > 0 ORDER BY calls DESC LIMIT 1"
        ).fetchone()
        assert row is not None, "the store has removed rows"
        print(
            f"\nprune: {removed[0]} of {largest + _EXPIRED} rows in {seconds:.1f} s,"
            f" {row[0]} statements of {row[2]:.1f} ms on average and {row[1]:.1f} ms at most"
        )
        print(f"{'':22}{'median':>9}{'99 %':>9}{'longest':>9}  ms")
        for name, taken in (("calls before", quiet), ("calls meanwhile", busy)):
            taken.sort()
            figures = (statistics.median(taken), taken[len(taken) * 99 // 100], taken[-1])
            print(f"{name:22}" + "".join(f"{each * 1e3:9.2f}" for each in figures))


def _while(server: PostgreSQLServer, size: int, action: Callable[[], object]) -> list[float]:
    """Return how many seconds calls take during an action: reads, writes and logins.

    Some of the logins use keys whose expired rows may be removed at the same time.
    """
    taken: list[float] = []
    done = threading.Event()

    def work() -> None:
        with closing(_store(server, "pruned")) as store:
            while not done.is_set():
                record = Record(_DATA, time.time() + LIFETIME)
                number = random.randrange(size)
                is_rare = random.random() < _REUSED
                login = _key(2 * size + random.randrange(_EXPIRED)) if is_rare else f"n{next(_new)}"
                for call in (
                    lambda number=number: store.get(_key(number)),
                    lambda number=number, record=record: store.set(_key(number), record),
                    lambda login=login, record=record: store.set(login, record, ABSENT),
                ):
                    start = time.perf_counter()
                    call()
                    taken.append(time.perf_counter() - start)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        action()
    finally:
        done.set()
        worker.join()
    return taken


#: Changes of the table, by the name of the row.
_VARIANTS: Final = {
    "as created": "",
    "fillfactor 70": "ALTER TABLE {0} SET (fillfactor = 70)",
    "no index on expiry": "DROP INDEX {0}_expires_at",
    "neither": "ALTER TABLE {0} SET (fillfactor = 70); DROP INDEX {0}_expires_at",
}


def updates() -> None:
    """Print what keeping sessions alive does to the table, with another fillfactor or index."""
    with _server() as (server, database):
        print(
            f"\n{_UPDATED} sessions, kept alive {_TIMES} times, then VACUUM, {_ROUNDS} times\n"
            f"{'':20}{'touch':>9}{'removal':>11}{'WAL':>8}{'HOT':>6}{'table, MB':>26}"
            f"{'indexes, MB':>26}"
        )
        for number, (name, change) in enumerate(_VARIANTS.items()):
            table = f"updated{number}"
            with closing(_store(server, table)) as store:
                if change:
                    database.execute(change.format(table))
                _fill(database, table, 0, _UPDATED, time.time() + LIFETIME)
                database.execute(f"VACUUM ANALYZE {table}")
                _measure_updates(database, store, name, table)


def _measure_updates(database: Database, store: SQLStore, name: str, table: str) -> None:
    sizes, log = [_sizes(database, table)], _scalar(database, "pg_current_wal_insert_lsn()")
    numbers = [number for _ in range(_TIMES) for number in range(_UPDATED)]
    seconds = 0.0
    for _ in range(_ROUNDS):
        random.shuffle(numbers)
        began = time.perf_counter()
        for number in numbers:
            store.touch(_key(number), time.time() + LIFETIME)
        seconds += time.perf_counter() - began
        database.execute(f"VACUUM {table}")
        sizes.append(_sizes(database, table))
    removal = _median(lambda: store.prune(_SWEPT))
    calls = _ROUNDS * len(numbers)
    written = _scalar(database, f"pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{log}')")
    store.close()  # its connection reports its figures now
    time.sleep(1)
    hot = _scalar(database, f"n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = '{table}'")
    tables, indexes = zip(*sizes, strict=True)
    print(
        f"{name:20}{seconds / calls * 1e6:6.0f} µs{removal:8.0f} µs{int(written) // calls:6} B"
        f"{hot / calls:6.0%}{_arrows(tables):>26}{_arrows(indexes):>26}",
        flush=True,
    )


def _arrows(sizes: tuple[float, ...]) -> str:
    return " → ".join(f"{size:.2f}" for size in sizes)


def _sizes(database: Database, table: str) -> tuple[float, float]:
    return (
        _scalar(database, f"pg_table_size('{table}')") / 1e6,
        _scalar(database, f"pg_indexes_size('{table}')") / 1e6,
    )


def _scalar(database: Database, expression: str) -> Any:
    row = database.execute(f"SELECT {expression}").fetchone()
    assert row is not None, "an expression has a value"
    return row[0]
