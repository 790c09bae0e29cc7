"""Writers of one session in one process: one writes at a time, also for those that wait.

Writers that meet stand in line. The first one leads: it writes its own change, and along with it
the changes of others that share theirs. When it leaves, the next one in line leads. So many
requests of one session are one write, and they do not get in each other's way.

Nothing here is stored. Writers of other processes, of other event loops, and of threads beside
event loops stand in other lines; the store's conditions keep these apart.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol, Self


class Signal(Protocol):
    """What a writer in line waits for."""

    def set(self) -> object:
        """Wake it, from whatever thread: the garbage collector may find the leader in any."""


class Writer:
    """A write's place in its line.

    :ivar shares: whether another writer may write this change along with its own.
    :ivar leads: whether this is the writer whose turn it is.
    :ivar signal: what it waits for, once it has stood in line.
    :ivar is_settled: whether another writer has done with this change.
    :ivar is_left: whether its request went away while another writer had the change.
    """

    shares = True
    leads = False
    signal: Signal | None = None
    is_settled = False
    is_left = False
    _line: _Line | None = None
    _met: weakref.ref[Writer] | None = None

    @property
    def in_line(self) -> bool:
        """Whether it has entered a line, and has not left it."""
        return self._line is not None and not self.is_left

    def stay_in_thread(self) -> None:
        """Note that all writers in the line run in one thread, so that every change is shared."""
        self.shares = True

    def take_others(self, others: list[Self], limit: int) -> None:
        """Take changes that others share.

        Those that are neither settled nor given back when this writer leaves wait again.

        :param others: gets them. The same list each time.
        """
        line = self._its_line()
        with line.guard:
            line.taken = others  # type: ignore[assignment]  # one line has writers of one kind
            for other in [each for each in line.waiting if each.shares][:limit]:
                line.taken.append(other)
                line.waiting.remove(other)

    def give_back(self) -> None:
        """Let the others that were taken wait again, at the head of the line."""
        line = self._its_line()
        with line.guard:
            line.take_back()

    def wake(self) -> None:
        """Wake this writer, if it waits."""
        if self.signal is not None:
            self.signal.set()

    def settle(self, note: Callable[[], object]) -> None:
        """Tell a writer that was taken what became of its change.

        :param note: notes it, before the writer can see that it is settled.
        """
        with self._its_line().guard:
            note()
            self.is_settled = True
        self.wake()

    def step_out(self) -> bool:
        """Stop waiting, after a long time. False: it was somebody's turn to write this change."""
        line = self._its_line()
        with line.guard:
            if self.leads or self.is_settled or self not in line.waiting:
                return False
            line.waiting.remove(self)
            if self._met is not None and line.leader is self._met():
                line.close()  # nothing has moved: let others begin a new one
        return True

    def leave(self) -> None:
        """End this write. If it leads, the next one in line does from now on."""
        line = self._line
        if line is None:
            return
        with line.guard:
            self.is_left = True
            if self in line.waiting:
                line.waiting.remove(self)
            if line.leader is self:
                line.pass_on()
            leader = line.leader
        # Also where an exception of a signal handler struck between passing on and waking.
        if leader is not None:
            leader.wake()

    def _its_line(self) -> _Line:
        assert self._line is not None, "it has entered a line"
        return self._line


class Lines:
    """The lines of one runner: of each session that is being written."""

    def __init__(self) -> None:
        # Held for a few steps without waiting, and by `with` alone: an exception of a signal
        # handler cannot leave it taken. Reentrant, because the garbage collector may end a
        # generator that is in line while this thread holds it.
        self.guard = threading.RLock()
        self.lines: dict[Hashable, _Line] = {}
        _all_lines.add(self)

    def forget(self) -> None:
        """In a forked child: the parent's writers, and whoever has the guard, do not exist here."""
        self.guard = threading.RLock()
        self.lines = {}

    def enter(self, place: Hashable, writer: Writer, signal: Callable[[], Any]) -> None:
        """Let a writer lead, or stand in line.

        :param place: what is written, and where writers can wake each other.
        :param signal: makes what the writer waits for, where it has to.
        """
        with self.guard:
            line = self.lines.get(place)
            if line is None or line.leader is None:
                line = line or _Line(self, place)
                line.lead(writer)
                writer._line, writer.leads = line, True
                self.lines[place] = line
                return
            writer.signal = signal()
            writer._line, writer._met = line, line.ref
            line.waiting.append(writer)


_all_lines: Final[weakref.WeakSet[Lines]] = weakref.WeakSet()


def _forget() -> None:
    for lines in list(_all_lines):
        lines.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forget)


class _Line:
    """The writers of one session.

    The leader is known for as long as it exists: where an exception of a signal handler kept it
    from leaving, the next one leads once it is forgotten.

    :ivar ref: leads to the leader, if there is one.
    :ivar taken: whose changes the leader has.
    """

    __slots__ = ("__weakref__", "_lines", "place", "ref", "taken", "waiting")

    def __init__(self, lines: Lines, place: Hashable) -> None:
        self.place = place
        self.ref: weakref.ref[Writer] | None = None
        self.taken: list[Writer] = []
        self.waiting: deque[Writer] = deque()
        self._lines = lines

    @property
    def guard(self) -> threading.RLock:
        """What is held while the line changes."""
        return self._lines.guard

    @property
    def leader(self) -> Writer | None:
        """The writer whose turn it is."""
        return None if self.ref is None else self.ref()

    def lead(self, writer: Writer) -> None:
        """Let a writer lead."""
        self.ref = weakref.ref(writer, self._lost)

    def pass_on(self) -> None:
        """Let the next one in line lead, or close the line. The guard must be held."""
        if self.taken:
            self.take_back()
        if not self.waiting:
            self.close()
            self.ref = None
            return
        following = self.waiting[0]
        self.lead(following)
        following.leads = True
        self.waiting.remove(following)

    def take_back(self) -> None:
        """Let those whose changes the leader has wait again. The guard must be held."""
        for other in reversed(self.taken):
            # An exception of a signal handler may have struck at any point before.
            if other.is_settled:
                other.wake()
            elif not (other.is_left or other in self.waiting):
                self.waiting.appendleft(other)
        self.taken.clear()

    def close(self) -> None:
        """Let the next writer begin another line."""
        if self._lines.lines.get(self.place) is self:
            del self._lines.lines[self.place]

    def _lost(self, ref: weakref.ref[Writer]) -> None:
        with self.guard:
            if self.ref is not ref:
                return
            self.pass_on()
            leader = self.leader
        if leader is not None:
            leader.wake()
