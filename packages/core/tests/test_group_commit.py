"""Writers of one session in one process: one write for all that wait, each told its outcome."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest
from webclient import Clock, YieldingStore

from coatcheck import ALWAYS, Capabilities, MemoryStore, Record
from coatcheck._records.change import ChangeFunction
from coatcheck._records.lifecycle import Lifecycle
from coatcheck._records.operations import Operations, StoreCall, ToTheEnd, Turn
from coatcheck._records.records import Attempts, Snapshot
from coatcheck._records.writers import Lines, Writer
from coatcheck._stores.runners import AsyncRunner, SyncRunner
from coatcheck.codec import JSONCodec, SessionState
from coatcheck.errors import (
    ConflictError,
    RecordTooLarge,
    SerializationError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOperation,
)
from coatcheck.events import Emitter
from coatcheck.merge_rules import counter
from coatcheck.store import Condition

LATER = 4_000_000_000.0


def state(**data: Any) -> SessionState:
    return SessionState(data, created_at=1.0)


def snapshot(**data: Any) -> Snapshot:
    return Snapshot("key", Record(JSONCodec().dumps(state(**data)), LATER))


def lifecycle(**options: Any) -> Lifecycle:
    defaults: dict[str, Any] = {
        "codec": JSONCodec(),
        "expiry": lambda state: LATER,
        "clock": Clock(1.0),
        "absolute_timeout": None,
        "concurrency": "merge",
        "emit": Emitter((), Clock(1.0)),
    }
    return Lifecycle(**(defaults | options))


def changing(
    cycle: Lifecycle, attempts: Attempts, function: ChangeFunction
) -> Operations[tuple[tuple[Snapshot, SessionState] | None, Any]]:
    """Apply a function to a session, and return what is stored and what the function returned."""
    change = cycle.change_of(snapshot(n=0), state(n=0), True, attempts, function=function)
    stored = yield from cycle.write(change)
    return stored, change.value


class GateStore(YieldingStore):
    """A store whose next write waits to be let through.

    :ivar sets: how many writes were asked for.
    :ivar waiting: is set when a write waits.
    :ivar gate: lets it through.
    :ivar failure: what it raises then, before it is carried out or, if ``late``, afterwards.
    """

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.sets = 0
        self.waiting, self.gate = anyio.Event(), anyio.Event()
        self.failure: BaseException | None = None
        self.late = False
        self.limit = 1_000_000

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.sets += 1
        if len(record.data) > self.limit:
            raise RecordTooLarge(len(record.data), self.limit)
        self.waiting.set()
        await self.gate.wait()
        failure, self.failure = self.failure, None
        if failure is not None and not self.late:
            raise failure
        written = self.store.set(key, record, only_if)
        if failure is not None:
            raise failure
        return written

    def shut(self) -> None:
        self.waiting, self.gate = anyio.Event(), anyio.Event()

    def data(self) -> dict[str, Any]:
        found = self.store.get("key")
        assert found is not None
        return JSONCodec().loads(found.data, "key").data


class Interrupted(BaseException):
    """An exception of a signal handler."""


class Crowd:
    """Writers that have loaded the same session.

    :ivar outcomes: what each update came to, in the order of their ends.
    """

    def __init__(self, **options: Any) -> None:
        self.store = GateStore()
        self.store.store.set("key", snapshot(n=0).record)
        self.runner = AsyncRunner(self.store)
        self.cycle = lifecycle(**options)
        self.outcomes: dict[str, Any] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}
        self.attempts: dict[str, Attempts] = {}

    async def write(self, name: str, **data: Any) -> None:
        attempts = self.attempts[name] = Attempts()
        steps = self.cycle.update(snapshot(n=0), state(**({"n": 0} | data)), True, attempts)
        with anyio.CancelScope() as self.scopes[name]:
            try:
                found = await self.runner.run(steps)
                self.outcomes[name] = None if found is None else found[1].data
                await anyio.lowlevel.checkpoint()
            except Exception as error:
                self.outcomes[name] = error

    async def change(self, name: str, function: ChangeFunction) -> None:
        attempts = self.attempts[name] = Attempts()
        steps = changing(self.cycle, attempts, function)
        try:
            stored, self.outcomes[name] = await self.runner.run(steps)
            assert stored is not None
        except Exception as error:
            self.outcomes[name] = error
        except Interrupted as error:
            self.outcomes[name] = error

    async def gather_functions(self, tasks: Any, **functions: ChangeFunction) -> None:
        """Start functions that wait for their turn."""
        for name, function in functions.items():
            tasks.start_soon(self.change, name, function)
            await anyio.wait_all_tasks_blocked()

    async def gather(self, tasks: Any, *names: str, **data: Any) -> None:
        """Start a writer that leads, and others that wait for it."""
        for name in names:
            tasks.start_soon(lambda name=name: self.write(name, **(data or {name: 1})))
            await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
async def test_those_that_wait_are_written_at_once() -> None:
    """However many wait while one writes, they are one more write, and all show all changes."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "leader", *(f"k{number}" for number in range(20)))
        crowd.store.gate.set()
    everything = {"n": 0, "leader": 1} | {f"k{number}": 1 for number in range(20)}
    assert crowd.store.sets == 2
    assert crowd.store.data() == everything
    assert crowd.outcomes.pop("leader") == {"n": 0, "leader": 1}
    assert [*crowd.outcomes.values()] == [everything] * 20


