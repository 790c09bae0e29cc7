"""The drivers of MariaDB and MySQL: PyMySQL, asyncmy, and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from sqlalchemy import URL

from coatcheck.errors import ConfigurationError

from .base import Driver, abort, has_ended

#: Those of both drivers. PyMySQL has `ssl_verify_cert` and `ssl_verify_identity` as well, which
#: take the place of all others: `ssl_ca` would be ignored, and no host name checked.
_TLS: Final = {
    "ssl_ca", "ssl_capath", "ssl_cert", "ssl_check_hostname", "ssl_cipher", "ssl_key",
}  # fmt: skip


#: Character sets in which no character ends with the byte of a backslash.
_SAFE: Final = {"ascii", "binary", "latin1", "utf8", "utf8mb3", "utf8mb4"}


def check_charset(url: URL) -> None:
    """Check the character set of an engine's connections.

    Drivers write bytes as literals with backslashes. In gbk or big5 the server takes a backslash
    for the end of a character, so data could end their literal and change other rows.

    :raises ConfigurationError: it is none that is safe.
    """
    charset = url.query.get("charset", "utf8mb4")
    if not isinstance(charset, str) or charset.lower() not in _SAFE:
        raise ConfigurationError(
            "the engine's `charset` lets data end an SQL literal: use `charset=utf8mb4`"
        )


class _MySQLDriver(Driver):
    is_direct: ClassVar[bool] = True

    def connected(self, connection: Any, info: dict[Any, Any]) -> None:
        """See :meth:`.base.Driver.connected`.

        Under the default, REPEATABLE READ, writers lock the gaps between rows as well.
        """
        cursor = connection.cursor()
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        seconds = max(1, round(self.timeout))
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {seconds}")
        cursor.close()


class PyMySQL(_MySQLDriver):
    """Describe PyMySQL."""

    install: ClassVar[str] = "coatcheck-sql[mysql]"
    options: ClassVar[frozenset[str] | None] = frozenset({"unix_socket", *_TLS})

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`."""
        names = ("connect_timeout", "read_timeout", "write_timeout")
        return dict.fromkeys(names, self.timeout)

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`."""
        return connection._sock is None or has_ended(connection._sock.fileno())

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        connection._force_close()


class AsyncMy(_MySQLDriver):
    """Describe asyncmy. Where a connection has ended, it finds no attributes of the stream."""

    install: ClassVar[str] = "coatcheck-sql[mysql]"
    options: ClassVar[frozenset[str] | None] = frozenset({"unix_socket", *_TLS})
    ends_with: ClassVar[tuple[type[Exception], ...]] = (AttributeError,)

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`."""
        return {"connect_timeout": self.timeout}

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`."""
        return bool(connection.driver_connection._stream_broken)

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        abort(connection.driver_connection._transport)
