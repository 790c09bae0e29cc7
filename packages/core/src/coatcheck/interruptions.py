"""Exceptions that interrupt a call from outside: those of signal handlers, and of other threads.

The time limits of Celery and RQ, Ctrl-C and the like raise between any two instructions. Such an
exception says nothing about the store, so it is never turned into a
:class:`~coatcheck.errors.StoreError`. And it may strike inside of a lock that is written in Python,
as `threading.Condition`, `threading.Semaphore` and `queue.Queue` are, which nobody can release
afterwards: a store uses `threading.Lock` in a `with` statement, or :class:`Places`.
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

#: Seconds after which those who wait look for a place that was lost.
_A_WHILE: Final = 0.1


def interruption(error: Exception, packages: Collection[str] = ()) -> BaseException | None:
    """Return the exception from outside that an error is, or was made from; None for any other.

    Call it where the error is caught.

    :param error: what the call of a client library raised.
    :param packages: the top-level packages whose exceptions are the client's. If there are any,
        an exception that is neither theirs, nor Python's own, nor an OSError is from outside.
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
    """Raise the exception from outside that an error is, or was made from, if there is one.

    Its traceback is freed with it, and so is what the frames hold, places among them: a variable
    of one of these frames that has the exception would keep all until garbage is collected.

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
    """Return an error, and those that led to it during the call.

    Not what the caller was handling when it made the call: that was caught in a frame which runs.
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
    """The turn of one thread.

    :ivar content: whatever belongs to the place.
    :ivar is_dirty: for those who use it: whether somebody left the content in the middle.
    """

    __slots__ = ("__weakref__", "content", "is_dirty")

    def __init__(self) -> None:
        self.content: Any = None
        self.is_dirty: bool = False


class Places:
    """A bounded number of places for threads, in the way of a semaphore.

    An exception of a signal handler loses none of them: a place is an object, and there are as
    many free ones as objects are missing. ::

        place = places.take(3.0)
        if place is None:
            raise StoreTimeout("...")
        try:
            ...
        finally:
            places.give_back(place)
            places.serve()

    Those who wait are served in turn.

    :param most: how many there are.
    :ivar give_back: lets others have a place.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: SimpleQueue[Place] = SimpleQueue()
        # A method that is written in C: nothing can strike inside of it.
        self.give_back: Callable[[Place], None] = self._free.put
        self._waiting: deque[SimpleQueue[Place]] = deque()
        self._lock = Lock()
        self._places: list[weakref.ref[Place]] = []

    def take(self, seconds: float) -> Place | None:
        """Wait for a place; return None if none was free in time.

        :param seconds: to wait at most.
        """
        # No variable has the place: the traceback of an exception would keep it.
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
        """Hand free places to those who wait."""
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
                # Also for those whose turn it is, and for places that somebody lost.
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
            with suppress(Empty):  # it may have come in this very moment
                self._free.put(turn.get_nowait())
                self.serve()

    def all(self) -> list[Place]:
        """Return the places that were taken so far, also those that are in use."""
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