@pytest.mark.anyio
async def test_functions_of_tasks_are_written_at_once() -> None:
    """In an event loop functions are applied one after the other, each in its own context."""
    crowd = Crowd(concurrency="error")
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose")
    results: dict[str, int] = {}

    def count(data: dict[str, Any]) -> int:
        data["n"] += 1
        data[whose.get()] = 1
        return int(data["n"])

    async def change(name: str) -> None:
        whose.set(name)
        steps = changing(crowd.cycle, Attempts(), count)
        stored, results[name] = await crowd.runner.run(steps)
        assert stored is not None
        assert stored[1].data["n"] >= results[name]

    names = [f"k{number}" for number in range(10)]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(change, name)
            await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert crowd.store.sets == 2
    assert sorted(results.values()) == [*range(1, 11)]
    assert crowd.store.data() == {"n": 10} | dict.fromkeys(names, 1)


@pytest.mark.anyio
async def test_a_function_that_fails_fails_alone() -> None:
    """A change that is half done, or cannot be stored, is in nobody else's session."""
    crowd = Crowd()

    def unstorable(data: dict[str, Any]) -> None:
        data["n"] = object()

    def half(data: dict[str, Any]) -> None:
        data["cart"].append("half")
        raise ValueError

    def appends(data: dict[str, Any]) -> None:
        data.setdefault("cart", []).append("whole")

    outcomes: list[Any] = []

    async def change(function: Any) -> None:
        steps = changing(crowd.cycle, Attempts(), function)
        try:
            found, _ = await crowd.runner.run(steps)
            outcomes.append(found is not None)
        except (SerializationError, ValueError) as error:
            outcomes.append(type(error))

    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first")
        for function in (appends, unstorable, half, appends):
            tasks.start_soon(change, function)
            await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert sorted(map(str, outcomes)) == sorted(
        map(str, [True, True, SerializationError, ValueError])
    )
    assert crowd.store.data() == {"n": 0, "first": 1, "cart": ["whole", "whole"]}
    assert crowd.store.sets == 2


