"""The drivers of PostgreSQL: psycopg with both of its APIs, and asyncpg."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar, Final

from sqlalchemy import Engine, event

from .base import Driver, abort, has_ended

#: Seconds that a server may take to connect if the URL names several: the fewest of psycopg's.
_PER_HOST: Final = 2
#: What PgBouncer says to a setting that it does not know.
_REFUSED: Final = "unsupported startup parameter"


class _PostgreSQLDriver(Driver):
    """Connect with a time limit for the server, unless PgBouncer does not accept one."""

    def __init__(self, timeout: float, hosts: int = 1) -> None:
        super().__init__(timeout, hosts)
        self._has_server_limit = True

    @abstractmethod
    def server_limit(self, milliseconds: int) -> dict[str, Any]:
        """Return the arguments that set the server's time limit for statements."""

    def connect(self, dialect: Any, words: list[Any], options: dict[str, Any]) -> Any:
        """Connect."""
        return dialect.connect(*words, **options)

    def prepare(self, engine: Engine) -> None:
        """See :meth:`.base.Driver.prepare`."""
        limit = self.server_limit(round(self.timeout * 1000))

        def connecting(dialect: Any, _: Any, words: list[Any], options: dict[str, Any]) -> Any:
            if self._has_server_limit:
                try:
                    return self.connect(dialect, words, {**options, **limit})
                except Exception as error:
                    if _REFUSED not in str(error):
                        raise
                self._has_server_limit = False
            return self.connect(dialect, words, options)

        event.listen(engine, "do_connect", connecting)


class Psycopg(_PostgreSQLDriver):
    """Describe psycopg 3.

    No statement is prepared at the server, so PgBouncer may lend a connection to another client
    after each statement.
    """

    install: ClassVar[str] = "coatcheck-sql[postgresql]"
    options: ClassVar[frozenset[str] | None] = frozenset(
        {
            "application_name", "channel_binding", "gssencmode", "host", "hostaddr", "keepalives",
            "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "passfile",
            "port", "require_auth", "service", "sslcert", "sslcrl", "sslkey", "sslmode",
            "sslpassword", "sslrootcert", "target_session_attrs", "tcp_user_timeout",
        }
    )  # fmt: skip
    engine_options: ClassVar[Mapping[str, Any]] = {"use_native_hstore": False}

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`."""
        seconds = self.timeout if self.hosts == 1 else _PER_HOST
        return {"prepare_threshold": None, "connect_timeout": max(1, round(seconds))}

    @property
    def call_timeout(self) -> float:
        """Return the seconds that a call may take, with those for silent servers."""
        return self.timeout + (self.hosts - 1) * _PER_HOST

    def server_limit(self, milliseconds: int) -> dict[str, Any]:
        """Return the arguments that set the server's time limit for statements."""
        return {"options": f"-c statement_timeout={milliseconds}"}

    def connect(self, dialect: Any, words: list[Any], options: dict[str, Any]) -> Any:
        """Connect."""
        if dialect.is_async:
            return super().connect(dialect, words, options)
        return _limited(self.timeout).connect(*words, **options)

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`."""
        driver = getattr(connection, "driver_connection", connection)
        return bool(driver.closed) or has_ended(driver.pgconn.socket)

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        driver = getattr(connection, "driver_connection", connection)
        driver._closed = True  # it would warn that it was not closed
        driver.pgconn.finish()


def _limited(timeout: float) -> Any:
    """Return psycopg's class of connections, with a limit for the reply to each statement.

    libpq has none, and the one at the server is of no use if the server does not answer.
    """
    import psycopg

    class LimitedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return super().wait(self._in_time(gen), *args, **options)

        def _in_time(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            """Run the steps of a call, which psycopg wakes several times a second."""
            end = time.monotonic() + timeout
            try:
                wanted = next(steps)
                while True:
                    ready = yield wanted
                    if time.monotonic() > end:
                        self.close()
                        raise psycopg.errors.ConnectionTimeout("statement timeout expired")
                    wanted = steps.send(ready)
            except StopIteration as done:
                return done.value

    return LimitedConnection


class AsyncPG(_PostgreSQLDriver):
    """Describe asyncpg."""

    install: ClassVar[str] = "coatcheck-sql[asyncpg]"
    options: ClassVar[frozenset[str] | None] = frozenset({"prepared_statement_cache_size", "ssl"})

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`."""
        return {"timeout": self.timeout}

    def server_limit(self, milliseconds: int) -> dict[str, Any]:
        """Return the arguments that set the server's time limit for statements."""
        return {"server_settings": {"statement_timeout": str(milliseconds)}}

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`. The event loop notices when the server ends it."""
        return bool(connection.driver_connection.is_closed())

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        abort(connection.driver_connection._transport)
