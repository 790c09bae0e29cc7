"""How records lie in Redis, and what happens when other programs write them, too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis_backend import Backend

import redis
from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, Record, Unchanged
from coatcheck.store import MAX_KEY_LENGTH
from coatcheck_redis import RedisStore

pytestmark = pytest.mark.integration("redis")

LIFETIME = 1000.0


def record(data: bytes = b'{"n":1}', owner: str | None = None) -> Record:
    return Record(data, time.time() + LIFETIME, owner)


def test_a_record_is_what_connect_redis_reads(store: RedisStore, backend: Backend) -> None:
    """The string is the data and nothing else, with a time to live in milliseconds."""
    store.set("key", record(b'{"cookie":{}}', "ada"))
    assert backend.raw.get(backend.place("key")) == b'{"cookie":{}}'
    assert LIFETIME - 5 < backend.raw.pttl(backend.place("key")) / 1000 <= LIFETIME


def test_a_listing_of_the_prefix_shows_records_alone(store: RedisStore, backend: Backend) -> None:
    """connect-redis lists and clears `prefix*`: metadata keys and indexes are elsewhere."""
    store.set("key", record(owner="ada"))
    found = list(backend.raw.scan_iter(match=f"{backend.prefix}*", count=1000))
    assert found == [backend.place("key").encode()]


def test_the_time_to_live_is_counted_by_the_store_s_clock(backend: Backend) -> None:
    store = RedisStore.from_url(backend.url, clock=lambda: 1000.0)
    store.set("key", Record(b"x", 1500.0))
    assert 495 < backend.raw.pttl(backend.place("key")) / 1000 <= 500
    found = store.get("key")
    assert found is not None
    assert found.expires_at == 1500.0
    store.close()


def test_everything_that_is_kept_expires(store: RedisStore, backend: Backend) -> None:
    """Metadata ends with its record, an index some minutes after the last of its records."""
    store.set("key", record(owner="ada"))
    kept = list(backend.raw.scan_iter(match=f"*{backend.prefix}*", count=1000))
    assert len(kept) == 3
    for name in kept:
        assert LIFETIME - 5 < backend.raw.ttl(name) <= LIFETIME + 600


# Another program writes, as connect-redis does


def test_a_foreign_record_is_read_with_the_expiry_of_its_key(
    store: RedisStore, backend: Backend
) -> None:
    backend.raw.set(backend.place("key"), b'{"node":1}', ex=100)
    found = store.get("key")
    assert found is not None
    assert (found.data, found.owner) == (b'{"node":1}', None)
    assert found.expires_at == pytest.approx(time.time() + 100, abs=2)


def test_a_foreign_record_without_an_expiry_never_ends(store: RedisStore, backend: Backend) -> None:
    """Express with `disableTTL` writes such records."""
    backend.raw.set(backend.place("key"), b"{}")
    found = store.get("key")
    assert found is not None
    assert found.expires_at == 253402300799
    assert store.touch("key", time.time() + 10)
    assert 5 < backend.raw.ttl(backend.place("key")) <= 10


def test_a_foreign_write_is_seen_and_keeps_the_owner(store: RedisStore, backend: Backend) -> None:
    store.set("key", record(b"old", "ada"))
    backend.raw.set(backend.place("key"), b"new", ex=5000)
    found = store.get("key")
    assert found is not None
    assert (found.data, found.owner) == (b"new", "ada")
    assert store.set("key", record(b"newer", "ada"), Unchanged(b"old")) is False
    assert store.set("key", record(b"newer", "ada"), Unchanged(b"new")) is True


def test_a_life_that_another_program_lengthened_goes_on(backend: Backend) -> None:
    """The metadata has expired by then; the key has not, and says how long it lives."""
    now = [time.time()]
    store = RedisStore.from_url(backend.url, clock=lambda: now[0])
    store.set("key", Record(b"x", now[0] + 100, "ada"))
    backend.raw.expire(backend.place("key"), 5000)
    now[0] += 200
    found = store.get("key")
    assert found is not None
    assert found.expires_at == pytest.approx(now[0] + 5000, abs=2)
    assert found.owner == "ada"
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    assert store.touch("key", now[0] + 50, "ada")
    assert store.set("key", Record(b"y", now[0] + 60, "ada"), Unchanged(b"x"))
    store.close()


def test_a_foreign_removal_is_one(store: RedisStore, backend: Backend) -> None:
    store.set("key", record(owner="ada"))
    backend.raw.delete(backend.place("key"))
    assert store.get("key") is None
    assert store.touch("key", time.time() + 10) is False
    assert store.set("key", record(), PRESENT) is False
    assert store.destroy("key") is False
    assert list(store.owned_by("ada")) == []
    assert store.set("key", record(), ABSENT) is True


def test_metadata_that_was_evicted_costs_the_owner_but_no_session(
    store: RedisStore, backend: Backend
) -> None:
    """`maxmemory` may remove a metadata key alone. The index still leads to the session."""
    store.set("key", record(b"x", "ada"))
    (metadata,) = backend.raw.scan_iter(match=f"coatcheck:metadata:*{backend.prefix}*", count=1000)
    backend.raw.delete(metadata)
    found = store.get("key")
    assert found is not None
    assert found.data == b"x"
    assert found.expires_at == pytest.approx(time.time() + LIFETIME, abs=2)
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    assert store.touch("key", time.time() + LIFETIME)  # writes metadata without an owner
    assert [found.owner for _, found in store.owned_by("ada")] == ["ada"]
    assert list(store.owned_by("eve")) == []


def test_a_key_of_another_type_is_replaced_and_removed(store: RedisStore, backend: Backend) -> None:
    place = backend.place("key")
    writers: list[Callable[[], Any]] = [
        lambda: backend.raw.rpush(place, "x"),
        lambda: backend.raw.hset(place, "a", "b"),
        lambda: backend.raw.set(place, b""),
    ]
    for write in writers:
        backend.raw.delete(place)
        write()
        assert store.get("key") is None
        assert store.touch("key", time.time() + 10) is False
        assert store.set("key", record(), PRESENT) is False
        assert store.set("key", record(), Unchanged(b"")) is False
        assert backend.raw.exists(place)
        assert store.destroy("key") is False
        assert not backend.raw.exists(place)
        write()
        assert store.set("key", record(b"mine"))
        assert backend.raw.get(place) == b"mine"


def test_names_that_are_no_keys_are_left_alone(store: RedisStore, backend: Backend) -> None:
    """A name that is not UTF-8, or is the bare prefix, cannot be a session of this store."""
    backend.raw.set(backend.prefix, b"bare")
    backend.raw.set(backend.prefix.encode() + b"\xff", b"binary")
    store.set("key", record())
    assert [key for key, _ in store.all()] == ["key"]
    assert store.length() == 1
    store.clear()
    assert backend.raw.get(backend.prefix) == b"bare"


# A clock that Redis does not share


@pytest.mark.parametrize("only_if", [ABSENT, PRESENT, Unchanged(b"x")], ids=str)
def test_what_has_expired_by_the_clock_is_absent_though_redis_still_has_it(
    backend: Backend, only_if: Condition
) -> None:
    now = [time.time()]
    store = RedisStore.from_url(backend.url, clock=lambda: now[0])
    store.set("key", Record(b"x", now[0] + 100, "ada"))
    now[0] += 100
    assert backend.raw.exists(backend.place("key"))
    assert store.get("key") is None
    assert store.touch("key", now[0] + 10) is False
    assert list(store.all()) == []
    assert list(store.owned_by("ada")) == []
    assert store.destroy("key", only_if) is False
    store.set("key", Record(b"x", now[0] + 1))
    now[0] += 1
    assert store.set("key", Record(b"y", now[0] + 10), only_if) is (only_if is ABSENT)
    store.close()


def test_a_past_expiry_ends_a_session_and_leaves_nothing_for_long(
    store: RedisStore, backend: Backend
) -> None:
    for end in (
        lambda: store.set("key", Record(b"y", time.time() - 1), Unchanged(b"x")),
        lambda: store.touch("key", time.time() - 1),
        lambda: store.destroy("key"),
    ):
        store.set("key", record(b"x"))
        assert end() is True
        assert store.get("key") is None
        (left,) = backend.raw.scan_iter(match=f"*{backend.prefix}*", count=1000)
        assert 0 < backend.raw.ttl(left) <= 10  # who removed it, in case that it is asked again


# Enumeration


def test_a_listing_is_paged_and_complete(store: RedisStore, backend: Backend) -> None:
    """More records than one SCAN looks at, among keys of others."""
    with backend.raw.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            pipeline.set(f"{backend.prefix[:-1]}-other:{number}", b"x", ex=60)
        pipeline.execute()
    keys = {f"key {number}" for number in range(1500)}
    for key in keys:
        store.set(key, record(owner="ada"))
    assert sorted(key for key, _ in store.all()) == sorted(keys)
    assert store.length() == 1500
    assert sorted(key for key, _ in store.owned_by("ada")) == sorted(keys)
    store.clear()
    assert store.length() == 0
    assert list(store.owned_by("ada")) == []
    assert backend.raw.exists(f"{backend.prefix[:-1]}-other:0")


def test_a_prefix_with_pattern_characters_stands_for_itself(backend: Backend) -> None:
    for odd in ("*", "?", "[a-z]", "\\", "^", "{x}", "}"):
        prefix = backend.prefix + odd
        store = RedisStore(redis.Redis.from_url(backend.server_url), prefix=prefix)
        other = RedisStore(redis.Redis.from_url(backend.server_url), prefix=backend.prefix + "b")
        other.set("key", record())
        store.set("a", record(owner="ada"))
        assert [key for key, _ in store.all()] == ["a"]
        store.clear()
        assert store.length() == 0
        assert other.length() == 1
        assert store.get("a") is None


def test_the_longest_keys_and_owners_are_kept(store: RedisStore) -> None:
    key, owner = "\N{PILE OF POO}" * MAX_KEY_LENGTH, "\0 \n" + "ß" * (MAX_KEY_LENGTH - 3)
    store.set(key, record(owner=owner), ALWAYS)
    assert [(found, about.owner) for found, about in store.owned_by(owner)] == [(key, owner)]
    assert [found for found, _ in store.all()] == [key]