@pytest.mark.anyio
async def test_a_session_that_was_ended_is_gone_for_all() -> None:
    """Those that wait behind a logout learn that there is nothing left."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "leader", "a", "b")
        crowd.store.store.destroy("key")
        crowd.store.gate.set()
    assert crowd.outcomes == {"leader": None, "a": None, "b": None}
    assert crowd.store.store.get("key") is None


@pytest.mark.parametrize("late", [False, True], ids=["not-applied", "applied"])
@pytest.mark.anyio
async def test_a_write_that_failed_failed_for_all(late: bool) -> None:
    """Everyone in a group learns the error, and knows its own change if it was applied."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "leader", "a", "b")
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        crowd.store.failure, crowd.store.late = StoreTimeout("no reply"), late
        crowd.store.gate.set()
    errors = [crowd.outcomes.pop(name) for name in ("a", "b")]
    assert [str(error) for error in errors] == ["no reply"] * 2
    assert errors[0] is not errors[1]
    assert crowd.outcomes == {"leader": {"n": 0, "leader": 1}}
    assert crowd.store.data() == {"n": 0, "leader": 1} | ({"a": 1, "b": 1} if late else {})
    for name in ("a", "b"):
        assert len(crowd.attempts[name].unknown) == 1
        again = crowd.cycle.update(
            snapshot(n=0), state(n=0, **{name: 1}), True, crowd.attempts[name]
        )
        assert await crowd.runner.run(again) is not None
    assert crowd.store.data() == {"n": 0, "leader": 1, "a": 1, "b": 1}


class KeywordOnly(StoreError):
    def __init__(self, *, host: str) -> None:
        super().__init__(f"{host} does not answer")
        self.host = host


class NeedsArguments(StoreError):
    def __new__(cls, host: str) -> Self:
        return super().__new__(cls, host)


class Unprintable(StoreUnavailable):
    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(host)

    def __str__(self) -> str:
        return f"{self.host}: {self.args[0]:d}"


@pytest.mark.parametrize("reads", [False, True], ids=["write", "read"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeywordOnly(host="h"), KeywordOnly),
        (UnsupportedOperation("set", "owners"), UnsupportedOperation),
        (NeedsArguments("h"), StoreError),
        (Unprintable("h"), StoreUnavailable),
    ],
)
@pytest.mark.anyio
async def test_whatever_error_a_store_has_everybody_learns_it(
    error: StoreError, kind: type[StoreError], reads: bool
) -> None:
    """However it is constructed: nobody waits for a time limit, and the leader has the original."""
    crowd = Crowd()
    get = crowd.store.get
    is_down = False

    async def failing(key: str) -> Record | None:
        if is_down:
            raise error
        return await get(key)

    crowd.store.get = failing  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", "leader", "a", "b", "c")
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        if reads:
            # Somebody else writes, so the group is refused and reads again.
            is_down = True
            crowd.store.store.set("key", snapshot(n=5).record)
        else:
            crowd.store.failure = error
        crowd.store.gate.set()
        with anyio.fail_after(3):
            while len(crowd.outcomes) < 5:
                await anyio.lowlevel.checkpoint()
    assert crowd.outcomes["leader"] is error
    for name in ("a", "b", "c"):
        copy = crowd.outcomes[name]
        assert type(copy) is kind
        assert copy is not error
        if kind is type(error):
            assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.anyio
async def test_a_cancelled_leader_takes_nobody_along() -> None:
    """A request that goes away while it writes for others writes to the end, and is cancelled."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", "leader", "a")
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        crowd.scopes["leader"].cancel()
        await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert crowd.scopes["leader"].cancelled_caught
    assert crowd.outcomes["a"] == crowd.store.data() == {"n": 0, "first": 1, "leader": 1, "a": 1}


def test_a_task_that_is_cancelled_while_it_writes_for_others() -> None:
    """The same with asyncio's own way of cancelling; a timeout still knows its own."""

    async def main() -> None:
        crowd = Crowd()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.write("first", first=1))
            await asyncio.sleep(0)  # lets the first one write

            async def lead() -> str:
                try:
                    async with asyncio.timeout(0.05):
                        await crowd.write("leader", leader=1)
                        await asyncio.sleep(0)  # takes the cancellation
                except TimeoutError:
                    return "timeout"
                return "written"

            leading = tasks.create_task(lead())
            await asyncio.sleep(0)
            tasks.create_task(crowd.write("a", a=1))
            await asyncio.sleep(0)
            crowd.store.gate.set()
            crowd.store.shut()
            await crowd.store.waiting.wait()
            await asyncio.wait([leading], timeout=0.2)
            assert not leading.done()
            crowd.store.gate.set()
        assert leading.result() == "timeout"
        assert crowd.outcomes["a"] == {"n": 0, "first": 1, "leader": 1, "a": 1}
        assert crowd.store.data() == {"n": 0, "first": 1, "leader": 1, "a": 1}

    asyncio.run(main())


