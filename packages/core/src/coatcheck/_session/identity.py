"""Say which record a session is, and what leads from one state to the next.

Each event is a method that returns the next state. An event that changes details only, such as a
moved expiry, returns the same object. So a write that is under way sees by ``is`` whether the
session has left the state that the write began in. An event that cannot happen in a state is a
defect of ours, and fails an assertion.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from .._records.records import Attempts, Snapshot


class Identity:
    """The state of a session: which record it is.

    :ivar id: the id that the cookie carries or will carry, once there is one.
    :ivar attempts: writes under this id whose outcome is unknown; None if there was no write
        since the last answer.
    :ivar orphans: former ids under which a record may be that nobody was told of.
    """

    __slots__ = ("attempts", "id", "orphans")

    #: The record under the session's id.
    snapshot: Snapshot | None = None
    #: The record that ends when the session is stored again, or ends.
    old: Snapshot | None = None
    #: Whether the session continues that one.
    keeps_data = False
    #: Whether the session must be stored, even if it is empty.
    must_store = False
    #: Whether the browser has the cookie with the id.
    cookie_was_sent = False
    #: Whether each session ends whose cookie the request presented.
    ends_presented = False
    #: Whether another request ended the session.
    is_gone = False
    #: Whether the session could not be loaded or stored.
    is_detached = False

    def __init__(self, session_id: str | None = None, orphans: tuple[str, ...] = ()) -> None:
        self.id = session_id
        self.attempts: Attempts | None = None
        self.orphans = orphans

    @property
    def continues(self) -> bool:
        """Whether the session goes on from a record under a former id."""
        return self.keeps_data and self.old is not None

    @property
    def latest(self) -> Snapshot | None:
        """The record that the session was loaded from or stored as, if it goes on."""
        return self.old if self.continues else self.snapshot

    def begin_write(self) -> Attempts:
        """Return the writes of unknown outcome, to which one is added."""
        if self.attempts is None:
            self.attempts = Attempts()
        return self.attempts

    def add_orphan(self, session_id: str) -> None:
        """Note a former id under which a record may be that nobody was told of."""
        self.orphans = (*self.orphans, session_id)

    def keys_to_end(self, key_of: Callable[[str], str]) -> list[str]:
        """Return the keys of the records that end if the session ends or its request fails.

        A record whose cookie never reached the browser is among them, because nobody could come
        back to it.

        :param key_of: returns the store's key for an id.
        """
        keys = [key_of(session_id) for session_id in self.orphans] if self.orphans else []
        if not self.cookie_was_sent:
            if self.snapshot is not None:
                keys.append(self.snapshot.key)
            elif self.attempts is not None and self.id is not None:
                keys.append(key_of(self.id))
        if self.old is not None:
            keys.append(self.old.key)
        return keys

    # Events. The application's:

    @abstractmethod
    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Get a new id.

        :param is_writing: a write of the former one is under way.
        """

    def destroy(self, is_writing: bool) -> Identity:
        """End the session.

        :param is_writing: a write of it is under way.
        """
        return Destroyed(self.old, self._left_behind(is_writing))

    def store_even_empty(self) -> None:  # most states have nothing to note
        """Store the session, whatever it holds."""

    def reset(self) -> None:  # as above
        """Drop what was not stored."""

    # The store's answers:

    def reread(self, snapshot: Snapshot) -> None:
        """Note what was read again of the latest record."""
        raise AssertionError("there is no record to read")

    def stored_as(self, snapshot: Snapshot) -> Identity:
        """Note that the session is stored."""
        assert not self.is_gone, "nothing had to be stored"
        assert not self.is_detached, "nothing had to be stored"
        return Stored(self.id, snapshot, orphans=self.orphans)

    def touched(self, snapshot: Snapshot) -> None:
        """Note that the record's expiry moved."""
        raise AssertionError("there is no record to touch")

    def cookie_sent(self) -> None:
        """Note that the response has the cookie."""
        raise AssertionError("there is no record behind the cookie")

    def superseded_by(self, snapshot: Snapshot) -> Identity:
        """Note that a write of the former id came to its end after the session had left that id.

        :param snapshot: what is stored under the former id.
        """
        raise AssertionError("no write was superseded")

    def vanished(self) -> Identity:
        """Note that another request ended the session."""
        return Gone(self.id, self._left_behind(False), self.cookie_was_sent)

    def ended(self) -> Identity:
        """Note that everything has ended that had to."""
        self.orphans = ()
        return self

    def _left_behind(self, is_writing: bool) -> tuple[str, ...]:
        """Return the former ids when the session leaves this one."""
        if self.snapshot is None and self.attempts is not None and self.id and not is_writing:
            return (*self.orphans, self.id)
        return self.orphans


