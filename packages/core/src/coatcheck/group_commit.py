"""Changes of one session, written one after the other or several at once.

Writers of one process take turns (:mod:`writers <coatcheck.writers>`). The one whose turn it is
reads what is stored, merges its own change and those of all that wait into it, and writes once.
Each of them learns what became of its change before its response goes out.

Nothing is acknowledged that is not stored. Where the write failed, all learn the error. Where it
was cut short, its outcome is unknown: all of them note that, and those that go on write again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final

from .codec import SessionState
from .errors import (
    ConfigurationError,
    ConflictError,
    RecordTooLarge,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from .events import Announcer
from .operations import Operations, Set, Sleep, ToTheEnd, Turn
from .records import Attempts, Records, Snapshot
from .store import Unchanged
from .writers import Writer

#: How many changes one write has at most.
_LARGEST_GROUP: Final = 100
#: Seconds after which other tasks of the event loop get their turn while changes are merged.
_LONG: Final = 0.005
#: Seconds that a store call may take, so that a change which another writer has is settled by then.
_LONGEST_CALL: Final = 30.0
_BACKOFF_BASE: Final = 0.004
_BACKOFF_CAP: Final = 0.1

#: Changes the data of a session in place.
ChangeFunction = Callable[[dict[str, Any]], Any]


class _Again(Enum):
    """Why a change is to be merged with what is stored then."""

    #: Somebody else was faster.
    REFUSED = auto()
    #: There is nothing to write, and what the change was made to may not be what is stored.
    UNREAD = auto()


class Change(Writer):
    """A change of a stored session.

    :ivar base: what it was made to.
    :ivar mine: the session with the change, as it would be stored.
    :ivar state: what ``mine`` was encoded from. Its values may have changed since.
    :ivar extend: whether the write moves the expiry.
    :ivar attempts: earlier writes of unknown outcome.
    :ivar shown: the stored form of what the session shows.
    :ivar function: is applied to the newest data, or None.
    :ivar value: what the function returned last.
    :ivar deadline: when to give up, by the clock of the :class:`GroupCommit`.
    :ivar stored: what another writer has stored with this change; None if the session is gone.
    :ivar error: what another writer met instead.
    """

    deadline: float
    stored: Snapshot | None = None
    error: Exception | None = None
    value: Any = None

    def __init__(
        self,
        base: Snapshot,
        mine: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        shown: bytes | None = None,
        function: ChangeFunction | None = None,
    ) -> None:
        self.base = base
        self.mine = mine
        self.state = state
        self.extend = extend
        self.attempts = attempts
        self.shown = mine.record.data if shown is None else shown
        self.function = function
        self._written: dict[bytes, Any] = {}
        # The application's function may depend on its thread, and runs in its own context.
        self.shares = function is None
        self._context = None if function is None else copy_context()

    def apply(self, state: SessionState) -> None:
        """Apply the function to a state."""
        assert self.function is not None, "who calls this has looked"
        assert self._context is not None, "it has one with a function"
        self.value = self._context.run(apply, self.function, state)

    def recall(self, stored: Snapshot) -> bool:
        """Tell whether the function is applied to what is stored, and if so take its value."""
        if stored.record.data not in self._written:
            return False
        self.value = self._written[stored.record.data]
        return True

    def note(self, snapshot: Snapshot) -> None:
        """Note a write of unknown outcome that has this change."""
        self.attempts.note(snapshot, self.shown)
        if self.function is not None:
            self._written[snapshot.record.data] = self.value


class GroupCommit:
    """Writes changes of stored sessions.

    :param records: reads, encodes and merges what is stored.
    :param expiry: returns the POSIX time at which a state expires if it is extended now.
    :param announce: told of each event.
    :param merges: whether changes may be merged at all: otherwise only those of functions are
        applied to what others wrote.
    :param timeout: seconds of conflicts after which a change is given up.
    :param monotonic: measures how long conflicts last, in seconds.
    :param jitter: returns a number from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        records: Records,
        expiry: Callable[[SessionState], float],
        announce: Announcer,
        *,
        merges: bool,
        timeout: float,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._records = records
        self._expiry = expiry
        self._announce = announce
        self._merges = merges
        self._timeout = timeout
        self._monotonic = monotonic
        self._jitter = jitter

    def write(
        self, change: Change, *, look: bool = False
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Write a change, by itself or through another writer.

        :param look: read what is stored before the first attempt.
        :returns: what is stored now; None if the session is gone, and nothing was written.
        :raises ConflictError: others wrote first, for as long as the timeout.
        """
        base, mine = change.base, change.mine
        change.deadline = self._monotonic() + self._timeout
        first = None
        if not (look or change.function is not None):
            # Nearly always nobody else writes the session, so what was loaded is stored.
            first = Set(base.key, mine.record, Unchanged(base.record.data))
        turn = Turn(base.key, change, self._timeout, first)
        written: bool | None = None
        try:
            written = yield turn
            if written:
                self._announce("updated", base.key)
                return mine, change.state
            if not change.in_line:
                yield Turn(base.key, change, self._timeout)
            if not (change.leads or change.is_settled) and not change.step_out():
                yield Turn(base.key, change, _LONGEST_CALL)
                if not (change.leads or change.is_settled):
                    raise StoreTimeout("another request that writes this session does not end")
            if change.leads:
                known = base if change.function is not None and change.signal is None else None
                return (yield from self._lead(change, None if look else known, written is False))
        except BaseException as error:
            if turn.is_called and written is not False and not isinstance(error, RecordTooLarge):
                change.note(mine)  # it is stored, or nobody knows
            change.leave()
            if change.stored is not None:
                change.note(change.stored)
            raise
        finally:
            change.leave()
        return self._outcome(change)

    def back_off(self, attempt: int, elapsed: float = 0.0) -> Operations[None]:
        """Wait for a random time before the next attempt.

        :param elapsed: seconds that the last one took. Who always lost by a little would lose
            again if the pause was shorter than an attempt of the other.
        """
        longest = min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 8))
        yield Sleep(max(longest, elapsed) * self._jitter())

    def _outcome(self, change: Change) -> tuple[Snapshot, SessionState] | None:
        """Return what another writer has made of a change."""
        if change.error is not None:
            raise change.error
        if not change.is_settled:
            raise conflict()
        if change.stored is None:
            self._announce("gone", change.base.key)
            return None
        self._announce("merged", change.base.key)
        return change.stored, self._records.shown(change.state, change.stored)

    def _lead(
        self, change: Change, stored: Snapshot | None = None, was_refused: bool = False
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Write a change, and those of others that wait, over what is stored.

        :param stored: what is stored, as far as we know; None to read it.
        :param was_refused: a write was refused before.
        """
        others: list[Change] = []
        attempt = 0
        while True:
            began = self._monotonic()
            stored = stored or (yield from self._read(change, others, was_refused))
            if stored is None:
                return None
            if began > change.deadline:
                raise conflict()
            change.take_others(others, _LARGEST_GROUP - len(others))
            settled = yield from self._attempt(change, others, stored)
            if settled is not _Again.UNREAD and settled is not _Again.REFUSED:
                return settled
            stored = None
            if settled is _Again.UNREAD:
                continue
            was_refused = True
            yield from self.back_off(attempt, self._monotonic() - began)
            attempt += 1

    def _attempt(
        self, change: Change, others: list[Change], stored: Snapshot
    ) -> Operations[tuple[Snapshot, SessionState] | _Again]:
        """Write a change and those of others over what is stored."""
        size = len(others) + 1
        group, seconds = yield from self._merged(change, others, stored)
        # Each of them has about as much to do with it as merging its change has taken.
        pace = max(1, int(_LONG * size / seconds)) if seconds else size
        if self._records.content(group) == self._records.content(stored):
            if stored is change.base:
                return _Again.UNREAD
            for each in (change, *others):
                if not each.is_left:
                    each.attempts.needless = True
            return (yield from self._done(change, others, stored, stored, pace))
        try:
            written = yield from self._set(change, others, group, stored)
        except RecordTooLarge:
            if not others:
                raise
            # Nobody knows whose change is too large: each is written by itself.
            for other in others:
                other.shares = False
            change.give_back()
            return (yield from self._attempt(change, others, stored))
        if not written:
            return _Again.REFUSED
        return (yield from self._done(change, others, stored, group, pace))

    def _read(
        self, change: Change, others: list[Change], was_refused: bool
    ) -> Operations[Snapshot | None]:
        """Return what is stored; where nothing is, the others learn it.

        :param was_refused: a write was refused before.
        """
        key = change.base.key
        try:
            found = yield from self._records.read(key)
        except (StoreError, ConfigurationError) as error:
            self._fail(others, error)
            raise
        if found is None:
            self._settle_all(others)
            self._announce("gone", key)
            return None
        if was_refused and found[0].record.data not in change.attempts.unknown:
            self._announce("conflict", key)
        return found[0]

    def _merged(
        self, change: Change, others: list[Change], stored: Snapshot
    ) -> Operations[tuple[Snapshot, float]]:
        """Return what is stored with the changes of all, and the seconds that merging took."""
        newest = _Newest(self._records, self._expiry, stored)
        known: dict[bytes, SessionState] = {}
        began, seconds = self._monotonic(), 0.0
        for each in (change, *others):
            try:
                if each.deadline < began:
                    raise conflict()
                self._merge_into(newest, each, stored, known)
            except Exception as error:
                # The application's own functions may fail, for one request alone.
                if each is change:
                    raise
                self._settle(each, error=error)
                others.remove(each)
            elapsed = self._monotonic() - began
            if elapsed > _LONG:
                seconds += elapsed
                yield Sleep(0)
                began = self._monotonic()
        group = newest.encoded()
        return group, seconds + self._monotonic() - began

    def _merge_into(
        self,
        newest: _Newest,
        change: Change,
        stored: Snapshot,
        known: dict[bytes, SessionState],
    ) -> None:
        """Merge a change into the newest state, which stays as it was if that fails.

        :param known: what changes were made to, decoded. Those that meet often have one base.
        """
        records, key = self._records, stored.key
        base, earlier = change.base, change.attempts.unknown.get(stored.record.data)
        if not self._merges and stored.record.data != base.record.data:
            # What a function does may be done again. Other changes may not.
            if earlier is not None:
                raise unknown_outcome()
            if records.content(change.mine) != records.content(base):
                raise conflict()
        if change.recall(stored):
            return
        if earlier is not None:
            base = Snapshot(key, replace(stored.record, data=earlier))
        before = known.get(base.record.data)
        if before is None:
            before = known[base.record.data] = records.decode(key, base.record)
        mine = records.decode(key, change.mine.record)
        if change.function is None:
            newest.take(records.merge(before, mine, newest.state()), change.extend)
            return
        state = records.merge(before, mine, newest.copy())
        change.apply(state)
        newest.take(records.with_owner(state), change.extend, encode=True)

    def _set(
        self, change: Change, others: list[Change], group: Snapshot, over: Snapshot
    ) -> Operations[bool]:
        """Write a group. Whoever has a change in it notes a write of unknown outcome."""
        call = Set(group.key, group.record, Unchanged(over.record.data))
        try:
            # The end of one request must not leave the others without an answer.
            written: bool = yield (ToTheEnd(call) if others else call)
        except RecordTooLarge:
            raise
        except BaseException as error:
            for each in (change, *others):
                each.note(group)
            if isinstance(error, StoreError | ConfigurationError):
                self._fail(others, error)
            raise
        return written

    def _done(
        self, change: Change, others: list[Change], stored: Snapshot, group: Snapshot, pace: int
    ) -> Operations[tuple[Snapshot, SessionState]]:
        """Tell the others what is stored, and return it.

        :param pace: how many of them are told before other tasks get their turn.
        """
        met = bool(others) or stored.record.data != change.base.record.data
        try:
            for number, other in enumerate([*others], 1):
                self._settle(other, stored=group)
                others.remove(other)
                if number % pace == 0:
                    yield Sleep(0)
        finally:
            self._settle_all(others, stored=group)
        if met:
            self._announce("merged", group.key)
        elif group is not stored:
            self._announce("updated", group.key)
        return group, self._records.shown(change.state, group)

    def _fail(self, others: list[Change], error: Exception) -> None:
        while others:
            # One for each, because tracebacks are added to what is raised.
            self._settle(others[0], error=_copy(error))
            del others[0]

    def _settle_all(self, others: list[Change], *, stored: Snapshot | None = None) -> None:
        while others:
            self._settle(others[0], stored=stored)
            del others[0]  # only now: whatever strikes in between, nobody is forgotten

    def _settle(
        self, other: Change, *, stored: Snapshot | None = None, error: Exception | None = None
    ) -> None:
        def note() -> None:
            other.stored, other.error = stored, error
            if other.is_left and stored is not None:
                other.note(stored)

        other.settle(note)


class _Newest:
    """What is stored, with one change after the other merged into it.

    A function gets a copy, and what it made of it is encoded at once. So nothing of a function that
    failed is left, what cannot be stored is its own request's error, and each function sees what
    it would have seen in a write of its own.

    :param stored: what is stored.
    """

    def __init__(
        self, records: Records, expiry: Callable[[SessionState], float], stored: Snapshot
    ) -> None:
        self._records = records
        self._expiry = expiry
        self._stored = stored
        self._extends = False
        # One of the two may be missing, and is made of the other.
        self._state: SessionState | None = None
        self._encoded: Snapshot | None = stored

    def state(self) -> SessionState:
        """Return the state, whose values may be part of the next one."""
        if self._state is None:
            self._state = self.copy()
        return self._state

    def copy(self) -> SessionState:
        """Return the state for somebody who changes its values."""
        encoded = self.encoded()
        return self._records.decode(encoded.key, encoded.record)

    def encoded(self) -> Snapshot:
        """Return what would be stored."""
        if self._encoded is None:
            assert self._state is not None, "either of the two is there"
            self._encoded = self._encode(self._state, self._extends)
        return self._encoded

    def take(self, state: SessionState, extends: bool, *, encode: bool = False) -> None:
        """Go on from a state with one more change.

        :param extends: whether the change moves the expiry.
        :param encode: encode it now, because the application may still have its values.
        """
        extends = extends or self._extends
        self._encoded = self._encode(state, extends) if encode else None
        self._state = None if encode else state
        self._extends = extends

    def _encode(self, state: SessionState, extends: bool) -> Snapshot:
        expires_at = self._expiry(state) if extends else self._stored.record.expires_at
        return self._records.encode(self._stored.key, state, expires_at)


def check_function(function: object) -> None:
    """Check that what is to change a session can be called."""
    if not callable(function):
        raise TypeError(
            "what changes a session must be a function of its data, which it changes in place, "
            f"not {type(function).__name__}"
        )


def apply(function: ChangeFunction, state: SessionState) -> Any:
    """Change the data of a state by a function, and return what that returned.

    :raises TypeError: the function has to be awaited.
    """
    value = function(state.data)
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError("the function that changes a session must be a plain one, not `async def`")
    return value


def conflict() -> ConflictError:
    """Return the error for a change that others were faster than."""
    return ConflictError(
        "the session was changed by other requests at the same time, and this change was not saved"
    )


def unknown_outcome() -> ConflictError:
    """Return the error for a change that may be stored already, or another one like it."""
    return ConflictError(
        "an earlier attempt to save the session ended without an answer; what is stored now may be "
        "this one's or another request's change, so this change is not acknowledged"
    )


def _copy(error: Exception) -> Exception:
    """Return an error like this one, made without its constructor, which may take anything."""
    kind = type(error)
    try:
        copy = kind.__new__(kind)
        copy.__dict__.update(error.__dict__)
        copy.args = error.args
        str(copy)
    except Exception:
        text = f"the store failed with {kind.__name__}"
        for known in (StoreUnavailable, StoreTimeout, StoreClosed, StoreError):
            if isinstance(error, known):
                copy = known(text)
                break
        else:
            copy = ConfigurationError(text)
    copy.__cause__ = error.__cause__
    return copy
