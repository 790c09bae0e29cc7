"""The round trips of operations and of whole requests, counted by a proxy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from sql_backend import POSTGRESQL, SERVERS, Backend, record
from visiting import visits

from coatcheck import ABSENT, PRESENT, Store, Unchanged
from coatcheck_conformance._kit.proxy import Proxy


@contextmanager
def through_proxy(backend: Backend) -> Iterator[tuple[str, Proxy]]:
    """Yield the URL of the backend's store through a proxy, and the proxy."""
    parts = urlsplit(backend.server_url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy((parts.hostname, parts.port))
    try:
        yield backend.url.replace(f":{parts.port}", f":{proxy.port}"), proxy
    finally:
        proxy.close()


def turns(proxy: Proxy, call: Callable[[], object]) -> int:
    """Return the round trips of a call."""
    before = proxy.traffic.copy()
    call()
    return proxy.traffic.since(before).turns


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_each_operation_is_one_round_trip(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are, once a connection has prepared them. One write of sixteen also removes rows."""
    monkeypatch.setattr("coatcheck_sql._operations.EVERY", 10**9)
    with through_proxy(backend) as (url, proxy):
        store = backend.store(url=f"{url}&pool_size=1")
        later = time.time() + 60

        def calls(key: str) -> dict[str, Callable[[], object]]:
            return {
                "new": lambda: store.set(key, record(), ABSENT),
                "read": lambda: store.get(key),
                "set": lambda: store.set(key, record()),
                "present": lambda: store.set(key, record(), PRESENT),
                "unchanged": lambda: store.set(key, record(b"x"), Unchanged(b"d4ta")),
                "conflict": lambda: store.set(key, record(), Unchanged(b"d4ta")),
                "touch": lambda: store.touch(key, later),
                "nothing": lambda: store.get("nothing"),
                "length": store.length,
                "end": lambda: store.destroy(key),
                "ping": store.ping,
            }

        for call in calls("first").values():
            call()
        assert {name: turns(proxy, call) for name, call in calls("key").items()} == dict.fromkeys(
            calls("key"), 1
        )
        store.close()


@pytest.mark.parametrize("backend", POSTGRESQL, indirect=True)
def test_a_new_session_over_an_expired_one_is_one_round_trip(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatcheck_sql._operations.EVERY", 10**9)
    with through_proxy(backend) as (url, proxy):
        store = backend.store(url=f"{url}&pool_size=1")
        for key in ("first", "second"):
            store.set(key, record(life=-1), ABSENT)
        store.set("first", record(), ABSENT)
        assert turns(proxy, lambda: store.set("second", record(), ABSENT)) == 1
        assert store.get("second") is not None
        store.close()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_the_trips_of_a_request(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One to read or begin, and two to write; none for a touch that is not due."""
    monkeypatch.setattr("coatcheck_sql._operations.EVERY", 10**9)
    with (
        through_proxy(backend) as (url, proxy),
        visits(backend.native(url=f"{url}&pool_size=1")) as visit,
    ):
        for path in ("/write", "/write", "/read"):
            visit(path)
        found = [
            turns(proxy, lambda path=path: visit(path)) for path in ("/read", "/write", "/read")
        ]
        assert found == [1, 2, 1]


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_a_pass_over_expired_rows_is_one_round_trip_of_sixteen_writes(
    backend: Backend,
) -> None:
    """And it removes what has expired."""
    with through_proxy(backend) as (url, proxy):
        store: Store = backend.store(url=f"{url}&pool_size=1")
        for number in range(20):
            store.set(f"old{number}", record(life=0.2))
        time.sleep(0.3)
        store.set("key", record())
        counts = [turns(proxy, lambda: store.set("key", record())) for _ in range(32)]
        assert sum(counts) <= 32 + 3
        assert store.prune() == 0
        store.close()
