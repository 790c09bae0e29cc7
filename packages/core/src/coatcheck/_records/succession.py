"""Store which session continues which, and end sessions together with their successors.

A rotation that keeps the data moves a session to another key. A logout or a revocation that only
knows the old key would miss the session. So a rotation first stores a *succession record*. It names
the new key, and its own key follows from the old one. A request that ends a session and finds no
record reads the succession record, and ends the successors and theirs.

A logout cannot be missed. A rotation takes three steps: it stores the succession record, stores the
new record, and removes the old record if that is unchanged. The logout removes the old record
without a condition. If the logout comes first, the condition of the rotation fails, and the
rotation removes its new record. If the rotation comes first, the logout finds no old record. Then
the succession record is there, and names the new key.

Succession records are ordinary records of the store with the owner of the session, so an index of
owners finds them, too. They live for :data:`SUCCESSION_SECONDS`, cannot be used as sessions, and
:class:`coatcheck.Sessions` does not show them.

docs/decisions/2026-11-30-succession.md has the reasons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, cast

from ..codec import Codec, SessionState
from ..errors import ConflictError, CorruptRecord
from ..store import ABSENT, Condition, Record, Unchanged
from .operations import Destroy, Get, Operations, Set

#: Seconds for which the successors of a rotated session are known. A request that began before the
#: rotation is expected to end sooner.
SUCCESSION_SECONDS: Final = 600.0
#: No session id of the native cookie format and no hash contains a colon.
_PREFIX: Final = "successors:"
#: The member of a succession record's data that lists the new keys.
_MEMBER: Final = "successors"
_ATTEMPTS: Final = 100


def ref_of(key: str) -> str:
    """Return a name for a session that cannot be used to log in: the SHA-256 of its key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def successors_key(key: str) -> str:
    """Return the key of the succession record of a session that was rotated."""
    return _PREFIX + ref_of(key)


def is_succession(key: str) -> bool:
    """Tell whether a store key belongs to a succession record."""
    return key.startswith(_PREFIX)


class Succession:
    """Write succession records, and end sessions together with their successors.

    :param codec: the codec of the sessions.
    :param clock: returns POSIX seconds.
    """

    def __init__(self, codec: Codec, clock: Callable[[], float]) -> None:
        self._codec = codec
        self._clock = clock

    def add(self, old_key: str, new_key: str, owner: str | None) -> Operations[None]:
        """Store that a session is about to move to a new key.

        :param owner: the owner of the session.
        :raises ConflictError: too many other requests do the same.
        """
        key = successors_key(old_key)
        new_keys, only_if = [new_key], cast("Condition", ABSENT)
        for _ in range(_ATTEMPTS):
            written: bool = yield Set(key, self._record(key, new_keys, owner), only_if)
            if written:
                return
            found: Record | None = yield Get(key)
            if found is None:
                new_keys, only_if = [new_key], ABSENT
            else:
                new_keys = self.new_keys(key, found)
                if new_key in new_keys:
                    return
                new_keys, only_if = [*new_keys, new_key], Unchanged(found.data)
        raise ConflictError("the session's id is changed by too many requests at the same time")

    def end(self, *keys: str, spared: str | None = None) -> Operations[list[str]]:
        """Remove sessions for good. If a record is gone already, remove its successors.

        :param spared: the key of a session that stays.
        :returns: the keys of the live records that were removed.
        """
        ended: list[str] = []
        is_certain = False
        while not is_certain:
            is_certain = True
            waiting, seen = [*keys], {spared}
            while waiting:
                key = waiting.pop()
                if key in seen:
                    continue
                seen.add(key)
                if (yield Destroy(key)):
                    ended.append(key)
                    # A request that found this successor live may have stored another one.
                    is_certain = is_certain and key in keys
                else:
                    waiting.extend((yield from self._successors(ref_of(key))))
        return ended

    def end_ref(self, ref: str) -> Operations[list[str]]:
        """Remove the successors of a session whose record is gone.

        :param ref: the :func:`ref_of` the session's key.
        :returns: the keys of the live records that were removed.
        """
        ended: list[str] = []
        while found := (yield from self.end(*(yield from self._successors(ref)))):
            ended += found
        return ended

    def has_live(self, key: str, without: str | None = None) -> Operations[bool]:
        """Tell whether a session that was rotated is live under one of its later keys.

        :param without: a later key that does not count.
        """
        waiting, seen = [key], {without}
        while waiting:
            for each in (yield from self._successors(ref_of(waiting.pop()))):
                if each in seen:
                    continue
                seen.add(each)
                record: Record | None = yield Get(each)
                if record is not None and record.expires_at > self._clock():
                    return True
                waiting.append(each)
        return False

    def new_keys(self, key: str, record: Record) -> list[str]:
        """Return the keys that a succession record names.

        :param key: the key of the succession record.
        """
        try:
            found = self._codec.loads(record.data, key).data.get(_MEMBER)
        except CorruptRecord:
            return []
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []

    def _successors(self, ref: str) -> Operations[list[str]]:
        key = _PREFIX + ref
        found: Record | None = yield Get(key)
        return [] if found is None else self.new_keys(key, found)

    def _record(self, key: str, new_keys: list[str], owner: str | None) -> Record:
        now = self._clock()
        state = SessionState({_MEMBER: new_keys}, created_at=now, owner=owner)
        expires_at = now + SUCCESSION_SECONDS
        data = self._codec.pack(self._codec.dumps(state), state, expires_at, key)
        return Record(data, expires_at, owner)
