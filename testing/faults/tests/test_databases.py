"""Database servers that fail as a whole, and come back with their data, as the faults need."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import psutil
import pytest

from testing.servers import postgresql
from testing.servers.mariadb import MariaDBServer
from testing.servers.postgresql import PgBouncer, PostgreSQLServer, pair


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("start", "ask"),
    [
        pytest.param(
            PostgreSQLServer, PostgreSQLServer.sql, id="postgresql",
            marks=pytest.mark.integration("postgresql"),
        ),
        pytest.param(
            MariaDBServer, MariaDBServer.sql, id="mariadb",
            marks=pytest.mark.integration("mariadb")
        ),
    ],
)  # fmt: skip
def test_a_database_that_fails_as_a_whole(
    start: Callable[[], PostgreSQLServer | MariaDBServer], ask: Callable[..., str]
) -> None:
    """It keeps what it has acknowledged; none of its processes runs on."""
    with start() as server:
        ask(server, "CREATE TABLE acknowledged (number INTEGER)")
        ask(server, "INSERT INTO acknowledged VALUES (1), (2)")
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]

        server.pause()
        statuses = {process.status() for process in family}
        assert statuses - {psutil.STATUS_ZOMBIE} == {psutil.STATUS_STOPPED}
        server.resume()
        assert ask(server, "SELECT count(*) FROM acknowledged") == "2"

        server.kill()
        assert not [process for process in family if runs(process)]
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.port))
        server.start()
        assert ask(server, "SELECT count(*) FROM acknowledged") == "2"


@pytest.mark.integration("postgresql")
def test_a_replica_that_takes_over() -> None:
    """It has each write that the primary acknowledged."""
    with pair() as servers:
        servers.primary.sql("CREATE TABLE acknowledged AS SELECT generate_series(1, 1000)")
        servers.primary.kill()
        servers.replica.promote()
        assert servers.replica.sql("SELECT count(*) FROM acknowledged") == "1000"
        servers.replica.sql("DROP TABLE acknowledged")
        assert servers.replica.sql("SELECT pg_is_in_recovery()") == "f"


@pytest.mark.integration("pgbouncer")
def test_a_pool_whose_connections_belong_to_transactions() -> None:
    """Clients share one connection of the server, and none has a state of its own."""
    with PostgreSQLServer() as server, PgBouncer(server, "default_pool_size = 1") as pool:
        through = (postgresql.program("psql"), "-XAtq", pool.url)
        statements = ("SELECT pg_backend_pid()", "SELECT pg_backend_pid()")
        seen = {
            subprocess.run(
                (*through, "-c", statement), capture_output=True, text=True, check=True
            ).stdout
            for statement in statements
        }
        assert len(seen) == 1
