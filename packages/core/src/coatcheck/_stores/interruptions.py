"""Handle exceptions that interrupt a call from outside: those of signal handlers and of threads.

The time limits of Celery and RQ, Ctrl-C and the like raise between any two instructions. Such an
exception says nothing about the store, so it is never turned into a
:class:`~coatcheck.errors.StoreError`.

It may also be raised inside `threading.Condition`, `threading.Semaphore` or `queue.Queue`. These
are written in Python, and the exception leaves their lock taken forever. So a store uses
`threading.Lock` in a `with` statement, or :class:`Places`.

docs/decisions/2026-11-30-interruptions.md has the reasons.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock
from types import CodeType, FrameType
from typing import Any, Final

#: Seconds after which waiting threads look for a place that was lost.
_A_WHILE: Final = 0.1


def interruption(error: Exception, packages: Collection[str] = ()) -> BaseException | None:
    """Return the exception from outside that an error is, or that it was made from.

    Call it where the error is caught.

    :param error: the exception of the call of a client library.
    :param packages: the top-level packages whose exceptions are the client's. If there are any,
        an exception that is neither theirs, nor Python's own, nor an OSError is from outside.
    :returns: None for any other error.
    """
    return _interruption(error, packages, sys._getframe(1))


def _interruption(
    error: Exception, packages: Collection[str], caller: FrameType
) -> BaseException | None:
    handlers = _handlers()
    for each in _chain(error, caller):
        if any(code in handlers for code in _codes(each)):
            return each
    if packages and not isinstance(error, OSError) and not _is_own(type(error), packages):
        return error
    return None


def raise_interruption(error: Exception, packages: Collection[str] = ()) -> None:
    """Raise the exception from outside that an error is, or that it was made from, if any.

    Its traceback is freed with it, and so are the objects of the frames, among them places. If a
    variable of one of these frames kept the exception, all of them would live until garbage is
    collected.

    :param error: see :func:`interruption`.
    :param packages: see :func:`interruption`.
    """
    outside = _interruption(error, packages, sys._getframe(1))
    try:
        if outside is not None:
            raise outside
    finally:
        del outside


def _is_own(kind: type, packages: Collection[str]) -> bool:
    if _package(kind) in sys.stdlib_module_names:
        return True
    return any(_package(base) in packages for base in kind.__mro__)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _handlers() -> set[CodeType]:
    """Return the code of the signal handlers that are written in Python."""
    import signal

    found = set()
    for handler in map(signal.getsignal, signal.valid_signals()):
        function: Any = getattr(handler, "func", handler)  # a `functools.partial`
        for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004
            code = getattr(candidate, "__code__", None)
            if isinstance(code, CodeType):
                found.add(code)
    return found


def _chain(error: BaseException, frame: FrameType | None) -> Iterator[BaseException]:
    """Return an error, and the errors that led to it during the call.

    An error that the caller was handling when it made the call is left out: it was caught in a
    frame that still runs.
    """
    running = set()
    while frame is not None:
        running.add(frame)
        frame = frame.f_back
    yield error
    each = error.__cause__ or error.__context__
    seen = {error}
    while each is not None and each not in seen:
        trace = each.__traceback__
        if trace is None or trace.tb_frame in running:
            return
        yield each
        seen.add(each)
        each = each.__cause__ or each.__context__


def _codes(error: BaseException) -> Iterator[CodeType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


class Place:
    """Hold the turn of one thread.

    :ivar content: an object that belongs to the place, or None.
    :ivar is_dirty: whether a user of the place was interrupted while it used the content. Only the
        users read and write it.
    """

    __slots__ = ("__weakref__", "content", "is_dirty")

    def __init__(self) -> None:
        self.content: Any = None
        self.is_dirty: bool = False


class Places:
    """Give a bounded number of places to threads, like a semaphore.

    An exception of a signal handler loses none of them, because a place is an object. If it becomes
    garbage, a new one is made. ::

        place = places.take(3.0)
        if place is None:
            raise StoreTimeout("...")
        try:
            ...
        finally:
            places.give_back(place)
            places.serve()

    Waiting threads are served in turn.

    :param most: the number of places.
    :ivar give_back: returns a place, so that others can take it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: SimpleQueue[Place] = SimpleQueue()
        # The method is written in C, so no exception can be raised inside it.
        self.give_back: Callable[[Place], None] = self._free.put
        self._waiting: deque[SimpleQueue[Place]] = deque()
        self._lock = Lock()
        self._places: list[weakref.ref[Place]] = []

    def take(self, seconds: float) -> Place | None:
        """Wait for a place, and return it.

        :param seconds: the longest time to wait.
        :returns: None if no place was free in time.
        """
        # No variable has the place, because the traceback of an exception would keep it.
        if not self._waiting:
            try:
                return self._free.get_nowait()
            except Empty:
                pass
            if self._add():
                return self.take(seconds)
        return self._wait(seconds) if seconds > 0 else None

    def take_at_once(self) -> Place | None:
        """Return a place, or None if none is free now."""
        return self.take(0)

    def serve(self) -> None:
        """Hand free places to waiting threads."""
        while self._waiting:
            try:
                place = self._free.get_nowait()
            except Empty:
                return
            try:
                self._waiting.popleft().put(place)
            except IndexError:
                self._free.put(place)
            del place

    def _wait(self, seconds: float) -> Place | None:
        deadline = time.monotonic() + seconds
        turn: SimpleQueue[Place] = SimpleQueue()
        self._waiting.append(turn)
        try:
            while True:
                # This also serves threads before this one, and replaces places that were lost.
                self._add()
                self.serve()
                left = deadline - time.monotonic()
                try:
                    return turn.get(timeout=max(0.0, min(left, _A_WHILE)))
                except Empty:
                    if left <= 0:
                        return None
        finally:
            with suppress(ValueError):
                self._waiting.remove(turn)
            with suppress(Empty):  # a place may have come in this moment
                self._free.put(turn.get_nowait())
                self.serve()

    def all(self) -> list[Place]:
        """Return all places that exist, also those that are in use."""
        return [place for ref in self._places if (place := ref()) is not None]

    def _add(self) -> bool:
        """Add a free place, unless there are enough."""
        if not self._free.empty():
            return True
        with self._lock:
            self._places = [ref for ref in self._places if ref() is not None]
            if len(self._places) >= self._most:
                return False
            place = Place()
            self._places.append(weakref.ref(place))
            self.give_back(place)
            return True
