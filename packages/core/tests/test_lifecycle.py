"""The life of a session, told to a store that the test plays by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from webclient import Client, Clock, CountingStore, SyncClient, asgi_app, set_cookies, wsgi_app

from coatcheck import ABSENT, ALWAYS, PRESENT, Record, Unchanged
from coatcheck._records.lifecycle import Lifecycle
from coatcheck._records.operations import Operation, Operations, Sleep, StoreCall, Turn
from coatcheck._records.records import Attempts, Snapshot
from coatcheck._records.session_writer import KeyTaken
from coatcheck._records.succession import SUCCESSION_SECONDS, successors_key
from coatcheck._records.writers import Lines
from coatcheck.codec import JSONCodec, SessionState
from coatcheck.errors import (
    ConfigurationError,
    ConflictError,
    SerializationError,
    StoreTimeout,
    StoreUnavailable,
)
from coatcheck.events import Emitter, SessionEvent

NOW = 1_700_000_000.0
LIFETIME = 100.0


class Life:
    """A lifecycle with everything in the test's hands."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[SessionEvent] = []
        self.clock = Clock(NOW)
        self.elapsed = Clock(0.0)
        self.jitter = 1.0
        defaults: dict[str, Any] = {
            "codec": JSONCodec(),
            "expiry": lambda state: self.clock() + LIFETIME,
            "clock": self.clock,
            "absolute_timeout": None,
            "concurrency": "merge",
            "emit": Emitter((self.events.append,), self.clock),
            "monotonic": self.elapsed,
            "jitter": lambda: self.jitter,
        }
        self.cycle = Lifecycle(**(defaults | settings))

    def told(self) -> list[str]:
        return [event.kind for event in self.events]


def state(**data: Any) -> SessionState:
    return SessionState(data, created_at=NOW)


def packed(**data: Any) -> bytes:
    return JSONCodec().dumps(state(**data))


def record(**data: Any) -> Record:
    return Record(packed(**data), NOW + LIFETIME)


def snapshot(key: str = "key", **data: Any) -> Snapshot:
    return Snapshot(key, record(**data))


class Play:
    """Operations that are taken one at a time.

    :ivar operation: what the steps wait for.
    :ivar result: what they returned, once they have.
    """

    operation: Operation | None
    result: Any

    def __init__(self, steps: Operations[Any]) -> None:
        self._steps = steps
        self._lines = Lines()
        self._resume(steps.send, None)

    def answer(self, *outcomes: Any) -> Play:
        """Give the results of this operation and the next ones; an exception is raised there."""
        for outcome in outcomes:
            assert self.operation is not None, "the steps have ended"
            failed = isinstance(outcome, BaseException)
            self._resume(self._steps.throw if failed else self._steps.send, outcome)
        return self

    @property
    def asks(self) -> tuple[Any, ...]:
        """The operation in plain words."""
        operation = self.operation
        if isinstance(operation, StoreCall):
            return (operation.name, *operation.args)
        if isinstance(operation, Sleep):
            return ("sleep", operation.seconds)
        return ()

    def _resume(self, resume: Callable[[Any], Operation], outcome: Any) -> None:
        try:
            self.operation = resume(outcome)
            while isinstance(self.operation, Turn):
                # Nobody else writes in this process.
                turn = self.operation
                self._lines.enter(turn.key, turn.writer, asyncio.Event)
                turn.is_called = turn.call is not None
                self.operation = turn.call or self._steps.send(None)
        except StopIteration as stop:
            self.operation, self.result = None, stop.value


def data_of(result: tuple[Snapshot, SessionState]) -> dict[str, Any]:
    """Return the data of a result, which must be what it says is stored."""
    stored, shown = result
    assert JSONCodec().loads(stored.record.data, stored.key).data == shown.data
    return shown.data


# Loading


def test_loading_asks_once() -> None:
    """A load is one get."""
    life = Life()
    play = Play(life.cycle.load("key"))
    assert play.asks == ("get", "key")
    play.answer(record(a=1))
    assert data_of(play.result) == {"a": 1}
    assert life.told() == ["loaded"]


