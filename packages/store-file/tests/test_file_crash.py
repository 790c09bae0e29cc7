"""A process that is killed in the middle of a write leaves the old record or the new one.

It is killed at each of its system calls, one attempt each, so that every state that it can
leave behind is looked at. Another process than pytest's makes the attempts: it has one thread,
so that it may fork, and has imported everything, so that an attempt takes milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from tracing import Attempt, killed_at, obstacle, waits_for_disk

from coatcheck import Record
from coatcheck_file import FileStore

NOW: Final = 1_700_000_000.0
LATER: Final = NOW + 3600.5
#: A date that not every file system can keep.
AFTER_2038: Final = 4_102_444_800.25

KEY: Final = "the key that is written"
OTHER: Final = "a key that is left alone"
NEIGHBOUR: Final = Record(b"neighbour", LATER, "ann")
OLD: Final = Record(b"old" * 30, LATER, "ann")
OLD_FAR: Final = Record(b"old" * 30, AFTER_2038, "ann")
NEW: Final = Record(b"new" * 3000, LATER + 100)
OWNED: Final = Record(b"new" * 3000, LATER + 100, "ann")
MOVED: Final = Record(b"new" * 3000, LATER + 100, "bob")
FAR: Final = Record(b"new" * 3000, AFTER_2038)
EXPIRED: Final = Record(b"expired", NOW - 1, "bob")
AGAIN: Final = Record(b"again", LATER + 200, "cid")


def until(expires_at: float) -> Record:
    """Return what a touch makes of the old record."""
    return Record(OLD.data, expires_at, OLD.owner)


@dataclass(frozen=True)
class Case:
    """One write.

    :ivar before: what was there, live or expired.
    :ivar act: the operation.
    :ivar after: what is there when the operation has done its work.
    :ivar waits: how often it waits for the disk with full durability.
    :ivar first: nobody has written to the folder before.
    :ivar long: it makes hundreds of system calls. Most of them find nothing, so only those that
        change something are of interest.
    """

    before: Record | None
    act: Callable[[FileStore], object]
    after: Record | None
    waits: int
    first: bool = False
    long: bool = False


# A write waits for the disk once for the file and once for its folder; three times for a new owner;
# once where the folder is new, and here it is; twice where the process has not written before.
SETS: Final = {
    "the first ever": Case(None, lambda store: store.set(KEY, NEW), NEW, 7, first=True),
    "new": Case(None, lambda store: store.set(KEY, NEW), NEW, 5),
    "new, until after 2038": Case(None, lambda store: store.set(KEY, FAR), FAR, 5),
    "in place of one": Case(OLD, lambda store: store.set(KEY, NEW), NEW, 5),
    "expired": Case(OLD, lambda store: store.set(KEY, EXPIRED), None, 4),
}
OWNED_SETS: Final = {
    "the first ever, owned": Case(None, lambda store: store.set(KEY, OWNED), OWNED, 10, first=True),
    "new, owned": Case(None, lambda store: store.set(KEY, OWNED), OWNED, 8),
    "the same owner": Case(OLD, lambda store: store.set(KEY, OWNED), OWNED, 5),
    "another owner": Case(OLD, lambda store: store.set(KEY, MOVED), MOVED, 8),
    "in place of an expired one": Case(EXPIRED, lambda store: store.set(KEY, OWNED), OWNED, 8),
}
TOUCHES: Final = {
    "to later": Case(OLD, lambda store: store.touch(KEY, LATER + 9, "ann"), until(LATER + 9), 0),
    "to earlier": Case(OLD, lambda store: store.touch(KEY, LATER - 9, "ann"), until(LATER - 9), 1),
    "to after 2038": Case(OLD, lambda store: store.touch(KEY, AFTER_2038, "ann"), OLD_FAR, 2),
    "from after 2038": Case(OLD_FAR, lambda store: store.touch(KEY, LATER, "ann"), OLD, 1),
    "after 2038": Case(
        OLD_FAR, lambda store: store.touch(KEY, AFTER_2038 + 9, "ann"), until(AFTER_2038 + 9), 2
    ),
}
ENDINGS: Final = {
    "destroy": Case(OLD, lambda store: store.destroy(KEY), None, 1),
    "touch to now": Case(OLD, lambda store: store.touch(KEY, NOW, "ann"), None, 1),
    "touch to now by a wrong owner": Case(OLD, lambda store: store.touch(KEY, NOW, "bob"), None, 1),
}
# It does not wait for the disk in either durability.
PRUNING: Final = {"prune": Case(EXPIRED, lambda store: store.prune(), None, 0, long=True)}
CASES: Final = {**SETS, **OWNED_SETS, **TOUCHES, **ENDINGS, **PRUNING}


# In the process that makes the attempts


def opened(folder: Path, durability: Any = "process", now: float = NOW) -> FileStore:
    """Return a handle whose clock stands still, so that expiries can be told exactly."""
    return FileStore(folder, durability=durability, clock=lambda: now, lock_timeout=0.1)


def attempt_all(name: str, durability: str, folder: Path) -> dict[str, Any]:
    """Kill the writer at each call; return how many there are, and what was wrong after them."""
    case = CASES[name]
    template = folder / "template"
    template.mkdir(mode=0o700)
    if not case.first:
        opened(template).set(OTHER, NEIGHBOUR)
    if case.before is not None:
        opened(template, now=0).set(KEY, case.before)
    check = Check(case)
    wrong: list[str] = []

    def attempt_at(call: int, look: Callable[[int, Path], None] | None = None) -> Attempt:
        attempted = folder / str(call)
        shutil.copytree(template, attempted)

        def act() -> None:
            random.seed(0)  # garbage collection begins somewhere: in each attempt at the same place
            case.act(opened(attempted, durability))

        attempt = killed_at(call, act, look and (lambda pid: look(pid, attempted)))
        wrong.extend(f"at call {call}: {fault}" for fault in check.faults(attempted, attempt))
        shutil.rmtree(attempted)
        return attempt

    calls, changes, waits = unharmed(attempt_at)
    if not case.long:
        calls = next(call for call in count(1) if not attempt_at(call).killed) - 1
    elif not all(attempt_at(call).killed for call in changes):
        wrong.append("another attempt has made fewer system calls")
    return {"calls": calls, "waits": waits, "outcomes": sorted(check.outcomes), "wrong": wrong}


def unharmed(attempt_at: Callable[..., Attempt]) -> tuple[int, list[int], int | None]:
    """Let the writer do its work.

    Returns the number of its system calls, which of them see a new state, and how many wait for
    the disk.
    """
    states: list[State] = []
    waits: list[bool | None] = []

    def look(pid: int, folder: Path) -> None:
        states.append(state_of(folder))
        waits.append(waits_for_disk(pid))

    attempt_at(sys.maxsize, look)
    changes = [call for call in range(1, len(states)) if states[call] != states[call - 1]]
    return (
        len(states),
        [1, *(call + 1 for call in changes)],
        None if None in waits else sum(map(bool, waits)),
    )


State: TypeAlias = frozenset[tuple[str, int, bytes]]


def state_of(folder: Path) -> State:
    """Return the paths of all folders and files, the contents, and the times of records.

    No other time is ever looked at: they are those of the attempt.
    """
    found = set()
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        is_record = name.startswith("records/") and path.suffix != ".new" and path.is_file()
        modified = path.stat().st_mtime_ns if is_record else 0
        found.add((name, modified, path.read_bytes() if path.is_file() else b""))
    return frozenset(found)


@dataclass
class Check:
    """Opens the folder of a killed writer again and finds out what is wrong.

    :ivar outcomes: whether the records before and after the write have been found.
    :ivar seen: the states that have been looked at: most system calls change nothing.
    """

    case: Case
    outcomes: set[str] = field(default_factory=set)
    seen: set[tuple[State, bool]] = field(default_factory=set)

    def faults(self, folder: Path, attempt: Attempt) -> Iterator[str]:
        """Yield what is wrong."""
        if attempt.error:
            yield attempt.error
        state = state_of(folder), attempt.returned
        is_new = state not in self.seen
        self.seen.add(state)
        try:
            if is_new:
                yield from self.as_left(folder, attempt)
            # In each attempt, since no state shows who holds a lock.
            if not opened(folder).set(KEY, AGAIN):
                yield "another write did not write"
            if is_new:
                yield from self.written_again(folder)
        except Exception as error:
            yield f"{type(error).__name__}: {error}, because of {error.__cause__!r}"

    def as_left(self, folder: Path, attempt: Attempt) -> Iterator[str]:
        """Look at what the writer has left, and prune."""
        store = opened(folder)
        before = self.case.before
        found = store.get(KEY)
        if found == self.case.after:
            self.outcomes.add("after")
        elif not attempt.returned and found == (None if before is EXPIRED else before):
            self.outcomes.add("before")
        else:
            returned = "returned" if attempt.returned else "not returned"
            yield f"there is {shown(found)}, and the operation has {returned}"
        if found is not None and found.owner is not None:
            owned = list(store.owned_by(found.owner))
            if owned.count((KEY, found)) != 1:
                yield f"the owner of {shown(found)} has {owned}"
        if (folder / "coatcheck-file").exists():
            yield from (f"damaged: {path}: {reason}" for path, reason in store.damaged())
        store.prune()
        if store.get(KEY) != found:
            yield f"pruning has made {shown(store.get(KEY))} of {shown(found)}"
        yield from litter(folder, store)
        if not self.case.first and store.get(OTHER) != NEIGHBOUR:
            yield "another record has changed"

    def written_again(self, folder: Path) -> Iterator[str]:
        """Look at what is there after another write, and prune."""
        store = opened(folder)
        if store.get(KEY) != AGAIN:
            yield f"another write leaves {shown(store.get(KEY))}"
        owned = {owner: {*dict(store.owned_by(owner))} for owner in ("ann", "bob", "cid")}
        ann_has = set() if self.case.first else {OTHER}
        if owned != {"ann": ann_has, "bob": set(), "cid": {KEY}}:
            yield f"after another write the owners have {owned}"
        store.prune()
        yield from (f"damaged in the end: {path}: {reason}" for path, reason in store.damaged())
        yield from (f"in the end {each}" for each in litter(folder, store, in_use=True))


def digest(name: str) -> str:
    """Return the form in which file names have a key or an owner."""
    return hashlib.sha256(name.encode()).hexdigest()


def litter(folder: Path, store: FileStore, *, in_use: bool = False) -> Iterator[str]:
    """Yield what ought not to be in the folder after a prune.

    :param in_use: the folder is complete, and `owned_by` has met the entries of former owners.
    """
    live = {digest(key): record for key in (KEY, OTHER) if (record := store.get(key))}
    about = folder / "coatcheck-file"
    for path in sorted(folder.rglob("*")):
        match path.relative_to(folder).parts:
            case ["coatcheck-file"] | ["records" | "owners" | "locks"] | ["locks", _]:
                continue
            case ["records" | "owners", _]:
                continue
            case ["coatcheck-file.new"] if not in_use and not about.exists():
                continue  # the next write goes on with it
            case ["records", first, rest] if first + rest in live:
                continue
            case ["owners", _, _] if any(path.iterdir()):
                continue
            case ["owners", first, rest, entry] if entry in live:
                owner = live[entry].owner
                if not in_use or (owner is not None and digest(owner) == first + rest):
                    continue
        yield f"there is litter: {path.relative_to(folder)}"


def shown(record: Record | None) -> str:
    """Return a record in short."""
    if record is None:
        return "no record"
    start = f"{record.data[:9]!r}… of {len(record.data)} bytes"
    return f"the record {start} until {record.expires_at!r} of {record.owner}"


def serve() -> None:
    """Make the attempts that the lines of standard input ask for."""
    reason = obstacle()
    print(json.dumps(reason), flush=True)
    if reason is None:
        # Tracer and traced take turns: on one processor that is three times as fast.
        os.sched_setaffinity(0, {random.choice([*os.sched_getaffinity(0)])})
    for line in sys.stdin:
        name, durability, folder = json.loads(line)
        print(json.dumps(attempt_all(name, durability, Path(folder))), flush=True)


# In the process that runs the tests

Zygote: TypeAlias = "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """The process that makes the attempts."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            reason = json.loads(process.stdout.readline())
            if reason is not None:
                pytest.skip(reason)
            yield process
        finally:
            process.kill()


