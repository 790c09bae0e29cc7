"""The process of a server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ..machine import folder_in_memory
from . import family
from .accounts import Account, Identity

#: Seconds for a server to become ready, and to end.
TIMEOUT = 20.0


class ServerFailed(Exception):
    """A server ended, or did not become ready; the message has its last output."""


class PortReservation:
    """A free port of 127.0.0.1 that no other reservation has at the same time.

    A server needs a moment before it listens. Two servers that are started at the same time, by one
    process or by two, must not get the same port. The reservation is a lock on a file, which ends
    with the process at the latest.

    The port is below those that the system gives to clients, and low enough for servers that also
    use the port 10,000 above.
    """

    def __init__(self) -> None:
        # All runs on this machine use this folder, even if their temporary files are elsewhere.
        folder = Path("/tmp") / f"coatcheck-ports-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        while True:
            self.port = random.randrange(12_000, 22_000)
            self._file = (folder / str(self.port)).open("ab")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                continue
            if _is_free(self.port):
                return
            self._file.close()

    def end(self) -> None:
        """Release the port."""
        self._file.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Tell whether a server accepts connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except OSError:
        return False
    return True


class ServerProcess:
    """A server that is a child of this process; a context manager starts and stops it.

    What is done to the server is also done to the processes that it has started.

    :param command: returns what to run, for a port and a folder.
    :param ready: tells whether the server on a port is ready.
    :param account: as whom the server runs if this process is root's; by default as root.
    :param stop_signal: asks the server to end, without waiting for its clients.
    :ivar port: the port of the server, the same for each start.
    :ivar folder: the folder of its files; removed at the end.
    """

    def __init__(
        self,
        command: Callable[[int, Path], Sequence[str]],
        ready: Callable[[int], bool],
        *,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._ready = ready
        self._account = account
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._reservation = PortReservation()
        self.port = self._reservation.port
        self.folder = Path(tempfile.mkdtemp(prefix="coatcheck-server-", dir=folder_in_memory()))
        self.give(self.folder)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._clean()

    @property
    def pid(self) -> int:
        """Return the process's id."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it is ready.

        :raises ServerFailed: it does not become ready.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.port, self.folder),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._identity,
            )
        deadline = time.monotonic() + TIMEOUT
        while not self._ready(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"the server did not become ready:\n{self._last_words()}")
            time.sleep(0.02)

    def runs(self) -> bool:
        """Tell whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the server to end, and kill it if it does not."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill the server, as a power failure does."""
        if self._process is not None:
            children = self._pause()
            family.kill(children)
            self._process.kill()
            self._process.wait()
            family.wait_for_end(children)
            self._process = None

    def pause(self) -> None:
        """Let the server stand still: connections stay open, and get no reply."""
        if self._process is not None:
            self._pause()

    def resume(self) -> None:
        """Let the server continue."""
        if self._process is not None:
            family.resume(family.children(self._process.pid))
            self._process.send_signal(signal.SIGCONT)

    def give(self, path: Path) -> None:
        """Give a file or folder to the user as whom the server runs."""
        if self._account is not None:
            self._account.give(path)

    def run(self, *command: str | Path) -> None:
        """Run a program to its end, in the server's folder and as its user.

        :raises ServerFailed: the program failed; the message has the output.
        """
        ended = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **self._identity,
        )  # fmt: skip
        if ended.returncode:
            raise ServerFailed(f"{command[0]} failed:\n{ended.stdout[-2000:]}")

    def _pause(self) -> list[psutil.Process]:
        """Stop the server and then its children, which cannot become more, and return these."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # On a busy machine it runs on for a moment. WNOWAIT leaves its exit status to `Popen`.
        with contextlib.suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        children = family.children(self._process.pid)
        family.pause(children)
        return children

    @property
    def _identity(self) -> Identity:
        return {} if self._account is None else self._account.identity()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _clean(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._reservation.end()