@pytest.mark.parametrize(
    ("found", "event"),
    [
        (None, "unknown"),
        (Record(b"not ours", NOW + 1), "corrupt"),
        (Record(b'{"v":2,"t":0,"d":{}}', NOW + 1), "corrupt"),
        (Record(packed(a=1), NOW), "expired"),
        (Record(packed(a=1), NOW - 1), "expired"),
    ],
    ids=["missing", "garbage", "other-version", "expires-now", "expired"],
)
def test_what_cannot_be_used_is_no_session(found: Record | None, event: str) -> None:
    """A missing, expired or unreadable record is None and an event, and nothing is written."""
    life = Life()
    play = Play(life.cycle.load("key")).answer(found)
    assert (play.operation, play.result) == (None, None)
    assert life.told() == [event]


@pytest.mark.parametrize(("age", "alive"), [(59, True), (60, False), (61, False)])
def test_the_absolute_timeout_counts_from_creation(age: float, alive: bool) -> None:
    """A session of the absolute age is over, however far off its expiry is."""
    life = Life(absolute_timeout=60)
    life.clock.advance(age)
    play = Play(life.cycle.load("key")).answer(Record(packed(a=1), NOW + 10_000))
    assert (play.result is not None) is alive
    assert life.told() == ["loaded" if alive else "expired"]


def test_a_failed_load_is_no_empty_session() -> None:
    """An exception of the store comes out unchanged."""
    play = Play(Life().cycle.load("key"))
    with pytest.raises(StoreUnavailable, match="down"):
        play.answer(StoreUnavailable("down"))


# Creating


def test_a_new_session_is_one_set() -> None:
    """A new session is stored on the condition that nobody has its key."""
    life = Life()
    play = Play(life.cycle.create("key", state(a=1), Attempts()))
    assert play.asks == ("set", "key", record(a=1), ABSENT)
    assert data_of(play.answer(True).result) == {"a": 1}
    assert life.told() == ["created"]


def test_a_taken_key_is_never_overwritten() -> None:
    """Where somebody else's record is, nothing is written."""
    play = Play(Life().cycle.create("key", state(a=1), Attempts()))
    play.answer(False)
    assert play.asks == ("get", "key")
    with pytest.raises(KeyTaken):
        play.answer(record(theirs=1))


def test_a_key_that_came_free_is_used() -> None:
    """A record that expired between the set and the look is no obstacle."""
    play = Play(Life().cycle.create("key", state(a=1), Attempts())).answer(False, None)
    assert play.asks == ("set", "key", record(a=1), ABSENT)
    assert data_of(play.answer(True).result) == {"a": 1}


def test_a_creation_that_meets_equal_bytes_is_not_its_own() -> None:
    """A refused set has not been done, so what is there is another session, however equal."""
    play = Play(Life().cycle.create("key", state(a=1), Attempts())).answer(False)
    with pytest.raises(KeyTaken):
        play.answer(record(a=1))


@pytest.mark.parametrize(
    "failure", [StoreTimeout, asyncio.CancelledError], ids=["timeout", "cancelled"]
)
def test_a_creation_without_reply_is_found_again(failure: type[BaseException]) -> None:
    """A second attempt with other data knows the record of the first one, and replaces it."""
    life, attempts = Life(), Attempts()
    with pytest.raises(failure):
        Play(life.cycle.create("key", state(a=1), attempts)).answer(failure())
    play = Play(life.cycle.create("key", state(a=1, b=2), attempts)).answer(False, record(a=1))
    assert play.asks == ("set", "key", record(a=1, b=2), Unchanged(packed(a=1)))
    assert data_of(play.answer(True).result) == {"a": 1, "b": 2}


@pytest.mark.parametrize("theirs", [{}, {"theirs": 1}], ids=["own", "merged"])
def test_a_second_creation_moves_the_expiry(theirs: dict[str, int]) -> None:
    """It does, over its own record and over one that it has merged with what others wrote."""
    life, attempts = Life(), Attempts()
    found = record(a=1, **theirs)
    attempts.unknown[found.data] = packed(a=1)
    life.clock.advance(10)
    play = Play(life.cycle.create("key", state(a=1, b=2), attempts)).answer(False, found)
    if theirs:
        assert play.asks == ("get", "key")
        play.answer(found)
    new = Record(packed(a=1, **theirs, b=2), NOW + 10 + LIFETIME)
    assert play.asks == ("set", "key", new, Unchanged(found.data))


