"""Other processes that use the same store; each is told what to call, and when."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from coatcheck.errors import CoatcheckError

from .context import Context
from .failure import HarnessError
from .handle import APIName

#: Seconds until simultaneous calls begin; each process must have its order by then.
_AHEAD: Final = 0.01


@dataclass(frozen=True, slots=True)
class Opening:
    """How a worker opens a store."""

    url: str
    opener: str | None
    api: APIName


@dataclass(frozen=True, slots=True)
class Order:
    """A task of a worker.

    :ivar operation: an operation of the store, or ``"open"`` with an :class:`Opening`.
    :ivar now: the time of the clock.
    :ivar pause: seconds that a reading of the clock takes.
    :ivar instant: when to begin, by ``time.monotonic``, which all processes share.
    """

    operation: str
    args: tuple[Any, ...]
    now: float
    pause: float = 0.0
    instant: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an order: a value, or an exception."""

    value: Any = None
    error: BaseException | None = None


class Worker:
    """A process that holds one store at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(  # runs this interpreter
            [sys.executable, "-m", f"{__package__}.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def send(self, order: Order) -> None:
        """Send an order."""
        assert self._process.stdin is not None, "it is a pipe"
        try:
            pickle.dump(order, self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise HarnessError("a worker process ended by itself; see its stderr") from error

    def receive(self) -> Answer:
        """Return the answer to the last order."""
        assert self._process.stdout is not None, "it is a pipe"
        try:
            answer: Answer = pickle.load(self._process.stdout)  # it is our own process
        except EOFError as error:
            raise HarnessError("a worker process ended by itself; see its stderr") from error
        return answer

    def ask(self, order: Order) -> Any:
        """Send an order, and return its outcome.

        :raises Exception: the exception that the call raised in the worker.
        """
        self.send(order)
        answer = self.receive()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None, "they are pipes"
                pipe.close()


class _WorkerPool:
    """The workers of this process; starting one takes a quarter of a second."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._inherited: list[Worker] = []

    def take(self) -> Worker:
        if self._idle:
            return self._idle.pop()
        worker = Worker()
        self._all.append(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        self._idle.append(worker)

    def end(self, worker: Worker) -> None:
        self._all.remove(worker)
        worker.end()

    def end_all(self) -> None:
        self._idle.clear()
        while self._all:
            self._all.pop().end()

    def forget(self) -> None:
        """Forget the workers in a forked child: they belong to its parent."""
        # The objects are kept, so that nothing of the parent's is closed or waited for here.
        self._inherited += self._all
        self._idle, self._all = [], []


_pool: Final = _WorkerPool()
atexit.register(_pool.end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def end_workers() -> None:
    """End all worker processes of this process."""
    _pool.end_all()


class RemoteHandle:
    """The store of a context, opened in another process."""

    def __init__(self, context: Context, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self._context = context

    def open(self, url: str) -> None:
        """Open the store in the worker."""
        harness = self._context.harness
        opening = Opening(url, harness.opener, self._context.api)
        self.worker.ask(Order("open", (opening,), self._context.clock.now))

    def call(self, operation: str, *args: Any) -> Any:
        """Call an operation in the worker, and add a step."""
        return at_once(self._context, [self], [(operation, args)], instant=0.0)[0]


@contextmanager
def processes(context: Context, count: int) -> Iterator[list[RemoteHandle]]:
    """Give the context's store in other processes, for the block.

    The case must declare that it needs a ``url``.
    """
    url = context.need(context.harness.url(context.namespace), "the harness gives no URL")
    handles: list[RemoteHandle] = []
    try:
        for number in range(count):
            handle = RemoteHandle(context, f"process{number + 1}", _pool.take())
            handles.append(handle)
            handle.open(url)
        yield handles
        for handle in handles:
            handle.worker.ask(Order("close", (), context.clock.now))
    except BaseException:
        for handle in handles:  # even if they are busy
            _pool.end(handle.worker)
        raise
    for handle in handles:
        _pool.give_back(handle.worker)


def at_once(
    context: Context,
    handles: Sequence[RemoteHandle],
    calls: Sequence[tuple[str, tuple[Any, ...]]],
    *,
    instant: float | None = None,
) -> list[Any]:
    """Make a call in each process at the same time.

    :param instant: when; soon, unless given.
    :returns: the result of each, or the :class:`coatcheck.errors.CoatcheckError` that it raised.
    :raises Exception: any other exception of a call.
    """
    when = time.monotonic() + _AHEAD if instant is None else instant
    if instant is None:
        context.steps.note("at the same time:")
    for handle, (operation, args) in zip(handles, calls, strict=True):
        handle.worker.send(Order(operation, args, context.clock.now, context.clock.pause, when))
    answers = [handle.worker.receive() for handle in handles]
    for handle, (operation, args), answer in zip(handles, calls, answers, strict=True):
        shown = context.steps.show(answer.error or answer.value)
        outcome = f"raised {shown}" if answer.error is not None else shown
        context.steps.called(handle.name, operation, args, outcome)
    return [_outcome(answer) for answer in answers]


def _outcome(answer: Answer) -> Any:
    if answer.error is None:
        return answer.value
    if isinstance(answer.error, CoatcheckError):
        return answer.error
    raise answer.error
