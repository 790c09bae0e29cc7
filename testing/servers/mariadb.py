"""MariaDB: on PATH, or where Debian's package puts system programs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from ..machine import system_program
from .accounts import Account
from .process import TIMEOUT, ServerFailed, ServerProcess
from .programs import ServerMissing
from .shared import shared_or_own

#: The URL of a running server for the tests, instead of one that they start.
URL_VARIABLE: Final = "COATCHECK_MARIADB_URL"

#: The user of the database, who may do everything and has no password.
USER: Final = "coatcheck"
DATABASE: Final = "coatcheck"

_HEADER: Final = 4
_PROTOCOL: Final = 10

_ACCOUNT: Final = Account(("mysql",))
_PLAIN: Final = (
    "--skip-name-resolve", "--max-connections=200", "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=32M",
)  # fmt: skip
#: A server that makes its data has not read the users yet.
_FIRST_STATEMENTS: Final = f"""
FLUSH PRIVILEGES;
CREATE DATABASE {DATABASE};
CREATE USER {USER}@'127.0.0.1';
GRANT ALL ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION;
"""


def program(name: str) -> str:
    """Return the path of one of MariaDB's programs.

    :raises ServerMissing: it is not here.
    """
    found = system_program(name)
    if found is None:
        raise ServerMissing("there is no MariaDB server: `apt-get install mariadb-server`")
    return found


class MariaDBServer(ServerProcess):
    """A MariaDB server.

    :param options: further arguments of its command line.
    """

    def __init__(self, *options: str) -> None:
        mariadbd = program("mariadbd")

        def command(port: int, folder: Path) -> Sequence[str]:
            return (
                mariadbd, "--no-defaults", f"--datadir={folder / 'data'}", f"--port={port}",
                "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}",
                f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}", *_PLAIN, *options,
            )  # fmt: skip

        super().__init__(command, _answers, account=_ACCOUNT)

    @property
    def url(self) -> str:
        """Return the URL of its database."""
        return f"mariadb://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def sql(self, statement: str, user: str = USER) -> str:
        """Run a statement without a client library, and return its rows as text.

        :param user: a user without a password; ``root`` may do everything as well.
        """
        command = (
            program("mariadb"), "--no-defaults", f"--user={user}", "--host=127.0.0.1",
            f"--port={self.port}", "--batch", "--skip-column-names", f"--execute={statement}",
            DATABASE,
        )  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ServerFailed(f"mariadb: {ended.stderr.strip()}")
        return ended.stdout.strip()

    @property
    def data(self) -> Path:
        """Return the folder of its data."""
        return self.folder / "data"

    def start(self) -> None:
        """Make the data folder if this is the first start, and start the server."""
        if not (self.data / "mysql").exists():
            statements = self.folder / "first.sql"
            statements.write_text(_FIRST_STATEMENTS)
            self.run(
                program("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}",
                "--auth-root-authentication-method=normal", "--skip-name-resolve",
                # A server that starts removes the temporary tables of others from their folder.
                "--skip-test-db", f"--extra-file={statements}", f"--tmpdir={self.folder}", *_PLAIN,
            )  # fmt: skip
        super().start()


def server() -> AbstractContextManager[str]:
    """Return a context manager that yields the URL of a server for tests.

    See :func:`.shared.shared_or_own`.
    """
    return shared_or_own("mariadb", URL_VARIABLE, _own)


@contextlib.contextmanager
def _own() -> Iterator[str]:
    with MariaDBServer() as started:
        yield started.url


def version() -> str:
    """Return the version that the server's program prints."""
    command = (program("mariadbd"), "--version")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _answers(port: int) -> bool:
    """Tell whether a server greets its clients; it listens earlier, and ignores signals then."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as link:
            return link.recv(_HEADER + 1)[_HEADER:] == bytes([_PROTOCOL])
    except OSError:
        return False
