"""Define the classes and functions that stores are made of.

A store maps keys to :class:`Record` objects. It never sees a cookie, an HTTP request or a
decoded session. ``docs/contract.md`` says in numbered clauses what a store must do. This is a
complete store, in a table of SQLite::

    import sqlite3
    import time

    from coatcheck import ABSENT, ALWAYS, Capabilities, Record, Store, Unchanged
    from coatcheck.errors import ConfigurationError, StoreClosed, StoreUnavailable

    class SQLiteStore(Store):
        capabilities = Capabilities(durable=True, multi_process=True)

        def __init__(self, path, *, clock=time.time):
            self._path, self._clock, self._closed = path, clock, False

        @classmethod
        def from_url(cls, url, *, clock=time.time):
            path = url.removeprefix("sqlite:///")
            if not path or path == url or "?" in path:
                raise ConfigurationError("the URL must be `sqlite:///PATH`, without options")
            return cls(path, clock=clock)

        def _run(self, sql, *parameters):
            if self._closed:
                raise StoreClosed("this store is closed")
            try:
                db = sqlite3.connect(self._path, timeout=5, isolation_level="IMMEDIATE")
                try:
                    with db:
                        db.execute(
                            "CREATE TABLE IF NOT EXISTS sessions"
                            " (key TEXT PRIMARY KEY, data BLOB NOT NULL, expires_at REAL NOT NULL)"
                        )
                        cursor = db.execute(sql, parameters)
                        return cursor.fetchone() if cursor.description else cursor.rowcount
                finally:
                    db.close()
            except sqlite3.Error as error:
                raise StoreUnavailable("SQLite failed") from error

        def get(self, key):
            row = self._run(
                "SELECT data, expires_at FROM sessions WHERE key = ? AND expires_at > ?",
                key, self._clock(),
            )
            return Record(*row) if row else None

        def set(self, key, record, only_if=ALWAYS):
            self.prune(10)  # so that the file does not grow forever
            row = (record.data, record.expires_at, key)
            if only_if is ALWAYS or only_if is ABSENT:
                expired = "" if only_if is ALWAYS else f" WHERE expires_at <= {self._clock()!r}"
                return self._run(
                    "INSERT INTO sessions (data, expires_at, key) VALUES (?, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET data = excluded.data,"
                    f" expires_at = excluded.expires_at{expired}",
                    *row,
                ) > 0
            where, extra = self._live(only_if)
            return self._run(
                f"UPDATE sessions SET data = ?, expires_at = ? WHERE key = ?{where}",
                *row, *extra,
            ) > 0

        def destroy(self, key, only_if=ALWAYS):
            if only_if is ABSENT:
                self.ping()
                return False
            where, extra = self._live(only_if)
            return self._run(f"DELETE FROM sessions WHERE key = ?{where}", key, *extra) > 0

        def touch(self, key, expires_at, owner=None):
            return self._run(
                "UPDATE sessions SET expires_at = ? WHERE key = ? AND expires_at > ?",
                expires_at, key, self._clock(),
            ) > 0

        def prune(self, limit=None):
            return self._run(
                "DELETE FROM sessions WHERE key IN"
                " (SELECT key FROM sessions ORDER BY expires_at LIMIT ?) AND expires_at <= ?",
                -1 if limit is None else limit, self._clock(),
            )

        def _live(self, only_if):
            if isinstance(only_if, Unchanged):
                return " AND expires_at > ? AND data = ?", (self._clock(), only_if.data)
            return " AND expires_at > ?", (self._clock(),)

        def ping(self):
            self._run("SELECT 1")

        def close(self):
            self._closed = True

A plugin module of six lines makes ``store="sqlite:///sessions.db"`` work: see
:mod:`coatcheck.hookspecs`. docs/writing-a-store.md has such a store with all capabilities, as a
package that conforms to the contract.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from .errors import UnsupportedOperation

__all__ = [
    "ABSENT",
    "ALWAYS",
    "CONTRACT_VERSION",
    "MAX_KEY_LENGTH",
    "PRESENT",
    "AsyncStore",
    "Capabilities",
    "Condition",
    "Presence",
    "Record",
    "Store",
    "Transaction",
    "Unchanged",
    "check_expiry",
    "check_key",
    "check_owner",
    "check_record",
    "condition_holds",
    "is_text",
]


def __dir__() -> list[str]:
    return __all__


#: The version of ``docs/contract.md`` that this package implements: MAJOR.MINOR.
CONTRACT_VERSION: Final = "1.0"

#: The longest key, in characters.
MAX_KEY_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class Record:
    """Hold the value that a store keeps under a key.

    :ivar data: opaque bytes, at least one. A store whose layout has text keeps data that is UTF-8
        as text, and other data as binary.
    :ivar expires_at: POSIX seconds, UTC. From that instant on the record is absent.
    :ivar owner: the owner of the session, for stores that declare ``owners``.
    """

    data: bytes = field(repr=False)
    expires_at: float
    owner: str | None = field(default=None, repr=False)


class Presence(enum.Enum):
    """Name the conditions that depend only on whether a live record exists."""

    ALWAYS = "always"
    ABSENT = "absent"
    PRESENT = "present"


#: No condition.
ALWAYS: Final[Literal[Presence.ALWAYS]] = Presence.ALWAYS
#: Only if there is no live record. An expired record counts as absent.
ABSENT: Final[Literal[Presence.ABSENT]] = Presence.ABSENT
#: Only if there is a live record.
PRESENT: Final[Literal[Presence.PRESENT]] = Presence.PRESENT


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Require a live record with exactly these bytes."""

    data: bytes = field(repr=False)


