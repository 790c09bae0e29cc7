"""The SQLite store: one row for each record, in a table for each namespace."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from coatcheck import (
    ALWAYS,
    Capabilities,
    Condition,
    Record,
    Store,
    Unchanged,
)
from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    check_key,
    check_owner,
    check_record,
    parse_options,
    split_url,
    text_option,
)

from .connections import Connections
from .statements import Statements

#: The columns id, key, data, expires_at and owner.
Row: TypeAlias = tuple[int, bytes, bytes, float, object]
#: Runs a statement with values, and returns how many rows it changed.
Runner: TypeAlias = Callable[..., int]

_FORM: Final = (
    "a SQLite store's URL is `sqlite-file:///PATH`, with four slashes for an absolute path, and "
    "may end with `?namespace=NAME`"
)
#: How many rows of a listing are in memory at a time.
_PAGE: Final = 100
#: The most rows that one transaction removes, so that other writers do not wait long.
_PIECE: Final = 500
#: The most expired rows that a write removes.
_PRUNED: Final = 4


class SQLiteStore(Store):
    """Keep sessions in a table of a SQLite file, for all processes of one machine.

    :param path: the file. It is made at the first call; its folder must exist.
    :param namespace: small letters, digits and ``_``; the table is ``coatcheck_`` and this.
    :param clock: returns POSIX seconds.
    :param timeout: seconds to wait for other writers, and again as many to open the file.
    :raises ConfigurationError: an argument that cannot work.
    """

    capabilities = Capabilities(
        enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        namespace: str = "sessions",
        clock: Callable[[], float] = time.time,
        timeout: float = 4.0,
    ) -> None:
        if not re.fullmatch(r"[a-z0-9_]{1,100}", namespace):
            raise ConfigurationError("`namespace` must be small letters, digits and `_`, up to 100")
        if not 0 < timeout < float("inf"):
            raise ConfigurationError(f"`timeout` must be seconds, more than zero, not {timeout!r}")
        self._path = Path(path).absolute()
        self._table = f"coatcheck_{namespace}"
        self._clock = clock
        self._sql = Statements(self._table)
        self._connections = Connections(self._path, self._sql.schema, timeout)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> SQLiteStore:
        """Open ``sqlite-file:///PATH?namespace=NAME``.

        :raises ConfigurationError: the URL has another form or an unknown option.
        """
        path, namespace = parse(url)
        return cls(path, namespace=namespace, clock=clock)

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self._path)!r}, table {self._table!r}>"

    def get(self, key: str) -> Record | None:
        rows = self._read(self._sql.get, key=check_key(key).encode())
        return next((record for _, record in map(_decoded, rows) if record), None)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        name = check_key(key).encode()
        check_record(record)
        with self._transaction() as run:
            # A record with a past expiry is written like others: it is absent, and removed soon.
            written = run(
                self._sql.set(only_if),
                key=name,
                data=record.data,
                expires_at=float(record.expires_at),
                owner=None if record.owner is None else record.owner.encode(),
                expected=_expected(only_if),
            )
            run(self._sql.prune, limit=_PRUNED)
        return written > 0

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        name = check_key(key).encode()
        with self._transaction() as run:
            ended = run(self._sql.destroy(only_if), key=name, expected=_expected(only_if))
            if only_if is ALWAYS and not ended:
                run(self._sql.remove, key=name)  # it is expired or malformed, so no session ends
        return ended > 0

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        name = check_key(key).encode()
        with self._transaction() as run:
            touched = run(self._sql.touch, key=name, expires_at=float(expires_at))
        return touched > 0

    def all(self) -> Iterator[tuple[str, Record]]:
        return self._listed(self._sql.all)

    def length(self) -> int:
        ((count,),) = self._read(self._sql.length)
        return int(count)

    def clear(self) -> None:
        self._in_pieces(self._sql.clear)

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        return self._listed(self._sql.owned, owner=check_owner(owner).encode())

    def prune(self, limit: int | None = None) -> int:
        if limit is None:
            return self._in_pieces(self._sql.prune)
        with self._transaction() as run:
            return run(self._sql.prune, limit=limit)

    def ping(self) -> None:
        self._read(self._sql.ping)

    def close(self) -> None:
        self._connections.close()

    def _read(self, statement: str, **values: object) -> list[Any]:
        with self._connections.one() as connection:
            values["now"] = self._clock()
            return connection.execute(statement, values).fetchall()

    def _listed(self, statement: str, **values: object) -> Iterator[tuple[str, Record]]:
        """Yield records page by page. No connection is held while the caller uses a record."""
        last = 0
        while rows := self._read(statement, last=last, limit=_PAGE, **values):
            for key, record in map(_decoded, rows):
                if record is not None:
                    yield key, record
            last = rows[-1][0]

    @contextmanager
    def _transaction(self) -> Iterator[Runner]:
        """Give a function that runs statements in one transaction."""
        with self._connections.one() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            now = self._clock()  # after waiting for other writers

            def run(statement: str, **values: object) -> int:
                return connection.execute(statement, {"now": now, **values}).rowcount

            yield run

    def _in_pieces(self, removal: str) -> int:
        """Remove rows until none are left, and let others write in between."""
        removed, piece = 0, _PIECE
        while piece == _PIECE:
            with self._transaction() as run:
                piece = run(removal, limit=_PIECE)
            removed += piece
        return removed


def parse(url: str) -> tuple[str, str]:
    """Return the path and the namespace of a URL.

    :raises ConfigurationError: the URL has another form, or an unknown option.
    """
    parts, options = split_url(url, _FORM)
    try:
        path = unquote(parts.path.removeprefix("/"), errors="strict")
    except ValueError:
        raise ConfigurationError(_FORM) from None
    is_file = bool(path) and not path.endswith("/") and not set("\0\r\n") & set(path)
    if not url.lower().startswith("sqlite-file:///") or not is_file:
        raise ConfigurationError(_FORM)
    values = parse_options(options, {"namespace": text_option}, "SQLite")
    return path, values.get("namespace", "sessions")


def _expected(only_if: Condition) -> bytes | None:
    return only_if.data if isinstance(only_if, Unchanged) else None


def _decoded(row: Row) -> tuple[str, Record | None]:
    """Return key and record; None if somebody else has stored a key that is not text."""
    _, key, data, expires_at, owner = row
    try:
        return key.decode(), Record(data, expires_at, _owner(owner))
    except (AttributeError, UnicodeDecodeError):
        return "", None


def _owner(owner: object) -> str | None:
    """Return an owner; None if there is none, or if somebody else has stored an invalid one."""
    with suppress(UnicodeDecodeError):
        return owner.decode() or None if isinstance(owner, bytes) else None
    return None
