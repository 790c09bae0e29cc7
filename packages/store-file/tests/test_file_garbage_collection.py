"""Leftovers of expired sessions and killed writers are removed, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Final

import pytest
from on_disk import DAY, NOW, Clock, digest, index_entries, owner_folder, record_files, record_path

from coatcheck import Record
from coatcheck.errors import StoreError
from coatcheck_file import FileStore

#: A time at which expiries are written into the files.
AFTER_2038: Final = 3_800_000_000.0


def put(store: FileStore, name: str, count: int, expires_at: float) -> set[str]:
    """Write sessions and return their keys. Two of three have an owner."""
    keys = [f"{name} {number}" for number in range(count)]
    for number, key in enumerate(keys):
        owner = f"{name} {number // 2}" if number % 3 else None
        assert store.set(key, Record(b"x", expires_at, owner))
    return set(keys)


def write(store: FileStore, clock: Clock, times: int) -> None:
    for _ in range(times):
        store.set("new", Record(b"x", clock.now + DAY))


WAYS: Final[dict[str, Callable[[FileStore, Clock], object]]] = {
    "prune": lambda store, clock: store.prune(),
    "prune with a limit": lambda store, clock: [store.prune(3) for _ in range(100)],
    "writes": lambda store, clock: write(store, clock, 500),
}


@pytest.mark.parametrize("now", [NOW, AFTER_2038], ids=["now", "after 2038"])
@pytest.mark.parametrize("clean", WAYS.values(), ids=WAYS)
def test_everything_that_is_left_is_removed(
    store: FileStore, clock: Clock, clean: Callable[[FileStore, Clock], object], now: float
) -> None:
    """Expired sessions, half-written files and stale index entries go, and live sessions stay."""
    clock.now = now
    put(store, "old", 40, now + 1)
    live = {"new", *put(store, "live", 12, now + 1.5), *put(store, "far", 12, now + 9999 * DAY)}
    write(store, clock, 1)
    (store.folder / "records/00").mkdir(exist_ok=True)
    half_written = record_path(store, "live 1").with_name("f" * 62 + ".new")
    half_written.write_bytes(b"half")
    entries = index_entries(store)
    stale = owner_folder(store, "live 0") / (digest("live 1")[:2] + "f" * 62)
    stale.touch()
    clock.now += 1
    clean(store, clock)
    assert record_files(store) == {record_path(store, key) for key in live}
    assert index_entries(store) == entries & set(map(digest, live))
    owners = list((store.folder / "owners").glob("*/*"))
    assert all(any(owner.iterdir()) for owner in owners)
    assert dict(store.all()).keys() == live


@pytest.mark.parametrize("limit", [None, 10_000])
@pytest.mark.parametrize("now", [NOW, AFTER_2038], ids=["now", "after 2038"])
@pytest.mark.parametrize("by", ["set", "touch"])
def test_a_session_that_comes_to_life_is_not_removed(
    store: FileStore, clock: Clock, by: str, limit: int | None, now: float
) -> None:
    """`prune` looks again, with the lock held, before it removes what it has found expired."""
    clock.now = now + 1
    record = Record(b"data", now + DAY, "ann")
    late = FileStore(store.folder, durability="process", clock=lambda: now)  # a late clock
    late.set("key", Record(b"data", now + 1, "ann"))
    revive = {
        "set": lambda: late.set("key", record),
        "touch": lambda: late.touch("key", record.expires_at, "ann"),
    }
    clock.meanwhile = revive[by]
    assert store.prune(limit) == 0
    assert clock.meanwhile is None
    assert list(store.owned_by("ann")) == list(store.all()) == [("key", record)]


def test_a_limit_bounds_what_is_examined(store: FileStore, clock: Clock) -> None:
    """Live sessions count, too: a call rarely meets the only one of many that has expired."""
    put(store, "live", 60, NOW + DAY)
    calls = 0
    # By chance the first is the one; that it is among the first for five handles is no chance.
    for _ in range(5):
        store.set("old", Record(b"x", clock.now + 1))
        clock.now += 1
        handle = FileStore(store.folder, durability="process", clock=clock)
        calls += 1
        while handle.prune(1) == 0:
            calls += 1
    assert 12 < calls <= 5 * 3 * 61


def test_a_write_removes_a_few(store: FileStore, clock: Clock) -> None:
    """No write pays for all that has expired: it removes four files at most."""
    put(store, "old", 60, NOW + 1)
    clock.now += 1
    left = [len(record_files(store))]
    while left[-1] > 1:
        write(store, clock, 1)
        left.append(len(record_files(store)))
        assert left[-2] - left[-1] <= 4
    assert 15 <= len(left) < 200


def test_handles_that_live_for_one_write(store: FileStore, clock: Clock) -> None:
    """Scripts that end after a write remove everything together, without a cron job."""
    put(store, "old", 150, NOW + 1)
    clock.now += 1
    for _ in range(200):
        for _ in range(30):
            handle = FileStore(store.folder, durability="process", clock=clock)
            write(handle, clock, 1)
            handle.close()
        if len(record_files(store)) == 1 and not index_entries(store):
            break
    assert record_files(store) == {record_path(store, "new")}
    assert index_entries(store) == set()


def test_what_cannot_be_removed_does_not_keep_the_rest(store: FileStore, clock: Clock) -> None:
    """One file that cannot be removed is an error after all others are gone."""
    put(store, "old", 30, NOW + 1)
    clock.now += 1
    stuck = record_path(store, "old 7")
    if subprocess.run(["chattr", "+i", stuck], capture_output=True).returncode:
        pytest.skip("the file system has no immutable files, or this user cannot make them")
    try:
        for limit in (None, 1000):
            with pytest.raises(StoreError):
                store.prune(limit)
            assert record_files(store) == {stuck}
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    assert store.prune() == 1