def test_a_creation_whose_record_ended_is_tried_again() -> None:
    """Its key is free again, and nobody else knows it."""
    attempts = Attempts()
    attempts.unknown[packed(a=1)] = packed(a=1)
    play = Play(Life().cycle.create("key", state(a=1, b=2), attempts)).answer(False, record(a=1))
    play.answer(False, None)
    assert play.asks == ("set", "key", record(a=1, b=2), ABSENT)
    assert data_of(play.answer(True).result) == {"a": 1, "b": 2}


def test_what_cannot_be_stored_asks_nothing() -> None:
    """A value without a stored form fails before the store is called."""
    with pytest.raises(SerializationError):
        Play(Life().cycle.create("key", state(a=object()), Attempts()))


# Updating


@pytest.mark.parametrize(
    ("concurrency", "only_if"),
    [
        ("merge", Unchanged(packed(a=1))),
        ("error", Unchanged(packed(a=1))),
        ("last-write-wins", PRESENT),
    ],
)
def test_a_change_is_one_conditional_set(concurrency: str, only_if: object) -> None:
    """A changed session replaces the bytes that were loaded, and never creates a record."""
    life = Life(concurrency=concurrency)
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts()))
    assert play.asks == ("set", "key", record(a=2), only_if)
    assert data_of(play.answer(True).result) == {"a": 2}
    assert life.told() == ["updated"]


@pytest.mark.parametrize(("extend", "expires_at"), [(True, NOW + 140), (False, NOW + 100)])
def test_a_change_moves_the_expiry_where_it_may(extend: bool, expires_at: float) -> None:
    """A request that does not extend the session writes the expiry that was there."""
    life = Life()
    life.clock.advance(40)
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), extend, Attempts()))
    assert play.asks == (
        "set",
        "key",
        Record(packed(a=2), expires_at),
        Unchanged(packed(a=1)),
    )


def test_a_conflict_is_merged_and_written_over_what_was_met() -> None:
    """After a conflict the writer reads once, merges and writes again."""
    life = Life()
    play = Play(life.cycle.update(snapshot(a=1), state(a=1, b=2), True, Attempts())).answer(False)
    assert play.asks == ("get", "key")
    play.answer(record(a=1, c=3))
    name, key, written, only_if = play.asks
    assert (name, key, only_if) == ("set", "key", Unchanged(packed(a=1, c=3)))
    assert JSONCodec().loads(written.data, key).data == {"a": 1, "b": 2, "c": 3}
    assert data_of(play.answer(True).result) == {"a": 1, "b": 2, "c": 3}
    assert life.told() == ["conflict", "merged"]


def test_a_merge_that_changes_nothing_is_not_written() -> None:
    """Two requests that made the same change among others need one write."""
    mine, theirs = state(a=2), record(a=2, b=3)
    play = Play(Life().cycle.update(snapshot(a=1), mine, True, Attempts()))
    play.answer(False, theirs)
    assert data_of(play.result) == {"a": 2, "b": 3}


def test_each_round_of_conflicts_starts_from_what_the_last_one_met() -> None:
    """A key deleted in a later round is deleted, though it was there in the round before."""
    play = Play(Life().cycle.update(snapshot(a=1), state(a=2), True, Attempts()))
    play.answer(False, record(a=1, b=1), False)
    assert play.asks[0] == "sleep"
    play.answer(None, record(b=1))
    assert data_of(play.result) == {"b": 1}


@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
@pytest.mark.parametrize(
    "found",
    [None, Record(packed(a=1), NOW), Record(b"not ours", NOW + 9)],
    ids=["ended", "expired", "corrupt"],
)
def test_a_session_that_is_gone_stays_gone(concurrency: str, found: Record | None) -> None:
    """A refused write that finds no live record ends there, and nothing is written."""
    life = Life(concurrency=concurrency)
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts())).answer(False)
    while play.operation is not None:
        play.answer(found)
        assert play.asks[:1] in ((), ("get",))
    assert play.result is None
    assert life.told()[-1] == "gone"


def test_equal_bytes_of_somebody_else_are_a_conflict() -> None:
    """A refused set has not been done: with `error` it raises, and a merge finds nothing to add."""
    strict = Play(
        Life(concurrency="error").cycle.update(snapshot(a=1), state(a=2), True, Attempts())
    )
    strict.answer(False)
    with pytest.raises(ConflictError):
        strict.answer(record(a=2))
    life = Life()
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts())).answer(False)
    while play.operation is not None:
        play.answer(record(a=2))
    assert data_of(play.result) == {"a": 2}
    assert life.told() == ["conflict", "merged"]


