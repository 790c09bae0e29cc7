"""Exceptions of signal handlers: they come through as they are, and leave nothing behind."""

from __future__ import annotations

import functools
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from json import JSONDecodeError
from typing import Any

import pytest
from webclient import Clock

from coatcheck import MemoryStore, Record
from coatcheck._records.operations import Get
from coatcheck._stores.runners import SyncRunner
from coatcheck.errors import StoreError
from coatcheck.storekit import ClientPerProcess, Places, interruption
from testing.interrupts import interrupted


class TimeIsUp(Exception):
    """An exception of the handlers."""


class SystemExpired(TimeoutError):
    """Looks like an error of the operating system."""


class _Limit:
    """Handlers that are no plain functions."""

    def method(self, *_: object) -> None:
        raise TimeIsUp

    def __call__(self, *_: object) -> None:
        raise TimeIsUp


def _function(*_: object) -> None:
    raise TimeIsUp


def _with_more(_more: object, *_: object) -> None:
    raise TimeIsUp


HANDLERS: dict[str, Callable[..., None]] = {
    "a function": _function,
    "a method": _Limit().method,
    "an object": _Limit(),
    "a partial": functools.partial(_with_more, "more"),
}


@pytest.fixture
def strike() -> Iterator[Callable[..., None]]:
    """Let a signal strike now, whose handler may be given."""
    former = signal.getsignal(signal.SIGUSR1)

    def struck(handler: Callable[..., None] = _function) -> None:
        signal.signal(signal.SIGUSR1, handler)
        signal.raise_signal(signal.SIGUSR1)

    yield struck
    signal.signal(signal.SIGUSR1, former)


def caught(call: Callable[[], object], packages: tuple[str, ...] = ()) -> Any:
    """Return what a call raised, and what of it came from outside."""
    try:
        call()
    except Exception as error:
        return error, interruption(error, packages)
    raise AssertionError("nothing was raised")


# Which exceptions come from outside


@pytest.mark.parametrize("kind", HANDLERS)
def test_an_exception_of_a_signal_handler_comes_from_outside(
    strike: Callable[..., None], kind: str
) -> None:
    error, outside = caught(lambda: strike(HANDLERS[kind]))
    assert outside is error
    assert type(error) is TimeIsUp


def test_a_handler_s_exception_may_look_like_the_system_s(strike: Callable[..., None]) -> None:
    def handler(*_: object) -> None:
        raise TimeoutError

    error, outside = caught(lambda: strike(handler), ("coatcheck",))
    assert outside is error


def test_what_a_library_made_a_handler_s_exception_into_leads_to_it(
    strike: Callable[..., None],
) -> None:
    def library() -> None:
        try:
            strike()
        except Exception as error:
            raise ConnectionError("the connection broke") from error

    error, outside = caught(library)
    assert type(error) is ConnectionError
    assert type(outside) is TimeIsUp


def test_what_the_caller_is_handling_is_not_what_happened(strike: Callable[..., None]) -> None:
    """An application that saves after its time limit, at a store that is down."""

    def library() -> None:
        raise ConnectionError("refused")

    try:
        strike()
    except TimeIsUp:
        error, outside = caught(library, ("coatcheck",))
    assert type(error.__context__) is TimeIsUp
    assert outside is None


@pytest.mark.parametrize(
    ("error", "is_foreign"),
    [
        (TimeIsUp(), True),
        (StoreError("the client's"), False),
        (type("Subclass", (StoreError,), {})("also the client's"), False),
        (JSONDecodeError("what it stumbled over", "", 0), False),
        (ValueError(), False),
        (OSError(), False),
        (SystemExpired(), False),
    ],
)
def test_an_exception_without_a_handler_is_told_by_its_type(
    error: Exception, is_foreign: bool
) -> None:
    """Those that another thread brings in have no frame of a handler."""

    def call() -> None:
        raise error

    assert caught(call, ("coatcheck",)) == (error, error if is_foreign else None)
    assert caught(call) == (error, None)


# What happens to them


class _Struck(MemoryStore):
    """A store in which a signal strikes."""

    def __init__(self, strike: Callable[[], None]) -> None:
        super().__init__()
        self._strike = strike

    def get(self, key: str) -> Record | None:
        self._strike()
        return super().get(key)


def test_an_exception_of_a_signal_handler_is_no_failure_of_the_store(
    strike: Callable[..., None],
) -> None:
    """An exception of a store that breaks the contract is a StoreError; this one is not its own."""

    def steps() -> Any:
        return (yield Get("key"))

    with pytest.raises(TimeIsUp):
        SyncRunner(_Struck(strike)).run(steps())
    with pytest.raises(StoreError):
        SyncRunner(_Struck(lambda: int("x"))).run(steps())  # type: ignore[arg-type]


