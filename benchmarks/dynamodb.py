"""The DynamoDB store: its CPU time against plain boto3's, and the AWS units of requests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.with_server import LIFETIME, SECRET, Candidate, act, against_the_baseline
from coatcheck.storekit import as_async
from coatcheck.wsgi import SessionMiddleware
from coatcheck_dynamodb import DynamoDBStore
from coatcheck_dynamodb._url import parse
from testing.servers.dynamodb import server

#: Ratios of CPU time. DynamoDB Local is so slow that its own time would hide all differences.
BUDGETS = {api: {"read": 1.15, "write": 1.15, "new": 1.15} for api in ("async", "sync")}


@contextlib.contextmanager
def _table() -> Iterator[tuple[str, Any, str]]:
    """Yield a store's URL, plain boto3's client, and the table's name."""
    with server() as url:
        with contextlib.closing(DynamoDBStore.from_url(url)) as store:
            store.ensure_table()
        settings = parse(url)
        client = boto3.client(
            "dynamodb", region_name=settings.region, endpoint_url=settings.endpoint_url,
            config=Config(retries={"mode": "standard"}),
        )  # fmt: skip
        yield url, client, settings.table
        client.close()


def compare(data: dict[str, Any], rounds: int) -> None:
    """Print the table of CPU times: everything but the time of DynamoDB itself."""
    with _table() as (url, client, table), asyncio.Runner() as runner:

        def get(key: str) -> str | None:
            found = client.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=True)
            return found["Item"]["sess"]["S"] if "Item" in found else None

        def set(key: str, data: bytes) -> None:
            expires = {"N": str(int(time.time()) + LIFETIME)}
            item = {"id": {"S": key}, "sess": {"S": data.decode()}, "expires": expires}
            client.put_item(TableName=table, Item=item)

        candidate = Candidate(
            "dynamodb",
            BUDGETS,
            DynamoDBStore.from_url(f"{url}&prefix=benchmark:"),
            as_async(DynamoDBStore.from_url(f"{url}&prefix=benchmark:")),
            get,
            set,
            lambda key: asyncio.to_thread(get, key),
            lambda key, data: asyncio.to_thread(set, key, data),
            timer=time.process_time,
        )
        against_the_baseline(candidate, runner, data, rounds)
        candidate.store.close()
        runner.run(candidate.async_store.close())


@dataclass
class _Meter:
    """Count the calls of a client, and the units that they cost.

    :ivar calls: how many, by operation.
    :ivar units: as DynamoDB says, by ``read`` and ``write``.
    """

    calls: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def attach(self, client: Any) -> None:
        events = client.meta.events
        events.register("provide-client-params.dynamodb", self._ask)
        events.register("after-call.dynamodb", self._count)

    def _ask(self, params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "INDEXES"

    def _count(self, parsed: dict[str, Any], model: Any, **_: object) -> None:
        self.calls[model.name] += 1
        kind = "read" if model.name == "GetItem" else "write"
        self.units[kind] += parsed["ConsumedCapacity"]["CapacityUnits"]


class _Browser:
    """A browser that visits an application whose store is metered."""

    def __init__(self, client: Any, table: str, data: dict[str, Any], **options: Any) -> None:
        self._now, self._cookie, self._data = time.time(), "", data
        self.store = DynamoDBStore(client, table=table, prefix="cost:", clock=lambda: self._now)
        self._app = SessionMiddleware(
            self._serve, secret=SECRET, store=self.store, clock=lambda: self._now, **options
        )

    def visit(self, scenario: str, seconds: float = 10.0) -> None:
        """Make a request, some seconds after the last."""
        self._now += seconds
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/{scenario}", "wsgi.url_scheme": "http"}
        if self._cookie:
            environ["HTTP_COOKIE"] = self._cookie
        list(self._app(environ, self._start_response))

    def _serve(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        scenario, session = environ["PATH_INFO"][1:], environ["coatcheck.session"]
        if scenario == "logout":
            session.destroy()
        elif scenario == "login":
            session.regenerate(keep_data=True)
            session["who"] = "ann"
        else:
            act(scenario, session, self._data)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    def _start_response(self, status: str, headers: list[Any], exc_info: Any = None) -> None:
        for name, value in headers:
            if name.lower() == "set-cookie":
                self._cookie = value.partition(";")[0]


#: The measurements: name, options of the middleware, scenario, and how many requests.
_COSTS: tuple[tuple[str, dict[str, Any], str, int], ...] = (
    ("new", {}, "new", 1),
    ("new, of an owner", {"owner": "user_id"}, "new", 1),
    ("read, touch_interval 0", {"touch_interval": 0}, "read", 360),
    ("read, touch_interval 60 s", {"touch_interval": 60}, "read", 360),
    ("write, touch_interval 0", {"touch_interval": 0}, "write", 360),
    ("write, touch_interval 60 s", {"touch_interval": 60}, "write", 360),
    ("login", {}, "login", 1),
    ("login, of an owner from then on", {"owner": "who"}, "login", 1),
    ("logout", {}, "logout", 1),
)


def cost(data: dict[str, Any]) -> None:
    """Print calls and request units per million requests of visitors who come every 10 seconds."""
    with _table() as (_, client, table):
        meter = _Meter()
        meter.attach(client)
        print(f"\n{'a million requests':30}{'calls':>28}{'read units':>13}{'write units':>13}")
        for label, options, scenario, count in _COSTS:
            browser = _Browser(client, table, data, **options)
            if scenario != "new":
                browser.visit("new")
            meter.calls.clear()
            meter.units.clear()
            for _ in range(count):
                browser.visit(scenario)
            calls = ", ".join(f"{name} {n / count:.2f}" for name, n in sorted(meter.calls.items()))
            units = "".join(
                f"{meter.units[kind] / count * 1e6:13,.0f}" for kind in ("read", "write")
            )
            print(f"{label:30}{calls:>28}{units}")
            browser.store.close()
