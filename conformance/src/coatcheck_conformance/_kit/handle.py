"""A store as cases see it: one way to call both APIs, and a list of all calls."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from coatcheck import ALWAYS, AsyncStore, Capabilities, Condition, Record, Store, Unchanged
from coatcheck.errors import CoatcheckError

from .clock import Clock
from .failure import CheckFailed, RunEnded

T = TypeVar("T")
APIName: TypeAlias = Literal["sync", "async"]
APIS: Final[tuple[APIName, ...]] = ("sync", "async")

#: Bytes of data that a step shows.
_DATA_SHOWN: Final = 40
_END: Final = object()


class Loop:
    """The event loop of a case, created when it is first needed."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end in the calling thread."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def close(self) -> None:
        """Close the loop, if there is one."""
        if self._runner is not None:
            self._runner.close()


class Steps:
    """The steps of a case, in words; times are relative to the clock's start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lines: list[str] = []
        self._is_over = False

    def end(self) -> None:
        """Let this case begin no other call: the next one raises :class:`RunEnded`."""
        self._is_over = True

    def go_on(self) -> None:
        """Return if the run goes on.

        :raises RunEnded: somebody ended the run.
        """
        if self._is_over:
            raise RunEnded

    def note(self, line: str) -> None:
        """Add a step that is not a call of an operation."""
        self.lines.append(line)

    def called(self, name: str, operation: str, args: Sequence[object], outcome: str) -> None:
        """Add a call and its outcome."""
        self.lines.append(f"{self.call(name, operation, args)} -> {outcome}")

    def call(self, name: str, operation: str, args: Sequence[object]) -> str:
        """Return a call in words."""
        shown = [self._time(arg) if isinstance(arg, float) else self.show(arg) for arg in args]
        return f"{name}.{operation}({', '.join(shown)})"

    def show(self, value: object) -> str:
        """Return a value in words."""
        if isinstance(value, Record):
            owner = "" if value.owner is None else f", owner={self.show(value.owner)}"
            return (
                f"Record({self.show(value.data)}, expires_at={self._time(value.expires_at)}{owner})"
            )
        if isinstance(value, Unchanged):
            return f"Unchanged({self.show(value.data)})"
        if isinstance(value, bytes) and len(value) > _DATA_SHOWN:
            return f"{value[:_DATA_SHOWN]!r}... ({len(value)} bytes)"
        if isinstance(value, str) and len(value) > _DATA_SHOWN:
            return f"{value[:_DATA_SHOWN]!r}... ({len(value)} characters)"
        if isinstance(value, tuple):
            return f"({', '.join(map(self.show, value))})"
        if isinstance(value, list):
            shown = ", ".join(map(self.show, value[:8]))
            return f"[{shown}{f', ... {len(value)} in all' if len(value) > 8 else ''}]"
        if isinstance(value, BaseException):
            return f"{type(value).__name__}({str(value)!r})"
        name = getattr(value, "name", None)
        return name if isinstance(name, str) and name.isupper() else repr(value)

    def _time(self, seconds: object) -> str:
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return repr(seconds)
        return f"start{seconds - self._clock.start:+.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has not been made yet, for :meth:`Handle.later` and ``Context.together``."""

    handle: Handle
    operation: str
    args: tuple[Any, ...]