def test_an_exception_of_a_signal_handler_is_not_shared(strike: Callable[..., None]) -> None:
    """It strikes who makes the client; another thread that waits for it makes its own."""
    is_making, is_waiting = threading.Event(), threading.Event()
    made = []

    def make() -> str:
        made.append(1)
        if len(made) == 1:
            is_making.set()
            is_waiting.wait(10)
            strike()
        return "client"

    clients = ClientPerProcess(make, lambda _: None)

    def other() -> str:
        is_making.wait(10)
        threading.Timer(0.2, is_waiting.set).start()  # nothing shows that a thread waits for a lock
        return clients.get()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other)
        with pytest.raises(TimeIsUp):
            clients.get()
        assert waiting.result() == "client"


def test_a_client_that_was_given_up_is_made_anew() -> None:
    clients = ClientPerProcess(object, lambda _: None)
    first = clients.get()
    clients.discard()
    assert clients.get() is not first
    sound = ClientPerProcess(object, lambda _: None, fragile=False)
    first = sound.get()
    sound.discard()
    assert sound.get() is first


# Places


def test_places_are_bounded_and_come_back() -> None:
    places = Places(2)
    first, second = places.take(0), places.take(0)
    assert first is not None
    assert places.take(0.01) is None
    assert places.take_at_once() is None
    places.give_back(first)
    assert places.take(0) is first
    assert {*places.all()} == {first, second}


def test_those_who_wait_get_the_place_that_is_given_back() -> None:
    places = Places(1)
    place = places.take(0)
    assert place is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.take, 10)
        places.give_back(place)
        places.serve()
        assert waiting.result() is place


def test_those_who_wait_are_served_in_turn() -> None:
    """Threads that come again and again do not push in front of those who wait."""
    places = Places(1)
    turns: list[int] = []

    def use(number: int) -> None:
        for _ in range(200):
            place = places.take(10)
            assert place is not None
            turns.append(number)
            threading.Event().wait(0.0001)  # as long as a server takes, and others may run
            places.give_back(place)
            places.serve()
            del place

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    first = turns[:400]
    assert min(first.count(number) for number in range(4)) > 20


def test_a_place_that_was_lost_is_there_again() -> None:
    """Also for those who have been waiting since before."""
    places = Places(1)
    place = places.take(0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.take, 10)
        del place
        gc.collect()
        assert waiting.result() is not None


# Real signals


LOCKED = """
import random, signal
from coatcheck import MemoryStore
from coatcheck._records.operations import Turn
from coatcheck._stores.runners import SyncRunner
from coatcheck._records.writers import Writer

class TimeIsUp(Exception):
    pass

def handler(*_):
    raise TimeIsUp

def steps():
    writer = Writer()
    try:
        yield Turn("key", writer, 0.5)
        assert writer.leads, "another one leads"
    finally:
        writer.leave()

runner = SyncRunner(MemoryStore())
signal.signal(signal.SIGALRM, handler)
for _ in range(1500):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 3e-4), 1)
        while True:
            runner.run(steps())
    except TimeIsUp:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
runner.run(steps())
print("done")
"""


def test_the_turn_of_a_writer_is_not_left_taken() -> None:
    """Writers that a signal interrupts let others write."""
    done = subprocess.run(
        [sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_the_memory_store_goes_on_after_interruptions() -> None:
    interrupted("memory:", 500)


def test_an_interrupted_write_is_in_its_owner_s_index() -> None:
    """Wherever it ends: "log out everywhere" finds each session that lives."""
    clock = Clock()

    def strike_at(number: int, call: Callable[[], object]) -> bool:
        """Make a call, and raise before its nth line of a method that needs the lock."""
        left = number

        def trace(frame: Any, event: str, _: object) -> Any:
            nonlocal left
            name = frame.f_code.co_name
            if not frame.f_code.co_filename.endswith("memory.py") or not name.startswith("_"):
                return trace
            if event == "line":
                left -= 1
                if left == 0:
                    raise TimeIsUp
            return trace

        former = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        except TimeIsUp:
            return True
        finally:
            sys.settrace(former)
        return False

    def check(store: MemoryStore) -> None:
        for owner in ("ann", "bob"):
            owned = {key for key, _ in store.owned_by(owner)}
            assert {key for key, found in store.all() if found.owner == owner} <= owned

    calls: list[Callable[[MemoryStore], object]] = [
        lambda store: store.set("new", Record(b"x", clock() + 60, "ann")),
        lambda store: store.set("old", Record(b"y", clock() + 30, "ann")),
        lambda store: store.set("second", Record(b"y", clock() + 30, "ann")),
        lambda store: store.destroy("old"),
        lambda store: store.touch("old", clock() + 10),
    ]
    for call in calls:
        number = 0
        is_struck = True
        while is_struck:
            number += 1
            store = MemoryStore(clock=clock)
            store.set("old", Record(b"x", clock() + 60, "bob"))
            store.set("second", Record(b"x", clock() + 60, "bob"))
            is_struck = strike_at(number, lambda: call(store))  # noqa: B023  # called at once
            check(store)
            call(store)
            check(store)
        assert number > 3