@pytest.mark.anyio
async def test_a_request_that_goes_away_while_it_waits_is_not_written() -> None:
    """A change that nobody has taken yet goes with its request."""
    crowd = Crowd()
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "leader", "a", "b")
        crowd.scopes["a"].cancel()
        await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert crowd.store.data() == {"n": 0, "leader": 1, "b": 1}


@pytest.mark.anyio
async def test_a_request_that_goes_away_while_another_writes_it_knows_that() -> None:
    """Its change is stored, and a later attempt of the same session does not count it twice."""
    crowd = Crowd(rules={"n": counter})
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first")
        await crowd.gather(tasks, "leader", "a", n=1)
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        crowd.scopes["a"].cancel()
        await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert crowd.store.data() == {"n": 2, "first": 1}
    again = crowd.cycle.update(snapshot(n=0), state(n=1), True, crowd.attempts["a"])
    assert await crowd.runner.run(again) is not None
    assert crowd.store.data() == {"n": 2, "first": 1}


@pytest.mark.anyio
async def test_a_change_that_cannot_be_merged_fails_alone() -> None:
    """An exception of a rule is one request's error, and the others are written."""
    crowd = Crowd(rules={"n": counter})
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", n=1)
        await crowd.gather(tasks, "a")
        await crowd.gather(tasks, "wrong", n="text")
        await crowd.gather(tasks, "b")
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes["wrong"], TypeError)
    assert crowd.store.data() == {"n": 1, "a": 1, "b": 1}


def _append(data: dict[str, Any], name: str) -> None:
    data.setdefault("list", []).append(name)


def _append_and_raise(data: dict[str, Any]) -> None:
    _append(data, "wrong")
    raise LookupError


def _append_for_a_wrong_owner(data: dict[str, Any]) -> None:
    _append(data, "wrong")
    data["user"] = 0


def _append_what_cannot_be_stored(data: dict[str, Any]) -> None:
    _append(data, "wrong")
    data["x"] = object()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (_append_and_raise, LookupError),
        (_append_for_a_wrong_owner, ZeroDivisionError),
        (_append_what_cannot_be_stored, SerializationError),
    ],
    ids=["raises", "owner-raises", "unstorable"],
)
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.anyio
async def test_a_function_that_fails_in_a_group_leaves_nothing(
    wrong: ChangeFunction, error: type[Exception], last: bool
) -> None:
    """Its change inside a value is dropped, and the others of its group are stored."""
    crowd = Crowd(owner=lambda data: str(1 // data.get("user", 1)))
    functions = {name: lambda data, name=name: _append(data, name) for name in ("a", "b", "c")}
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first")
        await crowd.gather_functions(tasks, a=functions["a"], b=functions["b"], wrong=wrong)
        if not last:
            await crowd.gather_functions(tasks, c=functions["c"])
        await crowd.gather(tasks, "plain")
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes["wrong"], error)
    names = ["a", "b"] if last else ["a", "b", "c"]
    assert crowd.store.data() == {"n": 0, "first": 1, "list": names, "plain": 1}
    assert [crowd.outcomes[name] for name in names] == [None] * len(names)
    assert crowd.store.sets == 2


@pytest.mark.anyio
async def test_a_function_in_a_group_sees_what_it_would_see_in_a_write_of_its_own() -> None:
    """The codec is between two functions: keys are strings, and no value is shared."""
    crowd = Crowd()

    def returns_it(data: dict[str, Any]) -> Any:
        data["m"] = {1: ["a"]}
        return data["m"]

    def extends_it(data: dict[str, Any]) -> Any:
        data["m"]["1"].append("b")
        return data["m"]

    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first")
        await crowd.gather_functions(tasks, a=returns_it, b=extends_it)
        crowd.store.gate.set()
    assert crowd.outcomes["a"] == {1: ["a"]}
    assert crowd.outcomes["b"] == crowd.store.data()["m"] == {"1": ["a", "b"]}


@pytest.mark.anyio
async def test_a_rule_whose_result_cannot_be_stored_fails_alone() -> None:
    """It is the error of the request whose change it was, and the error names its key."""
    crowd = Crowd(rules={"n": lambda base, mine, theirs: object()})
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", n=1)
        await crowd.gather(tasks, "a")
        await crowd.gather(tasks, "wrong", n=2)
        await crowd.gather(tasks, "b")
        await crowd.gather_functions(tasks, c=lambda data: _append(data, "c"))
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes["wrong"], SerializationError)
    assert "`session['n']`" in str(crowd.outcomes["wrong"])
    assert crowd.store.data() == {"n": 1, "a": 1, "b": 1, "list": ["c"]}
    assert crowd.store.sets == 2


