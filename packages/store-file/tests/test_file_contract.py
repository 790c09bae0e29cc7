"""The file store keeps the Store contract, on both faces.

Each docstring begins with the clauses of ``docs/contract.md`` that the test checks.
"""

from __future__ import annotations

import ast
import asyncio
import errno
import gc
import hashlib
import inspect
import itertools
import json
import logging
import os
import pickle
import re
import resource
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from zlib import crc32

import anyio
import anyio.lowlevel
import portalocker
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coatcheck import (
    ABSENT,
    ALWAYS,
    PRESENT,
    AsyncStore,
    Capabilities,
    Condition,
    Record,
    Store,
    Unchanged,
    condition_holds,
    open_async_store,
    open_store,
)
from coatcheck.bridge import SyncBridge, as_async, as_sync
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from coatcheck_file import FileStore

#: Binding clauses that a store in files cannot break.
NOT_APPLICABLE: Final = {
    "DATA-10": "a record's file is binary: the layout holds no text",
    "FAULT-11": "the system answers with a result or an error number, not in a protocol",
    "LOOP-5": "there is no client that a caller could pass in",
}

NOW: Final = 1_700_000_000.0
DAY: Final = 86400.0
#: The first instant that does not fit into 31 bits of seconds.
YEAR_2038: Final = 2.0**31 - 1
END_OF_TIME: Final = 253_402_300_799.0

T = TypeVar("T")

fuzz = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])
#: Times that the machine's own clock does not show, before and after 31 bits are full.
each_era = pytest.mark.parametrize(
    "clock", [1000.0, YEAR_2038 - 30, 3_800_000_000.0], indirect=True, ids="{:.0f}".format
)


