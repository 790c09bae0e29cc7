"""The MongoDB store, against plain PyMongo: find_one, and update_one with upsert."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import AsyncMongoClient, MongoClient, WriteConcern

from benchmarks.with_server import LIFETIME, Candidate, against_the_floor
from coatcheck import ABSENT, Record, Unchanged
from coatcheck_mongo import AsyncMongoStore, MongoStore
from servers.mongo import server

BUDGETS = {face: {"read": 1.3, "write": 1.4, "new": 1.4} for face in ("async", "sync")}
#: As safe as the store's: what is acknowledged is in the journal.
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
        collection = client.benchmark.get_collection("floor", write_concern=SAFE)
        async_client = runner.run(_made(url))
        async_collection = async_client.benchmark.get_collection("floor", write_concern=SAFE)
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
        against_the_floor(candidate, runner, data, rounds)
        candidate.store.close()
        runner.run(candidate.async_store.close())
        runner.run(async_client.close())
        client.drop_database("benchmark")


def growth(largest: int) -> None:
    """Print µs of the store's calls among more and more sessions."""
    with server() as url, MongoClient[dict[str, Any]](url) as client:
        store = MongoStore.from_url(f"{url}benchmark?collection=growth")
        print(f"\n{'sessions':>9}{'read':>9}{'touch':>9}{'write':>9}{'new':>9}  µs (process)")
        count, now = 0, time.time()
        while (size := max(1000, count * 10)) <= largest:
            expires = datetime.fromtimestamp(now + LIFETIME, UTC)
            for start in range(count, size, 1000):
                client.benchmark.growth.insert_many(
                    {"_id": f"{number:064x}", "session": "x" * 500, "expires": expires}
                    for number in range(start, start + 1000)
                )
            count = size
            timings = _calls(store, size, now + LIFETIME)
            print(f"{size:9}" + "".join(f"{each:9.1f}" for each in timings), flush=True)
        store.close()
        client.drop_database("benchmark")


def _calls(store: MongoStore, size: int, expires_at: float) -> list[float]:
    data = b"x" * 500
    record = Record(data, expires_at)

    def key(number: int) -> str:
        return f"{number * 7919 % size:064x}"

    return [
        _median(lambda n: store.get(key(n))),
        _median(lambda n: store.touch(key(n), expires_at + n)),
        _median(lambda n: store.set(key(n), record, Unchanged(data))),
        _median(lambda n: store.set(f"new{size}-{n}", record, ABSENT)),
    ]


def _median(call: Callable[[int], object], calls: int = 500) -> float:
    taken = []
    for number in range(calls):
        start = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


async def _made(url: str) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(url)