class Handle:
    """A store object, called through one of its APIs.

    The operations are those of :class:`coatcheck.Store`, on either API. Each call becomes a step.

    :ivar name: the handle's name in the steps: ``store``, ``second``, ...
    :ivar native: the object that is called.
    """

    def __init__(self, name: str, native: Store | AsyncStore, loop: Loop, steps: Steps) -> None:
        self.name = name
        self.native = native
        self._loop = loop
        self._steps = steps

    @property
    def api(self) -> APIName:
        """Return the name of the API that is called."""
        return "async" if isinstance(self.native, AsyncStore) else "sync"

    @property
    def capabilities(self) -> Capabilities:
        """Return the capabilities that the store declares."""
        return self.native.capabilities

    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return self.call("get", key)  # type: ignore[no-any-return]  # as all of these

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        args = (key, record) if only_if is ALWAYS else (key, record, only_if)
        return self.call("set", *args)  # type: ignore[no-any-return]

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        args = (key,) if only_if is ALWAYS else (key, only_if)
        return self.call("destroy", *args)  # type: ignore[no-any-return]

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        args = (key, expires_at) if owner is None else (key, expires_at, owner)
        return self.call("touch", *args)  # type: ignore[no-any-return]

    def all(self) -> list[tuple[str, Record]]:
        """Return everything that ``all`` yields."""
        return self._listing("all")

    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return self.call("length")  # type: ignore[no-any-return]

    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        self.call("clear")

    def owned_by(self, owner: str) -> list[tuple[str, Record]]:
        """Return everything that ``owned_by`` yields."""
        return self._listing("owned_by", owner)

    def prune(self, limit: int | None = None) -> int:
        """See :meth:`coatcheck.Store.prune`."""
        args = () if limit is None else (limit,)
        return self.call("prune", *args)  # type: ignore[no-any-return]

    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        self.call("ping")

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self.call("close")

    def later(self, operation: str, *args: Any) -> Call:
        """Return a call that ``Context.together`` makes with others."""
        return Call(self, operation, args)

    def call(self, operation: str, *args: Any) -> Any:
        """Call an operation that returns a value, and add a step."""
        try:
            outcome = self.perform(operation, *args)
        except BaseException as error:
            self._steps.called(self.name, operation, args, f"raised {self._steps.show(error)}")
            raise
        self._steps.called(self.name, operation, args, self._steps.show(outcome))
        return outcome

    def iterate(self, operation: str, *args: Any) -> Generator[tuple[str, Record], None, None]:
        """Return an iterator over the items of ``all`` or ``owned_by``, one at a time."""
        self._steps.note(f"{self._steps.call(self.name, operation, args)}, item by item")
        records = getattr(self.native, operation)(*args)
        if not isinstance(self.native, AsyncStore):
            return _taken(records)
        return self._drawn(records)

    def perform(self, operation: str, *args: Any) -> Any:
        """Call an operation without a step: for calls from threads, and for thousands of calls."""
        if operation not in ("close", "destroy"):  # cleaning up is still allowed
            self._steps.go_on()
        function = getattr(self.native, operation)
        if isinstance(self.native, AsyncStore):
            return self._loop.run(_awaited(function, *args))
        return function(*args)

    def _listing(self, operation: str, *args: Any) -> list[tuple[str, Record]]:
        self._steps.go_on()
        try:
            function = getattr(self.native, operation)
            if isinstance(self.native, AsyncStore):
                found = self._loop.run(_listed(function, *args))
            else:
                found = list(function(*args))
        except BaseException as error:
            self._steps.called(self.name, operation, args, f"raised {self._steps.show(error)}")
            raise
        self._steps.called(self.name, operation, args, self._steps.show(found))
        return found

    def _drawn(
        self, records: AsyncIterator[tuple[str, Record]]
    ) -> Generator[tuple[str, Record], None, None]:
        async def following() -> Any:
            return await anext(records, _END)

        try:
            while (item := self._loop.run(following())) is not _END:
                yield item
        finally:
            close = getattr(records, "aclose", None)
            if close is not None:
                self._loop.run(_awaited(close))


def _taken(records: Iterator[tuple[str, Record]]) -> Generator[tuple[str, Record], None, None]:
    # The items are read here, so that an exception during the iteration counts as the store's.
    yield from records


async def _awaited(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    return await function(*args)


async def _listed(
    function: Callable[..., AsyncIterator[tuple[str, Record]]], *args: Any
) -> list[tuple[str, Record]]:
    return [item async for item in function(*args)]


def together(calls: Sequence[Call], loop: Loop, steps: Steps) -> list[Any]:
    """Make calls at the same time: threads for sync APIs, tasks for async ones.

    :returns: the result of each, or the :class:`coatcheck.errors.CoatcheckError` that it raised.
    :raises Exception: any other exception of a call.
    """
    steps.go_on()
    if all(call.handle.api == "async" for call in calls):
        outcomes = loop.run(_in_tasks(calls))
    else:
        outcomes = _in_threads(calls)
    steps.note("at the same time:")
    for call, outcome in zip(calls, outcomes, strict=True):
        raised = "raised " if isinstance(outcome, BaseException) else ""
        steps.called(call.handle.name, call.operation, call.args, raised + steps.show(outcome))
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, CoatcheckError):
            raise outcome
    return outcomes


async def _in_tasks(calls: Sequence[Call]) -> list[Any]:
    async def made(call: Call) -> Any:
        return await getattr(call.handle.native, call.operation)(*call.args)

    return await asyncio.gather(*map(made, calls), return_exceptions=True)


def _in_threads(calls: Sequence[Call]) -> list[Any]:
    if any(call.handle.api == "async" for call in calls):
        raise CheckFailed("calls of one API", "calls of both: a mistake of the kit")
    barrier = threading.Barrier(len(calls))

    def made(call: Call) -> Any:
        function = getattr(call.handle.native, call.operation)
        barrier.wait(30)
        try:
            return function(*call.args)
        except Exception as error:
            return error

    with switching_often(), ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(made, calls))


@contextmanager
def switching_often() -> Iterator[None]:
    """Let the interpreter switch between threads more often than it does by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
