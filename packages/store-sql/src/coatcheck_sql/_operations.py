"""The operations of both stores: generators that yield requests and are sent the replies.

docs/decisions/2026-11-30-sql-store.md has the reasons.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Any, Final

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from coatcheck import ABSENT, ALWAYS, Condition, Record, Unchanged
from coatcheck.errors import RecordTooLarge, StoreError
from coatcheck.storekit import MAX_KEY_LENGTH, Listing, Requests

from ._databases import Database, Failure
from ._requests import Change, Query, Request
from ._statements import LAST, Statements
from ._table import LAYOUT, check_layout, columns_of, create

#: The most bytes of a record's data. A statement has the new data and the old data, and MariaDB's
#: text protocol may need two bytes for one: 8 MiB, of the 16 that a server accepts by default.
LARGEST: Final = 2 * 2**20
#: How many rows a listing has in memory at a time.
PAGE: Final = 50
#: How many rows one statement removes, so that others wait for a short time only.
PIECE: Final = 250
#: One write of so many looks for expired rows, and removes this many at most.
EVERY: Final = 16
SWEPT: Final = 100
#: How often a statement is sent in all, if others were in the way and nothing was done.
ATTEMPTS: Final = 5


class SQLOperations:
    """The operations of both stores.

    :param table: the table of sessions.
    :param database: the database that it is in.
    :param clock: returns POSIX seconds.
    """

    def __init__(self, table: Table, database: Database, clock: Callable[[], float]) -> None:
        self._table = table
        self._database = database
        self._clock = clock
        self._statements = Statements(table, database)
        self._is_checked = False
        #: The operations outside a transaction, if these are bound to one.
        self._free: SQLOperations | None = None
        self._read = self._statements.get
        # A process that ends after a few writes removes expired rows as well.
        self._writes = itertools.count(random.randrange(EVERY))  # noqa: S311  # not for a secret

    def bound(self) -> SQLOperations:
        """Return the operations for a transaction of the application's.

        They lock the rows that they read, and remove no expired rows by the way. They send no
        statement again, because an error may have ended the transaction.
        """
        bound = copy(self)
        bound._free = self
        bound._read = self._statements.get_locked
        return bound

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""
        rows = yield from self._send(Query(self._read, {"k": key.encode()}))
        return _record(rows[0], self._clock()) if rows else None

    def set(self, key: str, record: Record, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.set`."""
        name, values = key.encode(), _values(record)
        now = self._clock()
        if only_if is ALWAYS:
            written = yield from self._replace(name, values)
        elif only_if is ABSENT:
            written = yield from self._create(name, values, now)
        else:
            values |= {"k": name, "now": now}
            statement = self._statements.write_live
            if isinstance(only_if, Unchanged):
                statement = self._statements.write_unchanged
                values["expected"] = only_if.data
            written = (yield from self._send(Change(statement, values))) > 0
        if next(self._writes) % EVERY == 0 and self._free is None:
            yield from self._sweep()
        return written

    def _replace(self, name: bytes, values: dict[str, Any]) -> Requests:
        """Write a row, whether or not there is one."""
        if self._statements.replace is not None:
            yield from self._send(Change(self._statements.replace, {"key": name, **values}))
            return True
        for _ in range(ATTEMPTS):
            update = Change(self._statements.write, {"k": name, **values})
            if (yield from self._send(update)) or (yield from self._insert(name, values)):
                return True
        raise _crowded()

    def _create(self, name: bytes, values: dict[str, Any], now: float) -> Requests:
        """Write a row where there is no live one, and return whether it was written."""
        if self._statements.create is not None:
            create = Change(self._statements.create, {"key": name, "now": now, **values})
            return (yield from self._send(create)) > 0
        for _ in range(ATTEMPTS):
            if (yield from self._insert(name, values)):
                return True
            dead = Change(self._statements.write_dead, {"k": name, "now": now, **values})
            if (yield from self._send(dead)):
                return True
            rows = yield from self._send(Query(self._read, {"k": name}))
            if rows and _record(rows[0], now) is not None:
                return False
        raise _crowded()

    def _insert(self, name: bytes, values: dict[str, Any]) -> Requests:
        """Write a row, and return False if its key has one."""
        try:
            yield from self._send(Change(self._statements.insert, {"key": name, **values}))
        except IntegrityError:
            return False
        return True

    def _sweep(self) -> Requests:
        """Remove some expired rows. The write is done, so a failure of this is not told."""
        try:
            yield from self._prune_piece(SWEPT)
        except (SQLAlchemyError, StoreError, TimeoutError):
            return

    def destroy(self, key: str, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.destroy`."""
        if only_if is ABSENT:  # there is nothing to remove if this holds
            yield from self.ping()
            return False
        values = {"k": key.encode(), "now": self._clock()}
        if isinstance(only_if, Unchanged):
            end = Change(self._statements.end_unchanged, {"expected": only_if.data, **values})
            return (yield from self._send(end)) > 0
        if (yield from self._send(Change(self._statements.end_live, values))):
            return True
        yield from self._send(Change(self._statements.end_dead, values))
        return False

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        """See :meth:`coatcheck.Store.touch`."""
        values = {"k": key.encode(), "now": self._clock(), "expires_at": float(expires_at)}
        return (yield from self._send(Change(self._statements.touch, values))) > 0

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`.

        The order of keys keeps: a row that changes meanwhile is neither missed nor listed twice.
        """
        last = b""
        while True:
            now = self._clock()
            page = {"last": last, "now": now, "limit": PAGE}
            rows = yield from self._send(Query(self._statements.page, page))
            if not rows:
                return
            last = rows[-1][0]
            yield list(_items(rows, now))

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`. It reads the keys, and then pages of rows."""
        if len(owner) > MAX_KEY_LENGTH:
            return
        whose = {"whose": owner.encode()}
        rows = yield from self._send(Query(self._statements.owned_keys, whose))
        keys = [row[0] for row in rows]
        for start in range(0, len(keys), PAGE):
            now = self._clock()
            page = {"keys": keys[start : start + PAGE], "now": now, **whose}
            rows = yield from self._send(Query(self._statements.owned, page))
            yield list(_items(rows, now))

    def length(self) -> Requests:
        """See :meth:`coatcheck.Store.length`."""
        rows = yield from self._send(Query(self._statements.length, {"now": self._clock()}))
        return rows[0][0]

    def clear(self) -> Requests:
        """See :meth:`coatcheck.Store.clear`. Each statement removes a part."""
        removed = PIECE
        while removed:
            removed = yield from self._remove(
                self._statements.clear, self._statements.some, self._statements.remove_some, PIECE
            )

    def prune(self, limit: int | None) -> Requests:
        """See :meth:`coatcheck.Store.prune`. Each statement removes a part."""
        total = 0
        while limit is None or total < limit:
            most = PIECE if limit is None else min(PIECE, limit - total)
            removed = yield from self._prune_piece(most)
            total += removed
            if not removed:
                break
        return total

    def _prune_piece(self, limit: int) -> Requests:
        statements = self._statements
        return (
            yield from self._remove(
                statements.prune, statements.expired, statements.remove_expired, limit
            )
        )

    def _remove(self, together: Any, chosen: Any, remove: Any, limit: int) -> Requests:
        """Remove some rows by one statement, or by one for the keys and one for the rows."""
        values = {"limit": limit, "now": self._clock()}
        if together is not None:
            return (yield from self._send(Change(together, values)))
        rows = yield from self._send(Query(chosen, values))
        if not rows:
            return 0
        keys = {"keys": [row[0] for row in rows], "now": values["now"]}
        return (yield from self._send(Change(remove, keys)))

    def ensure_table(self, create_database: Callable[[], None] | None) -> Requests:
        """Create the table and its indexes, and return whether anything was created.

        :param create_database: creates the place of the database, if there is none.
        """
        if create_database is not None:
            create_database()
        return (yield self._create_table)

    def ping(self) -> Requests:
        """See :meth:`coatcheck.Store.ping`. It is a read like others, with the same rights."""
        yield from self._send(Query(self._statements.ping, {}))

    def _send(self, request: Request) -> Requests:
        """Send a request; send it again if the database refused it and nothing was done."""
        if not self._is_checked:
            yield from self._check()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return (yield request)
            except DBAPIError as error:
                failure = self._database.failure(error)
                # A connection may break while it is read from, and then another is made.
                is_broken_read = failure is Failure.UNAVAILABLE and isinstance(request, Query)
                most = ATTEMPTS if failure is Failure.REPEATABLE else 1 + is_broken_read
                if attempt >= most or self._free is not None:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _check(self) -> Requests:
        free = self._free or self
        if not free._is_checked:
            check_layout((yield self._columns), self._table)
        self._is_checked = free._is_checked = True

    def _columns(self, connection: Connection) -> Any:
        return columns_of(connection, self._table)

    def _create_table(self, connection: Connection) -> bool:
        return create(connection, self._table)


def _values(record: Record) -> dict[str, Any]:
    """Return the columns that a record is written to."""
    if len(record.data) > LARGEST:
        raise RecordTooLarge(len(record.data), LARGEST)
    owner = record.owner
    if owner is not None and len(owner) > MAX_KEY_LENGTH:
        raise ValueError(f"an owner must have at most {MAX_KEY_LENGTH} characters")
    return {
        "data": record.data,
        "expires_at": float(record.expires_at),
        "owner": None if owner is None else owner.encode(),
        "version": LAYOUT,
    }


def _record(columns: Sequence[Any], now: float) -> Record | None:
    """Return a live record; None if it is expired, or if another program has damaged it."""
    data, expires_at, owner, version = columns
    if not (isinstance(data, bytes) and data and isinstance(expires_at, float)):
        return None
    if version != LAYOUT or not now < expires_at <= LAST:
        return None
    return Record(data, expires_at, _text(owner) or None)


def _items(rows: Sequence[Sequence[Any]], now: float) -> Iterable[tuple[str, Record]]:
    for row in rows:
        name, record = _text(row[0]), _record(row[1:], now)
        if record is not None and 0 < len(name) <= MAX_KEY_LENGTH:
            yield name, record


def _text(stored: object) -> str:
    """Return a key or an owner, or an empty text if there is none or it is damaged."""
    try:
        return stored.decode() if isinstance(stored, bytes) else ""
    except UnicodeDecodeError:
        return ""


def _crowded() -> StoreError:
    return StoreError("other writers were faster too often: nothing was written")
