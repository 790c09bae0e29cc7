"""Measure what a session costs: ``python -m benchmarks`` prints the tables of docs/performance.md.

Short rounds of the bare application, the baseline and coatcheck take turns. Each round gives a
ratio, (coatcheck - bare) / (baseline - bare), and the table shows the medians of all rounds. So a
machine that changes its speed affects all three alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import contention, plots
from benchmarks.baseline import ASGIBaseline, WSGIBaseline
from coatcheck import MemoryStore, Record
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.wsgi import SessionMiddleware as WSGISessions

SECRET = "benchmark secret of 32 bytes or more"
#: The budgets: µs over bare for "public", ratios to the baseline for the others.
BUDGETS = {"public": 3.0, "read scalar": 1.6, "read nested": 1.6, "write": 2.9, "new": 3.3}
SCENARIOS = ("public", "idle", "read scalar", "read nested", "write", "new")


def session_data() -> dict[str, Any]:
    """Return a session of about 500 bytes."""
    return {
        "user_id": "u-123456",
        "name": "Ada Lovelace",
        "cart": [{"sku": f"A-{n}", "quantity": n, "price": 1999 + n} for n in range(4)],
        "preferences": {"theme": "dark", "language": "en-GB", "zone": "Europe/London"},
        "csrf": "x" * 43,
        "seen": [f"product-{n}" for n in range(8)],
        "visits": 17,
        "note": "y" * 60,
    }


def act(scenario: str, session: Any) -> None:
    """Do the scenario's work with a session."""
    if scenario == "read scalar":
        session["user_id"]
    elif scenario == "read nested":
        session["cart"][0]["sku"]
    elif scenario == "write":
        session["visits"] += 1
    elif scenario == "new":
        session.update(session_data())


HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
WSGI_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]


def asgi_application(scenario: str, key: str | None) -> Any:
    """Return an ASGI application that does the scenario's work.

    :param key: the key of the session in the scope, or None if the application uses no session.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if key is not None:
            act(scenario, scope[key])
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def wsgi_application(scenario: str, key: str | None) -> Any:
    """Return a WSGI application that does the scenario's work.

    :param key: the key of the session in the environ, or None if the application uses no session.
    """

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if key is not None:
            act(scenario, environ[key])
        start_response("200 OK", list(WSGI_HEADERS))
        return [b"ok"]

    return app


class ASGICalls:
    """Call ASGI applications in one event loop."""

    baseline, sessions = ASGIBaseline, ASGISessions
    key = "session"

    def application(self, scenario: str, key: str | None) -> Any:
        """Return the application of a scenario."""
        return asgi_application(scenario, key)

    def seconds(self, app: Any, cookie: str | None, calls: int) -> float:
        """Return how many seconds the calls take together."""
        headers = [(b"host", b"shop.test"), (b"accept", b"*/*"), (b"user-agent", b"bench")]
        if cookie is not None:
            headers.append((b"cookie", cookie.encode()))

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            pass

        async def run() -> float:
            start = time.perf_counter()
            for _ in range(calls):
                scope = {
                    "type": "http", "method": "GET", "scheme": "http", "path": "/",
                    "raw_path": b"/", "query_string": b"", "headers": headers,
                }  # fmt: skip
                await app(scope, receive, send)
            return time.perf_counter() - start

        return asyncio.run(run())

    def new_cookie(self, app: Any) -> str:
        """Make a request without a cookie, and return the cookie that the response sets."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "scheme": "http", "path": "/", "headers": []}
        asyncio.run(app(scope, None, send))
        cookie = dict(sent[0]["headers"])[b"set-cookie"]
        return str(cookie.decode().partition(";")[0])


class WSGICalls:
    """Call WSGI applications."""

    baseline, sessions = WSGIBaseline, WSGISessions
    key = "coatcheck.session"

    def application(self, scenario: str, key: str | None) -> Any:
        """Return the application of a scenario."""
        return wsgi_application(scenario, key)

    def seconds(self, app: Any, cookie: str | None, calls: int) -> float:
        """Return how many seconds the calls take together."""

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            return None

        start = time.perf_counter()
        for _ in range(calls):
            environ = {
                "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/",
                "wsgi.url_scheme": "http", "HTTP_HOST": "shop.test", "HTTP_ACCEPT": "*/*",
            }  # fmt: skip
            if cookie is not None:
                environ["HTTP_COOKIE"] = cookie
            for _ in app(environ, start_response):
                pass
        return time.perf_counter() - start

    def new_cookie(self, app: Any) -> str:
        """Make a request without a cookie, and return the cookie that the response sets."""
        seen: dict[str, str] = {}

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            seen.update({name.lower(): value for name, value in headers})

        list(app({"PATH_INFO": "/", "wsgi.url_scheme": "http"}, start_response))
        return seen["set-cookie"].partition(";")[0]


def measure(
    calls: Any, scenario: str, rounds: int, size: int
) -> tuple[float, float, float, float, float]:
    """Return medians: bare, baseline and coatcheck in µs per request, µs over bare, the ratio."""
    cases: list[tuple[Any, str | None]] = [(calls.application(scenario, None), None)]
    for middleware, options in ((calls.baseline, {}), (calls.sessions, {"secret": SECRET})):
        store = MemoryStore()
        cookie = None
        if scenario not in ("public", "new"):
            writer = middleware(calls.application("new", calls.key), store=store, **options)
            cookie = calls.new_cookie(writer)
        key = None if scenario in ("public", "idle") else calls.key
        cases.append((middleware(calls.application(scenario, key), store=store, **options), cookie))
    rows = []
    for _ in range(rounds):
        bare, baseline, ours = (calls.seconds(*case, size) / size * 1e6 for case in cases)
        rows.append((bare, baseline, ours, ours - bare, (ours - bare) / (baseline - bare)))
    bare, baseline, ours, over, ratio = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    return bare, baseline, ours, over, ratio


