"""Parallel requests of one session: errors, losses, writes a second, and stops of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.plots import Writes
from coatcheck import ALWAYS, AsyncStore, MemoryStore, Record
from coatcheck.asgi import SessionMiddleware
from coatcheck.store import Condition
from coatcheck.storekit import as_async

SECRET = "benchmark secret of 32 bytes or more"


class SlowStore(AsyncStore):
    """A memory store whose calls take some time, as over a slow network.

    :param trip: seconds of each call; half of it passes before the call is carried out.
    """

    def __init__(self, trip: float) -> None:
        self._store = MemoryStore()
        self._pause = trip / 2
        self.capabilities = as_async(self._store).capabilities

    async def get(self, key: str) -> Record | None:
        """Return the live record under a key, or None."""
        return await self._after(lambda: self._store.get(key))

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """Write a record if the condition holds."""
        return await self._after(lambda: self._store.set(key, record, only_if))

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """Remove a record if the condition holds."""
        return await self._after(lambda: self._store.destroy(key, only_if))

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """Change the expiry of a record."""
        return await self._after(lambda: self._store.touch(key, expires_at))

    async def ping(self) -> None:
        """Do nothing: the store is always available."""

    async def close(self) -> None:
        """Close the memory store."""
        self._store.close()

    async def _after(self, call: Callable[[], Any]) -> Any:
        await asyncio.sleep(self._pause)
        result = call()
        await asyncio.sleep(self._pause)
        return result


#: The work of a request with its session.
Action = Callable[[Any], Awaitable[None]]


class Site:
    """Middlewares that share a store, one for each process, and one visitor.

    :param processes: how many middlewares take the requests in turn.
    """

    def __init__(self, store: Any, processes: int = 1, **options: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await scope["action"](scope["session"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})

        self._apps = [
            SessionMiddleware(app, secret=SECRET, store=store, **options) for _ in range(processes)
        ]
        self._turn = 0
        self._cookie: list[tuple[bytes, bytes]] = []

    async def request(self, action: Action) -> None:
        """Make a request of the visitor."""

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            for name, value in message.get("headers", ()):
                if name == b"set-cookie":
                    self._cookie = [(b"cookie", value.partition(b";")[0])]

        self._turn += 1
        scope = {
            "type": "http", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/",
            "query_string": b"", "headers": self._cookie, "action": action,
        }  # fmt: skip
        await self._apps[self._turn % len(self._apps)](scope, receive, send)

    async def data(self) -> dict[str, Any]:
        """Return the visitor's data."""
        found: dict[str, Any] = {}

        async def look(session: Any) -> None:
            found.update(session)

        await self.request(look)
        return found


def put(**data: Any) -> Action:
    """Return an action that sets keys."""

    async def action(session: Any) -> None:
        session.update(data)

    return action


async def _slow(writers: int, rounds: int, processes: int) -> tuple[int, int, float]:
    site = Site(SlowStore(0.1), processes)
    await site.request(put(start=1))
    failed = lost = 0
    began = time.perf_counter()
    for number in range(rounds):
        keys = [f"k{number}-{writer}" for writer in range(writers)]
        outcomes = await asyncio.gather(
            *(site.request(put(**{key: 1})) for key in keys), return_exceptions=True
        )
        data = await site.data()
        for key, outcome in zip(keys, outcomes, strict=True):
            failed += outcome is not None
            lost += outcome is None and key not in data
    return failed, lost, (time.perf_counter() - began) / rounds


def slow() -> None:
    """Print the errors of simultaneous requests, on a store with 100 ms a trip."""
    print("100 ms a trip, all requests of a round at once:")
    for writers, rounds, processes in ((10, 6, 1), (40, 3, 2)):
        failed, lost, seconds = asyncio.run(_slow(writers, rounds, processes))
        print(
            f"  {writers} writers in {processes} process(es): {failed} errors and {lost} lost of "
            f"{writers * rounds}, {seconds:.1f} s a round"
        )


class Speed(NamedTuple):
    """Writes a second, and µs of this process's CPU for each."""

    rate: float
    used: float


