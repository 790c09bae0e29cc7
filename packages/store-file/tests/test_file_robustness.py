"""What an operator's bad day must not do: full disks, signals, restarts, other versions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coatcheck import ABSENT, Record
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck_file import FileStore

NOW = 1_700_000_000.0


class Clock:
    """A clock that is set."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[FileStore]:
    store = FileStore(tmp_path / "sessions", durability="process", clock=clock)
    yield store
    store.close()


def files(store: FileStore, folder: str = "records") -> list[Path]:
    return [path for path in (store.folder / folder).rglob("*") if path.is_file()]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may become larger than that many bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_writes_that_fail_leave_nothing_and_make_room(store: FileStore, clock: Clock) -> None:
    """PRUNE-7, FAULT-9: a write that finds no room removes what has expired all the same."""
    for number in range(40):
        store.set(f"old {number}", Record(b"x", NOW + 1, "ann"))
    clock.now += 1
    with full_disk(2000):
        for number in range(400):
            with pytest.raises(StoreError):
                store.set(f"new {number}", Record(b"x" * 4000, NOW + 60))
    assert files(store) == []
    assert files(store, "owners") == []
    assert store.set("new", Record(b"x" * 4000, NOW + 60))


def test_handles_that_live_for_one_write_sweep_everything(
    store: FileStore, clock: Clock, tmp_path: Path
) -> None:
    """PRUNE-7: scripts that end after a write have no cron job, either."""
    for number in range(300):
        owner = f"user {number // 2}" if number % 3 else None
        store.set(f"old {number}", Record(b"x", NOW + 1, owner))
    clock.now += 1
    for _ in range(6000):
        short = FileStore(tmp_path / "sessions", durability="process", clock=clock)
        short.set("key", Record(b"x", NOW + 60))
        short.close()
        if len(files(store)) == 1 and not files(store, "owners"):
            break
    assert len(files(store)) == 1
    assert files(store, "owners") == []


INTERRUPTED = """
import signal, sys, time
from coatcheck import Record
from coatcheck_file import FileStore

store = FileStore(sys.argv[1], durability="process", lock_timeout=0.5)
interrupted = 0

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
end = time.monotonic() + 3
while time.monotonic() < end:
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
print(interrupted > 100, store.length(), len(list(store.owned_by("ann"))))
"""

CLOSED = """
import signal, sys, time
from coatcheck import Record
from coatcheck.errors import StoreClosed
from coatcheck_file import FileStore

for _ in range(200):
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


def run(script: str, folder: Path) -> str:
    """Return the output of a fresh interpreter, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_exceptions_of_signal_handlers_leave_no_lock(tmp_path: Path) -> None:
    """FAULT-7, FAULT-8: workers are interrupted at any instruction, and go on."""
    assert run(INTERRUPTED, tmp_path / "sessions") == "True 256 256\n"


def test_closing_in_a_signal_handler(tmp_path: Path) -> None:
    """LIFE-4, LIFE-5: a handler of SIGTERM may close the store in the middle of a write."""
    assert run(CLOSED, tmp_path / "sessions") == "done\n"


def test_another_version_s_folder_is_not_an_empty_one(store: FileStore, clock: Clock) -> None:
    """FAULT-1: after an update that was taken back nobody is logged out, nothing is cleared."""
    store.set("key", Record(b"x", NOW + 60, "ann"))
    (store.folder / "coatcheck-file").write_text("coatcheck-file 2\n")
    older = FileStore(store.folder, clock=clock)
    calls = [
        lambda: older.get("key"),
        lambda: older.set("key", Record(b"y", NOW + 60)),
        lambda: older.destroy("key"),
        lambda: older.touch("key", NOW + 90),
        lambda: list(older.all()),
        lambda: list(older.owned_by("ann")),
        older.length,
        older.clear,
        older.prune,
        older.ping,
    ]
    for call in calls:
        with pytest.raises(StoreError, match="not the one of this version"):
            call()
    assert store.get("key") == Record(b"x", NOW + 60, "ann")


def test_an_expiry_after_2038_is_covered_by_the_checksum(store: FileStore) -> None:
    """GET-4: a file whose expiry was changed is damaged, as one whose data were."""
    store.set("key", Record(b"x", 4e9))
    [path] = files(store)
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[13] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert store.get("key") is None
    assert [found for found, _ in store.damaged()] == [path]


