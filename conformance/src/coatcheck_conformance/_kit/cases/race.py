"""RACE: calls at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from coatcheck import ABSENT, PRESENT, Condition, Record, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from ..processes import at_once, processes

#: An operation and its arguments.
Planned: TypeAlias = tuple[str, tuple[Any, ...]]
#: Makes calls at the same time, and returns the result of each.
Together: TypeAlias = Callable[[Sequence[Planned]], list[Any]]
Round: TypeAlias = Callable[[Context, Together, str, int], None]

#: How often each race is run, and how many calls it has.
_ROUNDS: Final = 6
_CALLS: Final = 8
_PROCESSES: Final = 4
#: Seconds for which each reading of the clock is delayed, so that other calls come first.
_PAUSE: Final = 0.0005


@contextmanager
def held(context: Context) -> Iterator[None]:
    """Delay each reading of the clock for a moment."""
    context.clock.pause = _PAUSE
    try:
        yield
    finally:
        context.clock.pause = 0.0


def run_rounds(context: Context, race: Round) -> None:
    """Run a race several times in this process."""

    def together(calls: Sequence[Planned]) -> list[Any]:
        with held(context):
            return context.together(
                [context.store.later(operation, *args) for operation, args in calls]
            )

    for number in range(_ROUNDS):
        context.steps.lines.clear()  # each round has a key of its own
        race(context, together, f"key{number}", _CALLS)


def run_across(context: Context, race: Round) -> None:
    """Run a race several times between processes."""
    with processes(context, _PROCESSES) as handles:

        def together(calls: Sequence[Planned]) -> list[Any]:
            with held(context):
                return at_once(context, handles, calls)

        for number in range(2 * _ROUNDS):
            context.steps.lines.clear()
            race(context, together, f"key{number}", len(handles))


def expect_one(context: Context, outcomes: Sequence[object], about: str) -> int:
    """Expect that exactly one call returned True and the others False; return its number."""
    right = all(type(outcome) is bool for outcome in outcomes) and sum(map(bool, outcomes)) == 1
    context.expect_that(
        right, f"True from exactly one {about}, and False from all others", outcomes
    )
    return outcomes.index(True)


def _contents(number: int) -> bytes:
    return b"written by call %d" % number


def _writes(context: Context, key: str, count: int, only_if: Condition) -> list[Planned]:
    return [("set", (key, context.record(_contents(n)), only_if)) for n in range(count)]


def _one_is_stored(context: Context, outcomes: Sequence[object], key: str) -> None:
    winner = expect_one(context, outcomes, "set")
    context.expect_data(_contents(winner), key, about="the record of the call that returned True")


# The races; each uses a key that has not been used.


def creating(context: Context, together: Together, key: str, count: int) -> None:
    """Let many calls create the same record."""
    _one_is_stored(context, together(_writes(context, key, count, ABSENT)), key)


def creating_again(context: Context, together: Together, key: str, count: int) -> None:
    """Let many calls create a record under the key of an expired one."""
    context.expired(key)
    creating(context, together, key, count)


def comparing(context: Context, together: Together, key: str, count: int) -> None:
    """Let many calls replace the same bytes."""
    context.put(key, b"old")
    _one_is_stored(context, together(_writes(context, key, count, Unchanged(b"old"))), key)


def ending(context: Context, together: Together, key: str, count: int) -> None:
    """Let many calls destroy the same record."""
    context.put(key)
    expect_one(context, together([("destroy", (key,))] * count), "destroy")
    context.expect_absent(key)


def _ending_amid(context: Context, together: Together, key: str, others: list[Planned]) -> None:
    context.put(key, b"old")
    half = len(others) // 2
    outcomes = together([*others[:half], ("destroy", (key,)), *others[half:]])
    context.expect(outcomes[half], True, "the destroy returns")
    context.expect_absent(key)


def ending_amid_updates(context: Context, together: Together, key: str, count: int) -> None:
    """Let one call destroy a record that others update."""
    _ending_amid(context, together, key, _writes(context, key, count - 1, PRESENT))


def ending_amid_comparing(context: Context, together: Together, key: str, count: int) -> None:
    """Let one call destroy a record that others replace."""
    _ending_amid(context, together, key, _writes(context, key, count - 1, Unchanged(b"old")))


def _touches(context: Context, key: str, count: int) -> list[Planned]:
    return [("touch", (key, context.clock.now + (2 + n) * DAY)) for n in range(count)]


def ending_amid_touches(context: Context, together: Together, key: str, count: int) -> None:
    """Let one call destroy a record that others touch."""
    context.put(key)
    touches = _touches(context, key, count - 1)
    half = len(touches) // 2
    together([*touches[:half], ("destroy", (key,)), *touches[half:]])
    context.expect_absent(key)


def writing_amid_touches(context: Context, together: Together, key: str, count: int) -> None:
    """Let one call write a record that others touch."""
    context.put(key, b"old")
    touches = _touches(context, key, count - 1)
    half = len(touches) // 2
    for number, condition in enumerate((PRESENT, Unchanged(_contents(0)))):
        write: Planned = ("set", (key, context.record(_contents(number)), condition))
        written = together([*touches[:half], write, *touches[half:]])[half]
        context.expect(written, True, "the set returns")
        context.expect_data(_contents(number), key)


def reading_amid_a_write(context: Context, together: Together, key: str, count: int) -> None:
    """Let many calls read a record while one call replaces all of it."""
    old, new = _whole(context, b"o", 1), _whole(context, b"n", 2)
    context.expect(context.store.set(key, old), True)
    reads: list[Planned] = [("get", (key,))] * (count - 1)
    half = len(reads) // 2
    outcomes = together([*reads[:half], ("set", (key, new)), *reads[half:]])
    del outcomes[half]
    for seen in outcomes:
        right = any(_is_same(context, seen, record) for record in (old, new))
        context.expect_that(right, "either the old record or the new one, whole", seen)


def _whole(context: Context, letter: bytes, days: int) -> Record:
    size = min(20_000, context.capabilities.max_data_bytes or 20_000)
    return Record(letter * size, context.clock.now + days * DAY, f"owner {letter.decode()}")


def _is_same(context: Context, seen: object, record: Record) -> bool:
    return (
        isinstance(seen, Record)
        and seen.data == record.data
        and seen.owner == context.kept_owner(record.owner)
        and context.is_kept(seen.expires_at, record.expires_at)
    )


# In one process

_CHECKED_FIRST: Final = "the condition is checked and the record written without a lock over both."


@case("RACE-1", depends_on=("SET-3", "SET-4"), hint=_CHECKED_FIRST)
def one_creates(context: Context) -> None:
    """Exactly one of eight parallel calls creates a record."""
    run_rounds(context, creating)


@case("RACE-1", depends_on=("SET-3", "SET-4", "SET-13"), hint=_CHECKED_FIRST)
def one_creates_where_one_has_expired(context: Context) -> None:
    """Exactly one of eight parallel calls creates a record after another one expired."""
    run_rounds(context, creating_again)


@case("RACE-2", depends_on=("SET-7", "SET-8"), hint=_CHECKED_FIRST)
def one_replaces(context: Context) -> None:
    """Exactly one of eight parallel calls replaces the same bytes."""
    run_rounds(context, comparing)


@case(
    "RACE-3",
    depends_on=(
        "DESTROY-1",
        "DESTROY-2",
        "DESTROY-3",
    ),
    hint="whether the record exists is checked in another step than its removal.",
)
def one_ends(context: Context) -> None:
    """Exactly one of eight parallel `destroy` calls returns True."""
    run_rounds(context, ending)


_REVIVED: Final = "the record is found, and written later without another check."


@case("RACE-4", depends_on=("DESTROY-1", "SET-5", "SET-6"), hint=_REVIVED)
def updates_do_not_revive(context: Context) -> None:
    """`destroy` amid writes with PRESENT returns True, and the record stays destroyed."""
    run_rounds(context, ending_amid_updates)


@case("RACE-4", depends_on=("DESTROY-1", "SET-7", "SET-9"), hint=_REVIVED)
def compared_writes_do_not_revive(context: Context) -> None:
    """`destroy` amid writes with Unchanged returns True, and the record stays destroyed."""
    run_rounds(context, ending_amid_comparing)


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
def touches_do_not_revive(context: Context) -> None:
    """A record that is destroyed amid touches stays destroyed."""
    run_rounds(context, ending_amid_touches)


@case(
    "RACE-6",
    depends_on=("SET-5", "SET-7", "SET-11", "TOUCH-1"),
    hint="touch reads the record and writes all of it, instead of the expiry alone.",
)
def touches_do_not_undo(context: Context) -> None:
    """A record that is written amid touches has the new data."""
    run_rounds(context, writing_amid_touches)


@case(
    "RACE-7",
    depends_on=("SET-2", "GET-5", "GET-7"),
    hint="a write removes the record first, or a write or read takes several steps.",
)
def reads_are_whole(context: Context) -> None:
    """Each `get` during a `set` returns the complete old record or the complete new one."""
    run_rounds(context, reading_amid_a_write)


# Between handles and processes


def _expect_seen(context: Context, writer: Any, reader: Any) -> None:
    """Expect that one handle, which has read a record, sees what another one does to it."""
    record = context.record(b"first")
    context.expect(writer.call("set", "key", record), True)
    _expect_read(context, reader, b"first")
    context.expect(writer.call("set", "key", context.record(b"second")), True)
    _expect_read(context, reader, b"second")
    context.expect(writer.call("touch", "key", context.clock.now + 3 * DAY), True)
    found = reader.call("get", "key")
    moved = isinstance(found, Record) and context.is_kept(
        found.expires_at, context.clock.now + 3 * DAY
    )
    context.expect_that(moved, "the expiry of the touch", found)
    context.expect(writer.call("destroy", "key"), True)
    context.expect(reader.call("get", "key"), None)


def _expect_read(context: Context, reader: Any, data: bytes) -> None:
    found = reader.call("get", "key")
    right = isinstance(found, Record) and found.data == data
    context.expect_that(right, f"a Record with the data {context.steps.show(data)}", found)


_CACHED: Final = "a handle keeps the record that it has read, or reads from a replica."
_BASICS: Final = ("DESTROY-1", "TOUCH-1")


@case("RACE-8", depends_on=_BASICS, hint=_CACHED)
def another_handle_sees_it(context: Context) -> None:
    """A handle sees writes, touches and removals of another one at once."""
    second = context.second()
    for _ in range(2):
        _expect_seen(context, context.store, second)
        _expect_seen(context, second, context.store)


@case("RACE-8", depends_on=_BASICS, needs=("url",), hint=_CACHED)
def another_process_sees_it(context: Context) -> None:
    """A process sees writes, touches and removals of another one at once."""
    with processes(context, 2) as handles:
        pairs: list[tuple[Any, Any]] = [
            (context.store, handles[0]),
            (handles[0], context.store),
            (handles[0], handles[1]),
        ]
        for writer, reader in pairs:
            _expect_seen(context, writer, reader)


_OWN_LOCK: Final = "the lock works between threads, but not between processes."


@case("RACE-9", depends_on=("RACE-1",), needs=("url",), hint=_OWN_LOCK)
def one_process_creates(context: Context) -> None:
    """Between processes exactly one of several calls creates a record (RACE-1)."""
    run_across(context, creating)


@case("RACE-9", depends_on=("RACE-2",), needs=("url",), hint=_OWN_LOCK)
def one_process_replaces(context: Context) -> None:
    """Between processes exactly one of several calls replaces the same bytes (RACE-2)."""
    run_across(context, comparing)


@case("RACE-9", depends_on=("RACE-3",), needs=("url",), hint=_OWN_LOCK)
def one_process_ends(context: Context) -> None:
    """Between processes exactly one of several `destroy` calls returns True (RACE-3)."""
    run_across(context, ending)


@case("RACE-9", depends_on=("RACE-4",), needs=("url",), hint=_OWN_LOCK)
def other_processes_do_not_revive(context: Context) -> None:
    """Between processes a destroyed record is not revived by a write (RACE-4)."""
    run_across(context, ending_amid_updates)
    run_across(context, _after("other ", ending_amid_comparing))


@case("RACE-9", depends_on=("RACE-5",), needs=("url",), hint=_OWN_LOCK)
def touches_of_other_processes_do_not_revive(context: Context) -> None:
    """Between processes a destroyed record is not revived by a touch (RACE-5)."""
    run_across(context, ending_amid_touches)


@case("RACE-9", depends_on=("RACE-6",), needs=("url",), hint=_OWN_LOCK)
def touches_of_other_processes_do_not_undo(context: Context) -> None:
    """Between processes a touch does not undo a write (RACE-6)."""
    run_across(context, writing_amid_touches)


@case("RACE-9", depends_on=("RACE-7",), needs=("url",), hint=_OWN_LOCK)
def reads_of_other_processes_are_whole(context: Context) -> None:
    """Between processes each read returns a complete record (RACE-7)."""
    run_across(context, reading_amid_a_write)


def _after(prefix: str, race: Round) -> Round:
    def run(context: Context, together: Together, key: str, count: int) -> None:
        race(context, together, prefix + key, count)

    return run