class Clock:
    """A clock that the test moves.

    :ivar pause: seconds that it takes to read it, so that others get in between.
    :ivar meanwhile: called once, the next time that somebody reads the clock.
    """

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.pause = 0.0
        self.meanwhile: Callable[[], object] | None = None

    def __call__(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if self.pause:
            time.sleep(self.pause)  # keeps the call in its middle, where others can meet it
        return self.now


class AsyncFace(Store):
    """The asynchronous face, called from outside its event loop."""

    def __init__(self, face: AsyncStore, portal: BlockingPortal) -> None:
        self.capabilities = face.capabilities
        self.face = face
        self._portal = portal

    def get(self, key: str) -> Record | None:
        return self._portal.call(self.face.get, key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        return self._portal.call(self.face.set, key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        return self._portal.call(self.face.destroy, key, only_if)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        return self._portal.call(self.face.touch, key, expires_at, owner)

    def all(self) -> Iterator[tuple[str, Record]]:
        return self._follow(self.face.all())

    def length(self) -> int:
        return self._portal.call(self.face.length)

    def clear(self) -> None:
        return self._portal.call(self.face.clear)

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return self._follow(self.face.owned_by(owner))

    def prune(self, limit: int | None = None) -> int:
        return self._portal.call(self.face.prune, limit)

    def ping(self) -> None:
        return self._portal.call(self.face.ping)

    def close(self) -> None:
        return self._portal.call(self.face.close)

    def _follow(self, records: AsyncIterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
        async def following() -> tuple[str, Record] | None:
            return await anext(records, None)

        while (item := self._portal.call(following)) is not None:
            yield item


@dataclass
class Bench:
    """A store of one face, the clock that it lives on, and others on the same data."""

    folder: Path
    clock: Clock
    portal: BlockingPortal
    is_async: bool
    opened: list[FileStore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.open()

    def open(
        self,
        folder: Path | None = None,
        *,
        clock: Callable[[], float] | None = None,
        lock_timeout: float = 5.0,
    ) -> Store:
        """Return one more handle of the same face."""
        file_store = FileStore(
            folder or self.folder,
            durability="process",
            clock=clock or self.clock,
            lock_timeout=lock_timeout,
        )
        self.opened.append(file_store)
        return self.faced(file_store)

    def faced(self, store: FileStore) -> Store:
        return AsyncFace(as_async(store), self.portal) if self.is_async else store

    def other_face(self) -> Store:
        """Return the other face of the same store object."""
        file_store = self.opened[0]
        return file_store if self.is_async else AsyncFace(as_async(file_store), self.portal)

    def record(self, data: bytes = b"data", owner: str | None = None, life: float = DAY) -> Record:
        return Record(data, self.clock.now + life, owner)

    def put(
        self,
        key: str = "key",
        data: bytes = b"data",
        owner: str | None = None,
        life: float = DAY,
    ) -> Record:
        record = self.record(data, owner, life)
        assert self.store.set(key, record) is True
        return record

    def expired(self, key: str = "key", owner: str | None = None) -> Record:
        """Leave a record under the key that has just expired and takes up space."""
        record = self.put(key, b"expired", owner, 1)
        self.clock.now += 1
        assert self.path(key).exists()
        return record

    def path(self, key: str = "key") -> Path:
        """Return the path of a key's record."""
        name = digest(key)
        return self.folder / "records" / name[:2] / name[2:]

    def paths(self) -> set[Path]:
        """Return the files of all records."""
        found = (self.folder / "records").iterdir()
        return {path for folder in found for path in folder.iterdir() if len(path.name) == 62}

    def marks(self) -> set[str]:
        """Return the names of all files in the owner index."""
        return {path.name for path in self.folder.glob("owners/*/*/*")}


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    return Clock(getattr(request, "param", NOW))


@pytest.fixture(params=["synchronous", "asynchronous"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, portal: BlockingPortal
) -> Iterator[Bench]:
    bench = Bench(tmp_path / "sessions", clock, portal, request.param == "asynchronous")
    yield bench
    for store in bench.opened:
        store.close()


@pytest.fixture
def store(bench: Bench) -> Store:
    return bench.store


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let threads take turns more often than they do by themselves."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def keys(records: Iterator[tuple[str, Record]]) -> list[str]:
    return sorted(key for key, _ in records)


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Make all calls at the same time, and return what they return."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(30) for future in [pool.submit(run, call) for call in calls]]


def promptly(call: Callable[[], T]) -> T:
    """Return what the call returns, and fail where it waits for ever."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "the call does not return"
    assert results, "the call raised"
    return results[0]


def snapshot(*roots: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Return everything below: mode, modification time and content."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            modified = 0 if path.is_dir() else status.st_mtime_ns
            found[path] = (status.st_mode, modified, content)
    return found


@contextmanager
def locked(bench: Bench, key: str = "key") -> Iterator[Callable[[], None]]:
    """Hold the lock of a key's folder, as another process does, until the block or its call."""
    path = bench.folder / "locks" / digest(key)[:2]
    with path.open("r+b") as file:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE)
        yield lambda: portalocker.unlock(file)
        portalocker.unlock(file)


# Reading


@each_era
def test_what_was_set_is_read(bench: Bench, store: Store) -> None:
    """GET-1, GET-5, GET-7: data, expiry and owner are those of the last successful set."""
    for record in (
        bench.record(b"one"),
        bench.record(b"two", "ann", 2 * DAY),
        bench.record(b"three", "bob", 10),
        bench.record(b"four", None, 9_000_000),
    ):
        assert store.set("key", record) is True
        found = store.get("key")
        assert type(found) is Record
        assert found == record
    assert store.set("key", bench.record(b"five", "eve"), ABSENT) is False
    assert store.get("key") == record


@each_era
def test_the_last_touch_is_read(bench: Bench, store: Store) -> None:
    """GET-5: the expiry that is read is the one of the last successful touch."""
    record = bench.put(owner="ann")
    for life in (2 * DAY, 10, 5000 * DAY, 11):
        assert store.touch("key", bench.clock.now + life, "ann") is True
        assert store.get("key") == replace(record, expires_at=bench.clock.now + life)
    bench.put(life=20)
    assert store.get("key") == bench.record(life=20)


def test_what_was_never_set_is_none(bench: Bench, store: Store) -> None:
    """GET-2: an unknown key is None, in a store that was never used and in one that was."""
    assert store.get("key") is None
    bench.put("other")
    assert store.get("key") is None


@each_era
def test_what_has_expired_is_none(bench: Bench, store: Store) -> None:
    """GET-3: an expired record is None while it takes up space, and when it has been purged."""
    bench.expired()
    assert store.get("key") is None
    assert bench.path().exists()
    assert store.prune() == 1
    assert not bench.path().exists()
    assert store.get("key") is None


def test_reading_changes_nothing(bench: Bench, store: Store) -> None:
    """GET-6: however often and when a record is read, it stays as it is."""
    record = bench.put(owner="ann", life=10)
    before = snapshot(bench.folder)
    for _ in range(9):
        bench.clock.now += 1
        assert store.get("key") == record
    assert snapshot(bench.folder) == before
    assert list(store.owned_by("ann")) == [("key", record)]
    bench.clock.now += 1
    assert store.get("key") is None


# Damage

Damage = Callable[[Path], None]


def rewritten(change: Callable[[bytes], bytes]) -> Damage:
    """Return what changes the content of a file, and not the time that its record expires."""

    def damage(path: Path) -> None:
        status = path.stat()
        path.write_bytes(change(path.read_bytes()))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return damage


def instead(make: Callable[[Path], object]) -> Damage:
    """Return what puts something else in the place of a file, with its time."""

    def damage(path: Path) -> None:
        status = path.stat()
        path.rename(path.with_name("aside"))
        make(path)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(path, ns=times, follow_symlinks=False)

    return damage


def with_an_owner_that_is_no_text(content: bytes) -> bytes:
    """Return a record that is sound but for the owner, whose bytes are no UTF-8."""
    lengths = struct.unpack_from(">HHI", content, 20)
    body = struct.pack(">HHI", lengths[0], 2, lengths[2]) + content[28 : 28 + lengths[0]]
    body += b"\xff\xfe" + content[28 + lengths[0] + lengths[1] :]
    return content[:16] + struct.pack(">I", crc32(body)) + body


def put_copy_of_another(path: Path) -> None:
    """Put a copy of the record of the key ``other`` there."""
    name = digest("other")
    shutil.copy2(path.parents[1] / name[:2] / name[2:], path)


#: What the head of a record shows.
PLAIN_DAMAGES: Final[dict[str, Damage]] = {
    "empty": rewritten(lambda content: b""),
    "cut in its head": rewritten(lambda content: content[:20]),
    "cut in its data": rewritten(lambda content: content[:-1]),
    "longer": rewritten(lambda content: content + b"\0"),
    "zeros": rewritten(lambda content: bytes(len(content))),
    "text": rewritten(lambda content: b"x" * len(content)),
    "another key's record": put_copy_of_another,
    "symbolic link": instead(lambda path: path.symlink_to("aside")),
    "link to nothing": instead(lambda path: path.symlink_to("nowhere")),
    "socket": instead(lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK)),
    "folder": instead(lambda path: path.mkdir()),
    "full folder": instead(lambda path: (path / "folder").mkdir(parents=True)),
}
#: What only the whole of it shows.
DAMAGES: Final[dict[str, Damage]] = {
    **PLAIN_DAMAGES,
    "a bit of its data": rewritten(lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    "an owner that is no text": rewritten(with_an_owner_that_is_no_text),
}
each_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


def broken(bench: Bench, damage: Damage) -> Record:
    """Leave a malformed record under ``key``; return the sound one under ``other``."""
    bench.put(owner="ann")
    other = bench.put("other", b"other data", "ann")
    damage(bench.path())
    return other


@each_damage
def test_a_malformed_record_is_none(bench: Bench, store: Store, damage: Damage) -> None:
    """GET-4, ENUM-5, OWNER-1: whatever stands in the place of a record, it hides no other one."""
    other = broken(bench, damage)
    assert store.get("key") is None
    more = {f"key {number}": bench.put(f"key {number}", owner="bob") for number in range(5)}
    assert store.get("other") == other
    assert dict(store.all()) == {"other": other, **more}
    assert list(store.owned_by("ann")) == [("other", other)]
    assert dict(store.owned_by("bob")) == more
    assert bench.open().get("key") is None


@each_damage
def test_a_malformed_record_is_replaced(bench: Bench, store: Store, damage: Damage) -> None:
    """SET-16: set with ALWAYS over a malformed record works, and what follows too."""
    other = broken(bench, damage)
    record = bench.record(b"new", "bob")
    assert store.set("key", record) is True
    assert store.get("key") == record
    assert list(store.owned_by("bob")) == [("key", record)]
    assert store.touch("key", record.expires_at + 1) is True
    assert store.destroy("key") is True
    assert store.get("other") == other


@each_damage
def test_a_malformed_record_counts_as_absent(bench: Bench, store: Store, damage: Damage) -> None:
    """SET-3, SET-6, SET-9, DESTROY-2: for each condition a malformed record is no live one."""
    broken(bench, damage)
    record = bench.record(b"new")
    for condition in (PRESENT, Unchanged(b"data"), Unchanged(b"other data")):
        assert store.set("key", record, condition) is False
        assert store.destroy("key", condition) is False
    assert store.get("key") is None
    assert store.set("key", record, ABSENT) is True
    assert store.get("key") == record


@each_damage
def test_a_malformed_record_is_not_touched(bench: Bench, store: Store, damage: Damage) -> None:
    """TOUCH-2: touch finds no live record where a malformed one stands."""
    broken(bench, damage)
    assert store.touch("key", bench.clock.now + 2 * DAY, "ann") is False
    assert store.get("key") is None


@each_damage
def test_a_malformed_record_is_destroyed(bench: Bench, store: Store, damage: Damage) -> None:
    """DESTROY-2, DESTROY-10: destroy of a malformed record removes it, and ends no session."""
    other = broken(bench, damage)
    assert store.destroy("key") is False
    assert not os.path.lexists(bench.path())
    assert store.get("other") == other


@each_damage
def test_a_malformed_record_does_not_stop_the_cleaning(
    bench: Bench, store: Store, damage: Damage
) -> None:
    """CLEAR-1, PRUNE-4: prune and clear get past a malformed record."""
    broken(bench, damage)
    for number in range(5):
        bench.put(f"old {number}", life=1)
    bench.clock.now += 1
    assert store.prune() == 5
    store.clear()
    assert list(store.all()) == []
    assert store.get("key") is store.get("other") is None
    assert store.length() == 0


def test_a_named_pipe_is_not_waited_for(bench: Bench, store: Store) -> None:
    """FAULT-6, GET-4, ENUM-5, TOUCH-2, SET-16, DESTROY-10: a pipe counts as malformed, at once."""
    other = broken(bench, instead(os.mkfifo))
    try:
        use_a_named_pipe(bench, store, other)
    finally:  # let go of whoever waits
        with suppress(OSError):
            os.close(os.open(bench.path(), os.O_RDWR | os.O_NONBLOCK))


def use_a_named_pipe(bench: Bench, store: Store, other: Record) -> None:
    assert promptly(lambda: store.get("key")) is None
    assert promptly(lambda: list(store.all())) == [("other", other)]
    assert promptly(lambda: list(store.owned_by("ann"))) == [("other", other)]
    assert promptly(store.length) == 1
    assert promptly(lambda: store.prune()) == 0
    assert promptly(lambda: store.touch("key", bench.clock.now + 1)) is False
    assert promptly(lambda: store.destroy("key", PRESENT)) is False
    assert promptly(lambda: store.destroy("key")) is False
    assert not os.path.lexists(bench.path())
    os.mkfifo(bench.path())
    assert promptly(lambda: store.set("key", other)) is True
    assert store.get("key") == other


def test_what_a_symbolic_link_points_to_is_left_alone(bench: Bench, store: Store) -> None:
    """KEY-4: a link in the place of a record is never followed out of the namespace."""
    bench.put(owner="ann")
    outside = bench.folder.parent / "outside"
    bench.path().rename(outside)
    before = snapshot(outside)

    def link() -> None:
        bench.path().unlink(missing_ok=True)
        bench.path().symlink_to(outside)

    verbs: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.set("key", bench.record(b"new", life=YEAR_2038)),
        lambda: store.touch("key", NOW + YEAR_2038),
        lambda: store.touch("key", NOW + 1),
        lambda: store.destroy("key"),
        lambda: list(store.all()),
        lambda: list(store.owned_by("ann")),
        store.length,
        store.prune,
        store.clear,
    ]
    for verb in verbs:
        link()
        verb()
        assert snapshot(outside) == before


# Writing

STATES: Final = ("live", "absent", "expired")


def prepare(bench: Bench, key: str, state: str) -> None:
    """Bring a key into a state; its data are ``old`` and its owner is ann, if it has any."""
    if state != "absent":
        bench.put(key, b"old", "ann", 1 if state == "expired" else DAY)
    if state == "expired":
        bench.clock.now += 1


@each_era
@pytest.mark.parametrize(
    ("only_if", "holds_for"),
    [
        (ALWAYS, {"live", "absent", "expired"}),
        (ABSENT, {"absent", "expired"}),
        (PRESENT, {"live"}),
        (Unchanged(b"old"), {"live"}),
        (Unchanged(b"other"), set()),
    ],
    ids=["always", "absent", "present", "unchanged", "changed"],
)
def test_set_writes_if_its_condition_holds(
    bench: Bench, store: Store, only_if: Condition, holds_for: set[str]
) -> None:
    """SET-1, SET-3, SET-4, SET-5, SET-6, SET-7, SET-8, SET-9, SET-12, SET-13, SET-14, SET-15:

    the condition decides, an expiry that is past leaves nothing, and False changes nothing.
    """
    other, live = bench.open(), dict[str, Record]()
    for state, life in itertools.product(STATES, [DAY, 0, -5]):
        key = f"{state} {life}"
        prepare(bench, key, state)
        before = store.get(key)
        record = bench.record(b"new", "bob", life)
        holds = state in holds_for
        assert store.set(key, record, only_if) is holds, key
        after = before
        if holds:
            after = record if life > 0 else None
        assert store.get(key) == other.get(key) == after, key
        if after is not None:
            live[key] = after
        for owner in ("ann", "bob"):
            owned = {key: found for key, found in live.items() if found.owner == owner}
            assert dict(store.owned_by(owner)) == owned
        if holds and after is None:
            # It is kept nowhere: a clock that goes back does not bring it to light.
            bench.clock.now -= 10
            assert store.get(key) is None
            bench.clock.now += 10
    assert dict(store.all()) == live


def test_set_replaces_the_whole_record(bench: Bench, store: Store) -> None:
    """SET-2: nothing of the former record shows through, an owner least of all."""
    bench.put(data=b"a long record", owner="ann")
    for condition in (ALWAYS, PRESENT, Unchanged(b"s")):
        record = bench.record(b"s", None, 10)
        assert store.set("key", record, condition) is True
        assert store.get("key") == record
        assert list(store.owned_by("ann")) == []
    record = bench.record(b"longer again", "bob", 20)
    assert store.set("key", record) is True
    assert store.get("key") == record
    assert list(store.owned_by("bob")) == [("key", record)]


@pytest.mark.parametrize(
    "other",
    [
        b'{"a":1, "b":"x"}',
        b'{"b":"x","a":1}',
        b'{"a":1,"b":"X"}',
        b'{"a":1,"b":"x"}\n',
        b'{"a":1,"b":"x"}\0',
        b' {"a":1,"b":"x"}',
        b'{"a":1,"b":"x"',
        b'{"a":1.0,"b":"x"}',
        b"\xef\xbb\xbf" + b'{"a":1,"b":"x"}',
    ],
)
def test_unchanged_compares_exact_bytes(bench: Bench, store: Store, other: bytes) -> None:
    """SET-8, SET-10, DESTROY-7: data that mean the same are different if a byte is."""
    data = b'{"a":1,"b":"x"}'
    record = bench.put(data=data)
    assert store.set("key", bench.record(b"new"), Unchanged(other)) is False
    assert store.destroy("key", Unchanged(other)) is False
    assert store.get("key") == record
    assert store.set("key", bench.record(other), Unchanged(data)) is True
    assert store.set("key", record, Unchanged(data)) is False
    assert store.set("key", record, Unchanged(other)) is True


def test_unchanged_compares_nothing_but_data(bench: Bench, store: Store) -> None:
    """SET-11, DESTROY-6: another expiry or owner in between does not make it fail."""
    bench.put(owner="ann")
    assert store.touch("key", bench.clock.now + 2 * DAY, "ann") is True
    assert store.set("key", bench.record(b"data", "bob"), Unchanged(b"data")) is True
    assert store.set("key", bench.record(b"data", None, 5), Unchanged(b"data")) is True
    assert store.touch("key", bench.clock.now + 7) is True
    assert store.destroy("key", Unchanged(b"data")) is True
    assert store.get("key") is None


@pytest.mark.parametrize("only_if", [ABSENT, Unchanged(b"other")], ids=["absent", "unchanged"])
def test_a_set_that_returned_false_changed_nothing(
    bench: Bench, store: Store, only_if: Condition
) -> None:
    """SET-12, OWNER-11: data, expiry, owner and index are as they were, and stay so."""
    record = bench.put(owner="ann")
    for owner in ("ann", "bob", None):
        assert store.set("key", bench.record(b"new", owner, 5), only_if) is False
        assert store.get("key") == record
        assert list(store.owned_by("ann")) == [("key", record)]
        assert list(store.owned_by("bob")) == []
    store.prune()
    bench.clock.now += 10
    assert store.touch("key", record.expires_at, "ann") is True
    assert list(store.owned_by("ann")) == [("key", record)]


# Ending


@each_era
@pytest.mark.parametrize(
    ("only_if", "removes"),
    [
        (ALWAYS, True),
        (ABSENT, False),
        (PRESENT, True),
        (Unchanged(b"old"), True),
        (Unchanged(b"other"), False),
    ],
    ids=["always", "absent", "present", "unchanged", "changed"],
)
def test_destroy_removes_a_live_record_if_its_condition_holds(
    bench: Bench, store: Store, only_if: Condition, removes: bool
) -> None:
    """DESTROY-1, DESTROY-2, DESTROY-3, DESTROY-4, DESTROY-5, DESTROY-6, DESTROY-7:

    True is a live record that was ended, and where nothing was ended nothing changes.
    """
    live = {"other": bench.put("other", owner="ann")}
    for state in STATES:
        prepare(bench, state, state)
        before = store.get(state)
        ends = removes and state == "live"
        assert store.destroy(state, only_if) is ends, state
        after = None if ends else before
        if after is not None:
            live[state] = after
        for _ in range(2):
            assert store.get(state) == after
            assert dict(store.owned_by("ann")) == dict(store.all()) == live
            assert store.destroy(state, only_if) is False
        if ends:
            assert not bench.path(state).exists()


def test_destroy_in_a_store_that_was_never_used(store: Store) -> None:
    """DESTROY-2: there is nothing to end before the first session."""
    assert store.destroy("key") is False
    assert store.destroy("key", Unchanged(b"data")) is False


def test_what_was_destroyed_stays_destroyed(bench: Bench, store: Store) -> None:
    """DESTROY-8: after a destroy only ALWAYS and ABSENT make the key live again."""
    record = bench.put(owner="ann")
    for condition in (ABSENT, ALWAYS):
        assert store.destroy("key") is True
        assert store.set("key", record, PRESENT) is False
        assert store.set("key", record, Unchanged(record.data)) is False
        assert store.touch("key", record.expires_at, "ann") is False
        assert store.get("key") is bench.open().get("key") is None
        assert list(store.all()) == list(store.owned_by("ann")) == []
        assert store.set("key", record, condition) is True
        assert store.get("key") == record


def test_destroy_removes_its_own_key_alone(bench: Bench, store: Store) -> None:
    """DESTROY-9: keys that begin alike, and keys whose files stand side by side, stay."""
    first = digest("key")[:2]
    neighbours = [key for key in map(str, range(2000)) if digest(key)[:2] == first]
    assert neighbours
    others = ["k", "ke", "key ", "key*", "keykey", "KEY", "*", "%", *neighbours]
    kept = {key: bench.put(key, key.encode(), "ann") for key in others}
    bench.put(owner="ann")
    assert store.destroy("key") is True
    assert dict(store.all()) == dict(store.owned_by("ann")) == kept


# Keeping alive


@each_era
@pytest.mark.parametrize("life", [1.0, 2 * DAY, 10_000 * DAY])
@pytest.mark.parametrize("before", [DAY, 10_000 * DAY])
def test_touch_moves_the_expiry(bench: Bench, store: Store, before: float, life: float) -> None:
    """TOUCH-1, TOUCH-5: the life ends when the touch says, later or earlier than before."""
    record = bench.put(owner="ann", life=before)
    ends = bench.clock.now + life
    assert store.touch("key", ends, "ann") is True
    assert store.get("key") == replace(record, expires_at=ends)
    bench.clock.now = ends - 0.001
    assert store.get("key") == replace(record, expires_at=ends)
    assert list(store.owned_by("ann")) == list(store.all())
    assert store.length() == 1
    bench.clock.now = ends
    assert store.get("key") is None
    assert store.length() == 0


@each_era
@pytest.mark.parametrize("state", ["absent", "expired", "destroyed", "never used"])
def test_touch_creates_nothing(bench: Bench, store: Store, state: str) -> None:
    """TOUCH-2, TOUCH-3: where there is no live record touch returns False, and none is there."""
    if state == "expired":
        bench.expired(owner="ann")
    if state == "destroyed":
        bench.put(owner="ann")
        store.destroy("key")
    if state != "never used":
        bench.put("other")
    for owner in (None, "ann"):
        assert store.touch("key", bench.clock.now + DAY, owner) is False
        assert store.touch("key", bench.clock.now + 10_000 * DAY, owner) is False
        assert store.get("key") is None
        assert list(store.owned_by("ann")) == []
        assert keys(store.all()) == ([] if state == "never used" else ["other"])


def test_touch_leaves_the_data(bench: Bench, store: Store, impatient: None) -> None:
    """TOUCH-4: while sets and touches run at the same time the data are those of the last set."""
    other = bench.open()
    bench.put(data=b"0")
    stop = threading.Event()

    def write() -> int:
        for number in range(1, 40):
            data = b"%d" % number * (1 + number % 50)
            assert store.set("key", bench.record(data, life=DAY + number)) is True
            found = store.get("key")
            assert found is not None
            assert found.data == data
        stop.set()
        return 0

    def touch(handle: Store, life: float) -> int:
        count = 0
        while not stop.is_set():
            assert handle.touch("key", bench.clock.now + life) is True
            count += 1
        return count

    _, *touches = at_once(write, lambda: touch(store, 2 * DAY), lambda: touch(other, 10_000 * DAY))
    assert min(touches) > 0
    found = store.get("key")
    assert found is not None
    assert found.data == b"39" * 40


@each_era
@pytest.mark.parametrize("past", [0.0, 10.0, 900.0])
def test_touch_to_a_past_time_ends(bench: Bench, store: Store, past: float) -> None:
    """TOUCH-6: a touch to now or before returns True, and the key is absent."""
    bench.put(owner="ann")
    other = bench.put("other", owner="ann")
    assert store.touch("key", bench.clock.now - past, "ann") is True
    assert store.get("key") is None
    assert list(store.all()) == list(store.owned_by("ann")) == [("other", other)]
    assert store.length() == 1
    assert store.touch("key", bench.clock.now + DAY, "ann") is False
    assert store.set("key", other, PRESENT) is False
    assert store.set("key", other, ABSENT) is True


@pytest.mark.parametrize("hint", ["ann", "bob", "", None])
@pytest.mark.parametrize("owner", ["ann", None])
def test_touch_leaves_the_owner(
    bench: Bench, store: Store, owner: str | None, hint: str | None
) -> None:
    """TOUCH-7: whatever owner a touch names, the stored one and the index stay."""
    record = replace(bench.put(owner=owner), expires_at=bench.clock.now + 2 * DAY)
    assert store.touch("key", record.expires_at, hint) is True
    assert store.get("key") == record
    store.prune()
    for name in ("ann", "bob"):
        assert list(store.owned_by(name)) == ([("key", record)] if owner == name else [])
    assert store.touch("key", bench.clock.now, hint) is True
    assert list(store.owned_by("ann")) == list(store.owned_by("bob")) == []


def test_touch_needs_no_owner(bench: Bench, store: Store) -> None:
    """TOUCH-8: the argument may be left out, also where the record has an owner."""
    for owner in (None, "ann"):
        record = bench.put(owner=owner)
        assert store.touch("key", record.expires_at + 5) is True
        assert store.get("key") == replace(record, expires_at=record.expires_at + 5)


# Time


@each_era
def test_the_instant_of_the_expiry_is_too_late(bench: Bench, store: Store) -> None:
    """EXPIRY-1: a record is live just before its expiry and absent at it, for each verb."""
    ends = bench.put(owner="ann", life=60).expires_at
    bench.clock.now = ends - 0.0001
    assert store.get("key") is not None
    assert keys(store.all()) == keys(store.owned_by("ann")) == ["key"]
    assert store.length() == 1
    assert store.prune() == 0
    assert store.set("key", bench.record(), ABSENT) is False
    bench.clock.now = ends
    assert store.get("key") is None
    assert list(store.all()) == list(store.owned_by("ann")) == []
    assert store.length() == 0
    assert store.set("key", bench.record(), PRESENT) is False
    assert store.set("key", bench.record(), Unchanged(b"data")) is False
    assert store.touch("key", ends + 60) is False
    assert store.destroy("key", PRESENT) is False
    store.prune()
    assert not bench.path().exists()


def test_a_slow_call_does_not_move_the_expiry(bench: Bench, store: Store) -> None:
    """EXPIRY-2: seconds that pass during a call are neither added nor taken away."""

    def wait() -> None:
        bench.clock.now += 7

    record = bench.record()
    bench.clock.meanwhile = wait
    assert store.set("key", record) is True
    assert bench.clock.now == NOW + 7
    assert store.get("key") == record
    bench.clock.meanwhile = wait
    assert store.touch("key", NOW + 50) is True
    bench.clock.meanwhile = wait
    assert store.get("key") == replace(record, expires_at=NOW + 50)
    assert bench.clock.now == NOW + 21
    with locked(bench) as release:
        waiting = threading.Timer(0.1, release)
        waiting.start()
        assert store.set("key", replace(record, expires_at=NOW + 60)) is True
        waiting.join()
    assert store.get("key") == replace(record, expires_at=NOW + 60)


def test_an_expiry_within_the_data_does_not_count(bench: Bench, store: Store) -> None:
    """EXPIRY-3: the data may speak of a time that is past, or far away."""
    for expires in ("2001-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z", None, 0):
        data = {"cookie": {"expires": expires, "originalMaxAge": 1}, "expires_at": 1, "ttl": 0}
        record = bench.put(data=json.dumps(data).encode(), life=60)
        bench.clock.now += 59
        assert store.get("key") == record
        bench.clock.now += 1
        assert store.get("key") is None


@pytest.mark.parametrize(
    "expires_at",
    [
        NOW + 24.9 * DAY,
        NOW + 25 * DAY,
        NOW + 2**31 / 1000 + 1,
        NOW + 2**32 / 1000 + 1,
        NOW + 400 * DAY,
        NOW + 401 * DAY,
        YEAR_2038 - 1,
        YEAR_2038 - 2.0**-21,
        YEAR_2038,
        YEAR_2038 + 2.0**-21,
        YEAR_2038 + 1,
        2.0**32 - 1,
        2.0**32,
        2.0**32 + 1.5,
        4_102_444_800.25,
        2.0**33,
        9_223_372_036.5,
        END_OF_TIME,
    ],
)
def test_far_expiries_are_kept(bench: Bench, store: Store, expires_at: float) -> None:
    """EXPIRY-4: months, decades and centuries are kept by set and by touch, and end in time."""
    record = Record(b"data", expires_at, "ann")
    assert store.set("set", record) is True
    assert store.set("touched", replace(record, expires_at=NOW + 5)) is True
    assert store.set("far", replace(record, expires_at=END_OF_TIME - 5)) is True
    assert store.touch("touched", expires_at) is True
    assert store.touch("far", expires_at) is True
    listed = {}
    for key in ("set", "touched", "far"):
        found = store.get(key)
        assert found is not None
        assert 0 <= expires_at - found.expires_at < 1e-6
        assert found == replace(record, expires_at=found.expires_at)
        listed[key] = found
    assert dict(store.all()) == dict(store.owned_by("ann")) == listed
    assert store.length() == 3
    bench.clock.now = expires_at - 1
    assert store.prune() == 0
    bench.clock.now = expires_at
    assert store.length() == 0
    assert store.get("far") is None
    assert store.prune() == 3


@given(
    expires_at=st.floats(0, END_OF_TIME, exclude_min=True)
    | st.floats(NOW, NOW + 400 * DAY)
    | st.integers(1, int(END_OF_TIME)).map(float)
    | st.integers(1, 10**13).map(lambda milliseconds: milliseconds / 1000)
)
@example(1e-9)
@example(1.0000000000000002)
@example(YEAR_2038 - 2.0**-22)
@fuzz
def test_an_expiry_is_kept_within_a_microsecond(bench: Bench, expires_at: float) -> None:
    """EXPIRY-5: the expiry that is read is never later than the given one, and as good as it."""
    bench.clock.now = -1.0  # for times close to zero
    store = bench.store
    for verb in ("set", "touch"):
        if verb == "set":
            assert store.set("key", Record(b"data", expires_at)) is True
        else:
            assert store.touch("key", expires_at) is True
        found = store.get("key")
        assert found is not None
        assert 0 <= expires_at - found.expires_at < 1e-6


def test_constructor_and_opener_take_a_clock(bench: Bench) -> None:
    """EXPIRY-7, LIFE-2: the opener is called with a URL and a clock, and the clock is used."""
    clock = Clock(5000.0)
    url = f"file://{bench.folder}?durability=process"
    for opened in (
        FileStore(bench.folder, clock=clock, durability="process"),
        FileStore.from_url(url, clock=clock),
        open_store(url, clock=clock),
        as_sync(open_async_store(url, clock=clock)),
    ):
        assert isinstance(opened, FileStore)
        bench.opened.append(opened)
        store = bench.faced(opened)
        assert isinstance(store, Store)
        store.set("key", Record(b"data", clock.now + 10))
        clock.now += 9
        assert store.get("key") is not None
        clock.now += 1
        assert store.get("key") is None
    opened = FileStore.from_url(f"file:{bench.folder}")
    assert opened.folder == bench.folder
    bench.opened.append(opened)
    bench.faced(opened).set("key", Record(b"data", time.time() + 60))
    assert bench.faced(opened).get("key") is not None


@each_era
def test_nothing_but_the_clock_decides(bench: Bench, store: Store) -> None:
    """EXPIRY-8: a clock that stands decades off is the only one that each verb asks."""
    live = bench.put("live", owner="ann", life=1)
    bench.put("short", owner="ann", life=0.5)
    bench.clock.now += 0.5
    assert store.get("live") == live
    assert store.get("short") is None
    assert keys(store.all()) == keys(store.owned_by("ann")) == ["live"]
    assert store.length() == 1
    assert store.set("live", live, ABSENT) is False
    assert store.set("short", live, PRESENT) is False
    assert store.touch("live", live.expires_at) is True
    assert store.touch("short", live.expires_at) is False
    store.prune()
    assert bench.paths() == {bench.path("live")}
    assert store.destroy("live") is True


@each_era
@pytest.mark.parametrize("condition", [ALWAYS, PRESENT, Unchanged(b"data")], ids=str)
def test_set_moves_the_expiry_both_ways(bench: Bench, store: Store, condition: Condition) -> None:
    """EXPIRY-10: writing again shortens a life as well as it lengthens it."""
    bench.put()
    for life in (2 * DAY, 5.0, 9_000 * DAY, 6.0):
        record = bench.record(life=life)
        assert store.set("key", record, condition) is True
        assert store.get("key") == record
    bench.clock.now += 6
    assert store.get("key") is None


# Names

LOOKALIKES: Final = [
    "a", "A", "\u00e9", "\u00c9", "e\u0301", "\u0130", "i", "I", "\u0131", "\u017f", "s", "S",
    "\u00df", "ss", "SS", "\u1e9e", "\ufb01", "fi", "\u212b", "\u00c5", "A\u030a", "\u2126",
    "\u03a9", "\uff41", "\u2460", "1", "\uac00", "\u1100\u1161", "/", "//", "..", ".", "../..",
    "../../etc/passwd", "..\\..\\x", "\\", ":", "c:\\x", "C:", "a:b", "a/b", "a\\b", "a/../a",
    "./a", "a/", "/a", "/etc/passwd", "\0", "a\0", "a\0b", "\n", "a\n", "a\r\n", "a\r", "\r",
    "\u2028", "\u0085", "*", "?", "[a]", "[!b]", "[a-z]", "%", "%61", "%2F", "_", "__", ".a",
    "a.", "a.b", "$", "$a", "${a}", "~", "~root", " ", "  ", " a", "a ", "a  ", "\ta", "a\t",
    "\u00a0", "a\u00a0", "\u3000", "\ufeff", "\ufeffa", "a\u200b", "\u202ea", "\U0001f9e5",
    "\ufffd", "\uffff", "\U0010ffff", "\ue000", "\x7f", "\x1b[31m", "-", "--", "-rf", "'", '"',
    "';--", "`id`", "$(id)", "|", "&", "<", ">", "#", "!", ";", ",", "=", "{}", "%s", "%d", "con",
    "NUL", "aux.txt", "COM1", "None", "null", "0", "00", "0.0", "-0", "1e0", "true", ".new",
    "a.new", "records", "owners", "locks", "about", "coatcheck-file", "records/00", digest("a"),
    digest("a")[2:], digest("a")[:2], f"{digest('a')[:2]}/{digest('a')[2:]}",
    f"{digest('a')[2:]}.new", "x" * 255, "x" * 256, "x" * 255 + "y", "x" * 255 + "X",
    "\u00e9" * 256, "\U0001f9e5" * 256, "\U0001f9e5" * 255 + "\U0001f9e6", " " * 256, "/" * 256,
    "\0" * 256, "a" * 255 + "\0", "." * 256, "../" * 85,
]  # fmt: skip


def test_keys_are_names_and_nothing_else(bench: Bench, store: Store) -> None:
    """KEY-1, KEY-2, KEY-3, KEY-4, KEY-5, KEY-6, KEY-7, ENUM-1: no two of them share a record."""
    assert len(set(LOOKALIKES)) == len(LOOKALIKES)
    before = snapshot(*(path for path in bench.folder.parent.iterdir() if path != bench.folder))
    written = {}
    for number, key in enumerate(LOOKALIKES):
        assert store.get(key) is None
        record = bench.record(b"%d" % number, life=10 + number)
        assert store.set(key, record, ABSENT) is True
        written[key] = record
    assert {key: store.get(key) for key in LOOKALIKES} == written
    listed = list(store.all())
    assert len(listed) == store.length() == len(LOOKALIKES)
    assert dict(listed) == written
    for key in LOOKALIKES:
        written[key] = replace(written[key], expires_at=written[key].expires_at + 1)
        assert store.touch(key, written[key].expires_at) is True
    for key in LOOKALIKES:
        assert store.get(key) == written.pop(key)
        assert store.destroy(key) is True
        assert store.get(key) is None
        if len(written) % 10 == 0:
            assert dict(store.all()) == written
    assert list(store.all()) == []
    inside = {path.relative_to(bench.folder).as_posix() for path in bench.folder.rglob("*")}
    expected = r"coatcheck-file|owners|locks(/(about|[0-9a-f]{2}))?|records(/[0-9a-f]{2})?"
    assert [path for path in inside if not re.fullmatch(expected, path)] == []
    others = [path for path in bench.folder.parent.iterdir() if path != bench.folder]
    assert snapshot(*others) == before


names = st.text(min_size=1, max_size=256)
twins = st.sampled_from(
    [
        str.upper, str.lower, str.swapcase, str.casefold, str.strip,
        lambda name: name + " ", lambda name: " " + name, lambda name: name + "\0",
        lambda name: name[:-1], lambda name: name[:-1] + "*", lambda name: name + "/",
        lambda name: "../" + name, lambda name: name * 2, lambda name: name[::-1],
    ]
)  # fmt: skip


@given(name=names, twin=twins)
@fuzz
def test_any_two_keys_are_different(bench: Bench, name: str, twin: Callable[[str], str]) -> None:
    """KEY-1, KEY-2, KEY-6, DESTROY-9: a key and its twin have a record each."""
    store = bench.store
    other = twin(name)[:256] or "nothing"
    store.clear()
    record = bench.put(name, b"first")
    if other != name:
        assert store.get(other) is None
        second = bench.record(b"second")
        assert store.set(other, second, ABSENT) is True
        assert dict(store.all()) == {name: record, other: second}
        assert store.destroy(other) is True
    assert list(store.all()) == [(name, record)]
    assert store.get(name) == record


@given(name=names, twin=twins)
@fuzz
def test_any_two_owners_are_different(bench: Bench, name: str, twin: Callable[[str], str]) -> None:
    """OWNER-7: an owner and its twin have their own records."""
    store = bench.store
    other = twin(name)[:256] or "nobody"
    store.clear()
    record = bench.put("key", owner=name)
    if other != name:
        assert list(store.owned_by(other)) == []
        second = bench.put("other", owner=other)
        assert list(store.owned_by(other)) == [("other", second)]
    assert list(store.owned_by(name)) == [("key", record)]


def test_two_folders_are_two_namespaces(bench: Bench, store: Store) -> None:
    """KEY-8, OWNER-10, ENUM-4, CLEAR-2, PRUNE-9: stores side by side know nothing of each other."""
    folder = bench.folder.parent / "sessions2"
    other = bench.open(folder)
    record = bench.put(data=b"here", owner="ann")
    assert other.get("key") is None
    assert list(other.owned_by("ann")) == list(other.all()) == []
    there = replace(record, data=b"there")
    assert other.set("key", there, ABSENT) is True
    assert other.set("old", bench.record(life=1, owner="ann")) is True
    bench.clock.now += 1
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert store.length() == 1
    assert store.touch("key", record.expires_at + 1) is True
    assert store.prune() == 0
    store.clear()
    assert other.get("key") == there
    assert list(other.owned_by("ann")) == [("key", there)]
    assert other.destroy("key") is True
    assert other.prune() == 1


# Bytes


DATA: Final = [
    bytes(range(256)),
    bytes(range(256)) * 300,
    bytes(reversed(range(256))),
    b"\xff\xfe\x00",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    "latin-1: ä".encode("latin-1"),
    "ä\0\n\r\n\rz".encode(),
    b"\0",
    b"\n",
    b"\r\n",
    b"\x1a",
    b"\xef\xbb\xbfdata",
    b" both ends \t",
    "e\u0301 \u00e9 \ufb01".encode(),
    b" ",
    b"x",
    b"\x80",
    *(bytes([number]) for number in (0, 10, 13, 26, 127, 255)),
]


def test_data_come_back_byte_for_byte(bench: Bench, store: Store) -> None:
    """DATA-1, DATA-2, DATA-3, DATA-4: nothing is decoded, translated, trimmed or padded."""
    written = {}
    for number, data in enumerate(DATA):
        key = f"key {number}"
        written[key] = bench.put(key, data, "ann")
        for handle in (store, bench.open()):
            found = handle.get(key)
            assert found == written[key]
            assert found is not None
            assert type(found.data) is bytes
    assert dict(store.all()) == dict(store.owned_by("ann")) == written
    for key, record in written.items():
        assert store.touch(key, record.expires_at) is True
        assert store.set(key, record, Unchanged(record.data)) is True
        assert store.destroy(key, Unchanged(record.data)) is True


def test_data_that_look_like_the_layout_are_data(bench: Bench, store: Store) -> None:
    """DATA-5: a record within a record, a head, a mark or JSON of the same names stay data."""
    bench.put("inner", b"inner data", "eve", 5)
    content = bench.path("inner").read_bytes()
    nested = [
        content,
        content[:28],
        content[:8],
        content * 3,
        content[8:],
        (bench.folder / "coatcheck-file").read_bytes(),
        b"coatfil1",
        b"coatfil2" + content[8:],
        struct.pack(">8sdIHHI", b"coatfil1", 1.0, 0, 1, 1, 1) + b"abc",
        b'{"data":"x","expires_at":1,"owner":"eve","key":"inner"}',
        b"",
    ]
    for data in filter(None, nested):
        for life in (60, 10_000 * DAY):
            record = bench.put(data=data, owner="ann", life=life)
            assert store.get("key") == record
            assert dict(store.all())["key"] == record
            assert list(store.owned_by("ann")) == [("key", record)]
            assert keys(store.owned_by("eve")) == ["inner"]


def test_large_data_are_kept(bench: Bench, store: Store) -> None:
    """DATA-6, KEY-1, OWNER-13: a mebibyte and more, with the longest key and owner."""
    data = os.urandom(1 << 20)
    for size in (1 << 20, (1 << 20) - 1, 5 << 20):
        key, owner = "\U0001f9e5" * 256, "\U0001f9e6" * 256
        record = bench.put(key, (data * 5)[:size], owner)
        assert store.get(key) == record
        assert store.touch(key, record.expires_at) is True
        assert list(store.owned_by(owner)) == [(key, record)]
        assert store.set(key, bench.record(b"short"), Unchanged(record.data)) is True
    assert store.get(key) == bench.record(b"short")


@given(data=st.binary(min_size=1), owner=st.none() | names, key=names)
@fuzz
def test_any_record_comes_back(bench: Bench, data: bytes, owner: str | None, key: str) -> None:
    """GET-1, GET-7, DATA-1, KEY-1, OWNER-1: key, data and owner come back as they were."""
    store = bench.store
    record = bench.put(key, data, owner)
    assert store.get(key) == record
    assert dict(store.all())[key] == record
    if owner is not None:
        assert dict(store.owned_by(owner))[key] == record


# A model of the whole

STEPS: Final = st.tuples(
    st.sampled_from(["set", "set", "set", "touch", "destroy", "wait", "prune", "reopen"]),
    st.sampled_from(["key", "other"]),
    st.sampled_from([b"one", b"two"]),
    st.sampled_from([-1.0, 0.0, 1.0, 2.5, 9_000 * DAY]),
    st.sampled_from([None, "ann", "bob"]),
    st.sampled_from([ALWAYS, ABSENT, PRESENT, Unchanged(b"one"), Unchanged(b"two")]),
)


@given(steps=st.lists(STEPS, max_size=12))
@fuzz
def test_any_sequence_of_verbs_does_what_a_dictionary_does(
    bench: Bench, steps: list[tuple[str, str, bytes, float, str | None, Condition]]
) -> None:
    """GET-1, GET-3, SET-2, SET-12, SET-13, DESTROY-8, TOUCH-7, ENUM-1, ENUM-3, OWNER-2, OWNER-9:

    whatever is called, each verb answers as a dictionary of the live records would.
    """
    store, model = bench.store, dict[str, Record]()
    store.clear()
    for verb, key, data, life, owner, only_if in steps:
        now = bench.clock.now
        model = {name: record for name, record in model.items() if record.expires_at > now}
        record = Record(data, now + life, owner)
        holds = condition_holds(only_if, model.get(key))
        match verb:
            case "set":
                assert store.set(key, record, only_if) is holds
                if holds:
                    model[key] = record
            case "touch":
                assert store.touch(key, now + life, owner) is (key in model)
                if key in model:
                    model[key] = replace(model[key], expires_at=now + life)
            case "destroy":
                assert store.destroy(key, only_if) is (key in model and holds)
                if holds:
                    model.pop(key, None)
            case "wait":
                bench.clock.now += 1
            case "prune":
                store.prune()
            case "reopen":
                store = bench.open()
        live = {n: record for n, record in model.items() if record.expires_at > bench.clock.now}
        assert store.get("key") == live.get("key")
        assert store.get("other") == live.get("other")
        for name in ("ann", "bob"):
            owned = {key: record for key, record in live.items() if record.owner == name}
            assert dict(store.owned_by(name)) == owned
    live = {n: record for n, record in model.items() if record.expires_at > bench.clock.now}
    assert dict(store.all()) == live
    assert store.length() == len(live)


# At the same time


def test_one_of_many_creates(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-1: of simultaneous sets with ABSENT exactly one writes, and its record is there."""
    handles = [store, bench.open()]
    bench.clock.pause = 0.0003
    for number in range(12):
        key = f"key {number}"
        if number % 2:
            bench.put(key, b"old", life=1)
            bench.clock.now += 1
        records = [bench.record(b"%d" % i, f"owner {i % 3}") for i in range(8)]
        written = at_once(*(partial(handles[i % 2].set, key, records[i], ABSENT) for i in range(8)))
        assert sorted(written) == [False] * 7 + [True]
        record = records[written.index(True)]
        assert store.get(key) == record
        assert record.owner is not None
        assert dict(store.owned_by(record.owner))[key] == record


def test_one_of_many_replaces(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-2: of simultaneous sets with Unchanged exactly one writes, and its record is there."""
    handles = [store, bench.open()]
    bench.clock.pause = 0.0003
    data = bench.put().data
    for number in range(12):
        records = [bench.record(b"%d in %d" % (i, number)) for i in range(8)]
        written = at_once(
            *(partial(handles[i % 2].set, "key", records[i], Unchanged(data)) for i in range(8))
        )
        assert sorted(written) == [False] * 7 + [True]
        record = records[written.index(True)]
        assert store.get("key") == record
        data = record.data


def test_one_of_many_ends(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-3: of simultaneous destroys exactly one returns True, whatever its condition."""
    handles = [store, bench.open()]
    bench.clock.pause = 0.0003
    conditions = [ALWAYS, PRESENT, Unchanged(b"data"), ALWAYS]
    for number in range(12):
        bench.put(owner="ann" if number % 2 else None)
        ended = at_once(
            *(partial(handles[i % 2].destroy, "key", conditions[i % 4]) for i in range(8))
        )
        assert sorted(ended) == [False] * 7 + [True]
        assert store.get("key") is None
        assert list(store.owned_by("ann")) == []


def test_a_destroy_beats_writes_and_touches(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-4, RACE-5, DESTROY-8: a logout among writes and touches succeeds and stays."""
    other = bench.open()
    bench.clock.pause = 0.0003
    for number in range(20):
        bench.put(owner="ann")
        new = bench.record(b"new", "ann" if number % 2 else "bob", 10_000 * DAY)
        ended, *_ = at_once(
            partial(store.destroy, "key"),
            partial(store.set, "key", new, PRESENT),
            partial(other.set, "key", new, PRESENT),
            partial(store.set, "key", new, Unchanged(b"data")),
            partial(other.set, "key", new, Unchanged(b"data")),
            partial(store.touch, "key", new.expires_at, "ann"),
            partial(other.touch, "key", new.expires_at, "bob"),
        )
        assert ended is True
        assert store.get("key") is None
        assert list(store.all()) == []
        assert store.length() == 0
        assert list(store.owned_by("ann")) == list(store.owned_by("bob")) == []


def test_a_set_beats_touches(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-6: after a set and touches at the same time data and owner are those of the set."""
    other = bench.open()
    bench.clock.pause = 0.0003
    for number in range(20):
        bench.put(data=b"old", owner="ann", life=DAY if number % 2 else 10_000 * DAY)
        new = bench.record(b"new %d" % number, "bob")
        touched = [bench.clock.now + life for life in (2 * DAY, 9_000 * DAY)]
        results = at_once(
            partial(store.set, "key", new),
            partial(store.touch, "key", touched[0], "ann"),
            partial(other.touch, "key", touched[1], "ann"),
        )
        assert results == [True, True, True]
        found = store.get("key")
        assert found is not None
        assert (found.data, found.owner) == (new.data, new.owner)
        assert found.expires_at in (new.expires_at, *touched)
        assert keys(store.owned_by("bob")) == ["key"]
        assert list(store.owned_by("ann")) == []


def test_a_read_during_a_write_is_whole(bench: Bench, store: Store, impatient: None) -> None:
    """RACE-7, ENUM-6: whoever reads while records are replaced gets an old one or a new one."""
    other = bench.open()
    short = bench.record(b"s" * 50, "ann", 50)
    long = bench.record(b"l" * 300_000, "the other owner", 9_000 * DAY)
    assert store.set("key", short) is True
    stop = threading.Event()

    def write() -> int:
        for number in range(40):
            assert store.set("key", (long, short)[number % 2]) is True
        stop.set()
        return 40

    def read(handle: Store) -> int:
        count = 0
        while not stop.is_set():
            found = handle.get("key")
            assert found in (short, long)
            count += 1
        return count

    def listed() -> int:
        count = 0
        while not stop.is_set():
            ((key, found),) = other.all()
            assert key == "key"
            assert found in (short, long)
            count += 1
        return count

    counts = at_once(write, lambda: read(store), lambda: read(other), lambda: read(store), listed)
    assert min(counts) > 0


def test_handles_see_each_other_at_once(bench: Bench, store: Store) -> None:
    """RACE-8, OWNER-9: what one handle wrote, changed or ended another sees in its next call."""
    other = bench.open()
    for number in range(20):
        record = bench.record(b"%d" % number, "ann")
        assert store.set("key", record) is True
        assert other.get("key") == record
        assert list(other.owned_by("ann")) == list(other.all()) == [("key", record)]
        assert other.length() == 1
        assert other.touch("key", record.expires_at + 5) is True
        assert store.get("key") == replace(record, expires_at=record.expires_at + 5)
        assert other.set("key", bench.record(b"new", "bob"), Unchanged(record.data)) is True
        assert list(store.owned_by("ann")) == []
        assert keys(store.owned_by("bob")) == ["key"]
        assert other.destroy("key") is True
        assert store.get("key") is None
        assert list(store.all()) == list(store.owned_by("bob")) == []


# Listing


@each_era
def test_all_lists_what_is_live(bench: Bench, store: Store) -> None:
    """ENUM-1, ENUM-2, ENUM-3, KEY-7: each live record once, as get shows it, and no other."""
    assert list(store.all()) == []
    assert store.length() == 0
    written = {}
    for number in range(30):
        key = f"key {number}"
        owner = f"owner {number % 3}" if number % 4 else None
        written[key] = bench.put(key, b"%d" % number, owner, 1 + number)
    store.touch("key 0", bench.clock.now + 9_000 * DAY)
    written["key 0"] = replace(written["key 0"], expires_at=bench.clock.now + 9_000 * DAY)
    for wait in (0, 5, 10.5, 5):
        bench.clock.now += wait
        live = {key: r for key, r in written.items() if r.expires_at > bench.clock.now}
        listed = list(store.all())
        assert len(listed) == store.length() == len(live)
        assert dict(listed) == live == {key: store.get(key) for key, _ in listed}
    assert len(bench.paths()) == 30
    assert len(live) == 11


def surroundings(bench: Bench) -> dict[Path, tuple[int, int, bytes]]:
    """Put what is not the store's around and between its files, and return what that is."""
    folder = bench.folder
    stripe = bench.path().parent
    record = bench.path().read_bytes()
    hexadecimal = digest("foreign")
    foreign = {
        folder.parent / "notes.txt": b"notes",
        folder.parent / "records" / hexadecimal[:2] / hexadecimal[2:]: record,
        folder / "notes.txt": b"notes",
        folder / hexadecimal: record,
        folder / "records" / "README": b"read me",
        folder / "records" / hexadecimal[2:]: record,
        folder / "records" / "zz" / hexadecimal[2:]: record,
        folder / "records" / "0" / hexadecimal[2:]: record,
        stripe / "notes.txt": b"notes",
        stripe / "notes.new": b"notes",
        stripe / hexadecimal: record,
        stripe / hexadecimal[3:]: record,
        stripe / hexadecimal[2:].upper(): record,
        stripe / f"{hexadecimal[2:]}.bak": record,
        stripe / f"{hexadecimal[2:]}\n": record,
        stripe / "folder" / hexadecimal[2:]: record,
        folder / "owners" / "README": b"read me",
        folder / "owners" / "zz" / "README": b"read me",
        folder / "owners" / digest("ann")[:2] / digest("ann")[2:] / "README": b"read me",
    }
    for path, content in foreign.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1.0, 1.0))
    return snapshot(*foreign)


def test_what_is_not_ours_is_left_alone(bench: Bench, store: Store) -> None:
    """ENUM-4, CLEAR-2, PRUNE-9, OWNER-10: files in and around the folder are seen by no verb."""
    record = bench.put(owner="ann")
    foreign = surroundings(bench)
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert store.length() == 1
    bench.put("old", life=1)
    bench.clock.now += 1
    assert store.prune() == 1
    for _ in range(60):
        store.prune(20)
        bench.put(owner="ann")
    assert snapshot(*foreign) == foreign
    assert store.destroy("key") is True
    store.clear()
    assert snapshot(*foreign) == foreign
    record = bench.put(owner="ann")
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]


def test_records_come_and_go_while_all_runs(bench: Bench, store: Store) -> None:
    """ENUM-6, COST-5: adding, changing and removing on the way raises nothing, skips nothing."""
    other = bench.open()
    staying = {f"stays {number}": bench.put(f"stays {number}") for number in range(20)}
    for number in range(20):
        bench.put(f"goes {number}")
        bench.put(f"changes {number}", owner="ann")
        bench.put(f"expires {number}", life=50)
    seen: list[str] = []
    for step, (key, record) in enumerate(store.all()):
        seen.append(key)
        if key.startswith("stays"):
            assert record == staying[key]
        if step < 20:
            handle = (store, other)[step % 2]
            assert handle.destroy(f"goes {step}") is True
            assert handle.set(f"changes {step}", bench.record(b"changed", "bob")) is True
            assert handle.set(f"comes {step}", bench.record()) is True
        if step == 25:
            bench.clock.now += 50
            store.prune()
    assert len(seen) == len(set(seen))
    assert set(staying) <= set(seen)
    assert {f"changes {number}" for number in range(20)} <= set(seen)


def test_all_runs_beside_writers(bench: Bench, store: Store, impatient: None) -> None:
    """ENUM-6, OWNER-3: with writers at the same time what stays is listed exactly once."""
    staying = [f"stays {number}" for number in range(30)]
    for key in staying:
        bench.put(key, owner="ann")
    other = bench.open()
    stop = threading.Event()

    def churn(handle: Store, name: str) -> int:
        number = 0
        while not stop.is_set():
            number += 1
            handle.set(f"{name} {number % 50}", bench.record(owner="ann"))
            handle.touch(f"stays {number % 30}", bench.clock.now + DAY + number)
            handle.set(f"stays {(number + 7) % 30}", bench.record(b"new", "ann"))
            handle.destroy(f"{name} {number * 7 % 50}")
        return number

    def read() -> int:
        for _ in range(5):
            for listed in (keys(store.all()), keys(other.owned_by("ann"))):
                assert [key for key in listed if key.startswith("stays")] == sorted(staying)
                assert len(set(listed)) == len(listed)
        stop.set()
        return 1

    def guarded() -> int:
        try:
            return read()
        finally:
            stop.set()

    counts = at_once(guarded, lambda: churn(store, "one"), lambda: churn(other, "two"))
    assert min(counts) > 0


def test_a_listing_may_be_given_up(bench: Bench, store: Store) -> None:
    """ENUM-7: a listing that nobody finishes leaves the store usable."""
    for number in range(20):
        bench.put(f"key {number}", owner="ann")
    for listing in (store.all(), store.owned_by("ann")):
        next(listing)
        del listing
    left = [store.all() for _ in range(5)]
    for listing in left:
        next(listing)
    assert store.length() == len(list(store.all())) == 20
    assert store.set("key 0", bench.record(b"new"), PRESENT) is True
    store.clear()
    assert store.length() == 0
    bench.put()


# Removing everything


@each_era
def test_clear_removes_everything(bench: Bench, store: Store) -> None:
    """CLEAR-1, CLEAR-4: afterwards there are no records, no owners, and nothing to count."""
    all_keys = [f"key {number}" for number in range(24)]
    for number, key in enumerate(all_keys):
        bench.put(key, owner=f"owner {number % 3}" if number % 2 else None, life=1 + number)
    bench.clock.now += 10
    assert bench.marks()
    store.clear()
    assert bench.marks() == set()
    for handle in (store, bench.open()):
        assert [handle.get(key) for key in all_keys] == [None] * 24
        assert list(handle.all()) == []
        assert handle.length() == 0
        for number in range(3):
            assert list(handle.owned_by(f"owner {number}")) == []
        assert handle.set("key 1", bench.record(), PRESENT) is False
        assert handle.touch("key 1", bench.clock.now + DAY, "owner 1") is False
    assert bench.paths() == set()
    bench.clock.now -= 10
    assert list(store.all()) == []


def test_clear_of_nothing(bench: Bench, store: Store) -> None:
    """CLEAR-3: an empty store can be cleared, twice and before its first use."""
    store.clear()
    store.clear()
    record = bench.put(owner="ann")
    assert store.get("key") == record
    store.clear()
    store.clear()
    assert store.set("key", record, ABSENT) is True
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]


# Whose sessions


@each_era
def test_owned_by_lists_an_owner(bench: Bench, store: Store) -> None:
    """OWNER-1, OWNER-2, OWNER-3, OWNER-4: an owner's live records, each once, and no others."""
    assert list(store.owned_by("ann")) == []
    written = {}
    for number in range(40):
        owner = ("ann", "bob", "cid", None)[number % 4]
        key = f"key {number}"
        written[key] = bench.put(key, b"%d" % number, owner, 1 + number)
    assert list(store.owned_by("dan")) == []
    assert store.destroy("key 36") is True
    assert store.set("key 32", bench.record(owner="bob")) is True
    assert store.touch("key 28", bench.clock.now, "ann") is True
    bench.clock.now += 15
    listed = list(store.owned_by("ann"))
    assert keys(iter(listed)) == ["key 16", "key 20", "key 24"]
    assert dict(listed) == {key: written[key] for key, _ in listed}
    assert "key 32" in keys(store.owned_by("bob"))


def test_stale_marks_are_checked(bench: Bench, store: Store) -> None:
    """OWNER-2, OWNER-3: marks that a crash left behind lead to no record of others."""
    record = bench.put(owner="ann")
    bench.put("other", owner="bob")
    marks = bench.folder / "owners" / digest("ann")[:2] / digest("ann")[2:]
    for name in ("other", "never set"):
        (marks / digest(name)).touch()
    (marks / "notes").touch()
    (marks / digest("key").upper()).touch()
    for _ in range(2):
        assert list(store.owned_by("ann")) == [("key", record)]
        assert keys(store.owned_by("bob")) == ["other"]
    assert store.set("never set", bench.record(owner="ann")) is True
    assert store.set("other", bench.record(owner="ann")) is True
    assert keys(store.owned_by("ann")) == ["key", "never set", "other"]


@pytest.mark.parametrize("only_if", [ALWAYS, PRESENT, Unchanged(b"data")], ids=str)
def test_a_record_moves_to_its_new_owner(bench: Bench, store: Store, only_if: Condition) -> None:
    """OWNER-5, OWNER-9: at once the new owner has the record, and the former one has not."""
    bench.put(owner=None)
    for owner in ("ann", "bob", None, "bob", "ann", "ann"):
        record = bench.record(owner=owner)
        assert store.set("key", record, only_if) is True
        for name in ("ann", "bob"):
            assert list(store.owned_by(name)) == ([("key", record)] if owner == name else [])
    assert store.destroy("key") is True
    assert bench.marks() == set()


@pytest.mark.parametrize("hint", ["ann", "bob", None])
def test_a_touched_record_is_still_found(bench: Bench, store: Store, hint: str | None) -> None:
    """OWNER-6: a record is found as long as it lives, however its life was lengthened."""
    record = bench.put(owner="ann", life=10)
    for _ in range(3):
        record = replace(record, expires_at=record.expires_at + 10)
        assert store.touch("key", record.expires_at, hint) is True
        bench.clock.now += 10
        store.prune()
        for _ in range(40):
            bench.put("other")  # each write sweeps a little
        assert list(store.owned_by("ann")) == [("key", record)]


def test_owners_are_names_and_nothing_else(bench: Bench, store: Store) -> None:
    """OWNER-7: owners that look alike, hold separators or begin alike have their own records."""
    written = {}
    for number, owner in enumerate(LOOKALIKES):
        written[owner] = (f"key {number}", bench.put(f"key {number}", owner=owner))
    for owner in LOOKALIKES:
        assert list(store.owned_by(owner)) == [written[owner]]
    for number, owner in enumerate(LOOKALIKES):
        assert store.destroy(f"key {number}") is True
        assert list(store.owned_by(owner)) == []
    assert store.length() == 0


def test_owners_shown_at_once_to_many(bench: Bench, store: Store, impatient: None) -> None:
    """OWNER-9, OWNER-5, LOOP-1: whoever wrote or ended a session sees it, amid many others."""
    handles = [store, bench.open()]

    def work(number: int) -> int:
        handle, key = handles[number % 2], f"key {number}"
        for step in range(12):
            owner = ("ann", "bob")[step % 2]
            assert handle.set(key, bench.record(b"%d" % step, owner)) is True
            assert key in keys(handle.owned_by(owner))
            assert key not in keys(handle.owned_by(("bob", "ann")[step % 2]))
            if step % 3 == 2:
                assert handle.destroy(key) is True
                assert key not in keys(handle.owned_by(owner))
        return 1

    assert sum(at_once(*(partial(work, number) for number in range(6)))) == 6
    assert list(store.owned_by("ann")) == list(store.owned_by("bob")) == []


def test_a_failed_write_does_not_move_the_record(bench: Bench, store: Store) -> None:
    """OWNER-11, FAULT-2, FAULT-9: a write that the disk refused leaves record and index."""
    record = bench.put(owner="ann")
    with small_files(bench):
        with pytest.raises(StoreError):
            store.set("key", bench.record(bytes(1 << 20), "bob"))
        assert store.get("key") == record
    assert list(store.owned_by("ann")) == [("key", record)]
    assert list(store.owned_by("bob")) == []
    moved = bench.record(bytes(1 << 20), "bob")
    assert store.set("key", moved) is True
    assert list(store.owned_by("ann")) == []
    assert list(store.owned_by("bob")) == [("key", moved)]


def test_owners_are_optional(bench: Bench, store: Store) -> None:
    """OWNER-13: records with and without an owner stand side by side."""
    owned, free = bench.put("owned", owner="ann"), bench.put("free")
    assert store.get("owned") == owned
    assert store.get("free") == free
    assert list(store.owned_by("ann")) == [("owned", owned)]


# Cleaning up


@each_era
def test_prune_removes_what_has_expired(bench: Bench, store: Store) -> None:
    """PRUNE-1, PRUNE-2, PRUNE-4: expired records go and are counted, and live ones stay."""
    assert store.prune() == 0
    for number in range(20):
        bench.put(f"old {number}", owner="ann" if number % 2 else None, life=1)
    live = {f"live {n}": bench.put(f"live {n}", owner="ann", life=1.5 + n) for n in range(5)}
    far = {f"far {n}": bench.put(f"far {n}", life=9_000 * DAY) for n in range(5)}
    bench.clock.now += 1
    assert store.prune() == 20
    assert store.prune() == 0
    assert bench.paths() == {bench.path(key) for key in (*live, *far)}
    assert dict(store.all()) == {**live, **far}
    assert dict(store.owned_by("ann")) == live
    assert bench.marks() == {digest(key) for key in live}


@each_era
@pytest.mark.parametrize("limit", [None, 10_000])
@pytest.mark.parametrize("by", ["set", "touch"])
def test_prune_looks_again_before_it_removes(
    bench: Bench, store: Store, by: str, limit: int | None
) -> None:
    """PRUNE-2: a record that comes to life between the look and the removal is not removed."""
    late = bench.open(clock=Clock(bench.clock.now))
    bench.put(life=1, owner="ann")
    bench.clock.now += 1
    new = bench.record(b"data", "ann")
    revived: list[str] = []

    def revive() -> None:
        revived.append(by)
        if by == "set":
            assert late.set("key", new, ALWAYS) is True
        else:  # by a process whose clock is late
            assert late.touch("key", new.expires_at, "ann") is True

    bench.clock.meanwhile = revive
    assert store.prune(limit) == 0
    assert revived == [by]
    assert store.get("key") == new
    assert list(store.owned_by("ann")) == [("key", new)]


def test_prune_beside_writers_removes_nothing_live(
    bench: Bench, store: Store, impatient: None
) -> None:
    """PRUNE-2: records that are written again while prune runs stay, all of them."""
    others = [store, bench.open()]
    for number in range(80):
        bench.put(f"key {number}", life=1)
    bench.clock.now += 1
    done = threading.Event()

    def write(part: int) -> int:
        for number in range(part, 80, 2):
            assert others[part].set(f"key {number}", bench.record(b"new"), ABSENT) is True
        return 0

    def write_all() -> int:
        try:
            return sum(at_once(lambda: write(0), lambda: write(1)))
        finally:
            done.set()

    def prune() -> int:
        removed = 0
        while not done.is_set():
            removed += store.prune()
        return removed

    at_once(write_all, prune)
    assert store.length() == len(list(store.all())) == 80
    assert store.prune() == 0


def test_prune_keeps_to_its_limit(bench: Bench, store: Store) -> None:
    """PRUNE-3, PRUNE-5: a call examines no more than its limit, and calls reach everything."""
    for number in range(20):
        bench.put(f"live {number}", owner="ann")
    for number in range(20):
        bench.put(f"old {number}", owner="ann", life=1)
    bench.clock.now += 1
    assert store.prune(0) == 0
    assert len(bench.paths()) == 40
    removed = []
    for _ in range(100):
        before = len(bench.paths())
        removed.append(store.prune(3))
        assert before - len(bench.paths()) == removed[-1]
    assert max(removed) <= 3
    assert sum(removed) == 20
    assert store.length() == 20


def test_a_limited_prune_examines_live_records_too(bench: Bench, store: Store) -> None:
    """PRUNE-3: where one of many records has expired, a call rarely happens to examine it."""
    for number in range(60):
        bench.put(f"live {number}")
    bench.put("old", life=1)
    bench.clock.now += 1
    calls = 1
    while store.prune(1) == 0:
        calls += 1
    # By chance the first is the one; that it is among the first for five handles is no chance.
    for number in range(4):
        bench.put(f"old {number}", life=1)
        bench.clock.now += 1
        handle = bench.open()
        calls += 1
        while handle.prune(1) == 0:
            calls += 1
    assert 12 < calls <= 5 * 3 * 61


def test_many_prune_at_once(bench: Bench, store: Store, impatient: None) -> None:
    """PRUNE-6: several calls raise nothing, and together count each removed record once."""
    handles = [store, bench.open()]
    for limit in (None, 30):
        for number in range(90):
            bench.put(f"old {number}", life=1, owner="ann" if number % 3 else None)
        live = bench.put("live")
        bench.clock.now += 1
        before = len(bench.paths())
        counts = at_once(*(partial(handles[i % 2].prune, limit) for i in range(6)))
        assert sum(counts) == before - len(bench.paths())
        counts.append(store.prune())
        assert sum(counts) == 90
        assert store.get("live") == live
        store.clear()


@pytest.mark.parametrize("clock", [NOW, 3_800_000_000.0], indirect=True, ids=str)
def test_each_set_removes_some(bench: Bench, store: Store) -> None:
    """PRUNE-7: writes alone remove everything that has expired, few at a time."""
    for number in range(60):
        bench.put(f"old {number}", owner="ann" if number % 2 else None, life=1)
    bench.clock.now += 1
    counts = [len(bench.paths())]
    assert counts[0] == 60
    while counts[-1] > 1 and len(counts) < 200:
        assert store.set("new", bench.record()) is True
        counts.append(len(bench.paths()))
    assert counts[-1] == 1
    assert max(before - after for before, after in itertools.pairwise(counts)) <= 8
    assert store.prune() == 0
    assert keys(store.all()) == ["new"]


# Declarations


def test_what_is_declared(bench: Bench, store: Store) -> None:
    """CAP-1, CAP-2, CAP-4: each face and bridge declares the same, from beginning to end."""
    declared = FileStore.capabilities
    assert type(declared) is Capabilities
    assert declared == Capabilities(
        blocking=True,
        native_expiry=False,
        enumerable=True,
        clearable=True,
        owners=True,
        owner_lag=0.0,
        max_data_bytes=None,
        multi_process=True,
        durable=True,
        expiry_granularity=0.0,
    )
    file_store = bench.opened[0]
    faces = (file_store, store, as_async(file_store), SyncBridge(as_async(file_store)))
    for face in faces:
        assert face.capabilities is declared
    assert not bench.folder.exists()
    bench.put()
    store.close()
    for face in faces:
        assert face.capabilities is declared


# Opening and closing


def run_python(program: str, *arguments: object) -> str:
    """Run a program, without warnings, and return what it prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


OPENING: Final = """
import sys, threading
from coatcheck.bridge import as_async
from coatcheck_file import FileStore

def no_clock():
    raise AssertionError

def open_all(folder):
    store = FileStore(folder, clock=no_clock)
    opened = FileStore.from_url("file://" + folder + "?durability=process", clock=no_clock)
    for face in (store, opened, as_async(store), as_async(opened)):
        repr(face), face.capabilities

open_all("/tmp/before")  # imports what is imported late
events = []
sys.addaudithook(lambda event, arguments: events.append(event))
open_all(sys.argv[1])
FileStore("relative", clock=no_clock)
seen = [e for e in events if e == "open" or e.startswith(("os.", "socket.", "_thread.", "fcntl"))]
print(seen, threading.active_count())
"""


def test_opening_does_nothing(bench: Bench, tmp_path: Path) -> None:
    """LIFE-1: constructing and opening asks neither the system nor the clock, and makes nothing."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "new" / "folder", tmp_path / "file" / "below"):
        assert run_python(OPENING, folder) == "[] 1\n"
        threads = threading.active_count()
        store = bench.open(folder)
        repr(store)
        assert threading.active_count() == threads
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    "url",
    [
        "file:",
        "file://",
        "file:///",
        "file:////",
        "file:///..",
        "file:///a/..",
        "file:?durability=full",
        "file:///a?durabilty=full",
        "file:///a?durability=",
        "file:///a?durability",
        "file:///a?durability=fast",
        "file:///a?durability=Full",
        "file:///a?Durability=full",
        "file:///a?durability=full&durability=full",
        "file:///a?durability=full&durability=process",
        "file:///a?durability=full&x=1",
        "file:///a?durability=full&",
        "file:///a?&",
        "file:///a?x",
        "file:///a?lock_timeout=1",
        "file:///a?clock=1",
        "file:///a?folder=b",
        "file:///a?%ff=1",
        "file:///a#b",
        "file:///a#",
        "file:///a%00b",
        "file://host/a",
        "file://ann@localhost/a",
        "file://localhost:80/a",
        "file://[::1/a",
    ],
)
def test_a_url_that_is_not_understood_is_refused(bench: Bench, tmp_path: Path, url: str) -> None:
    """LIFE-3: an unknown option, a wrong value or a wrong form is found at the opening."""
    opener: Callable[..., object] = open_async_store if bench.is_async else open_store
    with pytest.raises(ConfigurationError):
        opener(url)
    with pytest.raises(ConfigurationError):
        FileStore.from_url(url, clock=bench.clock)
    assert list(tmp_path.iterdir()) == []


def test_urls_that_are_understood(tmp_path: Path) -> None:
    """LIFE-3, LIFE-2: the folder of a good URL is the one that it names."""
    for url, folder in {
        "file:///srv/s": "/srv/s",
        "file:/srv/s": "/srv/s",
        "file://localhost/srv/s?durability=full": "/srv/s",
        "file:///srv/s%20s%23%3F%25?durability=process": "/srv/s s#?%",
        "file:///srv/%C3%A9": "/srv/\u00e9",
        "file:below/s": f"{Path.cwd()}/below/s",
    }.items():
        assert str(FileStore.from_url(url, clock=Clock()).folder) == folder


def verbs(store: Store, bench: Bench) -> dict[str, Callable[[], object]]:
    """Return a call of each verb, of those that could change a record one that does."""
    return {
        "get": lambda: store.get("key"),
        "set": lambda: store.set("key", bench.record(b"set"), PRESENT),
        "destroy": lambda: store.destroy("key"),
        "touch": lambda: store.touch("key", bench.clock.now + 2 * DAY),
        "all": lambda: list(store.all()),
        "length": store.length,
        "owned_by": lambda: list(store.owned_by("ann")),
        "ping": store.ping,
        "prune": store.prune,
        "limited prune": lambda: store.prune(10),
        "clear": store.clear,
    }


def test_closing_again_and_again(bench: Bench, store: Store) -> None:
    """LIFE-4: a store can be closed any number of times, used or not, through either face."""
    for handle in (store, bench.open()):
        for _ in range(3):
            handle.close()
        assert not bench.folder.exists()
    used = bench.open()
    used.set("key", bench.record())
    at_once(*[used.close] * 4)
    used.close()
    store.close()


@pytest.mark.parametrize("used", [True, False])
def test_a_closed_store_refuses(bench: Bench, store: Store, used: bool) -> None:
    """LIFE-5: after close each verb raises StoreClosed, and a listing that has begun does, too."""
    begun: list[Iterator[tuple[str, Record]]] = []
    if used:
        for number in range(5):
            bench.put(f"key {number}", owner="ann")
        bench.put(owner="ann")
        begun = [store.all(), store.owned_by("ann")]
        for listing in begun:
            next(listing)
    store.close()
    for name, call in verbs(store, bench).items():
        with pytest.raises(StoreClosed):
            pytest.fail(f"{name} returned {call()!r}")
    for listing in begun:
        with pytest.raises(StoreClosed):
            next(listing)
    with pytest.raises(StoreClosed):
        next(iter(store.all()))
    with pytest.raises(StoreClosed):
        next(iter(store.owned_by("ann")))
    assert bench.folder.exists() is used


def test_ping(bench: Bench, store: Store) -> None:
    """LIFE-6: ping returns None, before the first use and after it, and changes no record."""
    assert store.ping() is None
    record = bench.put(owner="ann")
    bench.expired("old")
    before = snapshot(bench.folder / "records", bench.folder / "owners")
    assert store.ping() is None
    assert snapshot(bench.folder / "records", bench.folder / "owners") == before
    assert store.get("key") == record


def test_closing_one_handle_disturbs_no_other(bench: Bench, store: Store) -> None:
    """LIFE-7: others on the same data go on, in the middle of a listing as well."""
    written = {f"key {number}": bench.put(f"key {number}", owner="ann") for number in range(10)}
    for _ in range(2):
        other = bench.open()
        assert dict(other.all()) == written
        other.set("key 3", written["key 3"])
        listing = store.all()
        listed = [next(listing)]
        other.close()
        assert dict([*listed, *listing]) == dict(store.owned_by("ann")) == written
        assert store.touch("key 1", written["key 1"].expires_at) is True
    assert store.destroy("key 2") is True


def test_what_was_written_is_there_when_the_store_is_opened_again(
    bench: Bench, store: Store
) -> None:
    """GET-1, LIFE-7: records outlive the store object that wrote them."""
    written = {
        key: bench.put(key, key.encode(), "ann", life)
        for key, life in {"near": DAY, "far": 9_000 * DAY, "gone": 1.0}.items()
    }
    store.touch("near", bench.clock.now + 7)
    written["near"] = replace(written["near"], expires_at=bench.clock.now + 7)
    store.close()
    bench.clock.now += 1
    del written["gone"]
    again = bench.open()
    assert dict(again.all()) == dict(again.owned_by("ann")) == written


# Threads and event loops


def work(store: Store, bench: Bench, name: str, rounds: int) -> bool:
    """Use each verb on keys of one's own, and check what comes back."""
    for number in range(rounds):
        key, data = f"{name} {number % 5}", f"{name} {number}".encode()
        record = bench.record(data, name)
        assert store.set(key, record) is True
        assert store.get(key) == record
        assert store.set(key, record, Unchanged(data)) is True
        assert store.touch(key, record.expires_at + 1, name) is True
        assert key in keys(store.owned_by(name))
        if number % 4 == 3:
            assert store.destroy(key) is True
            assert store.get(key) is None
        if number % 6 == 5:
            assert store.length() >= 1
            store.prune(5)
    return True


def test_many_threads(bench: Bench, store: Store, impatient: None) -> None:
    """LOOP-1: one store object serves many threads at once, from its first call on."""
    calls = [partial(work, store, bench, f"thread {number}", 12) for number in range(8)]
    assert all(at_once(*calls))


async def work_async(face: AsyncStore, bench: Bench, name: str, rounds: int) -> None:
    """Do what `work` does, on an event loop."""
    for number in range(rounds):
        key, data = f"{name} {number % 5}", f"{name} {number}".encode()
        record = bench.record(data, name)
        assert await face.set(key, record) is True
        assert await face.get(key) == record
        assert await face.set(key, record, Unchanged(data)) is True
        assert await face.touch(key, record.expires_at + 1, name) is True
        assert key in [found async for found, _ in face.owned_by(name)]
        if number % 4 == 3:
            assert key in [found async for found, _ in face.all()]
            assert await face.destroy(key) is True
            assert await face.get(key) is None
            await face.prune(5)


@pytest.fixture
def face_bench(tmp_path: Path, portal: BlockingPortal) -> Iterator[Bench]:
    """A bench for what only the asynchronous face has."""
    bench = Bench(tmp_path / "sessions", Clock(), portal, is_async=True)
    yield bench
    for store in bench.opened:
        store.close()


@both_loops
def test_many_tasks(face_bench: Bench, backend: str) -> None:
    """LOOP-2: one store object serves many tasks at once, from its first call on."""
    face = as_async(face_bench.opened[0])

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(work_async, face, face_bench, f"task {number}", 2 + number % 4)

    anyio.run(main, backend=backend)


def test_many_loops(face_bench: Bench) -> None:
    """LOOP-3: one store object works on several event loops, in turn and at the same time."""
    face = as_async(face_bench.opened[0])

    def run(name: str, backend: str) -> bool:
        anyio.run(work_async, face, face_bench, name, 4, backend=backend)
        return True

    for number in range(3):
        for backend in ("asyncio", "trio"):
            run(f"{backend} {number}", backend)
    loops = [partial(run, f"loop {n}", ("asyncio", "trio")[n % 2]) for n in range(6)]
    assert all(at_once(*loops))


@pytest.mark.skipif(
    tuple(map(int, version("anyio").split(".")[:2])) < (4, 15),
    reason="before 4.15 anyio itself keeps each closed loop that used a worker thread",
)
def test_closed_loops_are_forgotten(face_bench: Bench) -> None:
    """LOOP-4: neither the loop nor threads or files of it are kept when it has been closed."""
    face = as_async(face_bench.opened[0])

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await work_async(face, face_bench, "task", 2)
        return weakref.ref(asyncio.get_running_loop())

    anyio.run(main)
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    loops = [anyio.run(main) for _ in range(10)]
    deadline = time.monotonic() + 5
    while any(loop() for loop in loops) or threading.active_count() > threads:
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.01)  # the threads end by themselves
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 4  # a cursor of the store, perhaps


@both_loops
@pytest.mark.parametrize("verb", ["set", "destroy", "touch", "clear"])
def test_the_loop_runs_while_a_call_waits(face_bench: Bench, backend: str, verb: str) -> None:
    """LOOP-6: while a call waits for a lock other tasks run, of which one lets go of the lock."""
    face_bench.put()
    face = as_async(face_bench.opened[0])
    calls: dict[str, Callable[[], Any]] = {
        "set": lambda: face.set("key", face_bench.record()),
        "destroy": lambda: face.destroy("key"),
        "touch": lambda: face.touch("key", face_bench.clock.now + 5),
        "clear": face.clear,
    }

    async def main() -> list[str]:
        order = []
        with locked(face_bench) as release:

            async def wait() -> None:
                await calls[verb]()
                order.append("done")

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                for _ in range(20):
                    await anyio.sleep(0.002)  # turns of the loop while the call waits
                order.append("released")
                release()
        return order

    assert anyio.run(main, backend=backend) == ["released", "done"]


# Two faces


def test_what_one_face_writes_the_other_reads(bench: Bench, store: Store) -> None:
    """PARITY-1, PARITY-2, PARITY-5: both faces show the same, and conditions hold across them."""
    for other in (bench.other_face(), SyncBridge(as_async(bench.opened[0]))):
        store.clear()
        record = bench.put(data=bytes(range(256)), owner="ann", life=9_000 * DAY)
        assert other.get("key") == store.get("key") == record
        assert list(other.all()) == list(store.all()) == [("key", record)]
        assert list(other.owned_by("ann")) == list(store.owned_by("ann")) == [("key", record)]
        assert other.length() == store.length() == 1
        found = other.get("key")
        assert found is not None
        new = bench.record(b"new", "bob", 7)
        assert store.set("key", new, Unchanged(found.data + b"\0")) is False
        assert store.set("key", new, Unchanged(found.data)) is True
        assert other.set("key", record, Unchanged(found.data)) is False
        assert other.set("key", record, ABSENT) is store.set("key", record, ABSENT) is False
        assert other.destroy("key", Unchanged(b"old")) is False
        assert other.touch("key", new.expires_at + 1) is True
        assert store.get("key") == replace(new, expires_at=new.expires_at + 1)
        assert other.destroy("key", Unchanged(b"new")) is True
        assert other.destroy("key") is store.destroy("key") is False
        assert other.touch("key", NOW) is store.touch("key", NOW) is False
        assert other.get("key") is store.get("key") is None
        assert other.set("key", new, PRESENT) is store.set("key", new, PRESENT) is False
        assert other.prune() == store.prune() == 0
        assert other.ping() is store.ping() is None


def test_both_faces_raise_the_same(bench: Bench, store: Store) -> None:
    """PARITY-3: for each fault and verb the class of the error is the same through both faces."""
    for (name, fault), verb in itertools.product(FAULTS.items(), verbs(store, bench)):
        classes = []
        for is_async in (True, False):
            bench.put(owner="ann")
            file_store = FileStore(bench.folder, durability="process", clock=bench.clock)
            bench.opened.append(file_store)
            face = AsyncFace(as_async(file_store), bench.portal) if is_async else file_store
            face.ping()
            face.get("key")
            with fault(bench):
                classes.append(outcome(verbs(face, bench)[verb]))
        assert classes[0] is classes[1], (name, verb)
    other = bench.other_face()
    store.close()
    for verb, call in verbs(store, bench).items():
        assert outcome(call) is outcome(verbs(other, bench)[verb]) is StoreClosed


def outcome(call: Callable[[], object]) -> type | None:
    """Return the class of what the call raises, or None."""
    try:
        call()
    except Exception as error:
        return type(error)
    return None


def test_asynchronous_listings_are_not_awaited(face_bench: Bench) -> None:
    """PARITY-4: all and owned_by of the asynchronous face are asynchronous iterators at once."""
    face_bench.put(owner="ann")
    face = as_async(face_bench.opened[0])

    async def main() -> None:
        for listing in (face.all(), face.owned_by("ann")):
            assert isinstance(listing, AsyncIterator)
            assert not inspect.isawaitable(listing)
            assert [key async for key, _ in listing] == ["key"]

    anyio.run(main)


# Faults


@contextmanager
def no_descriptors(bench: Bench) -> Iterator[None]:
    """Let the system refuse to open any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def small_files(bench: Bench) -> Iterator[None]:
    """Let the system refuse to write more than a few bytes into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def away(part: str, *, by_file: bool) -> Callable[[Bench], AbstractContextManager[None]]:
    """Return what moves a part of the store away, and perhaps puts a file in its place."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        path = bench.folder / part
        aside = bench.folder.parent / "aside"
        path.rename(aside)
        if by_file:
            path.touch()
        try:
            yield
        finally:
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            aside.rename(path)

    return fault


#: All of them end with the block, and what was stored is there as before.
FAULTS: Final[dict[str, Callable[[Bench], AbstractContextManager[None]]]] = {
    "no descriptors": no_descriptors,
    "no folder": away("", by_file=False),
    "a file for the folder": away("", by_file=True),
    "a file for the records": away("records", by_file=True),
    "no records": away("records", by_file=False),
}
#: They touch the owner index alone.
OWNER_FAULTS: Final = {
    "a file for the owners": away("owners", by_file=True),
    "no owners": away("owners", by_file=False),
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@each_fault
@pytest.mark.parametrize("verb", ["get", "all", "length", "owned_by"])
def test_a_read_that_fails_raises(
    bench: Bench,
    store: Store,
    fault: Callable[[Bench], AbstractContextManager[None]],
    verb: str,
) -> None:
    """FAULT-1, FAULT-4, FAULT-5, FAULT-7: no failed read is an empty one, and it passes."""
    record = bench.put(owner="ann")
    with fault(bench), pytest.raises(StoreUnavailable) as caught:
        pytest.fail(f"{verb} returned {verbs(store, bench)[verb]()!r}")
    assert has_a_cause(caught.value)
    assert store.get("key") == record
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert store.set("key", record, PRESENT) is True


@each_fault
@pytest.mark.parametrize("verb", ["set", "destroy", "touch"])
def test_a_write_that_fails_raises(
    bench: Bench,
    store: Store,
    fault: Callable[[Bench], AbstractContextManager[None]],
    verb: str,
) -> None:
    """FAULT-2, FAULT-4, FAULT-5, FAULT-7: no failed write says that it had nothing to do."""
    record = bench.put(owner="ann")
    with fault(bench), pytest.raises(StoreUnavailable) as caught:
        pytest.fail(f"{verb} returned {verbs(store, bench)[verb]()!r}")
    assert has_a_cause(caught.value)
    assert store.get("key") == record
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert verbs(store, bench)[verb]() is True


def has_a_cause(error: StoreError) -> bool:
    """Tell whether the error names the system's."""
    return isinstance(error.__cause__, OSError)


@pytest.mark.parametrize("fault", OWNER_FAULTS.values(), ids=OWNER_FAULTS)
def test_a_lost_owner_index_is_no_empty_one(
    bench: Bench, store: Store, fault: Callable[[Bench], AbstractContextManager[None]]
) -> None:
    """FAULT-1, FAULT-7, OWNER-1: an index that cannot be read is not an empty one."""
    record = bench.put(owner="ann")
    with fault(bench), pytest.raises(StoreError):
        pytest.fail(f"owned_by returned {list(store.owned_by('ann'))!r}")
    assert list(store.owned_by("ann")) == [("key", record)]


@each_fault
def test_faults_destroy_nothing(
    bench: Bench, store: Store, fault: Callable[[Bench], AbstractContextManager[None]]
) -> None:
    """FAULT-3, FAULT-7, OWNER-1: reading and cleaning while the system fails loses no index."""
    written = {f"key {number}": bench.put(f"key {number}", owner="ann") for number in range(5)}
    for verb, call in verbs(store, bench).items():
        if verb in ("set", "touch", "destroy", "clear"):
            continue
        with fault(bench), suppress(StoreError):
            call()
        store.ping()
        assert dict(store.all()) == written, verb
        assert dict(store.owned_by("ann")) == written, verb


@each_fault
def test_nothing_but_store_errors_comes_out(
    bench: Bench, store: Store, fault: Callable[[Bench], AbstractContextManager[None]]
) -> None:
    """FAULT-3: whatever the system says, each verb raises a StoreError or returns."""
    for verb, call in verbs(store, bench).items():
        bench.put(owner="ann")
        with fault(bench):
            found = outcome(call)
        assert found is None or issubclass(found, StoreError), verb
    with fault(bench):
        unused = verbs(bench.open(), bench)
        for verb, call in unused.items():
            found = outcome(call)
            assert found is None or issubclass(found, StoreError), verb


@pytest.mark.parametrize(
    "path",
    ["locks", "locks/stripe", "records/stripe", "coatcheck-file", "owners", "owners/outer"],
)
@pytest.mark.parametrize("how", ["removed", "file", "folder", "loop"])
def test_any_part_may_be_anything(bench: Bench, store: Store, path: str, how: str) -> None:
    """FAULT-3: whatever a part of the folder has become, only StoreErrors come out."""
    record = bench.put(owner="ann")
    path = path.replace("stripe", digest("key")[:2]).replace("outer", digest("ann")[:2])
    part = bench.folder / path
    part.rename(bench.folder.parent / "aside")
    match how:
        case "file":
            part.write_bytes(b"\0" * 50)
        case "folder":
            part.mkdir()
        case "loop":
            part.symlink_to(part)
    for handle in (store, bench.open()):
        for verb, call in verbs(handle, bench).items():
            found = outcome(call)
            assert found is None or issubclass(found, StoreError), (verb, found)
        for call in (
            lambda: handle.set("key", record),  # noqa: B023  # called at once
            lambda: handle.set("key", replace(record, owner="bob")),  # noqa: B023
        ):
            found = outcome(call)
            assert found is None or issubclass(found, StoreError), found


def test_the_cause_is_the_systems_error(bench: Bench, store: Store) -> None:
    """FAULT-4: the operator finds the system's own error as the cause."""
    bench.put(owner="ann")
    for verb, call in verbs(store, bench).items():
        with no_descriptors(bench), pytest.raises(StoreUnavailable) as caught:
            pytest.fail(f"{verb} returned {call()!r}")
        cause = caught.value.__cause__
        assert isinstance(cause, OSError), verb
        assert cause.errno == errno.EMFILE, verb
    with small_files(bench), pytest.raises(StoreUnavailable) as caught:
        store.set("key", bench.record(bytes(1 << 20)))
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.EFBIG


def test_a_folder_that_vanished(bench: Bench, store: Store) -> None:
    """FAULT-1, FAULT-4, FAULT-5, FAULT-7, FAULT-12: missed until it is back, not made again."""
    record = bench.put(owner="ann")
    aside = bench.folder.with_name("aside")
    bench.folder.rename(aside)
    for name, call in verbs(store, bench).items():
        with pytest.raises(StoreUnavailable) as caught:
            pytest.fail(f"{name} returned {call()!r}")
        assert has_a_cause(caught.value)
    assert not bench.folder.exists()
    aside.rename(bench.folder)
    assert store.get("key") == record
    assert store.get("other") is None
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", record)]
    assert store.set("key", record) is True


def test_a_lock_that_is_not_let_go(bench: Bench) -> None:
    """FAULT-6, FAULT-7: a call ends with StoreTimeout in time, and others do not wait."""
    limit = inspect.signature(FileStore).parameters["lock_timeout"].default
    assert 0 < limit <= 10
    store = bench.open(lock_timeout=0.1)
    record = bench.record(owner="ann")
    assert store.set("key", record) is True
    assert store.set("old", bench.record(life=1)) is True
    away_from = next(k for k in map(str, range(99)) if digest(k)[:2] != digest("key")[:2])
    waiting: dict[str, Callable[[], object]] = {
        "set": lambda: store.set("key", bench.record(b"new", "bob")),
        "destroy": lambda: store.destroy("key"),
        "touch": lambda: store.touch("key", NOW + 5),
        "clear": store.clear,
        "length": store.length,
        "all": lambda: list(store.all()),
    }
    with locked(bench):
        for name, call in waiting.items():
            begin = time.monotonic()
            with pytest.raises(StoreTimeout):
                pytest.fail(f"{name} returned {call()!r}")
            assert 0.09 < time.monotonic() - begin < 3
        assert store.get("key") == record
        assert list(store.owned_by("ann")) == [("key", record)]
        assert list(store.owned_by("bob")) == []
        assert store.set(away_from, record) is True
        assert store.prune(50) >= 0
    assert store.set("key", record, PRESENT) is True
    assert store.destroy("key") is True


def test_a_lock_that_another_thread_holds(bench: Bench) -> None:
    """FAULT-6: threads that share a store object wait no longer for each other than processes."""
    store = bench.open(lock_timeout=0.1)
    assert store.set("key", bench.record()) is True
    with locked(bench):
        begin = time.monotonic()
        calls = [lambda: outcome(lambda: store.set("key", bench.record()))] * 6
        assert at_once(*calls) == [StoreTimeout] * 6
        assert time.monotonic() - begin < 3
    assert store.set("key", bench.record()) is True


@both_loops
@pytest.mark.parametrize("verb", ["set", "destroy", "touch"])
def test_a_cancelled_call_ends(face_bench: Bench, backend: str, verb: str) -> None:
    """FAULT-8, FAULT-9: a cancelled task goes no further, and the record is old or new."""
    old = face_bench.put(owner="ann")
    new = face_bench.record(b"new", "bob", 5)
    face = as_async(face_bench.opened[0])
    calls: dict[str, Callable[[], Any]] = {
        "set": lambda: face.set("key", new),
        "destroy": lambda: face.destroy("key"),
        "touch": lambda: face.touch("key", new.expires_at),
    }

    async def main() -> None:
        passed = []

        async def act() -> None:
            await calls[verb]()
            await anyio.lowlevel.checkpoint()
            passed.append(verb)

        with locked(face_bench) as release:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act)
                await anyio.sleep(0.03)  # so that the call waits for the lock
                tasks.cancel_scope.cancel()
                release()
            assert passed == []
        found = await face.get("key")
        touched = replace(old, expires_at=new.expires_at)
        assert found in {"set": (old, new), "destroy": (old, None), "touch": (old, touched)}[verb]
        owner = found.owner if found else None
        for name in ("ann", "bob"):
            owned = [key async for key, _ in face.owned_by(name)]
            assert owned == (["key"] if owner == name else [])
        assert await face.set("key", old) is True
        assert await face.get("key") == old

    anyio.run(main, backend=backend)


