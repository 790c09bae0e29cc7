"""Move a session to another key.

The new record is stored first, and the old one ends after that. Changes that others write under the
old key meanwhile are merged into the new record. If others end the session meanwhile, the new
record ends, too. If others move it meanwhile, a login goes on beside theirs, and anything else
ends.

A rotation without a reply is repeated, and merges the old record once more. So what it finds of its
own under the new key counts as if the old record had brought nothing yet.
"""

from __future__ import annotations

from typing import Final

from ..codec import SessionState
from ..errors import ConflictError
from ..events import Emitter
from ..store import ABSENT
from .change import conflict
from .operations import Destroy, Operations, Set
from .records import Attempts, Records, Snapshot
from .session_writer import KeyTaken, SessionWriter
from .succession import Succession
from .transactions import is_own

#: ``LOGIN_KEY`` of :mod:`coatcheck.logins`, which is an integration and not known here.
_LOGIN_KEY: Final = "logged_in_at"
_MOVE_ATTEMPTS: Final = 3


class Rotation:
    """Move sessions to other keys.

    :param records: reads, encodes and merges what is stored.
    :param writer: stores the session under its new key.
    :param succession: leads from the old key to the new one.
    :param emit: is told of each event.
    """

    def __init__(
        self, records: Records, writer: SessionWriter, succession: Succession, emit: Emitter
    ) -> None:
        self._records = records
        self._writer = writer
        self._succession = succession
        self._emit = emit

    def rotate(
        self,
        old: Snapshot,
        new_key: str,
        state: SessionState,
        keep: bool,
        attempts: Attempts,
        content: bytes | None = None,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a session under a new key, and end its old record.

        :param keep: whether the new session continues the old one. Then changes that others wrote
            to the old one are merged, the new one ends if others ended the old one, and a
            succession record leads from the old key to the new one. If others have moved the old
            one, only a login goes on, with the data that it has of the old one.
        :param attempts: what earlier calls may have stored under the new key.
        :param content: ``codec.dumps(state)``, where the caller has it.
        :returns: what is stored now; None if the session is gone.
        :raises KeyTaken: another session has the new key.
        :raises ConflictError: as :meth:`SessionWriter.write`; the old session stays as it was.
        """
        if new_key == old.key:
            raise KeyTaken
        creation = self._writer.create(new_key, state, attempts, content)
        content = None  # so that error reports with local variables do not show it
        if keep:
            yield from self._succession.add(old.key, new_key, state.owner)
        stored = yield from creation
        attempts.unknown[stored[0].record.data] = stored[0].record.data
        if not keep:
            yield from self._succession.end(old.key)
        else:
            merges = self._writer.concurrency != "error"
            ended = yield from self._end_old(old, stored, attempts, merges, may_fork=True)
            if ended is None:
                return None
            stored = ended
        self._emit("regenerated", old.key)
        return stored

    def move(
        self, found: tuple[Snapshot, SessionState] | None, key: str
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Move a session to another key that other requests may move it to at the same time.

        :param found: the session under its old key, if it is still there.
        :param key: the new key.
        :returns: what is stored now; None if the session is gone.
        """
        if found is not None:
            old, state = found
            mine = self._records.encode(key, state, old.record.expires_at)
            written: bool = yield Set(key, mine.record, ABSENT)
            if written:
                return (yield from self._finish_move(old, mine, state))
        # Another request has moved it meanwhile.
        return (yield from self._records.read(key))

    def _finish_move(
        self, old: Snapshot, new: Snapshot, state: SessionState
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """End the record that was moved, and merge what others write under both keys."""
        moved = new, state
        for _ in range(_MOVE_ATTEMPTS):
            try:
                return (yield from self._end_old(old, moved, Attempts(), True))
            except ConflictError:
                # A request that only reads the session must not fail because of a conflict.
                found = yield from self._records.read(new.key)
                if found is None:
                    return (yield from self._records.read(old.key))
                moved = found
        return moved

    def _end_old(
        self,
        old: Snapshot,
        stored: tuple[Snapshot, SessionState],
        attempts: Attempts,
        merges: bool,
        may_fork: bool = False,
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """End the record that a new one continues, and merge what others write to it.

        :param stored: the new one.
        :param merges: whether changes of others are merged. If not, they are a conflict.
        :param may_fork: whether a login goes on if another request has rotated the old session.
        :returns: what is stored now; None if the session is gone.
        """
        deadline, attempt = self._writer.monotonic() + self._writer.conflict_timeout, 0
        while not (yield Destroy(old.key, self._writer.condition(old))):
            current = yield from self._records.read(old.key)
            may_merge = merges or is_own(old, current and current[0])
            refused = not may_merge or self._writer.monotonic() > deadline
            if current is None and may_fork and (yield from self._goes_on_beside(old, stored)):
                return stored
            if current is None or refused:
                yield Destroy(stored[0].key)
                if current is not None:
                    raise conflict()
                self._emit("gone", old.key)
                return None
            merged = self._records.merge(old, stored[1], current[1])
            change = self._writer.change_of(stored[0], merged, True, attempts)
            updated = yield from self._writer.write(change)
            if updated is None:
                # Another request has ended the new session already. The old one ends, too.
                yield Destroy(old.key)
                return None
            stored, old = updated, current[0]
            attempts.unknown[stored[0].record.data] = change.mine.record.data
            yield from self._writer.back_off(attempt)
            attempt += 1
        return stored

    def _goes_on_beside(
        self, old: Snapshot, stored: tuple[Snapshot, SessionState]
    ) -> Operations[bool]:
        """Tell whether a login goes on although another request has rotated the old session.

        After a double click on "log in" each of the two requests has a session.
        """
        before, state = self._records.decode(old.key, old.record), stored[1]
        if state.owner is not None:
            is_login = before.owner is None
        else:
            is_login = _LOGIN_KEY in state.data and _LOGIN_KEY not in before.data
        return is_login and (yield from self._succession.has_live(old.key, stored[0].key))
