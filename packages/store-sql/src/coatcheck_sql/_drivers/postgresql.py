"""The drivers of PostgreSQL: psycopg with both of its APIs, and asyncpg."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final

from sqlalchemy import Engine, event

from .base import Driver, abort, has_ended

#: Seconds that a server may take to connect if the URL names several: the fewest of psycopg's.
_PER_HOST: Final = 2
#: What PgBouncer says to a setting that it does not know.
_REFUSED: Final = "unsupported startup parameter"
#: A space in a value of libpq's option ``options``.
_BLANK: Final = "\\ "


class _PostgreSQLDriver(Driver):
    """Connect with settings of the server's, unless PgBouncer does not accept them."""

    is_direct: ClassVar[bool] = True

    def __init__(self, timeout: float, hosts: int = 1) -> None:
        super().__init__(timeout, hosts)
        self._has_settings = True

    @abstractmethod
    def settings(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments that give settings to the server."""

    def connect(self, dialect: Any, words: list[Any], options: dict[str, Any]) -> Any:
        """Connect."""
        return dialect.connect(*words, **options)

    def prepare(self, engine: Engine) -> None:
        """See :meth:`.base.Driver.prepare`."""
        settings = self.settings(
            {
                "statement_timeout": str(round(self.timeout * 1000)),
                "default_transaction_isolation": "read committed",
            }
        )

        def connecting(dialect: Any, _: Any, words: list[Any], options: dict[str, Any]) -> Any:
            if self._has_settings:
                try:
                    return self.connect(dialect, words, {**options, **settings})
                except Exception as error:
                    if _REFUSED not in str(error):
                        raise
                self._has_settings = False
            return self.connect(dialect, words, options)

        event.listen(engine, "do_connect", connecting)


class Psycopg(_PostgreSQLDriver):
    """Describe psycopg 3.

    Statements are prepared at the server, which halves the time of a read, unless PgBouncer or
    another pool is between: it may lend a connection to another client after each statement.
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
    ends_itself: ClassVar[bool] = True

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`. psycopg knows whole seconds, and two at least."""
        seconds = round(self.timeout) if self.hosts == 1 else _PER_HOST
        return {"prepare_threshold": None, "connect_timeout": max(_PER_HOST, seconds)}

    def settings(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments that give settings to the server."""
        words = [f"-c {name}={value.replace(' ', _BLANK)}" for name, value in values.items()]
        return {"options": " ".join(words)}

    def connect(self, dialect: Any, words: list[Any], options: dict[str, Any]) -> Any:
        """Connect."""
        from . import limited_psycopg as limited

        if dialect.is_async:
            connect = partial(limited.AsyncLimited.connect_for, self.timeout)
            return super().connect(dialect, words, {**options, "async_creator_fn": connect})
        return limited.Limited.connect_for(self.timeout, *words, **options)

    def connected(self, connection: Any, info: dict[Any, Any]) -> None:
        """See :meth:`.base.Driver.connected`.

        A pool tells its clients numbers of its own instead of the number of the server's process.
        """
        driver = getattr(connection, "driver_connection", connection)
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone()[0] == driver.info.backend_pid:
            driver.prepare_threshold = 0  # each statement at its first use, as asyncpg does
        cursor.close()

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`."""
        driver = getattr(connection, "driver_connection", connection)
        return bool(driver.closed) or has_ended(driver.pgconn.socket)

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        driver = getattr(connection, "driver_connection", connection)
        driver._closed = True  # it would warn that it was not closed
        driver.pgconn.finish()


class AsyncPG(_PostgreSQLDriver):
    """Describe asyncpg."""

    install: ClassVar[str] = "coatcheck-sql[asyncpg]"
    options: ClassVar[frozenset[str] | None] = frozenset({"prepared_statement_cache_size", "ssl"})

    def arguments(self) -> dict[str, Any]:
        """See :meth:`.base.Driver.arguments`."""
        return {"timeout": self.timeout}

    def settings(self, values: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments that give settings to the server."""
        return {"server_settings": dict(values)}

    def connect(self, dialect: Any, words: list[Any], options: dict[str, Any]) -> Any:
        """Connect. The store executes statements without SQLAlchemy, and its cache of them."""
        options = {"async_creator_fn": _connect_asyncpg, **options}
        if (size := options.get("prepared_statement_cache_size")) is not None:
            options["statement_cache_size"] = size
        return super().connect(dialect, words, options)

    async def execute_async(
        self, connection: Any, text: str, parameters: Any, returns_rows: bool
    ) -> Any:
        """See :meth:`.base.Driver.execute_async`. asyncpg has no cursors like those of others."""
        if returns_rows:
            return await connection.fetch(text, *parameters)
        status: str = await connection.execute(text, *parameters)  # `INSERT 0 1`
        return int(status.rpartition(" ")[2])

    def errors(self) -> tuple[type[Exception], ...]:
        """See :meth:`.base.Driver.errors`. SQLAlchemy's adapter has classes of its own."""
        import asyncpg  # type: ignore[import-untyped]

        return asyncpg.PostgresError, asyncpg.InterfaceError

    def is_dead(self, connection: Any, info: Mapping[Any, Any]) -> bool:
        """See :meth:`.base.Driver.is_dead`. The event loop notices when the server ends it."""
        return bool(connection.driver_connection.is_closed())

    def abandon(self, connection: Any) -> None:
        """See :meth:`.base.Driver.abandon`."""
        driver = connection.driver_connection
        transport = driver._transport
        with suppress(RuntimeError):  # the loop is closed
            driver.terminate()
        abort(transport)


async def _connect_asyncpg(*words: Any, **options: Any) -> Any:
    """Connect. If the caller is cancelled meanwhile, end the connection when it is there.

    asyncpg would log an error if it were cancelled while its socket connects.
    """
    import asyncpg

    attempt = asyncio.ensure_future(asyncpg.connect(*words, **options))
    try:
        return await asyncio.shield(attempt)
    except asyncio.CancelledError:
        attempt.add_done_callback(_end)
        raise


def _end(attempt: asyncio.Future[Any]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()