def test_a_task_cancelled_by_asyncio_ends(face_bench: Bench) -> None:
    """FAULT-8: a cancellation that asyncio itself delivers comes out, and nothing else."""
    old = face_bench.put()
    face = as_async(face_bench.opened[0])

    async def main() -> None:
        with locked(face_bench) as release:
            task = asyncio.ensure_future(face.set("key", old))
            await asyncio.sleep(0.03)  # so that the call waits for the lock
            task.cancel()
            release()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await face.set("key", old) is True
        assert await face.get("key") == old

    anyio.run(main)


@pytest.mark.parametrize("before", [True, False])
def test_a_write_that_fails_on_the_way_is_not_seen(
    bench: Bench, store: Store, before: bool
) -> None:
    """FAULT-9, FAULT-2: of a write that the disk refused half way nothing is there."""
    record = bench.put(owner="ann") if before else None
    bench.put("other")
    for condition in (ALWAYS, PRESENT if before else ABSENT):
        with small_files(bench), pytest.raises(StoreUnavailable):
            store.set("key", bench.record(bytes(1 << 20)), condition)
        for handle in (store, bench.open()):
            assert handle.get("key") == record
            assert handle.length() == len(list(handle.all())) == 1 + before
    assert store.set("key", bench.record(b"new"), PRESENT) is before


