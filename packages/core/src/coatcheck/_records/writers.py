"""Let the writers of one session in one process take turns.

Writers of the same session wait in a line. The first one leads: it writes its own change together
with the changes that the waiting ones share. When it leaves, the next one in line leads. So many
requests of one session make one write, and none of them is refused because of another.

Nothing here is stored. Writers of other processes and of other event loops, and threads beside
event loops, have lines of their own. The store's conditions keep these apart.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol, Self


class Signal(Protocol):
    """Wake a writer that waits in line."""

    def set(self) -> object:
        """Wake the writer, from any thread: the garbage collector may find the leader in any."""


class Writer:
    """Hold the place of a write in its line.

    :ivar shares: whether another writer may write this change along with its own.
    :ivar leads: whether it is this writer's turn.
    :ivar signal: the signal that wakes this writer; None if it never had to wait.
    :ivar is_settled: whether another writer has written this change, or has failed to.
    :ivar is_left: whether the request of this writer ended while another writer had the change.
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
        """Whether the writer has entered a line, and has not left it."""
        return self._line is not None and not self.is_left

    def stay_in_thread(self) -> None:
        """Note that all writers of the line run in one thread, so that every change is shared."""
        self.shares = True

    def take_others(self, others: list[Self], limit: int) -> None:
        """Take changes that others share.

        When this writer leaves, those that are not settled wait again.

        :param others: the list that they are added to. It must be the same list each time.
        :param limit: how many to take at most.
        """
        line = self._its_line()
        with line.guard:
            line.taken = others  # type: ignore[assignment]  # one line has writers of one kind
            for other in [each for each in line.waiting if each.shares][:limit]:
                line.taken.append(other)
                line.waiting.remove(other)

    def give_back(self) -> None:
        """Let the writers whose changes were taken wait again, at the head of the line."""
        line = self._its_line()
        with line.guard:
            line.take_back()

    def wake(self) -> None:
        """Wake this writer, if it waits."""
        if self.signal is not None:
            self.signal.set()

    def settle(self, note: Callable[[], object]) -> None:
        """Tell a writer whose change was taken that it is settled.

        :param note: notes the outcome. It is called before the writer can see that it is settled.
        """
        with self._its_line().guard:
            note()
            self.is_settled = True
        self.wake()

    def step_out(self) -> bool:
        """Stop waiting, after a long time.

        :returns: False if it cannot stop, because it leads or another writer has its change.
        """
        line = self._its_line()
        with line.guard:
            if self.leads or self.is_settled or self not in line.waiting:
                return False
            line.waiting.remove(self)
            if self._met is not None and line.leader is self._met():
                line.close()  # the leader has not changed: let others begin a new line
        return True

    def leave(self) -> None:
        """End this write. If the writer leads, the next one in line leads from now on."""
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
        # This also wakes a leader that an exception of a signal handler has left asleep.
        if leader is not None:
            leader.wake()

    def _its_line(self) -> _Line:
        assert self._line is not None, "it has entered a line"
        return self._line


class Lines:
    """Hold the lines of one runner: one for each session that is being written."""

    def __init__(self) -> None:
        # It is held for a few steps without waiting, and only by `with`, so an exception of a
        # signal handler cannot leave it taken. It is reentrant, because the garbage collector may
        # end a generator that is in line while this thread holds it.
        self.guard = threading.RLock()
        self.lines: dict[Hashable, _Line] = {}
        _all_lines.add(self)

    def forget(self) -> None:
        """Forget the parent's writers in a forked child, where their threads do not exist."""
        self.guard = threading.RLock()
        self.lines = {}

    def enter(self, place: Hashable, writer: Writer, signal: Callable[[], Any]) -> None:
        """Let a writer lead, or wait in line.

        :param place: identifies the session, and the loop or runner whose writers can wake each
            other.
        :param signal: makes the signal, if the writer has to wait.
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
    """Hold the writers of one session.

    The line refers to its leader weakly. If an exception of a signal handler kept the leader from
    leaving, the next writer leads as soon as the leader is garbage.

    :ivar ref: a weak reference to the leader, or None.
    :ivar taken: the writers whose changes the leader has.
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
        """The lock that is held while the line changes."""
        return self._lines.guard

    @property
    def leader(self) -> Writer | None:
        """The writer whose turn it is, or None."""
        return None if self.ref is None else self.ref()

    def lead(self, writer: Writer) -> None:
        """Let a writer lead."""
        self.ref = weakref.ref(writer, self._lost)

    def pass_on(self) -> None:
        """Let the next writer lead, or close the line. The caller holds the guard."""
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
        """Let the writers whose changes were taken wait again. The caller holds the guard."""
        for other in reversed(self.taken):
            # An exception of a signal handler may have ended the leader at any point before.
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