@pytest.mark.anyio
async def test_a_rule_that_fails_leaves_nothing() -> None:
    """Its changes inside the values that it was given are dropped."""

    def wrong(base: Any, mine: Any, theirs: Any) -> Any:
        for values in (base, mine, theirs):
            (values or []).append("wrong")
        if mine[0] == "b":
            raise LookupError
        return [*theirs[:-1], *mine[:-1]]

    crowd = Crowd(rules={"list": wrong})
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", list=["first"])
        for name in ("a", "b", "c"):
            tasks.start_soon(lambda name=name: crowd.write(name, list=[name]))
            await anyio.wait_all_tasks_blocked()
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes["b"], LookupError)
    assert crowd.store.data() == {"n": 0, "list": ["first", "a", "c"]}


@pytest.mark.anyio
async def test_a_change_that_is_too_large_fails_alone() -> None:
    """Where a group exceeds what the store holds, each is written by itself."""
    crowd = Crowd()
    crowd.store.limit = 400
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", "a")
        await crowd.gather(tasks, "large", x="x" * 500)
        await crowd.gather(tasks, "b")
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes["large"], RecordTooLarge)
    assert crowd.store.data() == {"n": 0, "first": 1, "a": 1, "b": 1}


@pytest.mark.anyio
async def test_who_waits_too_long_is_told_so_and_not_written() -> None:
    """A change that is not written in time is a conflict, and nobody writes it later."""
    crowd = Crowd(conflict_timeout=0.05)
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "leader")
        await crowd.write("a", a=1)
        assert isinstance(crowd.outcomes["a"], ConflictError)
        # Nothing has moved, so the next writer does not wait for that one.
        await crowd.gather(tasks, "b")
        assert crowd.store.sets == 2
        crowd.store.gate.set()
    assert crowd.store.data() == {"n": 0, "leader": 1, "b": 1}


def test_event_loops_and_threads_lose_nothing_of_each_other() -> None:
    """Writers of three event loops, one of them trio's, and of threads write one session."""
    store = MemoryStore()
    store.set("key", snapshot(n=0).record)
    cycle, runner, sync_runner = lifecycle(), AsyncRunner(store), SyncRunner(store)
    start = threading.Barrier(3 + 5)

    async def in_tasks(name: str) -> None:
        async with anyio.create_task_group() as tasks:
            start.wait()
            for number in range(10):
                mine = state(n=0, **{f"{name}{number}": 1})
                tasks.start_soon(runner.run, cycle.update(snapshot(n=0), mine, True, Attempts()))

    def in_a_thread(name: str) -> None:
        start.wait()
        mine = state(n=0, **{name: 1})
        sync_runner.run(cycle.update(snapshot(n=0), mine, True, Attempts()))

    calls: list[Callable[[], None]] = [
        lambda: anyio.run(in_tasks, "a"),
        lambda: anyio.run(in_tasks, "b"),
        lambda: anyio.run(in_tasks, "c", backend="trio"),
        *(lambda name=f"t{number}": in_a_thread(name) for number in range(5)),
    ]
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result(30)
    names = {f"{letter}{number}" for letter in "abc" for number in range(10)}
    found = store.get("key")
    assert found is not None
    data = JSONCodec().loads(found.data, "key").data
    assert data.keys() == {"n", *names, *(f"t{number}" for number in range(5))}