@each_fault
@pytest.mark.parametrize("verb", ["all", "owned_by"])
def test_a_listing_that_fails_on_the_way_raises(
    bench: Bench,
    store: Store,
    fault: Callable[[Bench], AbstractContextManager[None]],
    verb: str,
) -> None:
    """FAULT-10: what could not be read to its end does not look complete."""
    written = {f"key {number}": bench.put(f"key {number}", owner="ann") for number in range(8)}
    listing = store.all() if verb == "all" else store.owned_by("ann")
    found = [next(listing)]
    with fault(bench), pytest.raises(StoreError):
        found.extend(listing)
    assert 0 < len(found) < 8
    assert dict(store.all()) == dict(store.owned_by("ann")) == written


@each_fault
def test_ping_tells_of_faults(
    bench: Bench, store: Store, fault: Callable[[Bench], AbstractContextManager[None]]
) -> None:
    """FAULT-12: ping raises as long as the system fails, and returns afterwards."""
    bench.put()
    for _ in range(2):
        store.ping()
        with fault(bench):
            for _ in range(2):
                with pytest.raises(StoreError):
                    store.ping()
        store.ping()
        store.get("key")


# What nobody else may see


def test_no_credential_is_shown(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """SECRET-1: a password in a URL that is refused is in no message, log or traceback."""
    password = "hunter2"
    caplog.set_level(logging.DEBUG)
    opener: Callable[..., object] = open_async_store if bench.is_async else open_store
    for url in (
        "file://ann:{}@localhost/a",
        "file://{}@host/a",
        "file://ann:{}@[::1/a",
        "file:///a?password={}",
        "file:///a?{}",
        "file:///a?durability=full&token={}",
        "file:///a#{}",
    ):
        for call in (opener, FileStore.from_url):
            with pytest.raises(ConfigurationError) as caught:
                call(url.format(password))
            shown = "".join(traceback.format_exception(caught.value))
            assert password not in shown + repr(caught.value)
    assert password not in caplog.text


def test_no_key_data_or_owner_is_shown(
    bench: Bench, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """SECRET-2, SECRET-3, SECRET-4: no error, traceback, log line or repr quotes what is stored."""
    caplog.set_level(logging.DEBUG)
    key, owner, data = "k3yof", "0wner", b"d4tum"
    secrets = [key, owner, data.decode()]
    bench.folder.mkdir(mode=0o755)
    record = bench.record(data, owner)
    quick = bench.open(lock_timeout=0.01)
    calls: list[Callable[[], object]] = [
        lambda: quick.get(key),
        lambda: quick.set(key, record),
        lambda: quick.set(key, replace(record, data=data * 50_000), Unchanged(data)),
        lambda: quick.destroy(key, Unchanged(data + b"x")),
        lambda: quick.touch(key, NOW + 5, owner),
        lambda: list(quick.all()),
        lambda: list(quick.owned_by(owner)),
        quick.length,
        quick.ping,
        lambda: quick.prune(5),
    ]
    texts: list[str] = []
    errors: list[BaseException] = []

    def note(call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    for fault in (*FAULTS.values(), *OWNER_FAULTS.values(), small_files):
        quick.set(key, record)
        for call in calls:
            with fault(bench):
                note(call)
    quick.set(key, record)
    with locked(bench, key):
        for call in calls:
            note(call)
    for damage in DAMAGES.values():
        shutil.rmtree(bench.folder)
        bench.folder.mkdir()
        fresh = bench.open()
        fresh.set(key, record)
        fresh.set("other", record)
        damage(bench.path(key))
        for call in (lambda: fresh.get(key), lambda: list(fresh.all())):  # noqa: B023
            note(call)
        texts.append(repr(fresh))
    quick.close()
    for call in calls:
        note(call)
    assert {StoreUnavailable, StoreTimeout, StoreClosed} <= {type(error) for error in errors}
    for error in errors:
        texts += [str(error), repr(error), *traceback.format_exception(error)]
    assert "damaged" in caplog.text
    texts += [caplog.text, *(repr(item.args) for item in caplog.records)]
    texts += [repr(store), repr(quick), repr(bench.opened), repr(record), repr(Unchanged(data))]
    for text in texts:
        assert [secret for secret in secrets if secret in text] == []


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.mkdir, (str(self.path),))


def test_data_are_never_executed(bench: Bench, store: Store) -> None:
    """SECRET-5: neither pickles nor programs run, as data or in the place of a record."""
    sprung = bench.folder.parent / "sprung"
    program = f"__import__('os').mkdir({str(sprung)!r})"
    traps = [pickle.dumps(Trap(sprung), protocol) for protocol in range(6)]
    traps += [program.encode(), f"!!python/object/apply:os.mkdir [{sprung}]".encode()]
    for trap in traps:
        record = bench.put(data=trap, owner=program)
        assert store.get("key") == record
        assert list(store.all()) == list(store.owned_by(program)) == [("key", record)]
        assert store.set("key", record, Unchanged(trap)) is True
        rewritten(lambda content: trap)(bench.path())  # noqa: B023  # called at once
        assert store.get("key") is None
        assert list(store.all()) == []
        store.length()
        store.touch("key", NOW + DAY)
        store.destroy("key")
    assert not sprung.exists()
    pickle.loads(traps[0])
    assert sprung.is_dir()


def test_files_are_the_users_own(bench: Bench, store: Store) -> None:
    """SECRET-6: whatever the umask is, nobody else can read what the store makes."""
    before = os.umask(0)
    try:
        bench.put(owner="ann")
        store.touch("key", NOW + 2 * DAY)
        bench.put("other", life=9_000 * DAY)
        store.prune()
        store.ping()
    finally:
        os.umask(before)
    made = [bench.folder, *bench.folder.rglob("*")]
    assert len(made) > 8
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


# What it takes


class Crowds(NamedTuple):
    """A folder with a few sessions and one with many, in one and the same part of it."""

    few: Path
    many: Path
    keys: list[str]


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> Crowds:
    folder = tmp_path_factory.mktemp("crowds")
    crowd = [key for key in map(str, range(300_000)) if digest(key).startswith("00")]
    assert len(crowd) > 1000
    for name, size in (("few", 4), ("many", len(crowd))):
        store = FileStore(folder / name, durability="process", clock=Clock())
        for number, key in enumerate(crowd[:size]):
            owner = "ann" if number < 3 else f"owner {number % 20}"
            store.set(key, Record(b"data", NOW + DAY, owner))
        store.close()
    return Crowds(folder / "few", folder / "many", crowd)


def shortest(*calls: Callable[[], object]) -> list[float]:
    """Return the seconds that each call takes if nothing gets in its way."""
    times = [float("inf")] * len(calls)
    for _ in range(40):
        for number, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            times[number] = min(times[number], time.perf_counter() - begin)
    return times


@pytest.mark.parametrize("verb", ["get", "set", "destroy", "touch", "owned_by"])
def test_the_cost_does_not_grow_with_the_crowd(bench: Bench, crowds: Crowds, verb: str) -> None:
    """COST-1, COST-7: with hundreds of times the records a call takes about as long."""
    key, record = crowds.keys[0], bench.record(owner="ann")

    def call_of(store: Store) -> Callable[[], object]:
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: store.get(key),
            "set": lambda: store.set(key, record),
            "destroy": lambda: (store.destroy(key), store.set(key, record)),
            "touch": lambda: store.touch(key, record.expires_at),
            "owned_by": lambda: list(store.owned_by("ann")),
        }
        return calls[verb]

    stores = [bench.open(crowds.few), bench.open(crowds.many)]
    few, many = shortest(*map(call_of, stores))
    assert many - few < 0.2 * few + 0.0003
    for store in stores:
        assert keys(store.owned_by("ann")) == sorted(crowds.keys[:3])


def test_all_holds_few_records_at_a_time(bench: Bench, store: Store) -> None:
    """COST-8: listing many megabytes takes the memory of a few records."""
    size = 1 << 18
    for number in range(40):
        bench.put(f"key {number}", bytes(size), "ann")
    for listing in (store.all, lambda: store.owned_by("ann")):
        count = 0
        tracemalloc.start()
        try:
            for _, record in listing():
                count += len(record.data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == 40 * size
        assert peak < 10 * size


COUNTING: Final = """
import sys
from coatcheck import Record
from coatcheck_file import FileStore
store = FileStore(sys.argv[1], durability="process", clock=lambda: now)
now = 1000.0
for number in range(50):
    store.set(f"key {number}", Record(b"data", now + 1 + number % 2, "ann"))
now += 1
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
read = [path for path in opened if path.count("/records/") and len(path.split("/")[-1]) > 60]
print(store.length(), store.prune(), read)
"""


def test_counting_and_cleaning_read_no_data(tmp_path: Path) -> None:
    """COST-3, COST-4: length and prune open no record."""
    assert run_python(COUNTING, tmp_path / "sessions") == "25 25 []\n"


# All of it


def test_every_clause_that_binds_is_tested() -> None:
    """Each clause of the contract that binds the file store is named by a test in this folder."""
    here = Path(__file__)
    document = here.parents[3] / "docs" / "contract.md"
    rows = re.findall(
        r"^\| ([A-Z]+-\d+) \| (\w+) \| (\S+) \|", document.read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 150
    declared = FileStore.capabilities
    binding = set()
    for clause, level, capability in rows:
        name, _, negated = capability.partition("=")
        has_it = name == "-" or getattr(declared, name) not in (False, None, 0.0)
        if level != "recommended" and has_it is not bool(negated):
            binding.add(clause)
    named = set()
    for path in here.parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                head = re.match(r"(?:[A-Z]+-\d+(?:, |:))+", ast.get_docstring(node) or "")
                named |= set(re.findall(r"[A-Z]+-\d+", head[0])) if head else set()
    assert named <= {clause for clause, _, _ in rows}
    assert named.isdisjoint(NOT_APPLICABLE)
    assert sorted(binding - named) == sorted(NOT_APPLICABLE)
