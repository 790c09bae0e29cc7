"""Random sequences of calls, compared with a dictionary; failing ones are shortened."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coatcheck import (
    ABSENT,
    ALWAYS,
    PRESENT,
    Condition,
    Record,
    Unchanged,
)
from coatcheck.storekit import condition_holds

from .clock import DAY
from .context import Context
from .failure import CheckFailed

#: Keys that backends confuse: with each other, or with something of their own.
KEYS: Final = (
    "key", "Key", "key2", "key/", "key:", "a/../b", "..", "*", "k\0ey",
    unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), "%00",
)  # fmt: skip
#: Any key of the contract (KEY-1): 1 to 256 Unicode scalar values.
_ANY_KEY: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
#: How many keys a sequence has: few, so that calls use the same ones.
_KEYS_AT_ONCE: Final = 3
_DATA: Final = (b"one", b"One", b"one ", b'{"a":1}', b'{"a": 1}', b"\xff\x00")
_OWNERS: Final = (None, "ann", "Ann", "ann/")
#: Whole minutes, so that no backend has to round them.
_LIVES: Final = (60, 120, DAY, DAY, 40 * DAY)
_PAST: Final = (0, -60)
_PASSING: Final = (60, 60, 120, 3600)
#: Seconds for which a failing sequence is shortened.
_SHRINKING: Final = 15.0

#: How many sequences are tried at most.
_SEQUENCES: Final = 60
_SETTINGS: Final = settings(
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=False,
    print_blob=False,
    report_multiple_bugs=False,
    verbosity=Verbosity.quiet,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


class _Enough(BaseException):
    """Raised when the time for shortening a sequence is over."""


class _Failures:
    """The shortest sequence that failed."""

    def __init__(self) -> None:
        self.shortest: tuple[list[str], Exception] | None = None
        self._first: float | None = None

    def add(self, lines: list[str], error: Exception) -> None:
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        if self.shortest is None or len(lines) <= len(self.shortest[0]):
            self.shortest = list(lines), error
        if now > self._first + _SHRINKING:
            raise _Enough


def run_machine(context: Context) -> None:
    """Make sequences of calls on the context's store and its other API.

    There are fewer of them if the profile of Hypothesis has a smaller ``max_examples``.

    :raises CheckFailed: a call returned something else than a dictionary would. The steps of the
        context are those of the shortest such sequence.
    """
    failures = _Failures()
    machine = hypothesis.seed(context.seed)(_machine(context))
    machine.failures = failures
    number = min(_SEQUENCES, settings().max_examples)
    try:
        run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=number))
    except (Exception, _Enough) as raised:
        if failures.shortest is None:
            raise
        context.steps.lines[:], error = failures.shortest
        raise error from (raised if raised is not error else None)


class _Model:
    """A store as the contract describes it: a dictionary, a clock and three conditions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records: dict[str, Record] = {}

    def live(self, key: str) -> Record | None:
        record = self._records.get(key)
        return record if record and record.expires_at > self._context.clock.now else None

    def set(self, key: str, record: Record, only_if: Condition) -> bool:
        holds = condition_holds(only_if, self.live(key))
        if holds:
            self._records[key] = record
        return holds

    def destroy(self, key: str, only_if: Condition) -> bool:
        live = self.live(key)
        ends = live is not None and condition_holds(only_if, live)
        if ends:
            del self._records[key]
        return ends

    def touch(self, key: str, expires_at: float) -> bool:
        live = self.live(key)
        if live is not None:
            self._records[key] = Record(live.data, expires_at, live.owner)
        return live is not None

    def clear(self) -> None:
        self._records.clear()

    def all(self) -> dict[str, Record]:
        found = ((key, self.live(key)) for key in self._records)
        return {key: record for key, record in found if record is not None}

    def owned_by(self, owner: str | None) -> dict[str, Record]:
        return {key: record for key, record in self.all().items() if record.owner == owner}


def _machine(context: Context) -> Any:  # noqa: C901  # one rule for each operation
    """Return the class of a state machine that calls the context's store."""
    declared = context.capabilities
    place, api = st.integers(0, _KEYS_AT_ONCE - 1), st.sampled_from((0, 1))
    data, owners, long_lives = map(st.sampled_from, (_DATA, _OWNERS, _LIVES))
    lives = st.sampled_from((*_LIVES, *_PAST))
    conditions = st.one_of(
        st.sampled_from((ABSENT, PRESENT, ALWAYS)), st.builds(Unchanged, data)
    )  # fmt: skip

    class Machine(_Sequence):
        def __init__(self) -> None:
            super().__init__(context)

        @rule(api=api, place=place, data=data, owner=owners, life=lives, only_if=conditions)
        def set(self, api: int, place: int, only_if: Condition, **contents: Any) -> None:
            self.checked(self.check_set, api, self.keys[place], only_if, **contents)

        @rule(api=api, place=place, data=data, owner=owners, life=long_lives)
        def put(self, api: int, place: int, **contents: Any) -> None:
            self.checked(self.check_set, api, self.keys[place], ALWAYS, **contents)

        @rule(api=api, place=place)
        def set_unchanged(self, api: int, place: int) -> None:
            self.checked(self.check_set_unchanged, api, self.keys[place])

        @rule(api=api, place=place, only_if=conditions)
        def destroy(self, api: int, place: int, only_if: Condition) -> None:
            self.checked(self.check_destroy, api, self.keys[place], only_if)

        @rule(api=api, place=place, now=_rarely())
        def destroy_unchanged(self, api: int, place: int, now: bool) -> None:
            if now:
                self.checked(self.check_destroy_unchanged, api, self.keys[place])

        @rule(api=api, place=place, life=lives, names_owner=st.booleans())
        def touch(self, api: int, place: int, life: float, names_owner: bool) -> None:
            self.checked(self.check_touch, api, self.keys[place], life, names_owner)

        @rule(api=api, place=place)
        def get(self, api: int, place: int) -> None:
            self.checked(self.check_get, api, self.keys[place])

        @rule(seconds=st.sampled_from(_PASSING))
        def advance(self, seconds: float) -> None:
            context.advance(seconds)

        @precondition(lambda _: declared.enumerable)
        @rule(api=api)
        def list_all(self, api: int) -> None:
            self.checked(self.check_all, api)

        @precondition(lambda _: declared.clearable)
        @rule(api=api, now=_rarely())
        def clear(self, api: int, now: bool) -> None:
            if now:
                self.checked(self.check_clear, api)

        @precondition(lambda _: declared.owners and not declared.owner_lag)
        @rule(api=api, owner=st.sampled_from(_OWNERS[1:]))
        def list_owned(self, api: int, owner: str) -> None:
            self.checked(self.check_owned, api, owner)

        @precondition(lambda _: not declared.native_expiry)
        @rule(api=api, limit=st.sampled_from((None, 0, 2)))
        def prune(self, api: int, limit: int | None) -> None:
            self.checked(self.check_prune, api, limit)

    return Machine