def test_a_write_is_noted_whatever_strikes_after_it() -> None:
    """An exception of a signal handler in an observer: the session knows its own writing later."""
    store = MemoryStore()
    store.set("key", snapshot(n=0).record)

    def observe(event: object) -> None:
        raise Interrupted

    attempts = Attempts()
    cycle = lifecycle(emit=Emitter((observe,), Clock(1.0)))
    with pytest.raises(Interrupted):
        SyncRunner(store).run(cycle.update(snapshot(n=0), state(n=1), True, attempts))
    assert list(attempts.unknown) == [snapshot(n=1).record.data]


def test_the_error_of_a_merge_rule_names_the_key() -> None:
    """A sum of strings fails in the rule, and which key has it would be hard to guess."""
    store = MemoryStore()
    store.set("key", snapshot(n="theirs").record)
    cycle = lifecycle(rules={"n": counter})
    with pytest.raises(TypeError) as caught:
        SyncRunner(store).run(cycle.update(snapshot(n="base"), state(n="mine"), True, Attempts()))
    assert caught.value.__notes__ == ["raised by the merge rule of the session's key 'n'"]


def test_a_leader_that_is_struck_down_takes_nobody_along() -> None:
    """A signal handler's exception in a thread that writes for others leaves them their turn."""
    store = MemoryStore()
    store.set("key", snapshot(n=0).record)
    first, gate = threading.Event(), threading.Event()

    class Struck(MemoryStore):
        capabilities = Capabilities(blocking=True)
        sets = 0

        def get(self, key: str) -> Record | None:
            return store.get(key)

        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            self.sets += 1
            if self.sets == 1:
                first.set()
                gate.wait()
            written = store.set(key, record, only_if)
            if self.sets == 2:
                raise Interrupted
            return written

    cycle, runner = lifecycle(rules={"n": counter}), SyncRunner(Struck())
    entered = threading.Semaphore(0)
    enter = runner._lines.enter

    def tell(*args: Any) -> None:
        enter(*args)
        entered.release()

    runner._lines.enter = tell  # type: ignore[method-assign]

    def write(name: str) -> Any:
        steps = cycle.update(snapshot(n=0), state(n=1, **{name: 1}), True, Attempts())
        return runner.run(steps)

    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(write, "first")]
        first.wait()
        entered.acquire()
        for name in ("leader", "a", "b"):
            calls.append(threads.submit(write, name))
            entered.acquire()
        gate.set()
        with pytest.raises(Interrupted):
            calls[1].result(10)
        assert all(calls[number].result(10) for number in (0, 2, 3))
    found = store.get("key")
    assert found is not None
    assert JSONCodec().loads(found.data, "key").data == {
        "n": 4,
        "first": 1,
        "leader": 1,
        "a": 1,
        "b": 1,
    }


