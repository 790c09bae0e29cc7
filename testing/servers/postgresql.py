"""PostgreSQL, alone or as a primary with a replica, and PgBouncer in front of it.

The programs are on PATH, or where the packages of Debian, Fedora and Homebrew put them.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..machine import postgresql_folder, system_program
from .accounts import Account
from .process import TIMEOUT, ServerFailed, ServerProcess
from .programs import ServerMissing
from .shared import shared_or_own

#: The URL of a running server for the tests, instead of one that they start.
URL_VARIABLE: Final = "COATCHECK_POSTGRESQL_URL"

#: The user of the database, who may do everything and has no password.
USER: Final = "coatcheck"
DATABASE: Final = "postgres"

_ACCOUNT: Final = Account(("postgres",))
_PLAIN: Final = (
    "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=32MB",
    # Its files are then in the server's folder, and go with it after a `kill -9`.
    "-c", "dynamic_shared_memory_type=mmap",
    # A replica that came too early does not wait five seconds for its next attempt.
    "-c", "wal_retrieve_retry_interval=100ms",
)  # fmt: skip
#: A write is acknowledged when it is also on the replica's disk.
_SYNCHRONOUS: Final = ("-c", "synchronous_standby_names=*")
_PROTOCOL: Final = 3 << 16


def program(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs.

    :raises ServerMissing: it is not here.
    """
    folder = postgresql_folder()
    if folder is None:
        raise ServerMissing("there is no PostgreSQL server: `apt-get install postgresql`")
    return Path(folder, name)


class PostgreSQLServer(ServerProcess):
    """A PostgreSQL server.

    :param options: further arguments of its command line.
    :param replica_of: the server whose data it copies and follows.
    """

    def __init__(self, *options: str, replica_of: PostgreSQLServer | None = None) -> None:
        postgres = program("postgres")
        self._replica_of = replica_of

        def command(port: int, folder: Path) -> Sequence[str]:
            listening = ("-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port))
            return (str(postgres), *listening, *_PLAIN, *options)

        # SIGINT ends it at once. After SIGTERM it waits until its clients have gone.
        super().__init__(command, _answers, account=_ACCOUNT, stop_signal=signal.SIGINT)

    @property
    def url(self) -> str:
        """Return the URL of its database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        """Return the folder of its data."""
        return self.folder / "data"

    def start(self) -> None:
        """Make the data folder if this is the first start, and start the server."""
        if not (self.data / "PG_VERSION").exists():
            self._make_data()
        super().start()

    def promote(self) -> None:
        """Let a replica become a primary, and return when it is one."""
        self.run(program("pg_ctl"), "promote", "-D", self.data, "-t", str(int(TIMEOUT)))

    def sql(self, statement: str) -> str:
        """Run a statement without a client library, and return its rows as text."""
        command = (program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ServerFailed(f"psql: {ended.stderr.strip()}")
        return ended.stdout.strip()

    def _make_data(self) -> None:
        if self._replica_of is None:
            self.run(
                program("initdb"), "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8",
                "--locale", "C", "--no-sync",
            )  # fmt: skip
            return
        self.run(
            program("pg_basebackup"), "-D", self.data, "-R", "-X", "stream", "-c", "fast",
            "--no-sync", "-d", f"host=127.0.0.1 port={self._replica_of.port} user={USER}",
        )  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A primary and a replica that has each acknowledged write.

    :ivar primary: the first primary.
    :ivar replica: can be promoted.
    """

    primary: PostgreSQLServer
    replica: PostgreSQLServer

    @property
    def url(self) -> str:
        """Return a URL of both, which connects to the one that accepts writes."""
        hosts = "&".join(f"host=127.0.0.1:{each.port}" for each in (self.primary, self.replica))
        return f"postgresql://{USER}@/{DATABASE}?{hosts}&target_session_attrs=read-write"


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Yield a primary and a replica, with synchronous replication.

    :raises ServerFailed: the replica does not follow the primary.
    """
    with (
        PostgreSQLServer(*_SYNCHRONOUS) as primary,
        PostgreSQLServer(replica_of=primary) as replica,
    ):
        deadline = time.monotonic() + TIMEOUT
        while primary.sql("SELECT sync_state FROM pg_stat_replication") != "sync":
            if time.monotonic() > deadline:
                raise ServerFailed("the replica does not follow the primary")
            time.sleep(0.05)
        yield Pair(primary, replica)


class PgBouncer(ServerProcess):
    """PgBouncer in transaction mode, in front of a server.

    :param server: where its connections lead.
    :param options: lines of its configuration.
    """

    def __init__(self, server: PostgreSQLServer, *options: str) -> None:
        path = system_program("pgbouncer")
        if path is None:
            raise ServerMissing("there is no PgBouncer: `apt-get install pgbouncer`")

        def command(port: int, folder: Path) -> Sequence[str]:
            lines = (
                "[databases]",
                # With `auth_type = any` each client is the same user of the server.
                f"* = host=127.0.0.1 port={server.port} user={USER}",
                "[pgbouncer]",
                "listen_addr = 127.0.0.1",
                f"listen_port = {port}",
                "unix_socket_dir =",
                "auth_type = any",
                "pool_mode = transaction",
                "max_client_conn = 200",
                *options,
            )
            (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
            return (path, str(folder / "pgbouncer.ini"))

        # Its releases differ in which signal waits for clients. It has nothing to lose.
        super().__init__(command, _answers, account=_ACCOUNT, stop_signal=signal.SIGKILL)

    @property
    def url(self) -> str:
        """Return the URL of the server's database through this pool."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"


def server() -> AbstractContextManager[str]:
    """Return a context manager that yields the URL of a server for tests.

    See :func:`.shared.shared_or_own`.
    """
    return shared_or_own("postgresql", URL_VARIABLE, _own)


@contextlib.contextmanager
def _own() -> Iterator[str]:
    with PostgreSQLServer() as started:
        yield started.url


def version() -> str:
    """Return the version that the server's program prints."""
    command = (program("postgres"), "--version")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _answers(port: int) -> bool:
    """Tell whether a server accepts sessions; while it starts or recovers, it refuses them."""
    words = b"".join(word.encode() + b"\0" for word in ("user", USER, "database", DATABASE, ""))
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as link:
            link.sendall(struct.pack("!ii", len(words) + 8, _PROTOCOL) + words)
            return link.recv(1) == b"R"
    except OSError:
        return False
