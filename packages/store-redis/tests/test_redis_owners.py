"""The index of an owner: a hint that leads to each session, and grows no more than it has to."""

from __future__ import annotations

import time

import pytest
from redis_backend import Backend

from coatcheck import Record
from coatcheck_redis import RedisStore

pytestmark = pytest.mark.integration("redis")

LIFETIME = 1000.0


def index_of(backend: Backend, owner: str) -> str:
    return f"coatcheck:owner:{len(backend.prefix)}:{backend.prefix}{owner}"


def members(backend: Backend, owner: str) -> set[bytes]:
    return set(backend.raw.zrange(index_of(backend, owner), 0, -1))


def test_entries_that_lead_to_nothing_are_removed_when_they_are_met(
    store: RedisStore, backend: Backend
) -> None:
    expires_at = time.time() + LIFETIME
    for key in ("kept", "destroyed", "given away"):
        store.set(key, Record(b"x", expires_at, "ada"))
    store.destroy("destroyed")
    store.set("given away", Record(b"x", expires_at, "eve"))
    assert len(members(backend, "ada")) == 3
    assert [key for key, _ in store.owned_by("ada")] == ["kept"]
    assert members(backend, "ada") == {b"kept"}


def test_entries_that_nobody_meets_are_removed_after_their_expiry(backend: Backend) -> None:
    """An owner who only logs in has an index of the sessions of one lifetime, not of all times."""
    now = [time.time()]
    store = RedisStore.from_url(backend.url, clock=lambda: now[0])
    for number in range(100):
        store.set(f"login {number}", Record(b"x", now[0] + LIFETIME, "ada"))
        now[0] += LIFETIME / 10
    assert len(members(backend, "ada")) <= 17
    store.close()


def test_an_index_lives_longer_than_the_longest_of_its_records(
    store: RedisStore, backend: Backend
) -> None:
    now = time.time()
    store.set("long", Record(b"x", now + 5000, "ada"))
    store.set("short", Record(b"x", now + 10, "ada"))
    assert backend.raw.ttl(index_of(backend, "ada")) > 5000


def test_a_touch_moves_the_index_with_the_record(backend: Backend) -> None:
    """Also without the owner as a hint, and with a wrong one."""
    now = [time.time()]
    store = RedisStore.from_url(backend.url, clock=lambda: now[0])
    for key, hint in (("right", "ada"), ("none", None), ("wrong", "eve")):
        store.set(key, Record(b"x", now[0] + 10, "ada"))
        assert store.touch(key, now[0] + 5000, hint)
    now[0] += 2000
    store.set("later", Record(b"x", now[0] + 10, "ada"))  # takes out what has expired
    assert {key for key, _ in store.owned_by("ada")} == {"right", "none", "wrong", "later"}
    assert list(store.owned_by("eve")) == []
    assert backend.raw.ttl(index_of(backend, "ada")) > 4000
    store.close()


def test_shorter_lives_leave_the_index_complete(store: RedisStore) -> None:
    now = time.time()
    store.set("key", Record(b"x", now + 5000, "ada"))
    assert store.touch("key", now + 5, "ada")
    assert [key for key, _ in store.owned_by("ada")] == ["key"]


def test_an_entry_is_never_made_to_end_earlier(store: RedisStore, backend: Backend) -> None:
    """In a cluster two writers may meet the index in one order and the record in the other."""
    now = time.time()
    store.set("key", Record(b"x", now + 5000, "ada"))
    store.set("key", Record(b"x", now + 5, "ada"))
    score = backend.raw.zscore(index_of(backend, "ada"), "key")
    assert score == pytest.approx(now + 5000)
