"""The files of a session: their names, times and permissions, and what is not the store's."""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from on_disk import (
    DAY,
    NOW,
    Clock,
    digest,
    index_entries,
    owner_folder,
    record_files,
    record_path,
    rewrite,
    snapshot,
)

from coatcheck import Record
from coatcheck.errors import StoreClosed
from coatcheck_file import FileStore

#: The first instant that does not fit into 31 bits of seconds.
YEAR_2038: Final = 2.0**31 - 1
END_OF_TIME: Final = 253_402_300_799.0


def test_the_files_of_a_session(store: FileStore) -> None:
    """A session is a file named by its key's hash, and its owner has an empty file of that name."""
    store.set("key", Record(b"data", NOW + 60.5, "ann"))
    path = record_path(store, "key")
    assert record_files(store) == {path}
    assert path.read_bytes().endswith(b"keyanndata")
    assert path.stat().st_mtime == NOW + 60.5
    entry = owner_folder(store, "ann") / digest("key")
    assert entry.read_bytes() == b""
    assert index_entries(store) == {digest("key")}
    names = {"coatcheck-file", "records", "owners", "locks"}
    assert {path.name for path in store.folder.iterdir()} == names


@contextmanager
def listed_folders() -> Iterator[list[str]]:
    """Note the folders that this process lists."""
    listed: list[str] = []
    is_on = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_on and event in ("os.listdir", "os.scandir"):
            listed.append(str(arguments[0]))

    sys.addaudithook(note)  # it cannot be removed, so it is switched off
    yield listed
    is_on = False


def test_reading_and_ending_do_not_list_the_folder_of_a_record(store: FileStore) -> None:
    """However many sessions lie beside it, a session's own files are found by their names."""
    record = Record(b"data", NOW + DAY, "ann")
    store.set("key", record)
    calls: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.touch("key", NOW + 2 * DAY),
        lambda: list(store.owned_by("ann")),
        lambda: store.destroy("key"),
    ]
    with listed_folders() as listed:
        for call in calls:
            assert call()
    assert listed == [str(owner_folder(store, "ann"))]  # by owned_by, so the hook does notice


def test_permissions(store: FileStore) -> None:
    """Folders have the mode 0700 and files 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        store.set("key", Record(b"data", NOW + DAY, "ann"))
        store.set("far", Record(b"data", YEAR_2038 + DAY))
        store.touch("key", YEAR_2038 + DAY)
        store.ping()
    finally:
        os.umask(before)
    made = [store.folder, *store.folder.rglob("*")]
    assert len(made) > 8
    for path in made:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_loose_permissions_are_reported_once(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that others may enter is named in the log, with its mode."""
    store.folder.mkdir(mode=0o755)
    store.folder.chmod(0o755)
    for number in range(3):
        store.set(f"key {number}", Record(b"data", NOW + DAY))
    [line] = caplog.messages
    assert f"{store.folder} has the permissions 0755" in line
    store.folder.chmod(0o700)
    FileStore(store.folder, durability="process").set("key", Record(b"data", NOW + DAY))
    assert len(caplog.messages) == 1


def prune_later(store: FileStore, clock: Clock) -> None:
    clock.now += DAY
    store.prune()


