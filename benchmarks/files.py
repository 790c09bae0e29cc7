"""The file store: against a baseline of system calls, and with more and more sessions."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread

from benchmarks.baseline import FileBaseline
from coatcheck import ABSENT, Record
from coatcheck.storekit import as_async
from coatcheck_file import Durability, FileStore

#: The budgets: ratios to the baseline.
BUDGETS = {"read": 2.0, "write (full)": 1.5, "new (full)": 1.5}
LIFETIME = 86400.0


@contextmanager
def temporary_store(durability: Durability) -> Iterator[FileStore]:
    """Yield a file store in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="coatcheck-benchmark-") as folder:
        store = FileStore(Path(folder) / "sessions", durability=durability)
        yield store
        store.close()


def against_the_baseline(data: dict[str, Any], rounds: int) -> None:
    """Print µs per call and the medians of each round's ratio.

    The baseline writes into the store's own folders, because the place of a file affects the disk.
    """
    print(f"\n{'file store':16}{'baseline':>9}{'coatcheck':>11}{'ratio':>7}  budget")
    encoded = json.dumps(data, separators=(",", ":")).encode()
    for durability in ("full", "process"):
        with temporary_store(durability) as store:
            baseline = FileBaseline(store.folder / "records", durable=durability == "full")
            for name, (least, ours) in _calls(store, baseline, encoded).items():
                if name == "read" and durability == "process":
                    continue  # a read is the same with each durability
                label = name if name == "read" else f"{name} ({durability})"
                rows = [(_µs(least), _µs(ours)) for _ in range(rounds)]
                low, high = (statistics.median(column) for column in zip(*rows, strict=True))
                ratio = statistics.median(high / low for low, high in rows)
                budget = BUDGETS.get(label)
                met = "" if budget is None else f"<= {budget}" + " MISSED" * (ratio > budget)
                print(f"{label:16}{low:9.1f}{high:11.1f}{ratio:7.2f}  {met}")
    asyncio.run(asynchronous(encoded, rounds))


def _calls(
    store: FileStore, baseline: FileBaseline, encoded: bytes
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return the same calls of the baseline and of the store, by what they do."""
    numbers = iter(range(10**9))

    def record() -> Record:
        return Record(encoded, time.time() + LIFETIME)

    def new() -> None:
        store.set(f"new {next(numbers)}", record(), ABSENT)

    def read() -> Any:
        found = store.get("key")
        assert found is not None, "it was just set"
        return json.loads(found.data)

    for _ in range(1500):
        new()  # until each folder exists
    store.set("key", record())
    baseline.write("key", encoded)
    return {
        "read": (lambda: json.loads(baseline.read("key")), read),
        "write": (
            lambda: baseline.write("key", encoded),
            lambda: store.set("key", record()),
        ),
        "new": (lambda: baseline.write(str(next(numbers)), encoded), new),
    }


async def asynchronous(encoded: bytes, rounds: int) -> None:
    """Print the time of an asynchronous read, and of a read in a worker thread."""
    with temporary_store("process") as store:
        store.set("key", Record(encoded, time.time() + LIFETIME))
        ours = as_async(store)
        rows = []
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(100):
                await to_thread.run_sync(store.get, "key")
            middle = time.perf_counter()
            for _ in range(100):
                await ours.get("key")
            rows.append(((middle - start) * 1e4, (time.perf_counter() - middle) * 1e4))
    hop, read = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(read / hop for hop, read in rows)
    print(
        f"{'async read':16}{hop:9.1f}{read:11.1f}{ratio:7.2f}"
        "  (baseline: a hop to a thread, a read)"
    )


def growth(data: dict[str, Any], largest: int) -> None:
    """Print the time of calls with more and more sessions in the folder.

    The baseline opens and reads the same kind of files, so its times show the file system's share.
    """
    encoded = json.dumps(data, separators=(",", ":")).encode()
    print(
        f"\n{'sessions':>9}{'baseline':>9}{'read':>9}{'touch':>9}{'write':>9}{'new':>9}"
        f"  µs (process){'length':>9}{'prune':>9}  s"
    )
    with temporary_store("process") as store:
        baseline = FileBaseline(store.folder / "records", durable=False, prefix="")
        stored = 0
        size = 1000
        while size <= largest:
            for number in range(stored, size):
                store.set(str(number), Record(encoded, time.time() + LIFETIME), ABSENT)
            keys = [str(random.randrange(size)) for _ in range(2000)]
            fresh = [f"{size} {number}" for number in range(2000)]
            expires_at = time.time() + LIFETIME
            record = Record(encoded, expires_at)
            half = len(keys) // 2  # each key is read for the first time
            columns = [
                _median_µs(baseline.read, keys[:half]),
                _median_µs(store.get, keys[half:]),
                _median_µs(lambda key, end=expires_at: store.touch(key, end + 1), keys),
                _median_µs(lambda key, record=record: store.set(key, record), keys),
                _median_µs(lambda key, record=record: store.set(key, record, ABSENT), fresh),
            ]
            for key in fresh:
                store.destroy(key)
            seconds = [_seconds(store.length), _seconds(store.prune)]
            print(
                f"{size:9}" + "".join(f"{column:9.1f}" for column in columns) + f"{'':14}"
                f"{seconds[0]:9.2f}{seconds[1]:9.2f}",
                flush=True,
            )
            stored, size = size, size * 10


def _µs(call: Callable[[], Any], calls: int = 20) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def _median_µs(call: Callable[[str], Any], keys: list[str]) -> float:
    times = []
    for key in keys:
        start = time.perf_counter()
        call(key)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
