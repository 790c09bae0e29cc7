"""Node.js applications, with the packages that their lock file names."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .process import ServerProcess, accepts
from .programs import ServerMissing, on_path

_ADVICE = "install Node.js 20 or later, with npm: https://nodejs.org"


def install(folder: Path) -> None:
    """Install the packages of a folder's package-lock.json, unless they are installed already.

    :raises ServerMissing: there is no npm.
    """
    npm = on_path("npm")
    if not npm:
        raise ServerMissing(f"there is no npm: {_ADVICE}")
    lock, done = folder / "package-lock.json", folder / "node_modules" / ".installed"
    with (folder / ".npm-lock").open("ab") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)  # another process may install them now
        if done.exists() and done.read_bytes() == lock.read_bytes():
            return
        command = (str(npm[0]), "ci", "--no-audit", "--no-fund", "--loglevel=error")
        subprocess.run(command, cwd=folder, check=True, timeout=600)
        done.write_bytes(lock.read_bytes())


def node() -> Path:
    """Return the path of Node.js.

    :raises ServerMissing: there is none.
    """
    found = on_path("node", "nodejs")
    if not found:
        raise ServerMissing(f"there is no Node.js: {_ADVICE}")
    return found[0]


class NodeServer(ServerProcess):
    """A Node.js application that listens on the port in its first argument.

    :param script: the application; the packages of its folder's package-lock.json are installed.
    :param arguments: the other arguments.
    :raises ServerMissing: there is no Node.js.
    """

    def __init__(self, script: Path, *arguments: str) -> None:
        program = node()
        install(script.parent)

        def command(port: int, _: Path) -> Sequence[str]:
            return (str(program), str(script), str(port), *arguments)

        super().__init__(command, accepts)

    @property
    def url(self) -> str:
        """Return its URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"