ENDINGS: Final[dict[str, Callable[[FileStore, Clock], object]]] = {
    "destroyed": lambda store, clock: store.destroy("key"),
    "set to the past": lambda store, clock: store.set("key", Record(b"new", NOW - 5, "bob")),
    "touched to now": lambda store, clock: store.touch("key", NOW, "bob"),
    "cleared": lambda store, clock: store.clear(),
    "pruned": prune_later,
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_what_has_ended_leaves_no_file(
    store: FileStore, clock: Clock, end: Callable[[FileStore, Clock], object]
) -> None:
    """However a session ends, neither its file nor its owner's is left."""
    store.set("key", Record(b"data", NOW + DAY, "ann"))
    end(store, clock)
    assert record_files(store) == set()
    assert list((store.folder / "owners").glob("*/*")) == []


def test_a_session_that_moves_leaves_no_index_entry(store: FileStore) -> None:
    """Only the last owner has an index entry, and nobody once there is no owner."""
    for owner in ("ann", "bob", None, "bob"):
        store.set("key", Record(b"data", NOW + DAY, owner))
        assert index_entries(store) == (set() if owner is None else {digest("key")})
        for name in ("ann", "bob"):
            assert owner_folder(store, name).exists() is (name == owner)


def test_nothing_is_made_before_the_first_write(store: FileStore) -> None:
    """A store that was never written to has nothing, and reading it makes no folder."""
    assert store.get("key") is None
    assert store.destroy("key") is False
    assert store.touch("key", NOW + DAY) is False
    assert list(store.all()) == list(store.owned_by("ann")) == []
    assert store.length() == store.prune() == store.prune(5) == 0
    store.clear()
    store.close()
    assert not store.folder.exists()


def test_reading_changes_no_file(store: FileStore, clock: Clock) -> None:
    """Neither reading nor `ping` changes a file, and what has expired stays."""
    for number in range(4):
        store.set(f"key {number}", Record(b"data", NOW + number, "ann"))
    clock.now += 1
    store.ping()
    roots = store.folder / "records", store.folder / "owners"
    before = snapshot(*roots)
    assert store.get("key 0") is store.get("key 1") is store.get("unknown") is None
    assert len(list(store.all())) == len(list(store.owned_by("ann"))) == store.length() == 2
    store.ping()
    assert snapshot(*roots) == before


def test_keys_and_owners_name_nothing_but_files_of_the_store(store: FileStore) -> None:
    """Keys and owners that look like paths or file names lead to no other file."""
    names = ["..", "../../key", "/etc/passwd", "a/b", "\0", "*", "k" * 256, "\U0001f9e5" * 256]
    names += [digest("a"), digest("a")[2:], f"{digest('a')[2:]}.new", "records", "coatcheck-file"]
    for name in names:
        store.set(name, Record(b"data", NOW + DAY, name))
    assert record_files(store) == {record_path(store, name) for name in names}
    assert index_entries(store) == set(map(digest, names))
    for name in names:
        assert [key for key, _ in store.owned_by(name)] == [name]
    assert [path.name for path in store.folder.parent.iterdir()] == ["sessions"]


def test_foreign_files_are_left_alone(store: FileStore, clock: Clock) -> None:
    """Files with other names, in the folder and around it, are neither listed nor removed."""
    record = Record(b"data", NOW + DAY, "ann")
    store.set("key", record)
    name, content = digest("foreign"), record_path(store, "key").read_bytes()
    parts, folder = record_path(store, "key").parent, store.folder
    foreign = [
        folder.parent / "records" / name[:2] / name[2:],
        folder / "notes.txt",
        *(folder / "records" / each for each in (name[2:], f"zz/{name[2:]}", f"0/{name[2:]}")),
        *(parts / each for each in ("notes.new", name, name[3:], name[2:].upper())),
        *(parts / each for each in (f"{name[2:]}.bak", f"{name[2:]}\n", f"below/{name[2:]}")),
        *(folder / "owners" / each for each in ("notes.txt", "zz/notes.txt")),
        *(owner_folder(store, "ann") / each for each in ("notes.txt", digest("x").upper())),
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1, 1))  # as if it had expired
    before = snapshot(*foreign)
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert store.length() == 1
    for number in range(200):
        store.set(f"old {number % 5}", Record(b"data", NOW + 1))
    clock.now += 1
    assert store.prune(9999) + store.prune() == 5
    store.clear()
    assert snapshot(*foreign) == before


def test_what_a_symbolic_link_points_to_is_left_alone(store: FileStore) -> None:
    """No operation follows a link in a record's place out of the folder."""
    store.set("key", Record(b"data", NOW + DAY, "ann"))
    path, outside = record_path(store, "key"), store.folder.with_name("outside")
    path.rename(outside)
    before = snapshot(outside)
    operations: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.set("key", Record(b"new", NOW + 5)),
        lambda: store.touch("key", YEAR_2038 + DAY),
        lambda: store.touch("key", NOW + 1),
        lambda: store.destroy("key"),
        lambda: list(store.all()),
        lambda: list(store.owned_by("ann")),
        store.length,
        store.prune,
        store.clear,
    ]
    for operation in operations:
        path.unlink(missing_ok=True)
        path.symlink_to(outside)
        operation()
        assert snapshot(outside) == before


# Times