def test_with_error_an_attempt_of_unknown_outcome_is_never_assumed() -> None:
    """Where somebody else may have written the same bytes, nothing is acknowledged."""
    life, attempts = Life(concurrency="error"), Attempts()
    with pytest.raises(StoreTimeout):
        Play(life.cycle.update(snapshot(a=1), state(a=2), True, attempts)).answer(StoreTimeout())
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, attempts)).answer(False)
    with pytest.raises(ConflictError, match="may be this one's"):
        play.answer(record(a=2))


@pytest.mark.parametrize(
    "failure", [StoreTimeout, asyncio.CancelledError], ids=["timeout", "cancelled"]
)
def test_an_update_without_reply_is_no_strangers_change(failure: type[BaseException]) -> None:
    """A record that an earlier attempt may have written is replaced, and its deletion counts."""
    life, attempts = Life(), Attempts()
    with pytest.raises(failure):
        Play(life.cycle.update(snapshot(a=1), state(a=1, b=2), True, attempts)).answer(failure())
    play = Play(life.cycle.update(snapshot(a=1), state(a=1, c=3), True, attempts))
    play.answer(False, record(a=1, b=2))
    assert play.asks == ("set", "key", record(a=1, c=3), Unchanged(packed(a=1, b=2)))
    assert data_of(play.answer(True).result) == {"a": 1, "c": 3}


def test_a_merge_without_reply_keeps_what_it_merged() -> None:
    """The others' changes in a merged record whose reply was lost survive the next attempt."""
    life, attempts = Life(), Attempts()
    lost = Play(life.cycle.update(snapshot(a=1), state(a=1, mine=1), True, attempts))
    lost.answer(False, record(a=1, theirs=1))
    merged = lost.asks[2]
    with pytest.raises(StoreTimeout):
        lost.answer(StoreTimeout("late"))
    play = Play(life.cycle.update(snapshot(a=1), state(a=1, mine=2), True, attempts))
    play.answer(False, merged)
    if play.operation is not None:
        play.answer(True)
    assert data_of(play.result) == {"a": 1, "mine": 2, "theirs": 1}


def test_with_error_the_first_conflict_is_raised() -> None:
    """The option `error` neither waits nor writes again."""
    life = Life(concurrency="error")
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts())).answer(False)
    assert play.asks == ("get", "key")
    with pytest.raises(ConflictError):
        play.answer(record(a=3))
    assert life.told() == ["conflict"]


# Conflicts that do not end


def rivals() -> Iterator[Record]:
    """Yield records that differ each time."""
    count = 0
    while True:
        count += 1
        yield record(a=1, count=count)


def lose(play: Play, others: Iterator[Record]) -> float | None:
    """Lose one round against somebody else's write. Return the wait before it."""
    waited = None
    while play.asks[0] != "set":
        if play.asks[0] == "sleep":
            waited = play.asks[1]
        play.answer(next(others) if play.asks[0] == "get" else True)
    play.answer(False)
    return waited


def test_conflicts_are_given_up_after_five_seconds() -> None:
    """Losing every round raises ConflictError after 5 seconds, and not before."""
    life, others = Life(), rivals()
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts()))
    lose(play, others)
    life.elapsed.now = 5.0
    lose(play, others)
    life.elapsed.now = 5.01
    with pytest.raises(ConflictError):
        lose(play, others)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_waits_grow_from_4_to_100_milliseconds(jitter: float) -> None:
    """The longest wait doubles with each round up to a cap, and chance takes any part of it."""
    life, others = Life(jitter=lambda: jitter), rivals()
    play = Play(life.cycle.update(snapshot(a=1), state(a=2), True, Attempts()))
    waits = [lose(play, others) for _ in range(10)]
    longest = [0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1, 0.1]
    assert waits == [None, None, *(jitter * seconds for seconds in longest)]


# Moving the expiry, ending


def test_a_touch_is_one_command_with_the_owner() -> None:
    """Moving the expiry neither reads nor writes data, and tells the index whose session it is."""
    life = Life()
    owned = Snapshot("key", Record(packed(a=1), NOW + 1, "ann"))
    play = Play(life.cycle.touch(owned, NOW + 50))
    assert play.asks == ("touch", "key", NOW + 50, "ann")
    assert play.answer(True).result.record == Record(packed(a=1), NOW + 50, "ann")
    assert life.told() == ["touched"]