class New(Identity):
    """A session without a record, which never had one."""

    __slots__ = ("must_store",)

    def __init__(
        self,
        session_id: str | None = None,
        orphans: tuple[str, ...] = (),
        must_store: bool = False,
    ) -> None:
        self.id = session_id
        self.attempts = None
        self.orphans = orphans
        self.must_store = must_store

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Get another id; where the session is being stored, that record ends."""
        if is_writing:
            return Rotating(None, keep_data, self.orphans)
        return New(None, self._left_behind(False), must_store=True)

    def store_even_empty(self) -> None:
        """Store the session, whatever it holds."""
        self.must_store = True

    def reset(self) -> None:
        """Drop what was not stored."""
        self.must_store = False

    def superseded_by(self, snapshot: Snapshot) -> Identity:
        """Note what ends: the write was done after its request had failed or changed its mind."""
        return Rotating(snapshot, False, self.orphans)

    def ended(self) -> Identity:
        """Note that nothing is left of writes of unknown outcome."""
        self.attempts, self.orphans = None, ()
        return self


class Stored(Identity):
    """A session that has a record."""

    __slots__ = ("cookie_was_sent", "snapshot")
    snapshot: Snapshot

    def __init__(
        self,
        session_id: str | None,
        snapshot: Snapshot,
        cookie_was_sent: bool = False,
        orphans: tuple[str, ...] = (),
    ) -> None:
        self.id = session_id
        self.attempts = None
        self.orphans = orphans
        self.snapshot = snapshot
        self.cookie_was_sent = cookie_was_sent

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Get a new id; the record under this one ends when the new one is stored."""
        return Rotating(self.snapshot, keep_data, self.orphans)

    def destroy(self, is_writing: bool) -> Identity:
        """End the session."""
        return Destroyed(self.snapshot, self.orphans)

    def stored_as(self, snapshot: Snapshot) -> Identity:
        """Note that a change is stored."""
        self.snapshot, self.attempts = snapshot, None
        return self

    def reread(self, snapshot: Snapshot) -> None:
        """Note what is stored."""
        self.snapshot, self.attempts = snapshot, None

    def touched(self, snapshot: Snapshot) -> None:
        """Note that the expiry moved."""
        self.snapshot = snapshot

    def cookie_sent(self) -> None:
        """Note that the response has the cookie."""
        self.cookie_was_sent = True

    def ended(self) -> Identity:
        """Note that everything has ended that had to: also a record that nobody was told of."""
        if self.cookie_was_sent:
            return super().ended()
        return New(self.id)


class Rotating(Identity):
    """A session that gets a new id: the former record ends when the new one is stored.

    ``old`` is None while the write is under way that makes that record.
    """

    __slots__ = ("keeps_data", "must_store", "old")

    def __init__(self, old: Snapshot | None, keeps_data: bool, orphans: tuple[str, ...]) -> None:
        super().__init__(orphans=orphans)
        self.old = old
        self.keeps_data = keeps_data
        self.must_store = True

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Get yet another id."""
        keeps = self.keeps_data and keep_data
        return Rotating(self.old, keeps, self._left_behind(is_writing))

    def superseded_by(self, snapshot: Snapshot) -> Identity:
        """Note what the session goes on from, or what ends."""
        self.old = snapshot
        return self

    def reread(self, snapshot: Snapshot) -> None:
        """Note what the session goes on from."""
        # What was tried under the new id is still to be recognised.
        self.old = snapshot

    def reset(self) -> None:
        """Drop what was not stored."""
        if self.old is None:
            self.must_store = False

    def store_even_empty(self) -> None:
        """Store the session, whatever it holds."""
        self.must_store = True

    def ended(self) -> Identity:
        """Note that the former record has ended, and what may be under the new id."""
        return New(self.id, must_store=True)


class Destroyed(Identity):
    """A session that ends with the response. A later write begins a new one."""

    __slots__ = ("must_store", "old")
    ends_presented = True

    def __init__(self, old: Snapshot | None, orphans: tuple[str, ...]) -> None:
        super().__init__(orphans=orphans)
        self.old = old
        self.must_store = False

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Begin a new session; the record still ends."""
        orphans = self._left_behind(is_writing)
        if self.old is not None or is_writing:
            return Rotating(self.old, False, orphans)
        return New(None, orphans, must_store=True)

    def superseded_by(self, snapshot: Snapshot) -> Identity:
        """Note what ends."""
        self.old = snapshot
        return self

    def ended(self) -> Identity:
        """Note that the record has ended; the cookie still has to."""
        self.old = self.attempts = None
        self.orphans = ()
        return self


class Gone(Identity):
    """A session that another request ended. Changes are dropped."""

    __slots__ = ("cookie_was_sent",)
    is_gone = True

    def __init__(
        self, session_id: str | None, orphans: tuple[str, ...], cookie_was_sent: bool
    ) -> None:
        super().__init__(session_id, orphans)
        self.cookie_was_sent = cookie_was_sent

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """Begin a new session. The former one may go on under another id, and ends there."""
        return _started_anew(self.orphans)

    def vanished(self) -> Identity:
        """Note it once more."""
        return self


class Detached(Identity):
    """A session that could not be loaded, or whose cookie cannot be sent. It is never saved."""

    __slots__ = ("ends_presented",)
    is_detached = True

    def __init__(
        self,
        orphans: tuple[str, ...] = (),
        ends_presented: bool = False,
        session_id: str | None = None,
    ) -> None:
        super().__init__(session_id, orphans)
        self.ends_presented = ends_presented

    def regenerate(self, keep_data: bool, is_writing: bool) -> Identity:
        """End whatever the cookie opens, because nobody knows what the session was."""
        return Detached(self.orphans, ends_presented=True)

    def destroy(self, is_writing: bool) -> Identity:
        """End whatever the cookie opens."""
        return Detached(self.orphans, ends_presented=True)


def _started_anew(orphans: tuple[str, ...]) -> Destroyed:
    state = Destroyed(None, orphans)
    state.must_store = True
    return state


#: The state of a session that is not loaded. Nothing happens to it.
UNKNOWN: Final = New()
