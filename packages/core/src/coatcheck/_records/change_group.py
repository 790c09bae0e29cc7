"""Hold the changes that one write has, and tell each request what became of its change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from .change import Change
from .operations import Operations, Sleep
from .records import Snapshot

#: How many changes one write has at most.
_LARGEST_GROUP: Final = 100


class ChangeGroup:
    """Hold the changes that one write has.

    An exception of a signal handler may interrupt each method between any two lines. So a change
    is removed only after its request was told: a request may be told twice, but none is forgotten.

    :ivar leader: the change of the writer whose turn it is.
    :ivar others: the changes of other requests that are written along.
    """

    __slots__ = ("leader", "others")

    def __init__(self, leader: Change) -> None:
        self.leader = leader
        self.others: list[Change] = []

    def __iter__(self) -> Iterator[Change]:
        return iter((self.leader, *self.others))

    def fill(self) -> None:
        """Take changes of requests that wait, as many as one write may have."""
        self.leader.take_others(self.others, _LARGEST_GROUP - len(self.others))

    def disband(self) -> None:
        """Give the changes of others back. Each of them is written by itself."""
        for other in self.others:
            other.shares = False
        self.leader.give_back()

    def note(self, snapshot: Snapshot) -> None:
        """Note a write of unknown outcome that has these changes."""
        for each in self:
            each.note(snapshot)

    def note_needless(self) -> None:
        """Note that nothing had to be written, because the same was stored already."""
        for each in self:
            if not each.is_left:
                each.attempts.needless = True

    def drop(self, other: Change, error: Exception) -> None:
        """Tell one of the others an error that is its own, and go on without it."""
        _settle(other, error=error)
        self.others.remove(other)

    def fail(self, error: Exception) -> None:
        """Tell the others an error of the store."""
        while self.others:
            # Each gets a copy, because raising an error adds a traceback to it.
            _settle(self.others[0], error=_copy(error))
            del self.others[0]

    def settle(self, stored: Snapshot | None) -> None:
        """Tell the others at once what is stored.

        :param stored: None if the session is gone.
        """
        while self.others:
            _settle(self.others[0], stored=stored)
            del self.others[0]

    def settle_in_turn(self, stored: Snapshot, batch: int) -> Operations[None]:
        """Tell the others what is stored, and let other tasks run in between.

        :param batch: the number of requests that are told before other tasks get their turn.
        """
        try:
            for number, other in enumerate([*self.others], 1):
                _settle(other, stored=stored)
                self.others.remove(other)
                if number % batch == 0:
                    yield Sleep(0)
        finally:
            self.settle(stored)


def _settle(
    other: Change, *, stored: Snapshot | None = None, error: Exception | None = None
) -> None:
    def note() -> None:
        other.stored, other.error = stored, error
        if other.is_left and stored is not None:
            other.note(stored)

    other.settle(note)


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