def test_a_touch_revives_nothing() -> None:
    """Touching a session that was ended is None and an event."""
    life = Life()
    play = Play(life.cycle.touch(snapshot(a=1), NOW + 50)).answer(False)
    assert (play.operation, play.result) == (None, None)
    assert life.told() == ["gone"]


@pytest.mark.parametrize("was_there", [True, False])
def test_an_end_has_no_condition(was_there: bool) -> None:
    """Ending is one destroy, whatever others wrote; if they ended it, its successors are sought."""
    life = Life()
    play = Play(life.cycle.end("key"))
    assert play.asks == ("destroy", "key", ALWAYS)
    play.answer(was_there)
    if not was_there:
        assert play.asks == ("get", successors_key("key"))
        play.answer(None)
    assert play.operation is None
    assert life.told() == ["destroyed"]


# Rotating


def rotate(life: Life, keep: bool, attempts: Attempts | None = None, **data: Any) -> Play:
    """Move the session ``a=1`` from the key `old` to the key `new`, with new data."""
    old = snapshot("old", a=1)
    play = Play(life.cycle.rotate(old, "new", state(**data), keep, attempts or Attempts()))
    if keep:
        assert play.asks == ("set", successors_key("old"), succession("new"), ABSENT)
        play.answer(True)
    return play


def succession(*keys: str) -> Record:
    """Return the record that leads from a rotated session to its new keys."""
    return Record(packed(successors=[*keys]), NOW + SUCCESSION_SECONDS)


@pytest.mark.parametrize(
    ("keep", "concurrency", "only_if"),
    [
        (False, "merge", ALWAYS),
        (True, "merge", Unchanged(packed(a=1))),
        (True, "error", Unchanged(packed(a=1))),
        (True, "last-write-wins", PRESENT),
    ],
)
def test_the_new_key_is_set_before_the_old_one_is_destroyed(
    keep: bool, concurrency: str, only_if: object
) -> None:
    """At no time there is no session."""
    life = Life(concurrency=concurrency)
    play = rotate(life, keep, a=1)
    assert play.asks == ("set", "new", record(a=1), ABSENT)
    play.answer(True)
    assert play.asks == ("destroy", "old", only_if)
    play.answer(True)
    assert play.result[0].key == "new"
    assert data_of(play.result) == {"a": 1}
    assert life.told() == ["created", "regenerated"]


def test_without_data_the_old_session_does_not_matter() -> None:
    """A rotation to an empty session is done even where the old one was ended already."""
    play = rotate(Life(), False, b=1).answer(True, False)
    assert play.asks == ("get", successors_key("old"))
    play.answer(None)
    assert data_of(play.result) == {"b": 1}


@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
def test_a_rotation_never_revives_a_logout(concurrency: str) -> None:
    """Where the old session was ended meanwhile, the new record is removed again."""
    life = Life(concurrency=concurrency)
    play = rotate(life, True, a=1).answer(True, False)
    assert play.asks == ("get", "old")
    play.answer(None)
    assert play.asks == ("destroy", "new", ALWAYS)
    play.answer(True)
    assert (play.operation, play.result) == (None, None)
    assert life.told()[-1] == "gone"


def test_a_rotation_takes_along_what_others_wrote() -> None:
    """A change of the old session is merged into the new one before the old one is destroyed."""
    play = rotate(Life(), True, a=1, mine=1).answer(True, False, record(a=1, theirs=1))
    name, key, written, only_if = play.asks
    assert (name, key, only_if) == ("set", "new", Unchanged(packed(a=1, mine=1)))
    assert JSONCodec().loads(written.data, key).data == {"a": 1, "mine": 1, "theirs": 1}
    while play.asks[0] != "destroy":
        play.answer(True)
    assert play.asks == ("destroy", "old", Unchanged(packed(a=1, theirs=1)))
    assert data_of(play.answer(True).result) == {"a": 1, "mine": 1, "theirs": 1}


def test_with_error_a_rotation_that_met_a_change_leaves_no_new_session() -> None:
    """ConflictError is raised after the new record was removed again."""
    play = rotate(Life(concurrency="error"), True, a=1).answer(True, False, record(theirs=1))
    assert play.asks == ("destroy", "new", ALWAYS)
    with pytest.raises(ConflictError):
        play.answer(True)


