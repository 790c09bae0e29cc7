"""List, look up, change and end stored sessions, without requests and without I/O.

Methods that need the store are generators of :mod:`operations <coatcheck._records.operations>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .._records.change import ChangeFunction, check_function
from .._records.operations import Get, Operations, Select, Sleep
from .._records.records import Attempts
from .._records.succession import Succession, is_succession, ref_of
from .._records.takeover_records import is_takeover
from ..codec import SessionState
from ..cookie import in_seconds
from ..cookie_format import is_hash
from ..errors import CorruptRecord
from ..events import Emitter
from ..options import SessionOptions
from ..session import Session
from ..store import Record, is_text
from .policy import lifecycle_of


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A stored session, as seen from outside a request.

    :ivar ref: names the session, and opens nothing.
    :ivar created_at: POSIX seconds.
    :ivar expires_at: POSIX seconds.
    :ivar owner: whose session it is.
    :ivar data: a copy of its data.
    """

    ref: str
    created_at: float
    expires_at: float
    owner: str | None = field(default=None, repr=False)
    data: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CreatedSession:
    """A session that was created outside a request. Anybody who has its cookie has it.

    :ivar ref: names the session, and opens nothing.
    :ivar cookie_name: the cookie's name.
    :ivar cookie_value: the cookie's value, as it is in a Cookie header. Do not log it.
    :ivar set_cookie: the value of a Set-Cookie header that gives a browser the session.
    """

    ref: str
    cookie_name: str
    cookie_value: str = field(repr=False)
    set_cookie: str = field(repr=False)


Entries: TypeAlias = list[SessionEntry]
Records: TypeAlias = list[tuple[str, Record]]
Keys: TypeAlias = list[str]