def test_a_huge_file_in_a_session_s_place_is_not_read(store: FileStore) -> None:
    """GET-4, SET-16, ENUM-5: what is not ours is not loaded into memory to find that out."""
    store.set("key", Record(b"x", NOW + 60))
    [path] = files(store)
    status = path.stat()
    os.truncate(path, 8 * 2**40)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert store.get("key") is None
    assert list(store.all()) == []
    assert store.set("key", Record(b"y", NOW + 60), ABSENT)
    assert store.get("key") == Record(b"y", NOW + 60)


@pytest.mark.parametrize("suffix", ["", ".new"])
def test_a_folder_in_a_session_s_place_is_put_aside(store: FileStore, suffix: str) -> None:
    """SET-16: whatever is in the way of a session, its key is not lost for ever, nor is that."""
    store.set("key", Record(b"x", NOW + 60))
    [path] = files(store)
    path.unlink()
    (path.parent / (path.name + suffix)).mkdir()
    (path.parent / (path.name + suffix) / "thing").write_text("somebody's")
    assert store.set("key", Record(b"y", NOW + 60))
    assert store.get("key") == Record(b"y", NOW + 60)
    assert [found.read_text() for found in path.parent.rglob("thing")] == ["somebody's"]


def test_what_cannot_be_removed_does_not_keep_the_rest(store: FileStore, clock: Clock) -> None:
    """PRUNE-4, FAULT-2: one file that cannot be removed is an error after all others are gone."""
    for number in range(30):
        store.set(f"old {number}", Record(b"x", NOW + 1))
    clock.now += 1
    stuck = files(store)[7]
    if subprocess.run(["chattr", "+i", stuck], capture_output=True).returncode:
        pytest.skip("the file system has no immutable files, or this user cannot make them")
    try:
        with pytest.raises(StoreError):
            store.prune()
        assert files(store) == [stuck]
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    assert store.prune() == 1


@pytest.mark.parametrize(
    ("folder", "options", "named"),
    [
        ("/", {}, "root"),
        ("a\0b", {}, "`folder`"),
        ("a\ud800b\udfff", {}, "`folder`"),
        ("", {}, "`folder`"),
        ("file:///var/lib/sessions", {}, "from_url"),
        ("sessions", {"durability": "FULL"}, "`durability`"),
        ("sessions", {"lock_timeout": 0}, "`lock_timeout`"),
        ("sessions", {"lock_timeout": "5"}, "`lock_timeout`"),
        ("sessions", {"lock_timeout": float("nan")}, "`lock_timeout`"),
    ],
)
def test_wrong_options(folder: str, options: dict[str, object], named: str) -> None:
    """Each is refused at construction, by name."""
    with pytest.raises(ConfigurationError, match=named):
        FileStore(folder, **options)  # type: ignore[arg-type]


def test_the_command_line(tmp_path: Path) -> None:
    """`check` counts what can be read and names what cannot; `prune` removes; both say why not."""
    store = FileStore(tmp_path / "sessions", durability="process")
    url = f"file://{tmp_path}/sessions"
    assert tool("check", url) == (2, "", f"error: there is no file store in {store.folder}\n")
    for key in ("whole", "broken"):
        store.set(key, Record(b"x", time.time() + 60))
    assert tool("check", url) == (0, "live sessions: 2; damaged files: 0\n", "")
    path = next(path for path in files(store) if b"broken" in path.read_bytes())
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"y")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    code, output, errors = tool("check", url)
    assert (code, errors) == (1, "")
    assert output == (
        f"damaged: {path}: its checksum is wrong\nlive sessions: 1; damaged files: 1\n"
    )
    os.utime(path, (1, 1))
    assert tool("prune", url) == (0, "expired sessions that were removed: 1\n", "")
    assert files(store) != [path]
    assert tool("prune", f"{url}?durable=1")[0] == 2


def tool(*arguments: str) -> tuple[int, str, str]:
    """Return the exit status, output and errors of ``python -m coatcheck_file``."""
    result = subprocess.run(
        [sys.executable, "-m", "coatcheck_file", *arguments], capture_output=True, text=True
    )
    return result.returncode, result.stdout, result.stderr