def _rarely() -> st.SearchStrategy[bool]:
    """Return True now and then, for a call that leaves little for other calls to do."""
    return st.integers(0, 5).map(lambda number: number == 5)


class _Sequence(RuleBasedStateMachine):
    """One sequence of calls."""

    failures: _Failures

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context, self.model = context, _Model(context)
        self.stack = ExitStack()
        self.apis = self.stack.enter_context(context.sequence())
        self.keys: Sequence[str] = ()
        self.has_failed = False

    @initialize(
        keys=st.lists(
            st.one_of(st.sampled_from(KEYS), _ANY_KEY),
            min_size=_KEYS_AT_ONCE, max_size=_KEYS_AT_ONCE, unique=True,
        ),
        lives=st.lists(st.sampled_from(_LIVES), max_size=_KEYS_AT_ONCE),
    )  # fmt: skip
    def begin(self, keys: list[str], lives: list[float]) -> None:
        """Begin a sequence with some records; most sequences lack one operation."""
        self.keys = keys
        self.context.steps.lines.clear()
        self.context.clock.start = self.context.clock.now
        for key, life in zip(keys, lives, strict=False):
            self.checked(self.check_set, 0, key, ALWAYS, b"one", "ann", life)

    def teardown(self) -> None:
        """Check the final state, and end the sequence."""
        with self.stack:
            self.checked(self.check_everything)

    def checked(self, check: Any, *args: Any, **more: Any) -> None:
        """Make a call, and keep the steps if its result is wrong."""
        if self.has_failed:
            return
        try:
            check(*args, **more)
        except Exception as error:
            self.has_failed = True
            self.failures.add(self.context.steps.lines, _as_failure(self.context, error))
            raise

    def check_set(
        self, api: int, key: str, only_if: Condition, data: bytes, owner: str | None, life: float
    ) -> None:
        record = self.context.record(data, owner, life)
        right = self.model.set(key, record, only_if)
        self.context.expect(self.apis[api].set(key, record, only_if), right)

    def check_set_unchanged(self, api: int, key: str) -> None:
        live = self.model.live(key)
        condition = Unchanged(live.data if live else b"one")
        self.check_set(api, key, condition, b"new", "ann", DAY)

    def check_destroy(self, api: int, key: str, only_if: Condition) -> None:
        right = self.model.destroy(key, only_if)
        self.context.expect(self.apis[api].destroy(key, only_if), right)

    def check_destroy_unchanged(self, api: int, key: str) -> None:
        live = self.model.live(key)
        self.check_destroy(api, key, Unchanged(live.data if live else b"one"))

    def check_touch(self, api: int, key: str, life: float, names_owner: bool) -> None:
        live, expires_at = self.model.live(key), self.context.clock.now + life
        owner = live.owner if live and names_owner else None
        right = self.model.touch(key, expires_at)
        self.context.expect(self.apis[api].touch(key, expires_at, owner), right)

    def check_get(self, api: int, key: str) -> None:
        live = self.model.live(key)
        if live is None:
            self.context.expect_absent(key, store=self.apis[api])
        else:
            self.context.expect_unchanged(live, key, store=self.apis[api])

    def check_all(self, api: int) -> None:
        self._expect_listing(self.apis[api].all(), self.model.all())
        self.context.expect(self.apis[api].length(), len(self.model.all()))

    def check_owned(self, api: int, owner: str) -> None:
        self._expect_listing(self.apis[api].owned_by(owner), self.model.owned_by(owner))

    def check_clear(self, api: int) -> None:
        self.model.clear()
        self.context.expect(self.apis[api].call("clear"), None)

    def check_prune(self, api: int, limit: int | None) -> None:
        removed = self.apis[api].prune(limit)
        right = type(removed) is int and removed >= 0 and (limit is None or removed <= limit)
        self.context.expect_that(right, "a number of records, at most the limit", removed)

    def check_everything(self) -> None:
        for key in self.keys:
            self.check_get(0, key)

    def _expect_listing(self, found: list[tuple[str, Record]], right: dict[str, Record]) -> None:
        self.context.expect_keys(found, list(right))
        for key, record in found:
            self.context.expect_same(record, right[key])


def _as_failure(context: Context, error: Exception) -> CheckFailed:
    if isinstance(error, CheckFailed):
        return error
    return CheckFailed("no exception", context.steps.show(error))
