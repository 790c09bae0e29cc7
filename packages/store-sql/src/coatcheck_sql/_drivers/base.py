"""The differences between drivers, and what is true of those that have no module."""

from __future__ import annotations

import select
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeAlias

from sqlalchemy import URL, Engine

from coatcheck.storekit import close_socket

#: A statement in the driver's form, its parameters, and whether it returns rows.
Call: TypeAlias = tuple[str, Any, bool]


class Driver:
    """Describe a driver of SQLAlchemy's.

    :param timeout: seconds that connecting, and the reply to a statement, may each take.
    :param hosts: how many servers the URL names.
    :cvar install: what ``pip`` installs.
    :cvar options: the options that a URL may have for this driver, or None for any.
    :cvar engine_options: more arguments of ``create_engine``.
    :cvar is_remote: whether it waits for a server, which may never reply.
    :cvar ends_itself: whether calls of an async driver end in time without being cancelled.
    :cvar is_direct: whether it takes and returns bytes and floats as they are.
    :cvar ends_with: what it raises if a connection has ended, beside its own exceptions.
    """

    install: ClassVar[str] = ""
    options: ClassVar[frozenset[str] | None] = None
    engine_options: ClassVar[Mapping[str, Any]] = {}
    is_remote: ClassVar[bool] = True
    ends_itself: ClassVar[bool] = False
    is_direct: ClassVar[bool] = False
    ends_with: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, timeout: float, hosts: int = 1) -> None:
        self.timeout = timeout
        self.hosts = hosts

    def arguments(self) -> dict[str, Any]:
        """Return arguments of the driver's function to connect."""
        return {}

    def prepare(self, engine: Engine) -> None:
        """Register what has to happen when a new engine connects."""

    def connected(self, connection: Any, info: dict[Any, Any]) -> None:
        """Prepare a new connection.

        :param info: a place for facts that are needed later.
        """

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """Tell, without waiting, whether an idle connection has ended or must not be used."""
        return False

    def execute(self, connection: Any, text: str, parameters: Any, returns_rows: bool) -> Any:
        """Execute a statement, and return its rows or else how many rows it found.

        :param connection: the driver's own.
        """
        cursor = connection.cursor()
        try:
            cursor.execute(text, parameters)
            reply = cursor.fetchall() if returns_rows else cursor.rowcount
        except BaseException:
            del cursor  # the traceback would keep it, and SQLite's file open
            raise
        cursor.close()
        return reply

    async def execute_async(
        self, connection: Any, text: str, parameters: Any, returns_rows: bool
    ) -> Any:
        """Do the same with an async driver."""
        cursor = connection.cursor()
        await cursor.execute(text, parameters)
        reply = await cursor.fetchall() if returns_rows else cursor.rowcount
        await cursor.close()
        return reply

    def errors(self) -> tuple[type[Exception], ...]:
        """Return the exceptions of :meth:`execute_async` that SQLAlchemy does not know."""
        return self.ends_with

    def abandon(self, connection: Any) -> None:
        """End a connection at once, without its event loop and without telling the server."""

    def before_fork(self, connections: list[Any]) -> None:
        """Close connections that no call is using: this process is going to be forked.

        It is called for drivers without a server. A child does not touch sockets of its parent.
        """

    def create_database(self, url: URL) -> None:
        """Create the place of a database, if a store may do that.

        :raises StoreUnavailable: it failed.
        """


def has_ended(socket_number: int) -> bool:
    """Tell whether there is something to read from a connection.

    A server sends nothing to an idle connection, unless it ends it.
    """
    if socket_number < 0:
        return True
    poll = select.poll()
    poll.register(socket_number, select.POLLIN)
    return bool(poll.poll(0))


def abort(transport: Any) -> None:
    """End a transport of asyncio, also if its event loop is closed."""
    if transport is None:
        return
    with suppress(RuntimeError):  # the loop is closed and cannot call anybody back
        transport.abort()
    close_socket(transport)
