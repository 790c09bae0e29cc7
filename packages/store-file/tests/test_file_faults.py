"""Refusals of the system, missing files and signals are errors, and lose nothing."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from on_disk import DAY, NOW, Clock, digest, full_disk, index_entries, record_files

from coatcheck import ALWAYS, PRESENT, Condition, Record
from coatcheck.errors import StoreError, StoreUnavailable
from coatcheck_file import FileStore
from testing.interrupts import interrupted

#: What no error and no line of the log may show.
KEY, DATA, OWNER = SECRETS = "k3yof", "d4tum", "0wner"
RECORD: Final = Record(DATA.encode(), NOW + DAY, OWNER)


def operations(store: FileStore) -> dict[str, Callable[[], object]]:
    """Return a call of each operation."""
    return {
        "get": lambda: store.get(KEY),
        "set": lambda: store.set(KEY, RECORD, PRESENT),
        "set for another owner": lambda: store.set(KEY, replace(RECORD, owner="bob")),
        "destroy": lambda: store.destroy(KEY),
        "touch": lambda: store.touch(KEY, NOW + 2 * DAY),
        "all": lambda: list(store.all()),
        "length": store.length,
        "owned_by": lambda: list(store.owned_by(OWNER)),
        "ping": store.ping,
        "prune": store.prune,
        "prune with a limit": lambda: store.prune(10),
        "clear": store.clear,
    }


@contextmanager
def no_descriptors(folder: Path) -> Iterator[None]:
    """Let the system refuse to open any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def away(part: str, *, by_file: bool) -> Callable[[Path], AbstractContextManager[None]]:
    """Return what moves a part of the store away, and perhaps puts a file in its place."""

    @contextmanager
    def fault(folder: Path) -> Iterator[None]:
        path, aside = folder / part, folder.with_name("aside")
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


Fault: TypeAlias = Callable[[Path], AbstractContextManager[None]]

