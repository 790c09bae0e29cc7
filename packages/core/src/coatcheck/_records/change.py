"""Hold a change of a stored session, and what is known of its write.

A change is made to what a request has loaded. Another request may have stored something since, so
:mod:`coatcheck._records.group_commit` writes it, alone or together with the changes of others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from ..codec import SessionState
from ..errors import ConflictError
from .records import Attempts, Snapshot
from .writers import Writer

#: Changes the data of a session in place.
ChangeFunction = Callable[[dict[str, Any]], Any]


class Change(Writer):
    """Hold a change of a stored session.

    :ivar base: the stored session that the change was made to.
    :ivar mine: the session with the change, as it would be stored.
    :ivar state: the state that ``mine`` was encoded from. Its values may have changed since.
    :ivar extend: whether the write moves the expiry.
    :ivar attempts: earlier writes of unknown outcome.
    :ivar function: is applied to the newest data, or None.
    :ivar value: the last return value of the function.
    :ivar deadline: when to give up, by the clock of the
        :class:`~coatcheck._records.group_commit.GroupCommit`.
    :ivar stored: what another writer has stored with this change; None if the session is gone.
    :ivar error: the error that another writer met instead.
    """

    deadline: float
    stored: Snapshot | None = None
    error: Exception | None = None
    value: Any = None

    def __init__(
        self,
        base: Snapshot,
        mine: Snapshot,
        state: SessionState,
        extend: bool,
        attempts: Attempts,
        function: ChangeFunction | None = None,
    ) -> None:
        self.base = base
        self.mine = mine
        self.state = state
        self.extend = extend
        self.attempts = attempts
        self.function = function
        self._written: dict[bytes, Any] = {}
        # The application's function may depend on its thread, and runs in its own context.
        self.shares = function is None
        self._context = None if function is None else copy_context()

    def apply(self, state: SessionState) -> None:
        """Apply the function to a state."""
        assert self.function is not None, "the caller has looked"
        assert self._context is not None, "it has one with a function"
        self.value = self._context.run(apply, self.function, state)

    def recall(self, stored: Snapshot) -> bool:
        """Tell whether the function was applied to what is stored, and if so take its value."""
        if stored.record.data not in self._written:
            return False
        self.value = self._written[stored.record.data]
        return True

    def note(self, snapshot: Snapshot) -> None:
        """Note a write of unknown outcome that has this change."""
        self.attempts.note(snapshot, self.mine.record.data)
        if self.function is not None:
            self._written[snapshot.record.data] = self.value


def check_function(function: object) -> None:
    """Check that the argument of ``session.change()`` can be called.

    :raises TypeError: it cannot.
    """
    if not callable(function):
        raise TypeError(
            "what changes a session must be a function of its data, which it changes in place, "
            f"not {type(function).__name__}"
        )


def apply(function: ChangeFunction, state: SessionState) -> Any:
    """Change the data of a state by a function, and return the function's value.

    :raises TypeError: the function has to be awaited.
    """
    value = function(state.data)
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError("the function that changes a session must be a plain one, not `async def`")
    return value


def conflict() -> ConflictError:
    """Return the error for a change of a session that others have changed first."""
    return ConflictError(
        "the session was changed by other requests at the same time, and this change was not saved"
    )


def unknown_outcome() -> ConflictError:
    """Return the error for a change that may be stored already, or another one like it."""
    return ConflictError(
        "an earlier attempt to save the session ended without an answer; what is stored now may be "
        "this one's or another request's change, so this change is not acknowledged"
    )