def test_a_rotation_gives_up_after_five_seconds_of_conflicts() -> None:
    """ConflictError is raised when others write on and on, and the new record is removed."""
    life, others = Life(), rivals()
    play = rotate(life, True, a=1).answer(True)
    for seconds in (0.0, 5.0, 5.01):
        life.elapsed.now = seconds
        while play.asks[0] != "destroy":
            play.answer(True)
        assert play.asks[1] == "old"
        play.answer(False, next(others))
    assert play.asks == ("destroy", "new", ALWAYS)
    with pytest.raises(ConflictError):
        play.answer(True)


def test_a_rotation_to_a_taken_key_touches_neither_session() -> None:
    """Where the new key is somebody else's, the old session is still there."""
    play = rotate(Life(), True, a=1).answer(False)
    with pytest.raises(KeyTaken):
        play.answer(record(theirs=1))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("failure", [StoreTimeout, asyncio.CancelledError])
@pytest.mark.parametrize("replies", [[], [True]], ids=["set-unknown", "destroy-unknown"])
def test_a_rotation_that_failed_halfway_goes_on_with_its_key(
    replies: list[bool], failure: type[BaseException], keep: bool
) -> None:
    """A second attempt with other data finds the new record of the first one, and replaces it."""
    life, attempts = Life(), Attempts()
    with pytest.raises(failure):
        rotate(life, keep, attempts, a=1).answer(*replies, failure())
    play = rotate(life, keep, attempts, a=1, b=2).answer(False, record(a=1))
    assert play.asks == ("set", "new", record(a=1, b=2), Unchanged(packed(a=1)))
    play.answer(True)
    assert play.asks[:2] == ("destroy", "old")
    assert data_of(play.answer(True).result) == {"a": 1, "b": 2}


def test_parallel_rotations_are_all_in_the_succession() -> None:
    """A rotation adds its key to those of the others, and writes only what nobody changed."""
    play = Play(Life().cycle.rotate(snapshot("old"), "new", state(), True, Attempts()))
    play.answer(False, succession("a"))
    assert play.asks == (
        "set", successors_key("old"), succession("a", "new"), Unchanged(succession("a").data)
    )  # fmt: skip
    play.answer(False, None)
    assert play.asks == ("set", successors_key("old"), succession("new"), ABSENT)
    play.answer(False, succession("b"), True)
    assert play.asks[:2] == ("set", "new")


@pytest.mark.parametrize("junk", [b"\x00", packed(successors="new"), packed(), b'{"v":9}'])
def test_a_damaged_succession_record_is_replaced(junk: bytes) -> None:
    """A record that cannot be read names nobody, and is overwritten."""
    play = Play(Life().cycle.rotate(snapshot("old"), "new", state(), True, Attempts()))
    play.answer(False, Record(junk, NOW + 1))
    assert play.asks == ("set", successors_key("old"), succession("new"), Unchanged(junk))


def test_an_end_follows_the_successors() -> None:
    """Each successor is ended, and where it was rotated itself those that it has.

    It looks again until it ends nothing.
    """
    play = Play(Life().cycle.end("old"))
    for there in (True, False):
        assert play.asks == ("destroy", "old", ALWAYS)
        play.answer(False, succession("a", "b"))
        assert play.asks == ("destroy", "b", ALWAYS)
        play.answer(*([True] if there else [False, succession()]))
        assert play.asks == ("destroy", "a", ALWAYS)
        play.answer(False)
        assert play.asks == ("get", successors_key("a"))
        play.answer(succession("old", "c"))
        assert play.asks == ("destroy", "c", ALWAYS)
        play.answer(*([True] if there else [False, succession()]))
    assert play.operation is None


# What a request costs


