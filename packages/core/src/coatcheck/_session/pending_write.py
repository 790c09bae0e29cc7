"""Hold a write that is under way, and note what becomes of it.

While a session is written, the application may change, end or rename it. A change stays a change:
it is merged with what was stored. An end or a new id does not stop the write, but supersedes it:

- If it succeeds, its record is the former one of the session's next state: the session goes on from
  it, or it ends (:meth:`Identity.superseded_by`).
- If it fails, there may be a record under its id. That id is an orphan, which ends.
- :meth:`Saving.commit` sees that the write was superseded, and does what is still to do.

docs/decisions/2026-11-30-failed-writes.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeAlias

from .._records.records import Snapshot
from ..codec import SessionState
from .identity import Identity

if TYPE_CHECKING:
    from .session_core import SessionCore

#: Returns what is stored together with what changed since a write began: from what the write began
#: with, its stored form, what the session shows now, and what is stored.
Rebase: TypeAlias = Callable[[SessionState, bytes, SessionState, Snapshot], SessionState]


class PendingWrite:
    """The session as one write stores it. A change from here on is another change.

    :param session: it is encoded as it is now.
    :param identity: the state to write it in; None for the current one.
    :ivar state: what the session showed when the write began. Its values may change.
    :ivar encoded: the encoded state. It does not change.
    :ivar cookie_changed: whether the session's cookie settings are changed.
    :ivar identity: the session's state when the write began.
    :ivar id: the new id under which the record goes; None where it has one.
    :ivar is_superseded: whether the session was ended or got another id meanwhile.
    """

    __slots__ = (
        "_session",
        "cookie_changed",
        "encoded",
        "id",
        "identity",
        "is_superseded",
        "state",
    )

    def __init__(self, session: SessionCore, identity: Identity | None = None) -> None:
        self._session = session
        self.identity = identity or session.identity
        base = self.identity.snapshot or self.identity.old
        self.state, self.encoded, self.cookie_changed = session.contents.draft(base)
        self.id = self.identity.id if self.identity.snapshot is None else None
        self.is_superseded = False

    @classmethod
    def of_changes(cls, session: SessionCore) -> Self | None:
        """Return a write of a stored session, or None if it does not differ from what is stored."""
        identity = session.identity
        assert identity.snapshot is not None, "it is stored"
        if identity.attempts is None and not session.contents.may_differ():
            return None
        write = cls(session)
        if identity.attempts is not None and identity.attempts.unknown:
            # What is stored may be an earlier attempt of ours, not what was loaded.
            return write
        is_same = write.encoded == session.contents.settings.content(identity.snapshot)
        return None if is_same else write

    def begin(self) -> None:
        """Note that the write is under way. Another thread may have ended the session before."""
        session = self._session
        with session.states:
            session.pending = self
            self.is_superseded = session.identity is not self.identity

    def failed(self) -> None:
        """Note that the write failed, or that nobody knows what became of it."""
        session = self._session
        with session.states:
            session.pending = None
            if not self.is_superseded:
                session.contents.take_back(self.cookie_changed)
            elif self.id is not None:
                session.identity.add_orphan(self.id)

    def succeeded(self, snapshot: Snapshot, state: SessionState, rebase: Rebase) -> None:
        """Note what is stored now, and show it together with what was changed meanwhile.

        :param rebase: merges both.
        """
        session = self._session
        with session.states:
            session.pending = None
            if self.is_superseded:
                session.identity = session.identity.superseded_by(snapshot)
                if not session.identity.keeps_data:
                    return
            else:
                session.identity = session.identity.stored_as(snapshot)
        if state is not self.state:
            session.contents.show_stored(
                state, lambda mine: rebase(self.state, self.encoded, mine, snapshot)
            )

    def found_no_record(self) -> None:
        """Note that the session was ended elsewhere; changes are dropped."""
        session = self._session
        with session.states:
            session.pending = None
            if self.is_superseded and not session.identity.keeps_data:
                return  # the old one ends in any case, and the session may go on under another id
            session.record_deleted()