@pytest.mark.parametrize(
    "expires_at",
    [
        NOW + 1.0000002, NOW + 654.654321, NOW + 400 * DAY, 9_223_372_036.5, END_OF_TIME,
        *(YEAR_2038 + step for step in (-1, -(2.0**-21), 0, 2.0**-21)),
    ],
)  # fmt: skip
def test_expiries(store: FileStore, clock: Clock, expires_at: float) -> None:
    """Expiries that a file's time can hold, and later ones, are kept and end in time."""
    record = Record(b"data", expires_at, "ann")
    store.set("set", record)
    for key, before in (("near", NOW + 5), ("far", END_OF_TIME - 5)):
        store.set(key, replace(record, expires_at=before))
        assert store.touch(key, expires_at) is True
    listed = dict(store.all())
    assert listed == dict(store.owned_by("ann")) == {key: store.get(key) for key in listed}
    for found in listed.values():
        assert 0 <= expires_at - found.expires_at < 1e-6
        assert replace(found, expires_at=expires_at) == record
    clock.now = math.nextafter(min(found.expires_at for found in listed.values()), 0)
    assert (len(listed), store.length(), store.prune()) == (3, 3, 0)
    clock.now = expires_at
    assert list(store.all()) == list(store.owned_by("ann")) == []
    assert (store.length(), store.get("far"), store.touch("far", expires_at + 9)) == (
        0,
        None,
        False,
    )
    assert store.prune(400) + store.prune() == 3


def test_counting_and_pruning_read_no_data(store: FileStore, clock: Clock) -> None:
    """The time of a file says whether its session has expired, whatever its content is."""
    for number in range(20):
        store.set(f"key {number}", Record(b"data", NOW + 1 + number % 2))
    for path in record_files(store):
        rewrite(path, lambda content: bytes(len(content)))
    clock.now += 1
    assert (store.length(), store.prune(), store.length()) == (10, 10, 10)


# Listing


def test_stale_index_entries_are_checked(store: FileStore) -> None:
    """An index entry that a crash has left leads to no session of somebody else."""
    record = Record(b"data", NOW + DAY, "ann")
    store.set("key", record)
    store.set("other", replace(record, owner="bob"))
    # A folder of records that does not exist says nothing about what was in it.
    in_reach = next(k for k in map(str, range(9999)) if digest(k)[:2] == digest("key")[:2])
    for key in ("other", in_reach, "never set"):
        (owner_folder(store, "ann") / digest(key)).touch()
    assert list(store.owned_by("ann")) == [("key", record)]
    assert {path.name for path in owner_folder(store, "ann").iterdir()} == {
        digest("key"),
        digest("never set"),
    }
    assert [key for key, _ in store.owned_by("bob")] == ["other"]
    assert store.set("never set", record)
    assert dict(store.owned_by("ann")) == {"key": record, "never set": record}


@pytest.mark.parametrize("times", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_listings_beside_writers(folder: Path, times: int) -> None:
    """Sessions that stay are listed and counted once while others come, go and replace them."""
    store, other = (FileStore(folder / "sessions", durability="process") for _ in range(2))
    # All in one folder, and more than the system lists at once.
    keys = [key for key in map(str, range(200_000)) if digest(key).startswith("00")]
    coming, staying = keys[:50], keys[50:]
    record = Record(b"data", END_OF_TIME, "ann")
    for key in staying:
        store.set(key, record)
    stop = threading.Event()

    def write(handle: FileStore, first: int) -> int:
        for number in itertools.count(first):
            if stop.is_set():
                return number - first
            handle.set(coming[number % 50], record)
            handle.touch(staying[number % len(staying)], END_OF_TIME - number)
            handle.set(staying[number * 7 % len(staying)], record)
            handle.destroy(coming[number * 7 % 50])
        raise AssertionError

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, store, 0), pool.submit(write, other, 333)]
        try:
            for _ in range(times):
                for _ in range(10):
                    assert len(staying) <= store.length() <= len(keys)
                listed = [key for key, _ in store.all()]
                assert set(staying) <= set(listed)
                assert len(set(listed)) == len(listed)
            owned = [key for key, _ in other.owned_by("ann")]
            assert set(staying) <= set(owned)
            assert len(set(owned)) == len(owned)
        finally:
            stop.set()
        assert min(writer.result() for writer in writers) > 0


def test_a_listing_ends_when_the_store_is_closed(store: FileStore) -> None:
    """A listing that has begun raises StoreClosed, and so do the store's own operations."""
    for number in range(5):
        store.set(f"key {number}", Record(b"data", NOW + DAY, "ann"))
    begun = [store.all(), store.owned_by("ann")]
    for listing in begun:
        next(listing)
    unbegun = [store.all(), store.owned_by("ann"), store.damaged()]
    store.close()
    for listing in (*begun, *unbegun):
        with pytest.raises(StoreClosed):
            next(listing)
    for operation in (store.damaged, store.check_layout):
        with pytest.raises(StoreClosed):
            operation()