Condition: TypeAlias = Presence | Unchanged


def check_key(key: object) -> str:
    """Check a key, and return it.

    Keys may come from a request, for example when a session is revoked. A dictionary instead of a
    key would be a query to some databases.

    :raises TypeError: it is no string.
    :raises ValueError: it is empty, has more than 256 characters, or has lone surrogates.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key must be a string, not {type(key).__name__}")
    if 0 < len(key) <= MAX_KEY_LENGTH and (key.isascii() or is_text(key)):
        return key
    raise ValueError(f"a key must have 1 to {MAX_KEY_LENGTH} characters and no lone surrogates")


def check_owner(owner: object) -> str:
    """Check an owner, and return it.

    :raises TypeError: it is no string.
    :raises ValueError: it is empty or has lone surrogates.
    """
    if not isinstance(owner, str):
        raise TypeError(f"an owner must be a string, not {type(owner).__name__}")
    if not owner or not is_text(owner):
        raise ValueError("an owner must not be empty or have lone surrogates")
    return owner


def check_record(record: object) -> Record:
    """Check a record, and return it.

    :raises TypeError: it is no record, its data are no bytes, its expiry is no number, or its owner
        is no string.
    :raises ValueError: its data are empty, its expiry is not finite, or its owner is no owner.
    """
    if not (isinstance(record, Record) and isinstance(record.data, bytes)):
        raise TypeError("`set` takes a `Record` whose data are bytes")
    if not record.data:
        raise ValueError("a record's data must have at least one byte")
    check_expiry(record.expires_at)
    if record.owner is not None:
        check_owner(record.owner)
    return record


def check_expiry(expires_at: object) -> float:
    """Check an expiry, and return it.

    A comparison with NaN is always false, so a record might never expire.

    :raises TypeError: it is no number.
    :raises ValueError: it is NaN or infinite.
    """
    if not isinstance(expires_at, (int, float)):
        raise TypeError(f"an expiry must be a number, not {type(expires_at).__name__}")
    if not abs(expires_at) < math.inf:
        raise ValueError("an expiry must be finite: POSIX seconds")
    return expires_at


def is_text(text: str) -> bool:
    """Tell whether a string can be encoded. Strings with lone surrogates cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def condition_holds(only_if: Condition, live: Record | None) -> bool:
    """Tell whether a condition holds, for stores that evaluate conditions themselves.

    :param live: the live record under the key, or None where it is absent.
    """
    if only_if is ALWAYS:
        return True
    if isinstance(only_if, Unchanged):
        return live is not None and live.data == only_if.data
    return (live is not None) == (only_if is PRESENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Declare what a store can do. The core reads this at run time.

    An operation raises :class:`~coatcheck.errors.UnsupportedOperation` if its capability is not
    declared.

    :ivar blocking: a call may wait for a disk or a network; False allows calls on an event loop.
    :ivar native_expiry: the backend removes expired records by itself; False offers ``prune``.
    :ivar enumerable: ``all`` and ``length`` work.
    :ivar clearable: ``clear`` works.
    :ivar owners: ``owned_by`` works.
    :ivar owner_lag: seconds after which ``owned_by`` shows a write at the latest.
    :ivar max_data_bytes: the largest ``Record.data``, or None where there is no limit.
    :ivar multi_process: several processes can use the same data at once.
    :ivar durable: an acknowledged write survives a crash of the process.
    :ivar expiry_granularity: seconds to which the backend rounds ``expires_at``; 0 keeps it.
    """

    blocking: bool = True
    native_expiry: bool = False
    enumerable: bool = False
    clearable: bool = False
    owners: bool = False
    owner_lag: float = 0.0
    max_data_bytes: int | None = None
    multi_process: bool = False
    durable: bool = False
    expiry_granularity: float = 0.0


class Transaction(Protocol):
    """Tell about a transaction of the application's, for :meth:`coatcheck.SyncSession.save`.

    Two objects that tell about the same transaction are equal.
    """

    @property
    def is_open(self) -> bool:
        """The state: True until the end of the transaction, for which other writers wait."""


class Store(ABC):
    """Keep records, with a sync API. See the clauses in ``docs/contract.md``.

    Every operation may raise a subclass of :class:`~coatcheck.errors.StoreError`, and nothing else.
    """

    #: The capabilities of this store.
    capabilities: Capabilities

    @property
    def transaction(self) -> Transaction | None:
        """The transaction of the application's that each call is part of.

        It is None if calls take effect at once, as they do in nearly all stores.
        """
        return None

    @abstractmethod
    def get(self, key: str) -> Record | None:
        """Return the live record, or None where it is missing, expired or malformed.

        :raises StoreError: the system failed. A failed read is never None.
        """

    @abstractmethod
    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """Write the whole record if the condition holds, in one atomic step.

        An ``expires_at`` in the past is no error: the condition is evaluated, and the key is
        absent afterwards.

        :returns: False if the condition did not hold; nothing was changed.
        :raises RecordTooLarge: the data exceed ``max_data_bytes``.
        :raises StoreError: the write failed, or its outcome is unknown.
        """

    @abstractmethod
    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """Remove the record if the condition holds, in one atomic step.

        :returns: True if a live record was removed.
        :raises StoreError: the removal failed, or its outcome is unknown.
        """

    @abstractmethod
    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """Move the expiry of a live record to a later or earlier time, and leave its data alone.

        :param expires_at: POSIX seconds.
        :param owner: the record's owner as it was read, for stores that have an index of owners.
        :returns: False if there is no live record. No record is created.
        :raises StoreError: the system failed.
        """

    def all(self) -> Iterator[tuple[str, Record]]:
        """Iterate over the live records of this store's namespace. Capability ``enumerable``."""
        raise UnsupportedOperation("all", "enumerable")

    def length(self) -> int:
        """Count the live records, without reading data. Capability ``enumerable``."""
        raise UnsupportedOperation("length", "enumerable")

    def clear(self) -> None:
        """Remove each record of this store's namespace. Capability ``clearable``."""
        raise UnsupportedOperation("clear", "clearable")

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Iterate over the live records of an owner. Capability ``owners``."""
        raise UnsupportedOperation("owned_by", "owners")

    def prune(self, limit: int | None = None) -> int:
        """Remove expired records, and return how many. For stores without ``native_expiry``.

        :param limit: the largest number of records to *examine*.
        """
        raise UnsupportedOperation("prune", "prune (native_expiry=False)")

    @abstractmethod
    def ping(self) -> None:
        """Return if the backend answers.

        :raises StoreError: it does not.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the resources of the store. A second call does nothing.

        Afterwards every operation raises :class:`~coatcheck.errors.StoreClosed`.
        """


class AsyncStore(ABC):
    """Keep records, with an async API: the operations of :class:`Store`, awaitable."""

    #: The capabilities of this store.
    capabilities: Capabilities

    @property
    def transaction(self) -> Transaction | None:
        """See :attr:`Store.transaction`."""
        return None

    @abstractmethod
    async def get(self, key: str) -> Record | None:
        """See :meth:`Store.get`."""

    @abstractmethod
    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.set`."""

    @abstractmethod
    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`Store.destroy`."""

    @abstractmethod
    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`Store.touch`."""

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`Store.all`."""
        raise UnsupportedOperation("all", "enumerable")

    async def length(self) -> int:
        """See :meth:`Store.length`."""
        raise UnsupportedOperation("length", "enumerable")

    async def clear(self) -> None:
        """See :meth:`Store.clear`."""
        raise UnsupportedOperation("clear", "clearable")

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`Store.owned_by`."""
        raise UnsupportedOperation("owned_by", "owners")

    async def prune(self, limit: int | None = None) -> int:
        """See :meth:`Store.prune`."""
        raise UnsupportedOperation("prune", "prune (native_expiry=False)")

    @abstractmethod
    async def ping(self) -> None:
        """See :meth:`Store.ping`."""

    @abstractmethod
    async def close(self) -> None:
        """See :meth:`Store.close`."""
