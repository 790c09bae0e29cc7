"""Several processes on one folder: races, a write seen at once, forks, kills and stops.

Each process is a fresh interpreter that runs a small script. None is forked from pytest's
process, which may have threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from coatcheck import Record
from coatcheck.errors import StoreTimeout
from coatcheck_file import FileStore

Process: TypeAlias = "subprocess.Popen[str]"

LATER: Final = time.time() // 1 + 3600
#: A date that not every file system can keep.
AFTER_2038: Final = 4_102_444_800.0
PROCESSES: Final = 4

posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such signals")

PRELUDE: Final = f"""
import json, os, signal, sys, threading, time, traceback
from pathlib import Path
from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck_file import FileStore

LATER, AFTER_2038 = {LATER}, {AFTER_2038}
folder, number = Path(sys.argv[1]), int(sys.argv[2])
store = FileStore(folder, durability="process")

def say(what):
    print(json.dumps(what), flush=True)

def end_after(seconds):  # a process that hangs
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)

end_after(30)
"""


@contextmanager
def running(folder: Path, script: str, number: int = 0) -> Iterator[Process]:
    """Run a script, which has a store and a number, and end it with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(folder), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: Process, what: str) -> None:
    """Write a line to a process."""
    assert process.stdin is not None
    print(what, file=process.stdin, flush=True)


def said(process: Process) -> Any:
    """Return what a process says next."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process has ended; its traceback is on standard error"
    return json.loads(line)


def ask(process: Process, expression: str) -> Any:
    """Return the value of an expression in a process that runs OBEY."""
    tell(process, expression)
    return said(process)


OBEY: Final = """
for line in sys.stdin:
    say(eval(line))
"""

RACE: Final = """
def run(job):
    names = {**globals(), "folder": Path(job["folder"])}
    names["store"] = FileStore(names["folder"], durability="process")
    exec(job["define"], names)
    act = compile(job["act"], "act", "eval")
    say("ready")
    start = float(sys.stdin.readline())
    results = []
    for n in range(job["passes"]):
        names |= {"n": n, "key": f"key {n}"}
        # All processes act at the same instant.
        time.sleep(max(0, start + n * job["pause"] - time.monotonic()))
        results.append(eval(act, names))
    return results

for line in sys.stdin:
    end_after(30)
    try:
        say(run(json.loads(line)))
    except Exception:
        say(traceback.format_exc())
"""

#: Lets several processes evaluate an expression each, pass by pass.
Race: TypeAlias = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def racers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    """Processes for all races: starting them takes longer than a race."""
    unused = tmp_path_factory.mktemp("unused")
    with ExitStack() as stack:
        yield [stack.enter_context(running(unused, RACE, n)) for n in range(PROCESSES)]


@pytest.fixture
def race(folder: Path, racers: list[Process]) -> Race:
    """Runs a race in the test's folder."""

    def run(
        acts: list[str], passes: int, *, define: str = "", pause: float = 0.003
    ) -> list[tuple[Any, ...]]:
        """Return for each pass the results in the order of the expressions.

        :param acts: one for each process; `key` is another one in each pass `n`.
        :param define: what the expressions need.
        :param pause: seconds from one pass to the next.
        """
        job = {"folder": str(folder), "define": define, "passes": passes, "pause": pause}
        for racer, act in zip(racers, acts, strict=True):
            tell(racer, json.dumps(job | {"act": act}))
        for racer in racers:
            assert said(racer) == "ready"
        # The monotonic clock is the machine's. All have read the line by then.
        start = time.monotonic() + 0.02
        for racer in racers:
            tell(racer, str(start))
        results = [said(racer) for racer in racers]
        for result in results:
            assert isinstance(result, list), result
        return list(zip(*results, strict=True))

    return run


@pytest.fixture(params=[60, pytest.param(600, marks=pytest.mark.slow)])
def passes(request: pytest.FixtureRequest) -> int:
    """How often processes meet."""
    return int(request.param)


@pytest.fixture
def store(folder: Path) -> FileStore:
    """This process's handle."""
    return FileStore(folder, durability="process")


def put(folder: Path, record: Callable[[int], Record], passes: int) -> None:
    """Put a record under the key of each pass, expired ones too."""
    store = FileStore(folder, durability="process", clock=lambda: 0)
    for n in range(passes):
        assert store.set(f"key {n}", record(n))