async def _together(
    store: Any, clients: int, writes: int, options: dict[str, Any]
) -> tuple[Speed, int]:
    site = Site(store, **options)
    await site.request(put(start=1))

    async def client(name: str) -> None:
        async def count(session: Any) -> None:
            session[name] = session.get(name, 0) + 1

        for _ in range(writes):
            await site.request(count)

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(f"client{number}") for number in range(clients)))
    seconds, used = time.perf_counter() - began, time.process_time() - used
    data = await site.data()
    stored = sum(data.get(f"client{number}", 0) for number in range(clients))
    total = clients * writes
    return Speed(total / seconds, used / total * 1e6), total - stored


async def _counted(store: Any, clients: int, increments: int) -> tuple[float, int]:
    site = Site(store)
    await site.request(put(start=1))

    def count(data: dict[str, Any]) -> None:
        data["n"] = data.get("n", 0) + 1

    async def action(session: Any) -> None:
        await session.change(count)

    async def client() -> None:
        for _ in range(increments):
            await site.request(action)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return clients * increments / (time.perf_counter() - began), (await site.data())["n"]


def together(make_store: Callable[[], Any], clients: int = 32, writes: int = 100) -> list[Writes]:
    """Print losses and speed of clients that share a session; each has a key of its own.

    Returns the losses of each round.
    """
    results = []
    print(f"{clients} clients of one session, {writes} writes each, each to its own key:")
    rows: Sequence[tuple[str, dict[str, Any]]] = (
        ("last-write-wins", {"concurrency": "last-write-wins"}),
        ("merge", {}),
    )
    for _ in range(3):
        speeds: dict[str, Speed] = {}
        for name, options in rows:
            work = _closing(_together, make_store, clients, writes, options)
            speeds[name], lost = asyncio.run(work)
            results.append(Writes(name, clients * writes, lost))
            rate, used = speeds[name]
            print(
                f"  {name:16}{rate:8.0f} writes a second, {used:5.0f} µs of CPU each, "
                f"{lost / clients / writes:6.1%} lost"
            )
        ours, theirs = speeds["merge"], speeds["last-write-wins"]
        print(
            f"  merge takes {theirs.rate / ours.rate:.2f} x the time of last-write-wins, "
            f"and {ours.used / theirs.used:.2f} x the CPU"
        )
    speed, total = asyncio.run(_closing(_counted, make_store, clients, writes))
    print(f"  session.change() {speed:7.0f} a second, {total} of {clients * writes} counted")
    return results


async def _closing(work: Callable[..., Awaitable[Any]], make_store: Any, *args: Any) -> Any:
    store = make_store()
    try:
        return await work(store, *args)
    finally:
        await as_async(store).close()


async def _stops(writers: int, keys: int) -> float:
    site = Site(SlowStore(0.05))
    await site.request(put(**{f"key{number}": f"value {number}" for number in range(keys)}))
    longest, is_over = 0.0, False

    async def watch() -> None:
        nonlocal longest
        before = time.perf_counter()
        while not is_over:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now

    async def write(number: int) -> None:
        async def action(session: Any) -> None:
            session[f"key{number}"] = "new"
            # The writes overlap. The writers' own work, which is not measured, is spread out.
            await asyncio.sleep(max(0, start + (writers + number) * 0.01 - time.perf_counter()))

        await asyncio.sleep(number * 0.01)
        await site.request(action)

    start = time.perf_counter()
    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*map(write, range(writers)))
    is_over = True
    await watching
    return longest


def stops(writers: int = 50, keys: int = 4000) -> None:
    """Print how long the event loop stands still while large sessions are merged."""
    alone = asyncio.run(_stops(1, keys))
    crowd = asyncio.run(_stops(writers, keys))
    print(
        f"{keys} keys: the event loop stops for {alone * 1000:.0f} ms at most with one writer, "
        f"{crowd * 1000:.0f} ms with {writers}"
    )


def contention() -> None:
    """Print all tables that need no server."""
    slow()
    stops()
    together(MemoryStore)


def with_redis() -> list[Writes]:
    """Print the table that needs a Redis server, and return the losses of each round."""
    from coatcheck_redis import AsyncRedisStore
    from testing.servers.redis import server

    with server() as url:
        return together(lambda: AsyncRedisStore.from_url(f"{url}?prefix=benchmark:"))