def visit(session: Any, environ: dict[str, Any]) -> str:
    """Do what the path says."""
    match environ["PATH_INFO"]:
        case "/write":
            session["count"] = session.get("count", 0) + 1
        case "/same":
            session["count"] = session["count"]
        case "/logout":
            session.destroy()
        case "/regenerate":
            session.regenerate()
        case "/rotate":
            session.regenerate(keep_data=True)
        case "/read":
            return str(session.get("count"))
    return ""


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("/untouched", []),
        ("/read", ["get"]),
        ("/same", ["get"]),
        ("/write", ["get", "set"]),
        ("/logout", ["get", "destroy"]),
        ("/regenerate", ["get", "set", "destroy"]),
        ("/rotate", ["get", "set", "set", "destroy"]),
    ],
)
def test_an_existing_session_costs_what_it_must(path: str, calls: list[str]) -> None:
    """A read is one trip to the store and a write two; a touch that is not due is none."""
    clock = Clock()
    store = CountingStore(clock=clock)
    with SyncClient(wsgi_app(visit, store=store, clock=clock)) as browser:
        browser.get("/write")
        store.taken()
        clock.advance(59)
        browser.get(path)
    assert store.taken() == calls


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("/untouched", []),
        ("/read", []),
        ("/write", ["set"]),
        ("/logout", []),
        ("/regenerate", ["set"]),
    ],
)
def test_a_visitor_without_a_session_costs_what_is_stored(path: str, calls: list[str]) -> None:
    """A new session is one trip, and nothing is looked up or written for an anonymous request."""
    store = CountingStore()
    with SyncClient(wsgi_app(visit, store=store)) as browser:
        browser.get(path)
    assert store.taken() == calls


def test_a_touch_that_is_due_is_one_more_trip() -> None:
    """After the touch interval an unmodified session's expiry is moved, once."""
    clock = Clock()
    store = CountingStore(clock=clock)
    with SyncClient(wsgi_app(visit, store=store, clock=clock)) as browser:
        browser.get("/write")
        store.taken()
        clock.advance(60)
        browser.get("/read")
        assert store.taken() == ["get", "touch"]
        browser.get("/read")
    assert store.taken() == ["get"]


@pytest.mark.anyio
async def test_the_trips_are_the_same_under_asgi() -> None:
    """A session costs 1 trip to create, 1 to read, 2 to write; without one there is none."""
    store = CountingStore()
    app = asgi_app(lambda session, scope: visit(session, {"PATH_INFO": scope["path"]}), store=store)
    browser, trips = Client(app), []
    for path in ("/read", "/write", "/read", "/untouched", "/write"):
        await browser.get(path)
        trips.append(store.taken())
    assert trips == [[], ["set"], ["get"], ["get"], ["get", "set"]]


# Ids that repeat


def test_a_generator_that_repeats_itself_gives_no_visitor_anothers_session() -> None:
    """With a constant id the second visitor gets an error, and the first one's data stay."""
    store = CountingStore()
    app = wsgi_app(visit, store=store, generate_id=lambda request: "always-the-same-id")
    with SyncClient(app) as first, SyncClient(app) as second:
        first.get("/write")
        store.taken()
        with pytest.raises(ConfigurationError, match=r"`generate_id` .* 3 times in a row"):
            second.get("/write")
        assert store.taken().count("set") == 3
        assert first.get("/read").text == "1"
    assert store.length() == 1


def test_an_id_that_is_taken_is_made_again() -> None:
    """A new session gets the next id of the generator where the first one is somebody's."""
    ids = iter(["the-first-session-id"] * 3 + ["the-second-session-id"])
    store = CountingStore()
    app = wsgi_app(visit, store=store, generate_id=lambda request: next(ids))
    with SyncClient(app) as first, SyncClient(app) as second:
        first.get("/write")
        answer = second.get("/write")
        assert "the-second-session-id" in set_cookies(answer)[0]
        assert first.get("/read").text == second.get("/read").text == "1"
    assert store.length() == 2


def test_a_rotation_never_moves_a_session_to_its_own_key() -> None:
    """If there is no new id `regenerate()` fails, and the old id is dead nevertheless."""
    store = CountingStore()
    app = wsgi_app(visit, store=store, generate_id=lambda request: "always-the-same-id")
    with SyncClient(app) as browser:
        browser.get("/write")
        with pytest.raises(ConfigurationError):
            browser.get("/rotate")
    assert store.length() == 0


# Time


@pytest.mark.parametrize(("age", "alive"), [(99, True), (100, False)])
def test_activity_does_not_move_the_absolute_timeout(age: float, alive: bool) -> None:
    """A session that is used all the time, written and rotated, is over at the absolute age."""
    clock = Clock()
    app = wsgi_app(visit, clock=clock, absolute_timeout=100, idle_timeout=60)
    with SyncClient(app) as browser:
        for path in ("/write", "/write", "/rotate", "/write"):
            browser.get(path)
            clock.advance(20)
        browser.get("/read")
        clock.advance(age - 80)
        assert browser.get("/read").text == ("3" if alive else "None")
