"""The SQL of the operations, made once for each table.

SQLAlchemy compiles a statement when it is first executed, and keeps the text.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    not_,
    select,
    update,
)

from ._databases import Database
from ._databases.base import keys_of
from ._table import LAYOUT

#: The last second of the year 9999.
LAST: Final = 253_402_300_799.0
#: The columns that a write replaces.
_WRITTEN: Final = ("data", "expires_at", "owner", "version")


class Statements:
    """The statements for one table.

    The parameters of rows to write have the names of columns. Those of conditions are ``k`` (a
    key), ``whose`` (an owner), ``expected`` (data), ``now``, ``last`` (a key), ``keys`` and
    ``limit``.

    :param table: the table.
    :param database: the database.
    """

    def __init__(self, table: Table, database: Database) -> None:
        columns = table.c
        is_this, is_owners = columns.key == bindparam("k"), columns.owner == bindparam("whose")
        after, is_expired = columns.key > bindparam("last"), _is_expired(table)
        live = _live(table, database)
        row = select(*(columns[name] for name in _WRITTEN))
        rows = select(columns.key, *(columns[name] for name in _WRITTEN)).where(live)
        among = columns.key.in_(bindparam("keys", expanding=True))
        write = update(table).where(is_this)
        end = delete(table).where(is_this)
        is_same = columns.data == bindparam("expected")

        self.get = row.where(is_this)
        #: In a transaction of the application's, so that a write that follows finds the same row.
        self.get_locked = self.get.with_for_update()
        self.insert = insert(table)
        self.replace = _counted(database.insert_or_replace(table, _WRITTEN, None))
        self.create = _counted(database.insert_or_replace(table, _WRITTEN, not_(live)))
        self.write = write
        self.write_dead = write.where(not_(live))
        self.write_live = write.where(live)
        self.write_unchanged = write.where(live, is_same)
        self.touch = update(table).where(is_this, live)
        self.end_live = end.where(live)
        self.end_unchanged = end.where(live, is_same)
        self.end_dead = end.where(not_(live))
        self.page = _first(rows.where(after).order_by(columns.key))
        # With an order and a limit, PostgreSQL may search the keys of all rows for the owner's.
        self.owned_keys = keys_of(table, is_owners)
        self.owned = rows.where(among, is_owners)
        self.length = (
            select(func.count()).select_from(table).where(not_(is_expired), _is_time(table))
        )
        self.expired = _first(keys_of(table, is_expired).order_by(columns.expires_at))
        self.some = _first(keys_of(table).order_by(columns.key))
        self.prune = _removal(database.removal(table, self.expired), is_expired)
        self.clear = database.removal(table, self.some)
        self.remove_expired = delete(table).where(among, is_expired)
        self.remove_some = delete(table).where(among)
        self.ping = keys_of(table).limit(1)


def _is_expired(table: Table) -> ColumnElement[bool]:
    return table.c.expires_at <= bindparam("now")


def _is_time(table: Table) -> ColumnElement[bool]:
    """Return whether an expiry is a time. PostgreSQL also stores infinity and no number."""
    return table.c.expires_at <= LAST


def _live(table: Table, database: Database) -> ColumnElement[bool]:
    return and_(
        table.c.expires_at > bindparam("now"),
        _is_time(table),
        table.c.version == LAYOUT,
        *database.intact(table),
    )


def _first(query: Select[Any]) -> Select[Any]:
    return query.limit(bindparam("limit", type_=Integer))


def _counted(statement: Insert | None) -> Insert | None:
    """Keep the number of rows: SQLAlchemy forgets that of an INSERT."""
    return None if statement is None else statement.execution_options(preserve_rowcount=True)


def _removal(statement: Delete | None, where: ColumnElement[bool]) -> Delete | None:
    return None if statement is None else statement.where(where)