class Flag:
    """Holds a writer whose steps are taken by hand."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True


class ByHand:
    """Takes the steps of several writers one by one.

    :ivar done: what each came to.
    :ivar breaks: how many writes of the leader's group fail.
    """

    def __init__(self, breaks: int) -> None:
        self.store, self.lines, self.cycle = MemoryStore(), Lines(), lifecycle()
        self.store.set("key", snapshot(n=0).record)
        self.breaks = breaks
        self.steps: dict[str, Any] = {}
        self.waits: dict[str, Any] = {}
        self.done: dict[str, Any] = {}

    def start(self, name: str) -> None:
        mine = state(n=0, **{name: 1})
        self.steps[name] = self.cycle.update(snapshot(n=0), mine, True, Attempts())
        self.waits[name] = None
        self.go_on(name)

    def go_on(self, name: str) -> None:
        """Take all steps of a writer until it waits for others or is done."""
        steps = self.steps[name]
        resume, outcome = steps.send, None
        while True:
            try:
                operation = resume(outcome)
            except StopIteration as stop:
                self.done[name] = stop.value
                break
            except StoreError as error:
                self.done[name] = error
                break
            resume, outcome = steps.send, None
            if isinstance(operation, Turn):
                if not operation.writer.in_line:
                    self.lines.enter("key", operation.writer, Flag)
                if operation.writer.signal is not None:
                    self.waits[name] = operation.writer.signal
                    return
                operation.is_called = operation.call is not None
            call = operation.call if isinstance(operation, ToTheEnd | Turn) else operation
            if isinstance(call, StoreCall):
                if isinstance(operation, ToTheEnd) and self.breaks:
                    self.breaks -= 1
                    resume, outcome = steps.throw, StoreTimeout("no reply")
                else:
                    outcome = getattr(self.store, call.name)(*call.args)
        del self.steps[name]

    def finish(self) -> None:
        """Let everybody go on that is awake."""
        while awake := [name for name in self.steps if self.waits[name].is_set]:
            self.go_on(awake[0])


def leaders_work(code: Any) -> bool:
    files = ("group_commit.py", "change_group.py", "group_merge.py", "change.py", "writers.py")
    return code.co_filename.endswith(files) and code.co_name not in ("leave", "pass_on", "_lost")


@pytest.mark.parametrize("breaks", [0, 1], ids=["written", "failed"])
def test_wherever_a_leader_is_struck_down_nobody_is_forgotten(breaks: int) -> None:
    """A signal handler's exception at any line of its work leaves everybody a turn or an answer."""
    # Under Python 3.11 a trace function that raises can leave an exception behind, which all later
    # ones of the thread would have as their context.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(interrupt_a_leader_everywhere, breaks).result()


def interrupt_a_leader_everywhere(breaks: int) -> None:
    for number in range(1, 1000):
        writers = ByHand(breaks)
        left = number

        def trace(frame: Any, event: str, _: object) -> Any:
            nonlocal left
            if event == "line" and leaders_work(frame.f_code):
                left -= 1
                if left == 0:
                    raise Interrupted
            return trace

        # Others come while the first one writes, and the second one leads them.
        first = writers.cycle.update(snapshot(n=0), state(n=0, first=1), True, Attempts())
        turn = next(first)
        writers.lines.enter("key", turn.writer, Flag)
        for name in ("leader", "a", "b", "c"):
            writers.start(name)
        assert writers.store.set(*turn.call.args)
        with pytest.raises(StopIteration):
            first.send(True)
        former = sys.gettrace()
        sys.settrace(trace)
        try:
            writers.go_on("leader")
        except Interrupted:
            writers.steps.pop("leader", None)
        finally:
            sys.settrace(former)
        writers.finish()
        assert writers.done.keys() >= {"a", "b", "c"}, number
        for name in ("a", "b", "c"):
            if isinstance(writers.done[name], StoreError):
                assert breaks == 1
            else:
                assert writers.done[name][1].data[name] == 1
        if left > 0:
            return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("late", [False, True], ids=["not-applied", "applied"])