def check(zygote: Zygote, folder: Path, name: str, durability: str) -> None:
    """Have all attempts of one case made."""
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    print(json.dumps([name, durability, str(folder)]), file=zygote.stdin, flush=True)
    report = json.loads(zygote.stdout.readline())
    print(f"{name}, {durability}: killed at {report['calls']} system calls")
    assert not report["wrong"], "\n".join(report["wrong"][:20])
    if report["waits"] is not None:
        assert report["waits"] == (CASES[name].waits if durability == "full" else 0)
    # No write gets by with less, and it has to be caught on both sides of the change.
    assert report["calls"] > 10
    is_seen = CASES[name].before is not EXPIRED or CASES[name].after is not None
    assert report["outcomes"] == (["after", "before"] if is_seen else ["after"])


def in_both(names: Iterable[str], in_process: str) -> list[Any]:
    """Return each case with full durability and one of them with `process`; at night, all of them.

    Full durability makes all system calls that `process` makes, and waits for the disk in between.
    """
    process = [
        pytest.param(name, "process", marks=() if name == in_process else pytest.mark.slow)
        for name in names
    ]
    return [*((name, "full") for name in names), *process]


@pytest.mark.parametrize(("name", "durability"), in_both(SETS, "in place of one"))
def test_set(zygote: Zygote, folder: Path, name: str, durability: str) -> None:
    """A `set` killed at any system call has done all or nothing."""
    check(zygote, folder, name, durability)


@pytest.mark.parametrize(("name", "durability"), in_both(OWNED_SETS, "another owner"))
def test_set_with_owner(zygote: Zygote, folder: Path, name: str, durability: str) -> None:
    """A `set` killed at any system call leaves a record that `owned_by` finds."""
    check(zygote, folder, name, durability)


@pytest.mark.parametrize(("name", "durability"), in_both(TOUCHES, "to after 2038"))
def test_touch(zygote: Zygote, folder: Path, name: str, durability: str) -> None:
    """A `touch` killed at any system call leaves one of the expiries."""
    check(zygote, folder, name, durability)


@pytest.mark.parametrize(("name", "durability"), in_both(ENDINGS, "destroy"))
def test_ending(zygote: Zygote, folder: Path, name: str, durability: str) -> None:
    """A removal killed at any system call has removed all or nothing."""
    check(zygote, folder, name, durability)


@pytest.mark.parametrize("name", PRUNING)
def test_prune(zygote: Zygote, folder: Path, name: str) -> None:
    """The next `prune` removes what one killed at any system call has left."""
    check(zygote, folder, name, "process")


if __name__ == "__main__":
    serve()
