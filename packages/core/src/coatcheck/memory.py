"""Keep sessions in the memory of this process: for tests, demos and single-process deployments."""

from __future__ import annotations

import heapq
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from .errors import ConfigurationError, StoreClosed
from .store import (
    ALWAYS,
    Capabilities,
    Condition,
    Record,
    Store,
    check_expiry,
    check_key,
    check_owner,
    check_record,
    condition_holds,
)

__all__ = [
    "MemoryStore",
]


def __dir__() -> list[str]:
    return __all__


_log = logging.getLogger("coatcheck")

_URL_UNCOMPILED = r"(?ia:memory:(//)?(\?max_sessions=(?P<limit>[0-9]{1,18}))?)"

#: How many expired records one ``set`` removes at most.
_PRUNED_PER_SET: Final = 4
#: How many of the first to expire a full store examines before it drops the least recently used.
_EXAMINED_WHEN_FULL: Final = 64


class _Slot:
    """Hold a record, and the time of its entry in the heap of expiries."""

    __slots__ = ("record", "scheduled")

    def __init__(self, record: Record, scheduled: float) -> None:
        self.record = record
        self.scheduled = scheduled


class MemoryStore(Store):
    """Keep sessions in a bounded dictionary, safe for threads and without blocking.

    Sync and async applications can use it, because its operations may be called on an event loop.
    When it is full, it drops expired records first, then the least recently used.

    :param max_sessions: the largest number of records.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: ``max_sessions`` is not a positive integer.
    """

    capabilities: Capabilities = Capabilities(
        blocking=False, enumerable=True, clearable=True, owners=True
    )

    def __init__(
        self, *, max_sessions: int = 100_000, clock: Callable[[], float] = time.time
    ) -> None:
        if type(max_sessions) is not int or max_sessions < 1:
            raise ConfigurationError(
                f"`max_sessions` must be a positive integer, not {max_sessions!r}"
            )
        self._max_sessions = max_sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._expiries: list[tuple[float, str]] = []
        self._owned: dict[str, str | set[str]] = {}
        self._closed = False
        self._warned = False

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryStore:
        """Open ``memory:`` or ``memory:?max_sessions=1000``.

        Each call makes a new store.

        :raises ConfigurationError: the URL has a part that a memory store does not know.
        """
        match = re.fullmatch(_URL_UNCOMPILED, url)
        if match is None and "max_sessions=" in url:
            raise ConfigurationError("`max_sessions` in the URL must be a positive integer")
        if match is None:
            raise ConfigurationError(
                "a memory store's URL is `memory:` or `memory:?max_sessions=N`, with nothing else"
            )
        if match["limit"] is None:
            return cls(clock=clock)
        return cls(max_sessions=int(match["limit"]), clock=clock)

    def get(self, key: str) -> Record | None:
        """See :meth:`Store.get`."""
        check_key(key)
        with self._lock:
            slot = self._live(key, self._clock())
            if slot is None:
                return None
            self._slots.move_to_end(key)
            return slot.record

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.set`."""
        check_key(key)
        check_record(record)
        with self._lock:
            now = self._clock()
            slot = self._live(key, now)
            if not condition_holds(only_if, None if slot is None else slot.record):
                return False
            if record.expires_at <= now:
                # The record has expired already, so no other one has to make room.
                if slot is not None:
                    self._discard(key)
            elif slot is None:
                self._add(key, record)
            else:
                self._replace(key, slot, record)
            if self._expiries and self._expiries[0][0] <= now:
                self._remove_expired(_PRUNED_PER_SET)
            return True

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.destroy`."""
        check_key(key)
        with self._lock:
            slot = self._live(key, self._clock())
            if slot is None or not condition_holds(only_if, slot.record):
                return False
            self._discard(key)
            return True

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`Store.touch`."""
        check_key(key)
        check_expiry(expires_at)
        with self._lock:
            slot = self._live(key, self._clock())
            if slot is None:
                return False
            self._slots.move_to_end(key)
            self._schedule(key, slot, expires_at)
            slot.record = replace(slot.record, expires_at=expires_at)
            return True

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`Store.all`."""
        with self._lock:
            self._check_open()
            keys = list(self._slots)
        return self._records(keys)

    def length(self) -> int:
        """See :meth:`Store.length`."""
        with self._lock:
            self._check_open()
            now = self._clock()
            return sum(slot.record.expires_at > now for slot in self._slots.values())

    def clear(self) -> None:
        """See :meth:`Store.clear`."""
        with self._lock:
            self._check_open()
            self._forget_all()

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`Store.owned_by`."""
        # An exception of a signal handler may have left an entry under a former owner.
        found = self._records(self._owned_keys(owner))
        return (item for item in found if item[1].owner == owner)

    def prune(self, limit: int | None = None) -> int:
        """See :meth:`Store.prune`."""
        with self._lock:
            self._check_open()
            return self._remove_expired(len(self._expiries) if limit is None else limit)

    def ping(self) -> None:
        """See :meth:`Store.ping`."""
        self._check_open()

    def close(self) -> None:
        """See :meth:`Store.close`."""
        with self._lock:
            self._closed = True
            self._forget_all()

    # The caller of each method and function below holds the lock, except for `_owned_keys` and
    # `_records`. An exception of a signal handler may end them between any two steps. So an index
    # entry is added before the record that it leads to, and removed after it.

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this memory store is closed")

    def _live(self, key: str, now: float) -> _Slot | None:
        if self._closed:
            self._check_open()
        slot = self._slots.get(key)
        if slot is not None and slot.record.expires_at <= now:
            self._discard(key)
            return None
        return slot

    def _owned_keys(self, owner: str) -> list[str]:
        check_owner(owner)
        with self._lock:
            self._check_open()
            owned = self._owned.get(owner, ())
            return [owned] if isinstance(owned, str) else list(owned)

    def _records(self, keys: list[str]) -> Iterator[tuple[str, Record]]:
        for key in keys:
            with self._lock:
                slot = self._live(key, self._clock())
            if slot is not None:
                yield key, slot.record

    def _add(self, key: str, record: Record) -> None:
        if len(self._slots) >= self._max_sessions:
            self._make_room()
        _index(self._owned, key, record.owner)
        heapq.heappush(self._expiries, (record.expires_at, key))
        self._slots[key] = _Slot(record, record.expires_at)

    def _replace(self, key: str, slot: _Slot, record: Record) -> None:
        former = slot.record.owner
        if former != record.owner:
            _index(self._owned, key, record.owner)
        self._schedule(key, slot, record.expires_at)
        slot.record = record
        self._slots.move_to_end(key)
        if former != record.owner:
            _unindex(self._owned, key, former)

    def _discard(self, key: str) -> None:
        slot = self._slots.pop(key)
        _unindex(self._owned, key, slot.record.owner)
        self._bound_heap()

    def _forget_all(self) -> None:
        self._slots.clear()
        self._expiries.clear()
        self._owned.clear()

    def _make_room(self) -> None:
        if self._remove_expired(_EXAMINED_WHEN_FULL):
            return
        if not self._warned:
            self._warned = True
            _log.warning(
                "the memory store is full with %d sessions: the least recently used are dropped",
                self._max_sessions,
            )
        self._discard(next(iter(self._slots)))

    def _schedule(self, key: str, slot: _Slot, expires_at: float) -> None:
        # A later expiry needs no entry: the earlier one is moved on when its time comes.
        if expires_at < slot.scheduled:
            heapq.heappush(self._expiries, (expires_at, key))
            slot.scheduled = expires_at
            self._bound_heap()

    def _remove_expired(self, limit: int) -> int:
        if not self._expiries:
            return 0
        now, removed = self._clock(), 0
        for _ in range(limit):
            if not self._expiries or self._expiries[0][0] > now:
                break
            scheduled, key = heapq.heappop(self._expiries)
            slot = self._slots.get(key)
            if slot is None or slot.scheduled != scheduled:
                continue
            if slot.record.expires_at <= now:
                self._discard(key)
                removed += 1
            else:
                slot.scheduled = slot.record.expires_at
                heapq.heappush(self._expiries, (slot.scheduled, key))
        return removed

    def _bound_heap(self) -> None:
        # There are fewer entries than slots after an exception of a signal handler.
        if not len(self._slots) <= len(self._expiries) <= 2 * len(self._slots) + 64:
            self._expiries = [(slot.scheduled, key) for key, slot in self._slots.items()]
            heapq.heapify(self._expiries)


def _index(owned_by: dict[str, str | set[str]], key: str, owner: str | None) -> None:
    """Add a key to the keys of its owner."""
    if owner is None:
        return
    owned = owned_by.get(owner)
    if owned is None:
        owned_by[owner] = key
    elif isinstance(owned, str):
        # Most owners have one session, and a set of one costs 200 bytes.
        owned_by[owner] = {owned, key}
    else:
        owned.add(key)


def _unindex(owned_by: dict[str, str | set[str]], key: str, owner: str | None) -> None:
    """Remove a key from the keys of its owner."""
    if owner is None:
        return
    owned = owned_by.get(owner)
    if isinstance(owned, set):
        owned.discard(key)
        if owned:
            return
    elif owned != key:
        return
    owned_by.pop(owner, None)
