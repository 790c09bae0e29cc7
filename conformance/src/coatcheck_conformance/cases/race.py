"""RACE: at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from coatcheck import ABSENT, PRESENT, Condition, Record, Unchanged

from ..bench import Bench
from ..case import case
from ..clock import DAY
from ..processes import at_once, processes

#: A verb and its arguments.
Planned: TypeAlias = tuple[str, tuple[Any, ...]]
#: Makes calls at the same time, and returns what each returned.
Together: TypeAlias = Callable[[Sequence[Planned]], list[Any]]
Round: TypeAlias = Callable[[Bench, Together, str, int], None]

#: How often each race is run, and how many calls are in it.
_ROUNDS: Final = 6
_CALLS: Final = 8
_PROCESSES: Final = 4
#: Seconds for which a caller that reads the clock is held, so that others can overtake it.
_PAUSE: Final = 0.0005


@contextmanager
def held(bench: Bench) -> Iterator[None]:
    """Hold whoever reads the clock for a moment."""
    bench.clock.pause = _PAUSE
    try:
        yield
    finally:
        bench.clock.pause = 0.0


def run_rounds(bench: Bench, race: Round) -> None:
    """Run a race several times in this process."""

    def together(calls: Sequence[Planned]) -> list[Any]:
        with held(bench):
            return bench.together([bench.store.later(verb, *args) for verb, args in calls])

    for number in range(_ROUNDS):
        bench.steps.lines.clear()  # each round has a key of its own
        race(bench, together, f"key{number}", _CALLS)


def run_across(bench: Bench, race: Round) -> None:
    """Run a race several times between processes."""
    with processes(bench, _PROCESSES) as handles:

        def together(calls: Sequence[Planned]) -> list[Any]:
            with held(bench):
                return at_once(bench, handles, calls)

        for number in range(2 * _ROUNDS):
            bench.steps.lines.clear()
            race(bench, together, f"key{number}", len(handles))


def expect_one(bench: Bench, outcomes: Sequence[object], about: str) -> int:
    """Expect that exactly one call returned True and the others False; return which."""
    right = all(type(outcome) is bool for outcome in outcomes) and sum(map(bool, outcomes)) == 1
    bench.expect_that(right, f"True from exactly one {about}, and False from all others", outcomes)
    return outcomes.index(True)


def _contents(number: int) -> bytes:
    return b"written by call %d" % number


def _writes(bench: Bench, key: str, count: int, only_if: Condition) -> list[Planned]:
    return [("set", (key, bench.record(_contents(n)), only_if)) for n in range(count)]


def _one_is_stored(bench: Bench, outcomes: Sequence[object], key: str) -> None:
    winner = expect_one(bench, outcomes, "set")
    bench.expect_data(_contents(winner), key, about="the record of the call that returned True")


# The races; each uses a key that has not been used.


def creating(bench: Bench, together: Together, key: str, count: int) -> None:
    """Many calls create the same record."""
    _one_is_stored(bench, together(_writes(bench, key, count, ABSENT)), key)


def creating_again(bench: Bench, together: Together, key: str, count: int) -> None:
    """Many calls create a record where one has expired."""
    bench.expired(key)
    creating(bench, together, key, count)


def comparing(bench: Bench, together: Together, key: str, count: int) -> None:
    """Many calls replace the same bytes."""
    bench.put(key, b"old")
    _one_is_stored(bench, together(_writes(bench, key, count, Unchanged(b"old"))), key)


def ending(bench: Bench, together: Together, key: str, count: int) -> None:
    """Many calls end the same record."""
    bench.put(key)
    expect_one(bench, together([("destroy", (key,))] * count), "destroy")
    bench.expect_absent(key)


def _ending_amid(bench: Bench, together: Together, key: str, others: list[Planned]) -> None:
    bench.put(key, b"old")
    half = len(others) // 2
    outcomes = together([*others[:half], ("destroy", (key,)), *others[half:]])
    bench.expect(outcomes[half], True, "the destroy returns")
    bench.expect_absent(key)


def ending_amid_updates(bench: Bench, together: Together, key: str, count: int) -> None:
    """One call ends a record that others update."""
    _ending_amid(bench, together, key, _writes(bench, key, count - 1, PRESENT))


def ending_amid_comparing(bench: Bench, together: Together, key: str, count: int) -> None:
    """One call ends a record that others replace."""
    _ending_amid(bench, together, key, _writes(bench, key, count - 1, Unchanged(b"old")))


def _touches(bench: Bench, key: str, count: int) -> list[Planned]:
    return [("touch", (key, bench.clock.now + (2 + n) * DAY)) for n in range(count)]


def ending_amid_touches(bench: Bench, together: Together, key: str, count: int) -> None:
    """One call ends a record that others touch."""
    bench.put(key)
    touches = _touches(bench, key, count - 1)
    half = len(touches) // 2
    together([*touches[:half], ("destroy", (key,)), *touches[half:]])
    bench.expect_absent(key)


def writing_amid_touches(bench: Bench, together: Together, key: str, count: int) -> None:
    """One call writes a record that others touch."""
    bench.put(key, b"old")
    touches = _touches(bench, key, count - 1)
    half = len(touches) // 2
    for number, condition in enumerate((PRESENT, Unchanged(_contents(0)))):
        write: Planned = ("set", (key, bench.record(_contents(number)), condition))
        written = together([*touches[:half], write, *touches[half:]])[half]
        bench.expect(written, True, "the set returns")
        bench.expect_data(_contents(number), key)


def reading_amid_a_write(bench: Bench, together: Together, key: str, count: int) -> None:
    """Many calls read a record while one replaces all of it."""
    old, new = _whole(bench, b"o", 1), _whole(bench, b"n", 2)
    bench.expect(bench.store.set(key, old), True)
    reads: list[Planned] = [("get", (key,))] * (count - 1)
    half = len(reads) // 2
    outcomes = together([*reads[:half], ("set", (key, new)), *reads[half:]])
    del outcomes[half]
    for seen in outcomes:
        right = any(_is_same(bench, seen, record) for record in (old, new))
        bench.expect_that(right, "either the old record or the new one, whole", seen)


def _whole(bench: Bench, letter: bytes, days: int) -> Record:
    size = min(20_000, bench.capabilities.max_data_bytes or 20_000)
    return Record(letter * size, bench.clock.now + days * DAY, f"owner {letter.decode()}")


def _is_same(bench: Bench, seen: object, record: Record) -> bool:
    return (
        isinstance(seen, Record)
        and seen.data == record.data
        and seen.owner == bench.kept_owner(record.owner)
        and bench.is_kept(seen.expires_at, record.expires_at)
    )


# In one process

_CHECKED_FIRST: Final = "the condition is checked, and then written, without a lock over both."


@case("RACE-1", depends_on=("SET-3", "SET-4"), hint=_CHECKED_FIRST)
def one_creates(bench: Bench) -> None:
    """Of eight calls that create the same record one does, several times over."""
    run_rounds(bench, creating)


@case("RACE-1", depends_on=("SET-3", "SET-4", "SET-13"), hint=_CHECKED_FIRST)
def one_creates_where_one_has_expired(bench: Bench) -> None:
    """Of eight calls that create a record where one has expired one does."""
    run_rounds(bench, creating_again)


@case("RACE-2", depends_on=("SET-7", "SET-8"), hint=_CHECKED_FIRST)
def one_replaces(bench: Bench) -> None:
    """Of eight calls that replace the same bytes one does, several times over."""
    run_rounds(bench, comparing)


@case(
    "RACE-3",
    depends_on=(
        "DESTROY-1",
        "DESTROY-2",
        "DESTROY-3",
    ),
    hint="whether the record was there is asked in another step than it is removed.",
)
def one_ends(bench: Bench) -> None:
    """Of eight calls that end the same record one returns True, several times over."""
    run_rounds(bench, ending)


_REVIVED: Final = "the record is found, and then written without asking whether it is there still."


@case("RACE-4", depends_on=("DESTROY-1", "SET-5", "SET-6"), hint=_REVIVED)
def updates_do_not_revive(bench: Bench) -> None:
    """A destroy amid writes with PRESENT returns True, and nothing is left."""
    run_rounds(bench, ending_amid_updates)


@case("RACE-4", depends_on=("DESTROY-1", "SET-7", "SET-9"), hint=_REVIVED)
def compared_writes_do_not_revive(bench: Bench) -> None:
    """A destroy amid writes with Unchanged returns True, and nothing is left."""
    run_rounds(bench, ending_amid_comparing)


@case(
    "RACE-5",
    depends_on=(
        "DESTROY-1",
        "TOUCH-1",
        "TOUCH-2",
        "TOUCH-4",
    ),
    hint="touch reads the record and writes all of it, without a condition.",
)
def touches_do_not_revive(bench: Bench) -> None:
    """After a destroy amid touches nothing is left."""
    run_rounds(bench, ending_amid_touches)


@case(
    "RACE-6",
    depends_on=("SET-5", "SET-7", "SET-11", "TOUCH-1"),
    hint="touch reads the record and writes all of it, instead of the expiry alone.",
)
def touches_do_not_undo(bench: Bench) -> None:
    """After a write amid touches its data are there."""
    run_rounds(bench, writing_amid_touches)


@case(
    "RACE-7",
    depends_on=("SET-2", "GET-5", "GET-7"),
    hint="a write removes the record first, or writes or reads it in several steps.",
)
def reads_are_whole(bench: Bench) -> None:
    """Each get amid a set sees the old record or the new one."""
    run_rounds(bench, reading_amid_a_write)


# Between handles and processes


def _expect_seen(bench: Bench, writer: Any, reader: Any) -> None:
    """Expect that one handle sees what another does, having seen what was there before."""
    record = bench.record(b"first")
    bench.expect(writer.call("set", "key", record), True)
    _expect_read(bench, reader, b"first")
    bench.expect(writer.call("set", "key", bench.record(b"second")), True)
    _expect_read(bench, reader, b"second")
    bench.expect(writer.call("touch", "key", bench.clock.now + 3 * DAY), True)
    found = reader.call("get", "key")
    moved = isinstance(found, Record) and bench.is_kept(found.expires_at, bench.clock.now + 3 * DAY)
    bench.expect_that(moved, "the expiry of the touch", found)
    bench.expect(writer.call("destroy", "key"), True)
    bench.expect(reader.call("get", "key"), None)


def _expect_read(bench: Bench, reader: Any, data: bytes) -> None:
    found = reader.call("get", "key")
    right = isinstance(found, Record) and found.data == data
    bench.expect_that(right, f"a Record with the data {bench.steps.show(data)}", found)


_CACHED: Final = "a handle keeps what it has read, or reads from a replica."
_BASICS: Final = ("DESTROY-1", "TOUCH-1")


@case("RACE-8", depends_on=_BASICS, hint=_CACHED)
def another_handle_sees_it(bench: Bench) -> None:
    """Writes, touches and ends of one handle are seen by another at once, both ways."""
    second = bench.second()
    for _ in range(2):
        _expect_seen(bench, bench.store, second)
        _expect_seen(bench, second, bench.store)


@case("RACE-8", depends_on=_BASICS, needs=("url",), hint=_CACHED)
def another_process_sees_it(bench: Bench) -> None:
    """Writes, touches and ends of one process are seen by another at once, both ways."""
    with processes(bench, 2) as handles:
        pairs: list[tuple[Any, Any]] = [
            (bench.store, handles[0]),
            (handles[0], bench.store),
            (handles[0], handles[1]),
        ]
        for writer, reader in pairs:
            _expect_seen(bench, writer, reader)


_OWN_LOCK: Final = "the lock is one of threads, which other processes know nothing of."


@case("RACE-9", depends_on=("RACE-1",), needs=("url",), hint=_OWN_LOCK)
def one_process_creates(bench: Bench) -> None:
    """RACE-1 between processes."""
    run_across(bench, creating)


@case("RACE-9", depends_on=("RACE-2",), needs=("url",), hint=_OWN_LOCK)
def one_process_replaces(bench: Bench) -> None:
    """RACE-2 between processes."""
    run_across(bench, comparing)


@case("RACE-9", depends_on=("RACE-3",), needs=("url",), hint=_OWN_LOCK)
def one_process_ends(bench: Bench) -> None:
    """RACE-3 between processes."""
    run_across(bench, ending)


@case("RACE-9", depends_on=("RACE-4",), needs=("url",), hint=_OWN_LOCK)
def other_processes_do_not_revive(bench: Bench) -> None:
    """RACE-4 between processes."""
    run_across(bench, ending_amid_updates)
    run_across(bench, _after("other ", ending_amid_comparing))


@case("RACE-9", depends_on=("RACE-5",), needs=("url",), hint=_OWN_LOCK)
def touches_of_other_processes_do_not_revive(bench: Bench) -> None:
    """RACE-5 between processes."""
    run_across(bench, ending_amid_touches)


@case("RACE-9", depends_on=("RACE-6",), needs=("url",), hint=_OWN_LOCK)
def touches_of_other_processes_do_not_undo(bench: Bench) -> None:
    """RACE-6 between processes."""
    run_across(bench, writing_amid_touches)


@case("RACE-9", depends_on=("RACE-7",), needs=("url",), hint=_OWN_LOCK)
def reads_of_other_processes_are_whole(bench: Bench) -> None:
    """RACE-7 between processes."""
    run_across(bench, reading_amid_a_write)


def _after(prefix: str, race: Round) -> Round:
    def run(bench: Bench, together: Together, key: str, count: int) -> None:
        race(bench, together, prefix + key, count)

    return run
