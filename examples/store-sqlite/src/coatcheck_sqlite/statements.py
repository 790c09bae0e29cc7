"""The SQL of the SQLite store.

Keys and owners are kept as bytes, which SQLite does not fold, trim or cut. `typeof` checks stored
values, because SQLite accepts values of any type in any column.
"""

from __future__ import annotations

from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, Unchanged
from coatcheck.storekit import Presence

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS {table} (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        data BLOB NOT NULL,
        expires_at REAL NOT NULL,
        owner BLOB
    );
    CREATE INDEX IF NOT EXISTS "{table}:expires_at" ON {table} (expires_at);
    CREATE INDEX IF NOT EXISTS "{table}:owner" ON {table} (owner) WHERE owner IS NOT NULL;
"""
#: A record that has not expired and is not damaged. `+` means: do not use the index.
_LIVE: Final = """(
    +{table}.expires_at > :now AND +{table}.expires_at <= 253402300799 -- the year 9999
    AND typeof({table}.expires_at) = 'real'
    AND typeof({table}.data) = 'blob' AND length({table}.data) > 0
)"""
_CONDITIONS: Final[dict[Presence | type[Unchanged], str]] = {
    ALWAYS: "1",
    ABSENT: "NOT {live}",
    PRESENT: "{live}",
    Unchanged: "{live} AND data = :expected",
}
_GET: Final = "SELECT id, key, data, expires_at, owner FROM {table} WHERE key = :key AND {live}"
_INSERT: Final = """
    INSERT INTO {table} (key, data, expires_at, owner) VALUES (:key, :data, :expires_at, :owner)
    ON CONFLICT (key) DO UPDATE
    SET data = excluded.data, expires_at = excluded.expires_at, owner = excluded.owner
    WHERE {condition}
"""
_UPDATE: Final = """
    UPDATE {table} SET data = :data, expires_at = :expires_at, owner = :owner
    WHERE key = :key AND {condition}
"""
_DESTROY: Final = "DELETE FROM {table} WHERE key = :key AND {live} AND {condition}"
_REMOVE: Final = "DELETE FROM {table} WHERE key = :key"
_TOUCH: Final = "UPDATE {table} SET expires_at = :expires_at WHERE key = :key AND {live}"
_ALL: Final = """
    SELECT id, key, data, expires_at, owner FROM {table}
    WHERE id > :last AND {live} ORDER BY id LIMIT :limit
"""
_OWNED: Final = """
    SELECT id, key, data, expires_at, owner FROM {table}
    WHERE owner = :owner AND id > :last AND {live} ORDER BY id LIMIT :limit
"""
#: The index has all columns, so no row is read.
_LENGTH: Final = """
    SELECT count(*) FROM {table} WHERE expires_at > :now AND typeof(expires_at) = 'real'
"""
#: The index leads to expired rows, so no other row is read.
_PRUNE: Final = """
    DELETE FROM {table} WHERE id IN (
        SELECT id FROM {table} WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
    )
"""
_CLEAR: Final = "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} LIMIT :limit)"
_PING: Final = "SELECT id FROM {table} LIMIT 1"


class Statements:
    """The statements for one table.

    :param table: its name, which needs no quotes.
    """

    def __init__(self, table: str) -> None:
        live = _LIVE.format(table=table)
        conditions = {name: text.format(live=live) for name, text in _CONDITIONS.items()}

        def of(template: str, condition: str = "") -> str:
            return template.format(table=table, live=live, condition=condition)

        self.schema = of(_SCHEMA)
        self.get = of(_GET)
        self.touch = of(_TOUCH)
        self.remove = of(_REMOVE)
        self.all = of(_ALL)
        self.owned = of(_OWNED)
        self.length = of(_LENGTH)
        self.prune = of(_PRUNE)
        self.clear = of(_CLEAR)
        self.ping = of(_PING)
        self._set = {
            name: of(_INSERT if name in (ALWAYS, ABSENT) else _UPDATE, condition)
            for name, condition in conditions.items()
        }
        self._destroy = {name: of(_DESTROY, condition) for name, condition in conditions.items()}

    def set(self, only_if: Condition) -> str:
        """Return the write for a condition; ``:expected`` is the data in Unchanged."""
        return self._set[Unchanged if isinstance(only_if, Unchanged) else only_if]

    def destroy(self, only_if: Condition) -> str:
        """Return the removal of a live record for a condition."""
        return self._destroy[Unchanged if isinstance(only_if, Unchanged) else only_if]