#: Each hits every operation, ends with its block, and leaves what was stored.
FAULTS: Final[dict[str, Fault]] = {
    "no descriptors": no_descriptors,
    "no folder": away("", by_file=False),
    "a file for the folder": away("", by_file=True),
    "no records": away("records", by_file=False),
    "a file for the records": away("records", by_file=True),
}
OWNER_FAULTS: Final[dict[str, Fault]] = {
    "no owners": away("owners", by_file=False),
    "a file for the owners": away("owners", by_file=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_the_system_refuses_is_an_error(
    store: FileStore, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing or failing file is an error, never an empty store, and loses nothing."""
    written = dict.fromkeys((KEY, *map(str, range(4))), RECORD)
    for key, record in written.items():
        store.set(key, record)
    for name, operation in operations(store).items():
        store.ping()
        with fault(store.folder), pytest.raises(StoreUnavailable) as caught:
            pytest.fail(f"{name} returned {operation()!r}")
        assert str(store.folder) in str(caught.value), name
        if name != "ping":
            assert isinstance(caught.value.__cause__, OSError), name
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert [secret for secret in SECRETS if secret in shown] == []
        assert dict(store.all()) == dict(store.owned_by(OWNER)) == written, name
        assert list(store.owned_by("bob")) == []
    for listing in (store.all(), store.owned_by(OWNER)):
        next(listing)
        with fault(store.folder), pytest.raises(StoreUnavailable):
            list(listing)
    assert operations(store)["set"]() is True
    store.ping()


def test_the_error_of_a_removed_folder_says_what_to_do(store: FileStore) -> None:
    """Each operation names both ways out, and both work."""
    store.set(KEY, RECORD)
    aside = store.folder.rename(store.folder.with_name("aside"))
    for name, operation in operations(store).items():
        with pytest.raises(StoreUnavailable, match=r"bring it back .* restart the application"):
            pytest.fail(f"{name} returned {operation()!r}")
    aside.rename(store.folder)
    assert store.get(KEY) == RECORD
    shutil.rmtree(store.folder)
    restarted = FileStore(store.folder, clock=Clock())
    assert restarted.get(KEY) is None
    restarted.set(KEY, RECORD)
    assert restarted.get(KEY) == RECORD


@pytest.mark.parametrize("fault", OWNER_FAULTS.values(), ids=OWNER_FAULTS)
def test_a_lost_owner_index_is_an_error(store: FileStore, fault: Fault) -> None:
    """An index that cannot be read is not an empty one, and reading does not empty it."""
    store.set(KEY, RECORD)
    for name, operation in operations(store).items():
        with fault(store.folder):
            if name in ("owned_by", "set for another owner", "prune"):
                with pytest.raises(StoreUnavailable):
                    pytest.fail(f"{name} returned {operation()!r}")
            elif name not in ("destroy", "clear"):
                with suppress(StoreError):
                    operation()
        store.set(KEY, RECORD)
        assert list(store.owned_by(OWNER)) == [(KEY, RECORD)], name


@pytest.mark.parametrize(
    "part",
    [
        "locks",
        "locks/{0}",
        "records/{0}",
        "coatcheck-file",
        "owners",
        "owners/{1}",
        "owners/{1}/{2}",
    ],
)
@pytest.mark.parametrize("how", ["removed", "file", "folder", "loop", "dangling"])
def test_any_part_may_be_anything(store: FileStore, clock: Clock, part: str, how: str) -> None:
    """Whatever a part of the folder has become, nothing but StoreErrors comes out."""
    store.set(KEY, RECORD)
    owner = digest(OWNER)
    path = store.folder / part.format(digest(KEY)[:2], owner[:2], owner[2:])
    path.rename(store.folder.with_name("aside"))
    match how:
        case "file":
            path.write_bytes(b"\0" * 50)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to("nowhere")
    fresh = FileStore(store.folder, durability="process", clock=clock)
    for handle in (store, fresh):
        for operation in operations(handle).values():
            with suppress(StoreError):
                operation()
        with suppress(StoreError):
            handle.set(KEY, RECORD)


def test_another_version_s_folder_is_not_an_empty_one(store: FileStore, clock: Clock) -> None:
    """After an update that was taken back nobody is logged out, and nothing is cleared."""
    store.set(KEY, RECORD)
    (store.folder / "coatcheck-file").write_text("coatcheck-file 2\n")
    older = FileStore(store.folder, clock=clock)
    for operation in operations(older).values():
        with pytest.raises(StoreError, match="not the one of this version"):
            operation()
    assert store.get(KEY) == RECORD


# Full disks


@pytest.mark.parametrize("condition", [ALWAYS, PRESENT], ids=str)
def test_a_full_disk_changes_nothing(store: FileStore, condition: Condition) -> None:
    """A write that the disk refuses half way leaves the session, its owner and no other file."""
    large = Record(bytes(1 << 20), NOW + DAY, "bob")
    store.set(KEY, RECORD)
    with full_disk(), pytest.raises(StoreUnavailable) as caught:
        store.set(KEY, large, condition)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert store.get(KEY) == RECORD
    assert list(store.owned_by(OWNER)) == [(KEY, RECORD)]
    assert list(store.owned_by("bob")) == []
    assert len(record_files(store)) == len(index_entries(store)) == 1
    assert store.set(KEY, large, condition)
    assert list(store.owned_by("bob")) == [(KEY, large)]


def test_writes_on_a_full_disk_make_room(store: FileStore, clock: Clock) -> None:
    """A write that finds no room still removes expired sessions."""
    for number in range(40):
        store.set(f"old {number}", Record(b"x", NOW + 1, OWNER))
    clock.now += 1
    with full_disk():
        for number in range(400):
            with pytest.raises(StoreError):
                store.set(f"new {number}", Record(b"x" * 4000, NOW + 60))
    assert record_files(store) == set()
    assert index_entries(store) == set()
    assert store.set("new", Record(b"x" * 4000, NOW + 60))


# Signals

INTERRUPTED = """
import signal, sys, time
from coatcheck import Record
from coatcheck_file import FileStore

store = FileStore(sys.argv[1], durability="process", lock_timeout=0.5)
interrupted = 0

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end or interrupted < 100:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + interrupted % 50 * 1e-5)
        while True:
            store.set(f"key {interrupted % 20}", Record(b"x", time.time() + 60, "ann"))
            store.prune(3)
    except KeyboardInterrupt:
        interrupted += 1  # and the timer does not run until it is set again
for number in range(256):
    store.set(f"key {number}", Record(b"x", time.time() + 60, "ann"))
store.prune()
print(store.length(), len(list(store.owned_by("ann"))))
"""

CLOSED = """
import signal, sys, time
from coatcheck import Record
from coatcheck.errors import StoreClosed
from coatcheck_file import FileStore

for _ in range(int(sys.argv[2])):
    store = FileStore(sys.argv[1], durability="process")
    signal.signal(signal.SIGALRM, lambda *_: store.close())
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        while True:
            store.set("key", Record(b"x", time.time() + 60))
    except StoreClosed:
        pass
print("done")
"""


def run(script: str, *arguments: object) -> str:
    """Return the output of a fresh interpreter, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("seconds", [0.5, pytest.param(10, marks=pytest.mark.slow)])
def test_exceptions_of_signal_handlers_leave_no_lock(folder: Path, seconds: float) -> None:
    """Workers that are interrupted at any instruction go on."""
    assert run(INTERRUPTED, folder / "sessions", seconds) == "256 256\n"


@pytest.mark.parametrize("durability", ["full", "process"])
def test_exceptions_of_signal_handlers_leave_no_file_open(folder: Path, durability: str) -> None:
    """A worker with a time limit must not run out of descriptors after some thousand."""
    interrupted(f"file:{folder}/sessions?durability={durability}", 500)


@pytest.mark.parametrize("times", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_closing_in_a_signal_handler(folder: Path, times: int) -> None:
    """A handler of SIGTERM may close the store in the middle of a write."""
    assert run(CLOSED, folder / "sessions", times) == "done\n"
