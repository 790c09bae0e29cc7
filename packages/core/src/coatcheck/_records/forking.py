"""Store a second session beside one that others have moved to another key."""

from __future__ import annotations

from ..codec import SessionState
from .lifecycle import Lifecycle
from .operations import Operations
from .records import Attempts, Snapshot
from .succession import Succession


def fork(
    lifecycle: Lifecycle,
    succession: Succession,
    old_key: str,
    new_key: str,
    state: SessionState,
    attempts: Attempts,
) -> Operations[tuple[Snapshot, SessionState] | None]:
    """Store a session under a new key, if others have rotated the old one and it is still live.

    :param state: of the new session.
    :param attempts: takes what is stored under the new key.
    :returns: what is stored now; None if the old session was ended, and nothing is stored.
    :raises KeyTaken: another session has the new key.
    :raises ConflictError: too many requests do this with the same session.
    """
    if not (yield from succession.has_live(old_key)):
        return None
    yield from succession.add(old_key, new_key, state.owner)
    stored = yield from lifecycle.create(new_key, state, attempts)
    # A request that ended the session before it led here did not end this one.
    if (yield from succession.has_live(old_key, new_key)):
        return stored
    yield from lifecycle.end(new_key)
    return None