def old(n: int) -> Record:
    """Return a live record."""
    return Record(b"old", LATER, "ann")


# Races


def test_one_of_many_creates(race: Race, folder: Path, store: FileStore, passes: int) -> None:
    """One of the processes that create a key, absent or expired, succeeds."""
    put(folder, lambda n: Record(b"expired", 1.0), passes // 2)
    create = "store.set(key, Record(b'%d' % number, LATER, f'{number}'), ABSENT)"
    for n, written in enumerate(race([create] * PROCESSES, passes)):
        assert written.count(True) == 1
        winner = written.index(True)
        assert store.get(f"key {n}") == Record(b"%d" % winner, LATER, f"{winner}")


def test_one_of_many_replaces(race: Race, folder: Path, store: FileStore, passes: int) -> None:
    """One of the processes that replace the same bytes by different ones succeeds."""
    put(folder, old, passes)
    replace = "store.set(key, Record(b'%d' % number, LATER), Unchanged(b'old'))"
    for n, written in enumerate(race([replace] * PROCESSES, passes)):
        assert written.count(True) == 1
        assert store.get(f"key {n}") == Record(b"%d" % written.index(True), LATER)


def test_compare_and_set_counts(race: Race, store: FileStore, passes: int) -> None:
    """No increment of a counter by compare-and-set is lost between processes."""
    store.set("count", Record(b"0", LATER))
    increment = """
def increment():
    while True:
        count = store.get("count").data
        if store.set("count", Record(b"%d" % (int(count) + 1), LATER), Unchanged(count)):
            return True
"""
    race(["increment()"] * PROCESSES, passes, define=increment, pause=0)
    assert store.get("count") == Record(b"%d" % (PROCESSES * passes), LATER)


def test_one_of_many_destroys(race: Race, folder: Path, store: FileStore, passes: int) -> None:
    """Exactly one of the processes that destroy a record is told True."""
    put(folder, old, passes)
    results = race(["store.destroy(key)"] * PROCESSES, passes)
    assert [ended.count(True) for ended in results] == [1] * passes
    assert store.length() == 0


def test_destroyed_stays_destroyed(race: Race, folder: Path, store: FileStore, passes: int) -> None:
    """Neither PRESENT nor Unchanged revives what another process destroys."""
    put(folder, old, passes)
    acts = [
        "store.destroy(key)",
        "store.set(key, Record(b'new', LATER), PRESENT)",
        "store.set(key, Record(b'new', LATER), Unchanged(b'old'))",
        "store.set(key, Record(b'old', LATER, 'bob'), Unchanged(b'old'))",
    ]
    assert [ended for ended, *_ in race(acts, passes)] == [True] * passes
    assert store.length() == 0


@pytest.mark.parametrize("expires_at", ["LATER", "AFTER_2038"])
def test_touch_revives_nothing(
    race: Race, folder: Path, store: FileStore, passes: int, expires_at: str
) -> None:
    """A key that one process destroys while others touch it is absent."""
    put(folder, old, passes)
    touch = f"store.touch(key, {expires_at} + number, 'ann')"
    results = race(["store.destroy(key)", touch, touch, touch], passes)
    assert [ended for ended, *_ in results] == [True] * passes
    assert store.length() == 0


@pytest.mark.parametrize("expires_at", [LATER, AFTER_2038], ids=["LATER", "AFTER_2038"])
def test_touch_undoes_nothing(
    race: Race, folder: Path, store: FileStore, passes: int, expires_at: float
) -> None:
    """Data that one process writes while others touch the key are kept."""
    put(folder, old, passes)
    touch = f"store.touch(key, {expires_at} + number, 'ann')"
    write = f"store.set(key, Record(b'new' * 99, {expires_at}, 'bob'))"
    for n, returned in enumerate(race([write, touch, touch, touch], passes)):
        assert returned == (True,) * PROCESSES
        record = store.get(f"key {n}")
        assert record is not None
        assert (record.data, record.owner) == (b"new" * 99, "bob")
        assert record.expires_at - expires_at in range(PROCESSES)


#: The writer goes on until each reader has seen enough changes.
READING: Final = """
def watch(enough):
    last, changes = None, 0
    try:
        while changes < enough:
            record = store.get("key")
            if record is None:
                return "there is none"
            if not is_whole(record):
                return f"a mixture: {len(record.data)} bytes until {record.expires_at}"
            changes += record != last
            last = record
        return True
    finally:
        (folder / f"seen {number}").touch()

def write():
    n = 0
    while not all((folder / f"seen {reader}").exists() for reader in (1, 2, 3)):
        n += 1
        change(n)
    return True
"""


def watched(race: Race, define: str, enough: int) -> None:
    """Let one process change a record while others look at it all the time."""
    acts = ["write()", *[f"watch({enough})"] * 3]
    # Anything but True is what a reader has found wrong.
    assert race(acts, 1, define=define + READING) == [(True,) * 4]


def test_reads_are_whole(race: Race, store: FileStore, passes: int) -> None:
    """A `get` during another process's `set` returns the old or the new record."""
    define = """
def made(n):
    data = b"%08d" % n * (n * 7919 % 8000 + 1)
    return Record(data, (LATER if n % 2 else AFTER_2038) + n, [None, "ann", "bob"][n % 3])

def is_whole(record):
    return record == made(int(record.data[:8]))

def change(n):
    store.set("key", made(n))
"""
    store.set("key", Record(b"00000000", AFTER_2038))
    watched(race, define, passes)


@pytest.mark.parametrize("far", ["LATER", "AFTER_2038"])
def test_reads_during_touches(race: Race, store: FileStore, passes: int, far: str) -> None:
    """A `get` during another process's `touch` returns one of the two expiries."""
    define = f"""
expiries = {{each + n for each in (LATER, {far}) for n in range(100)}}

def is_whole(record):
    return record.data == b"old" and record.owner == "ann" and record.expires_at in expiries

def change(n):
    store.touch("key", (LATER if n % 3 else {far}) + n % 100, "ann")
"""
    store.set("key", old(0))
    watched(race, define, passes)


@pytest.mark.parametrize("durability", ["full", "process"])
def test_first_writes_at_once(race: Race, folder: Path, passes: int, durability: str) -> None:
    """Processes whose first writes make one folder at once all succeed."""
    made = f"FileStore(folder / str(n), durability={durability!r})"
    write = f"{made}.set(f'{{number}}', Record(b'1', LATER, 'ann'), ABSENT)"
    assert race([write] * PROCESSES, passes // 2) == [(True,) * PROCESSES] * (passes // 2)
    for n in range(passes // 2):
        names = {path.name for path in (folder / str(n)).iterdir()}
        assert names == {"coatcheck-file", "records", "owners", "locks"}
        owned = dict(FileStore(folder / str(n)).owned_by("ann"))
        assert owned == {f"{number}": Record(b"1", LATER, "ann") for number in range(PROCESSES)}


def test_owner_comes_and_goes(race: Race, folder: Path, passes: int) -> None:
    """An owner whose last record goes in one process has the new one of another."""
    mine = "store.set(f'{number}', Record(b'1', LATER, 'ann'))"
    found = "f'{number}' in dict(store.owned_by('ann'))"
    act = f"({mine}, {found}, store.destroy(f'{{number}}'))"
    results = race([act] * PROCESSES, passes * 3, pause=0)
    assert {tuple(each) for returned in results for each in returned} == {(True, True, True)}
    assert list((folder / "owners").glob("*/*")) == []


# Garbage collection


@pytest.mark.parametrize("prune", ["store.prune()", "sum(store.prune(50) for _ in range(passes))"])
def test_pruned_once(race: Race, folder: Path, store: FileStore, passes: int, prune: str) -> None:
    """Processes that prune at once count each removed record once."""
    expired, live = passes * 3, passes // 3
    put(folder, lambda n: Record(b"1", 1.0 if n < expired else LATER, "ann"), expired + live)
    [counts] = race([prune] * PROCESSES, 1, define=f"passes = {passes}")
    assert sum(counts) == expired
    assert store.length() == live
    assert len(list((folder / "records").glob("*/*"))) == live


def test_prune_spares_what_is_written(
    race: Race, folder: Path, store: FileStore, passes: int
) -> None:
    """A record that replaces an expired one while others prune stays."""
    put(folder, lambda n: Record(b"expired", 1.0, "ann"), passes // 3)
    write = "store.set(key, Record(b'new', LATER, 'ann'))"
    race([write, *["store.prune()"] * 3], passes // 3)
    expected = {f"key {n}": Record(b"new", LATER, "ann") for n in range(passes // 3)}
    assert dict(store.all()) == dict(store.owned_by("ann")) == expected


# One after another


def test_seen_at_once(folder: Path, store: FileStore) -> None:
    """A process sees at once what another one has written, and whose it is."""
    with running(folder, OBEY) as other:
        for n in range(6):
            data, owner = f"{n}".encode(), f"owner {n % 3}"
            assert ask(other, f"store.set('key', Record({data!r}, LATER + {n}, {owner!r}))")
            record = Record(data, LATER + n, owner)
            assert store.get("key") == record
            assert list(store.owned_by(owner)) == [("key", record)]
            assert list(store.owned_by(f"owner {(n + 2) % 3}")) == []
            assert store.touch("key", LATER + 99)
            assert ask(other, "store.get('key').expires_at - LATER") == 99
            assert store.set("key", Record(b"here", LATER))
            assert ask(other, "store.get('key').data.decode()") == "here"
            if n % 2:
                assert store.destroy("key")
                assert ask(other, "store.get('key')") is None
                assert ask(other, "store.length()") == 0
        # A process that closes its handle, and then ends, leaves the records and the others be.
        assert ask(other, "store.set('theirs', Record(b'1', LATER, 'ann'))")
        assert store.set("ours", Record(b"2", LATER, "ann"))
        assert ask(other, "store.close()") is None
        assert dict(store.owned_by("ann")).keys() == {"ours", "theirs"}
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait() == 0
    assert store.touch("theirs", LATER + 1)
    assert store.get("theirs") == Record(b"1", LATER + 1, "ann")


@pytest.mark.parametrize("durability", ["full", "process"])
@pytest.mark.parametrize(
    "number", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 20))]
)
def test_acknowledged_before_a_kill(
    folder: Path, store: FileStore, number: int, durability: str
) -> None:
    """Each record that a process has acknowledged is there after its SIGKILL."""
    script = f"""
store, n = FileStore(folder, durability={durability!r}), 0
while store.set(f"{{n}}", Record(b"%d" % n, LATER, "ann")):
    say(n)
    n += 1
"""
    with running(folder, script) as process:
        awaited = 20 + 7 * number
        for n in range(awaited):
            assert said(process) == n
        # It goes on writing meanwhile, and dies somewhere on the way.
        process.kill()
        assert process.stdout is not None
        acknowledged = awaited + len(process.stdout.read().split())
    expected = {f"{n}": Record(b"%d" % n, LATER, "ann") for n in range(acknowledged)}
    owned = dict(store.owned_by("ann"))
    assert {key: store.get(key) for key in expected} == expected
    assert expected.items() <= owned.items()
    assert len(owned) - len(expected) <= 1  # one more may have been written, and not told


# Forks


FORKING: Final = """
store = FileStore(folder, durability="process", lock_timeout=2)
written, stop = [], threading.Event()
reader, writer = os.pipe()

def write():
    while not stop.is_set():
        n = len(written)
        written.append(store.set(f"thread {n % 5}", Record(b"%d" % n, LATER, "ann")))

def tidy():
    while not stop.is_set():
        store.prune(20)

def live_as_child():
    end_after(8)
    status = 1
    try:
        ACT
        status = 0
    except BaseException:
        traceback.print_exc()
    os.close(writer)
    os.read(reader, 1)  # stays to the end, with all that it has inherited
    os._exit(status)

store.set("parent", Record(b"before", LATER))
threads = [threading.Thread(target=each, daemon=True) for each in (write, tidy)]
for thread in threads:
    thread.start()
children = []
for n in range(FORKS):
    seen = len(written)
    while len(written) < seen + 6 and threads[0].is_alive():
        time.sleep(0.0005)  # all keys have their turn, also the one of the last fork
    children.append(os.fork() or live_as_child())
    store.set("parent", Record(b"%d" % n, LATER))
stop.set()
for thread in threads:
    thread.join()
os.close(writer)
say([[os.waitpid(child, 0)[1] for child in children], written])
"""

IN_CHILD: Final = {
    "operations": """
        key = f"child {n}"
        assert store.get("parent") is not None
        assert store.set(key, Record(b"1", LATER, "bob")), "set"
        assert store.touch(key, LATER + 1)
        assert store.get(key) == Record(b"1", LATER + 1, "bob"), "get"
        assert key in dict(store.owned_by("bob")), "owned_by"
        in_hand = f"thread {len(written) % 5}"
        assert store.set(in_hand, Record(b"child", LATER, "bob")), "set of the thread's key"
        assert n % 2 or store.destroy(key), "destroy"
        assert store.length() > 0
        assert store.prune() == 0
    """,
    "prune with a limit": "store.prune(10)",
    "close": "store.close()",
}


@posix_only
@pytest.mark.parametrize("forks", [20, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("act", IN_CHILD)
def test_forked_while_a_thread_writes(folder: Path, store: FileStore, act: str, forks: int) -> None:
    """A handle used before a fork works in the child and goes on in the parent."""
    script = FORKING.replace("ACT", IN_CHILD[act].strip()).replace("FORKS", str(forks))
    with running(folder, script) as process:
        statuses, written = said(process)
    # A status of 14 is that of the alarm: the child has hung.
    assert statuses == [0] * forks
    assert all(written)
    assert len(written) >= forks * 6
    assert store.get("parent") == Record(b"%d" % (forks - 1), LATER)
    if act == "operations":
        kept = {f"child {n}" for n in range(1, forks, 2)}
        assert {key for key in dict(store.all()) if key.startswith("child")} == kept
        assert kept <= {*dict(store.owned_by("bob"))}


# A process that stands still


HOLDING: Final = """
from coatcheck_file._locks import Locks

with Locks(folder / "locks", 5).held(f"{number:02x}"):
    os.kill(os.getpid(), signal.SIGSTOP)
say("released")
"""


@contextmanager
def stopped(folder: Path, key: str) -> Iterator[Process]:
    """A process that has been stopped by SIGSTOP while it holds a key's lock."""
    with running(folder, HOLDING, shard(key)) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process


def shard(key: str) -> int:
    """Return the number of a key's lock."""
    return hashlib.sha256(key.encode()).digest()[0]


@posix_only
def test_stopped_holder(folder: Path, store: FileStore) -> None:
    """A call that waits for a stopped process raises StoreTimeout, until the process goes on."""
    limit = 0.05
    hasty = FileStore(folder, durability="process", lock_timeout=limit)
    assert shard("key") != shard("other")
    store.set("key", old(0))
    operations: list[Callable[[], object]] = [
        lambda: hasty.set("key", Record(b"new", LATER)),
        lambda: hasty.touch("key", LATER + 1),
        lambda: hasty.destroy("key"),
    ]
    # The pool ends after the holder: nobody waits forever, whatever fails.
    with ThreadPoolExecutor() as pool, stopped(folder, "key") as holder:
        patient = pool.submit(store.set, "key", Record(b"patient", LATER))
        for operation in (*operations, hasty.length, hasty.clear, lambda: list(hasty.all())):
            begun = time.monotonic()
            with pytest.raises(StoreTimeout):
                pool.submit(operation).result(10)
            assert limit <= time.monotonic() - begun < limit + 1
        # Reading takes no lock, and the lock is one of many.
        assert hasty.get("key") == old(0)
        assert [*dict(hasty.owned_by("ann"))] == ["key"]
        assert hasty.set("other", Record(b"other", LATER))
        assert hasty.prune() == hasty.prune(50) == 0
        os.kill(holder.pid, signal.SIGCONT)
        assert said(holder) == "released"
        assert patient.result() is True
    assert store.get("key") == Record(b"patient", LATER)
    for operation in operations:
        assert operation() is True


@posix_only
def test_killed_holder(folder: Path, store: FileStore) -> None:
    """A lock goes with the process that held it, and nobody waits for it."""
    hasty = FileStore(folder, durability="process", lock_timeout=0.05)
    store.set("key", old(0))
    with ThreadPoolExecutor() as pool, stopped(folder, "key") as holder:
        with pytest.raises(StoreTimeout):
            pool.submit(hasty.destroy, "key").result(10)
        holder.kill()
        holder.wait()
        assert hasty.destroy("key")