def speed(rounds: int, size: int) -> list[plots.Cost]:
    """Print and return what a request costs in each scenario, over ASGI and over WSGI."""
    costs = []
    print(f"{'':5}{'scenario':13}{'bare':>8}{'baseline':>10}{'coatcheck':>11}{'over bare':>11}"
          f"{'ratio':>7}  budget")  # fmt: skip
    for name, calls in (("ASGI", ASGICalls()), ("WSGI", WSGICalls())):
        for scenario in SCENARIOS:
            bare, baseline, ours, over, ratio = measure(calls, scenario, rounds, size)
            budget = BUDGETS.get(scenario)
            unit = "µs over bare" if scenario == "public" else "x the baseline"
            met = "" if budget is None else f"<= {budget} {unit}"
            if budget is not None and (over if scenario == "public" else ratio) > budget:
                met += "  MISSED"
            print(f"{name:5}{scenario:13}{bare:8.2f}{baseline:10.2f}{ours:11.2f}{over:11.2f}"
                  f"{ratio:7.2f}  {met}")  # fmt: skip
            costs.append(plots.Cost(name, scenario, baseline - bare, over))
    return costs


def memory(sessions: int = 100_000) -> None:
    """Print the memory store's bytes per session beyond the data themselves."""
    for label, owner in (("", None), (" with an owner each", "user-{}")):
        gc.collect()
        tracemalloc.start()
        store = MemoryStore(max_sessions=sessions)
        payload = 0
        for number in range(sessions):
            data = b"%0500d" % number
            payload += len(data)
            own = None if owner is None else owner.format(number)
            store.set(f"{number:064x}", Record(data, 4e9 + number, own))
        used = tracemalloc.get_traced_memory()[0] - payload
        tracemalloc.stop()
        print(f"memory store{label}: {used / sessions:.0f} bytes of overhead per session")


def start_up(rounds: int = 15) -> None:
    """Print what ``import coatcheck`` adds to the start of the interpreter."""

    def once(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    pairs = [(once("pass"), once("import coatcheck")) for _ in range(rounds)]
    bare, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"import coatcheck: {(ours - bare) * 1000:.0f} ms over the bare interpreter "
          f"({bare * 1000:.0f} ms)")  # fmt: skip


def file_store() -> Any:
    """Return the module that measures the file store, which may not be installed."""
    from benchmarks import files

    return files


def with_server(name: str) -> Any:
    """Return the module that measures a store with a server, which may not be installed."""
    return importlib.import_module(f"benchmarks.{name}")


PARTS = (
    "speed", "memory", "import", "files", "redis", "mongo", "dynamodb", "sql", "sql-peers",
    "growth", "mongo-growth", "postgresql-growth", "postgresql-prune", "postgresql-updates",
    "dynamodb-cost", "contention", "redis-contention",
)  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=101, help="how many interleaved rounds")
    parser.add_argument("--calls", type=int, default=200, help="how many requests in a round")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument(
        "--without", action="append", default=[], metavar="SERVER",
        help="leave out the parts that need this server; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--largest", type=int, default=100_000, help="the most sessions in the growth table"
    )
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER",
        help=f"draw pictures of the parts {', '.join(plots.PLOTS)} from this run",
    )  # fmt: skip
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Sequence[object] | None]] = {
        "speed": lambda: speed(arguments.rounds, arguments.calls),
        "memory": memory,
        "import": start_up,
        "files": lambda: file_store().against_the_baseline(session_data(), arguments.rounds),
        "redis": lambda: with_server("redis").compare(session_data(), arguments.rounds),
        "mongo": lambda: with_server("mongo").compare(session_data(), arguments.rounds),
        "dynamodb": lambda: with_server("dynamodb").compare(session_data(), arguments.rounds),
        "sql": lambda: with_server("sql").compare(session_data(), arguments.rounds),
        "sql-peers": lambda: with_server("sql_peers").compare(session_data(), arguments.rounds),
        "growth": lambda: file_store().growth(session_data(), arguments.largest),
        "mongo-growth": lambda: with_server("mongo").growth(arguments.largest),
        "postgresql-growth": lambda: with_server("postgresql").growth(arguments.largest),
        "postgresql-prune": lambda: with_server("postgresql").prune(arguments.largest),
        "postgresql-updates": lambda: with_server("postgresql").updates(),
        "dynamodb-cost": lambda: with_server("dynamodb").cost(session_data()),
        "contention": contention.contention,
        "redis-contention": contention.with_redis,
    }
    for name, part in parts.items():
        if arguments.only in (None, name) and name.partition("-")[0] not in arguments.without:
            rows = part()
            if arguments.plots is not None and name in plots.PLOTS and rows:
                changed = [
                    f"--{option} {value}"
                    for option in ("rounds", "calls")
                    if (value := getattr(arguments, option)) != parser.get_default(option)
                ]
                print(plots.write(name, rows, arguments.plots, " ".join(changed)))


if __name__ == "__main__":
    main()
