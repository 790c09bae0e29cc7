"""The MongoDB store, against plain PyMongo: find_one, and update_one with upsert."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import AsyncMongoClient, MongoClient, WriteConcern

from benchmarks.with_server import LIFETIME, Candidate, against_the_baseline
from coatcheck import ABSENT, Record, Unchanged
from coatcheck_mongo import AsyncMongoStore, MongoStore
from testing.servers.mongo import server

BUDGETS = {api: {"read": 1.3, "write": 1.4, "new": 1.4} for api in ("async", "sync")}
#: As safe as the store's: acknowledged writes are in the journal.
SAFE = WriteConcern("majority", j=True)


def _text(found: Any) -> str | None:
    return None if found is None else found["session"]


def _update(data: bytes) -> dict[str, Any]:
    expires = datetime.now(UTC) + timedelta(seconds=LIFETIME)
    return {"$set": {"session": data.decode(), "expires": expires}}


def compare(data: dict[str, Any], rounds: int) -> None:
    """Print the table."""
    with server() as url, asyncio.Runner() as runner, MongoClient[dict[str, Any]](url) as client:
        place = f"{url}benchmark?collection=ours"
        collection = client.benchmark.get_collection("baseline", write_concern=SAFE)
        async_client = runner.run(_made(url))
        async_collection = async_client.benchmark.get_collection("baseline", write_concern=SAFE)
        collection.create_index("expires", expireAfterSeconds=0)

        async def async_get(key: str) -> str | None:
            return _text(await async_collection.find_one({"_id": key}))

        candidate = Candidate(
            "mongo",
            BUDGETS,
            MongoStore.from_url(place),
            AsyncMongoStore.from_url(place),
            lambda key: _text(collection.find_one({"_id": key})),
            lambda key, data: collection.update_one({"_id": key}, _update(data), upsert=True),
            async_get,
            lambda key, data: async_collection.update_one({"_id": key}, _update(data), upsert=True),
        )
        against_the_baseline(candidate, runner, data, rounds)
        candidate.store.close()
        runner.run(candidate.async_store.close())
        runner.run(async_client.close())
        client.drop_database("benchmark")


def growth(largest: int) -> None:
    """Print µs of calls with more and more sessions: the baseline's read and the store's calls."""
    with server() as url, MongoClient[dict[str, Any]](url) as client:
        expires_at = time.time() + LIFETIME
        sizes = [10**power for power in range(3, 10) if 10**power <= largest]
        timings: dict[int, list[list[float]]] = {}
        stores = {}
        for size in sizes:
            stores[size] = MongoStore.from_url(f"{url}benchmark?collection=growth{size}")
            _fill(client.benchmark[f"growth{size}"], size, expires_at)
            timings[size] = []
        client.admin.command("fsync")  # finishes the work of the filling
        for _ in range(20):  # in turns, so that a change of the machine's speed affects all alike
            for size, store in stores.items():
                collection = client.benchmark[f"growth{size}"]
                timings[size].append(_calls(collection, store, size, expires_at))
        print(
            f"\n{'sessions':>9}{'find_one':>10}{'read':>9}{'touch':>9}{'write':>9}{'new':>9}"
            "  µs (process)"
        )
        for size, rounds in timings.items():
            columns = [statistics.median(column) for column in zip(*rounds, strict=True)]
            print(f"{size:9}{columns[0]:10.1f}" + "".join(f"{each:9.1f}" for each in columns[1:]))
            stores[size].close()
        client.drop_database("benchmark")


def _fill(collection: Any, size: int, expires_at: float) -> None:
    expires = datetime.fromtimestamp(expires_at, UTC)
    collection.create_index("expires", expireAfterSeconds=0)
    collection.create_index("owner", sparse=True)
    for start in range(0, size, 1000):
        collection.insert_many(
            {"_id": f"{number:064x}", "session": "x" * 500, "expires": expires}
            for number in range(start, start + 1000)
        )


_new = itertools.count()


def _calls(collection: Any, store: MongoStore, size: int, expires_at: float) -> list[float]:
    data = b"x" * 500

    def key() -> str:
        return f"{random.randrange(size):064x}"

    def changed() -> Record:
        return Record(data, expires_at + next(_new))

    return [
        _median(lambda: collection.find_one({"_id": key()})),
        _median(lambda: store.get(key())),
        _median(lambda: store.touch(key(), changed().expires_at)),
        _median(lambda: store.set(key(), changed(), Unchanged(data))),
        _median(lambda: store.set(f"new{next(_new)}", changed(), ABSENT)),
    ]


def _median(call: Callable[[], object], calls: int = 50) -> float:
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


async def _made(url: str) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(url)
