"""Write the conformance kit's reports on every store and kind of server.

``python -m testing.reports FOLDER`` runs the kit's command line on each of them, several at a time,
and writes ``FOLDER/NAME/report.json`` and the other forms of the report. The stores keep their
default time limits, because these are the reports of a release. The kit's output is in
``FOLDER/NAME/output.txt``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Collection, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Final

from .backends import BACKENDS, Backend
from .servers.programs import ServerMissing
from .servers.shared import FOLDER_VARIABLE

CONFORMANT: Final = "conformant"
LEFT_OUT: Final = "left out"
NOT_JUDGED: Final = "not judged"

#: Seconds for kits to end. After Ctrl-C their servers are gone, and some kits wait for them.
_TIMEOUT: Final = 5.0
NAMES: Final = tuple(backend.name for backend in BACKENDS)
_SERVERS: Final = tuple(dict.fromkeys(backend.server for backend in BACKENDS if backend.server))


@dataclass(frozen=True)
class Result:
    """The outcome of one run of the kit.

    :ivar verdict: the report's, or :data:`LEFT_OUT`, or :data:`NOT_JUDGED`.
    :ivar remark: the figures, or the reason why there are none.
    :ivar seconds: how long it took, with the start of the server.
    """

    name: str
    verdict: str
    remark: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name:22}{self.verdict:16}{self.seconds:6.0f} s  {self.remark}"


class Stopped(Exception):
    """Raised instead of starting a kit after a signal."""


class Reporter:
    """Run the kit in threads of the caller, and end everything that was started.

    :param folder: the folder of the reports.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._kits: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def report(self, backend: Backend) -> Result:
        """Start a server, run the kit on it, and stop it."""
        began = time.monotonic()
        place = self._folder / backend.name
        place.mkdir(parents=True, exist_ok=True)
        verdict, remark = self._judged(backend, place)
        return Result(backend.name, verdict, remark, time.monotonic() - began)

    def stop(self) -> None:
        """End each running kit, and start no other."""
        with self._lock:
            self._stopped = True
            kits = list(self._kits)
        for kit in kits:
            kit.terminate()
        deadline = time.monotonic() + _TIMEOUT
        for kit in kits:
            _wait_or_kill(kit, deadline)

    def _judged(self, backend: Backend, place: Path) -> tuple[str, str]:
        """Return the verdict, and a remark."""
        report, output = place / "report.json", place / "output.txt"
        report.unlink(missing_ok=True)  # an earlier report must not be taken for this one
        try:
            with output.open("wb") as opened, backend.start() as url:
                self._run_kit(url, place, opened)
        except ServerMissing as error:
            return LEFT_OUT, str(error)
        except Exception:  # the other reports, which may take half an hour, go on
            with output.open("a", encoding="utf-8") as opened_again:
                traceback.print_exc(file=opened_again)
        if not report.exists():
            return NOT_JUDGED, f"see {output}"
        return _summary(report)

    def _run_kit(self, url: str, place: Path, output: BinaryIO) -> None:
        command = (sys.executable, "-m", "coatcheck_conformance", url, "--report", str(place))
        with self._lock:
            if self._stopped:
                raise Stopped
            # In a session of its own the kit gets no Ctrl-C: this process ends it, once.
            kit = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._kits.add(kit)
        kit.wait()
        with self._lock:
            self._kits.remove(kit)


def _wait_or_kill(kit: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        kit.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(kit.pid, signal.SIGKILL)  # also ends its child processes


def _summary(report: Path) -> tuple[str, str]:
    """Return the verdict of a report, and its figures."""
    document = json.loads(report.read_text("utf-8"))
    counts = document["counts"]
    figures = f"{counts['binding_passed']} of {counts['binding']} binding clauses"
    return document["verdict"], ", ".join(filter(None, (figures, document["backend"])))


def report_all(
    reporter: Reporter, backends: Iterable[Backend], *, at_once: int
) -> Generator[Result, None, None]:
    """Yield the results when they are known; the longest runs begin first.

    :param at_once: how many servers and kits run at the same time.
    """
    pool = ThreadPoolExecutor(at_once)
    longest_first = sorted(backends, key=lambda backend: -backend.seconds)
    try:
        pending = {pool.submit(reporter.report, each) for each in longest_first}
        while pending:
            # A signal that comes just before a wait does not interrupt it, so no wait is long.
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        reporter.stop()
        pool.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :returns: 0 if all are conformant, 1 if one is not, 2 after a signal.
    """
    parsed = _parsed(arguments)
    os.environ.pop(FOLDER_VARIABLE, None)  # this process starts its own servers
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    running = report_all(Reporter(parsed.folder), parsed.chosen, at_once=parsed.at_once)
    results = []
    try:
        with contextlib.closing(running):
            for result in running:
                print(result, flush=True)
                results.append(result)
    except KeyboardInterrupt:
        print("ended by a signal: all servers are stopped", file=sys.stderr)
        return 2
    _say_what_is_missing(results, parsed.left_out)
    # In CI no report may be missing, and elsewhere none that was named.
    needed = NAMES if os.environ.get("CI") else parsed.names
    return int(any(_fails(result, needed) for result in results))


def _say_what_is_missing(results: Iterable[Result], left_out: Iterable[str]) -> None:
    for result in results:
        if result.verdict == LEFT_OUT:
            print(f"NOT CHECKED: {result.name}: {result.remark}", file=sys.stderr)
    for name in left_out:
        print(f"NOT CHECKED: {name}: left out by --without", file=sys.stderr)


def _fails(result: Result, needed: Collection[str]) -> bool:
    if result.verdict == LEFT_OUT:
        return result.name in needed
    return result.verdict != CONFORMANT


def _interrupt(_: int, __: FrameType | None) -> None:
    """End everything at the first signal, and ignore all others."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m testing.reports",
        description="Run the conformance kit on every store and kind of server.",
        epilog="Exit status: 0 all are conformant, 1 one is not, 2 ended by a signal.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the folder of the reports, one folder each")
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"write only these reports: {', '.join((*NAMES, *_SERVERS))}",
    )
    add("--without", nargs="+", action="extend", default=[], metavar="NAME", help="leave these out")
    add("--at-once", type=int, default=4, metavar="N", help="how many run at the same time")
    parsed = parser.parse_args(arguments)
    if unknown := {*parsed.names, *parsed.without}.difference(NAMES, _SERVERS):
        parser.error(
            f"there is no report named {', '.join(sorted(unknown))}: take {', '.join(NAMES)}, or "
            f"{', '.join(_SERVERS)} for all on that server"
        )
    asked = _named(parsed.names or NAMES)
    without = _named(parsed.without)
    parsed.chosen = [backend for backend in asked if backend not in without]
    parsed.left_out = [backend.name for backend in asked if backend in without]
    if not parsed.chosen:
        parser.error("nothing is left to run: name other reports, or fewer after `--without`")
    if parsed.at_once < 1:
        parser.error(f"`--at-once` must be 1 or more, not {parsed.at_once}")
    return parsed


def _named(words: Collection[str]) -> list[Backend]:
    """Return the backends that words name: reports, or servers for all reports on them."""
    return [each for each in BACKENDS if each.name in words or each.server in words]


if __name__ == "__main__":
    sys.exit(main())