@pytest.mark.anyio
async def test_functions_of_a_leader_that_is_struck_down_count_once(late: bool) -> None:
    """Those whose group was stored know that, and return what they returned then."""
    crowd = Crowd()

    def count(data: dict[str, Any]) -> int:
        data["n"] += 1
        return int(data["n"])

    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first")
        await crowd.gather_functions(tasks, leader=count, a=count, b=count)
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        await crowd.gather_functions(tasks, c=count)
        crowd.store.failure, crowd.store.late = Interrupted(), late
        crowd.store.gate.set()
    assert isinstance(crowd.outcomes.pop("leader"), Interrupted)
    expected = {"a": 2, "b": 3, "c": 4} if late else {"a": 1, "b": 2, "c": 3}
    assert {name: crowd.outcomes[name] for name in "abc"} == expected
    assert crowd.store.data()["n"] == expected["c"]


@pytest.mark.anyio
async def test_a_function_that_is_called_again_after_an_error_counts_again() -> None:
    """Nobody knows whether the first call was stored, and the second one is a change of its own."""
    crowd = Crowd()
    attempts = Attempts()
    crowd.store.failure, crowd.store.late = StoreTimeout("no reply"), True
    crowd.store.gate.set()

    def change() -> Any:
        def count(data: dict[str, Any]) -> None:
            data["n"] += 1

        return crowd.runner.run(changing(crowd.cycle, attempts, count))

    with pytest.raises(StoreTimeout):
        await change()
    await change()
    assert crowd.store.data() == {"n": 2}


@pytest.mark.anyio
async def test_a_reader_fails_for_all_that_were_taken() -> None:
    """Where what is stored cannot be read any more, nobody waits for its own time limit."""
    crowd = Crowd()
    reads = 0
    get = crowd.store.get

    async def failing(key: str) -> Record | None:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise StoreError("down")
        return await get(key)

    crowd.store.get = failing  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        await crowd.gather(tasks, "first", "leader", "a")
        crowd.store.gate.set()
        crowd.store.shut()
        await crowd.store.waiting.wait()
        # Somebody else writes, so the group is refused and reads again.
        crowd.store.store.set("key", snapshot(n=5).record)
        crowd.store.gate.set()
    assert [str(crowd.outcomes[name]) for name in ("leader", "a")] == ["down"] * 2


@pytest.mark.filterwarnings("ignore:This process .* multi-threaded:DeprecationWarning")  # it is
def test_a_child_that_is_forked_meanwhile_waits_for_nobody() -> None:
    """Writers of the parent, and a thread that had the guard, do not exist there."""
    leads, forked = threading.Event(), threading.Event()
    parent = os.getpid()

    class Gate(MemoryStore):
        def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
            if os.getpid() == parent:
                leads.set()
                forked.wait(10)
            return super().set(key, record, only_if)

    store = Gate()
    MemoryStore.set(store, "key", snapshot(n=0).record)
    cycle, runner = lifecycle(conflict_timeout=10), SyncRunner(store)

    def write(name: str) -> Any:
        return runner.run(cycle.update(snapshot(n=0), state(n=0, **{name: 1}), True, Attempts()))

    def hold_guard() -> None:
        with runner._lines.guard:
            held.set()
            forked.wait(10)

    held = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        writing = threads.submit(write, "parent")
        leads.wait(10)
        holding = threads.submit(hold_guard)
        held.wait(10)
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            try:
                os._exit(write("child")[1].data != {"n": 0, "child": 1})
            finally:
                os._exit(2)
        forked.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        holding.result(10)
        assert writing.result(10)[1].data == {"n": 0, "parent": 1}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_is_woken_from_whatever_thread_forgets_the_leader(backend: str) -> None:
    """The garbage collector runs in any thread, and the next one in line leads at once."""

    async def main() -> float:
        runner = AsyncRunner(MemoryStore())
        writers = [Writer(), Writer()]
        waiting = writers[1]
        for writer in writers:
            signal_ = runner._signal(Turn("key", writer, 5))
        del writer
        assert signal_ is not None
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(signal_.wait, 5)
            await anyio.wait_all_tasks_blocked()
            thread = threading.Timer(0.1, writers.clear)
            thread.start()
        thread.join()
        assert waiting.leads
        return time.monotonic() - began

    assert anyio.run(main, backend=backend) < 4