class StoredSessions:
    """The sessions in a store.

    :param options: the middleware's options.
    :param owner_lag: how far the store's owner index may be behind, in seconds.
    :ivar lifecycle: loads and changes sessions, and moves no expiry.
    """

    def __init__(self, options: SessionOptions, owner_lag: float) -> None:
        self._options = options
        self._owner_lag = owner_lag
        self._succession = Succession(options.codec, options.clock)
        self._emit = Emitter(options.observers, options.clock)
        self.lifecycle = lifecycle_of(options, self._emit, lambda _: 0.0)

    def ref(self, key: str, data: bytes | None = None) -> str:
        # A key that is no hash is an id, left by other options, and would open the session.
        if self._options.hash_ids and is_hash(key):
            key_is_id = getattr(self._options.codec, "key_is_id", None)
            if data is None or key_is_id is None or not key_is_id(data, key):
                return key
        return ref_of(key)

    def list(self, owner: str | int) -> Operations[Entries]:
        found = yield from self._live(named(owner))
        return self._entries([item for item in found if _is_session(item[0])])

    def list_all(self, limit: int) -> Operations[Entries]:
        now = self._options.clock()
        found: Records = []

        def is_last(item: tuple[str, Record]) -> bool:
            if item[1].expires_at > now and _is_session(item[0]):
                found.append(item)
            return len(found) >= limit

        if limit > 0:
            yield Select("all", keep=is_last, first=True)
        return self._entries(found)

    def _entries(self, found: Records) -> Entries:
        """Return sessions that can be read, the oldest first."""
        entries = [entry for key, record in found if (entry := self.entry(key, record))]
        return sorted(entries, key=lambda entry: entry.created_at)

    def _live(self, owner: str) -> Operations[Records]:
        """Return what the owner index finds, each hit verified: the index is but a hint.

        Succession records are among it.
        """
        now = self._options.clock()
        found: Records = yield Select(
            "owned_by",
            owner,
            keep=lambda item: item[1].owner == owner and item[1].expires_at > now,
        )
        return found

    def _find(self, ref: str) -> Operations[tuple[str, Record] | None]:
        if not _is_ref(ref):
            return None
        now = self._options.clock()
        if self._options.hash_ids:
            record: Record | None = yield Get(ref)
            live = record is not None and record.expires_at > now
            return (ref, record) if live and record is not None else None
        found = yield Select(
            "all",
            keep=lambda item: (
                self.ref(item[0]) == ref and item[1].expires_at > now and _is_session(item[0])
            ),
            first=True,
        )
        return found[0] if found else None

    def get(self, ref: str) -> Operations[SessionEntry | None]:
        found = yield from self._find(ref)
        return None if found is None else self.entry(*found)

    def update(self, ref: str, function: ChangeFunction) -> Operations[SessionEntry | None]:
        check_function(function)
        place = yield from self._find(ref)
        found = None if place is None else self.lifecycle.open(*place)
        if found is None:
            return None
        change = self.lifecycle.change_of(*found, False, Attempts(), function=function)
        stored = yield from self.lifecycle.write(change)
        return None if stored is None else self.entry(stored[0].key, stored[0].record)

    def revoke(self, ref: str) -> Operations[bool]:
        if not _is_ref(ref):
            return False
        key: str | None = ref
        if not self._options.hash_ids:
            found = yield from self._find(ref)
            key = found[0] if found else None
        if key is None:
            ended = yield from self._succession.end_ref(ref)
        else:
            ended = yield from self._succession.end(key)
        return bool(self._emit_revoked(ended))

    def revoke_all(self, owner: str | int, keep: Session | str | None) -> Operations[int]:
        """End what the owner index shows, in several passes.

        An index is read before the records that it names, so a pass can miss a session that is
        rotated in between. Suppose that a session lives through a pass that ends nothing. It was
        rotated during that pass; otherwise the index or an older succession record would have led
        to it. That rotation left a succession record in the index. So the next pass finds this
        record and follows it, as far as the session has moved on, and ends something. Therefore
        two passes in a row that end nothing prove that no session is left.

        An index that lags shows the succession record one pass later, if the passes are as far
        apart as it lags: then it takes three.
        """
        spared = yield from self._spared(keep)
        needed = 3 if self._owner_lag else 2
        revoked = quiet = 0
        while quiet < needed:
            if quiet:
                yield Sleep(self._owner_lag)
            keys: Keys = []
            for key, record in (yield from self._live(named(owner))):
                keys += self._succession.new_keys(key, record) if is_succession(key) else [key]
            # All at once: records of a long succession lead to the same sessions.
            ended = self._emit_revoked((yield from self._succession.end(*keys, spared=spared)))
            revoked += ended
            quiet = 0 if ended else quiet + 1
        return revoked

    def _spared(self, keep: Session | str | None) -> Operations[str | None]:
        """Return the key of the session that is to stay, or None."""
        if keep is None:
            return None
        if isinstance(keep, Session):
            return keep.stored_key
        if not (isinstance(keep, str) and is_hash(keep)):
            text = "a string that is no ref" if isinstance(keep, str) else type(keep).__name__
            raise TypeError(
                "`keep` must be a session of coatcheck, as `session_of(request)` returns it, its "
                f"ref, or None, not {text}"
            )
        found = None if self._options.hash_ids else (yield from self._find(keep))
        return keep if found is None else found[0]

    def _emit_revoked(self, ended: Keys) -> int:
        for key in ended:
            self._emit("revoked", key)
        return len(ended)

    def entry(self, key: str, record: Record) -> SessionEntry | None:
        try:
            state: SessionState = self._options.codec.loads(record.data, key)
        except CorruptRecord as error:
            self._emit("corrupt", key, error)
            return None
        limit = in_seconds(self._options.absolute_timeout)
        if limit is not None and state.created_at + limit <= self._options.clock():
            return None
        return SessionEntry(
            self.ref(key, record.data),
            state.created_at,
            record.expires_at,
            record.owner,
            state.data,
        )


def named(owner: object) -> str:
    if isinstance(owner, int) and not isinstance(owner, bool):
        return str(owner)
    if isinstance(owner, str) and owner and is_text(owner):
        return owner
    # "No sessions" would be a dangerous answer to a question that nobody can mean.
    raise TypeError(
        "`owner` must be a non-empty string or an integer, and text without lone surrogates, "
        f"not {type(owner).__name__}"
    )


def _is_session(key: str) -> bool:
    """Tell whether the record under a key is a session, and not a note about one."""
    return not (is_succession(key) or is_takeover(key))


def _is_ref(ref: object) -> bool:
    """Tell whether a string has the form of a ref, so that the store may see it.

    :raises TypeError: it is no string. A dictionary would be a query to some databases.
    """
    if not isinstance(ref, str):
        raise TypeError(f"`ref` must be a string, not {type(ref).__name__}")
    return is_hash(ref)
