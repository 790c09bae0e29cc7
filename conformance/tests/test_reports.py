"""The command that writes the kit's reports on the stores of this repository."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.backends import BACKENDS, Backend
from testing.reports import LEFT_OUT, NAMES, NOT_JUDGED, Reporter
from testing.servers.process import ServerFailed
from testing.servers.programs import ServerMissing

ROOT = Path(__file__).parents[2]


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    settings = {name: value for name, value in os.environ.items() if name != "CI"} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "testing.reports", *arguments],
        cwd=ROOT, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Return the exit status, the output and the errors."""
    started = start(*arguments, **environment)
    output, errors = started.communicate(timeout=300)
    return started.returncode, output, errors


def raising(error: Exception) -> Backend:
    """Return a backend that does not start."""

    @contextlib.contextmanager
    def fail() -> Iterator[str]:
        raise error
        yield

    return Backend("broken", fail)


def test_a_report(tmp_path: Path) -> None:
    """A folder with the report's name has all forms, and one line has the result."""
    status, output, errors = run(str(tmp_path), "memory", "file", "--without", "file")
    report = json.loads((tmp_path / "memory" / "report.json").read_text())
    counts = f"{report['counts']['binding_passed']} of {report['counts']['binding']}"
    (line,) = output.splitlines()
    assert (status, report["verdict"]) == (0, "conformant")
    assert line.split()[:2] == ["memory", "conformant"]
    assert line.endswith(f"{counts} binding clauses")
    assert errors == "NOT CHECKED: file: left out by --without\n"
    assert "conformant: MemoryStore" in (tmp_path / "memory" / "output.txt").read_text()


def test_a_signal_ends_everything(tmp_path: Path) -> None:
    """The kit ends with the command, and no report of an earlier run remains."""
    old = tmp_path / "memory" / "report.json"
    old.parent.mkdir()
    old.write_text("{}")
    started = start(str(tmp_path), "memory")
    while old.exists():
        assert started.poll() is None
    started.send_signal(signal.SIGTERM)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 2
    assert errors.endswith("ended by a signal: all servers are stopped\n")
    assert not old.exists()


@pytest.mark.parametrize(
    ("names", "environment", "status"),
    [
        (("redis-server",), {}, 0),
        (("redis-server",), {"CI": "true"}, 1),
        (("redis-system",), {}, 1),
    ],
    ids=["asked for by its server", "on CI", "asked for by name"],
)
def test_a_server_that_is_not_here(
    names: tuple[str, ...], environment: dict[str, str], status: int, tmp_path: Path
) -> None:
    """The last lines name what was left out; it is an error in CI or if it was named."""
    ended, output, errors = run(str(tmp_path / "r"), *names, PATH=str(tmp_path), **environment)
    assert ended == status
    assert output.split()[:3] == ["redis-system", "left", "out"]
    assert errors.startswith("NOT CHECKED: redis-system: there is no Redis server of the kind")


@pytest.mark.parametrize(
    ("error", "verdict", "remark"),
    [
        (ServerMissing("install it"), LEFT_OUT, "install it"),
        (ServerFailed("out of\nmemory"), NOT_JUDGED, "see {}/broken/output.txt"),
        (OSError("no space"), NOT_JUDGED, "see {}/broken/output.txt"),
    ],
    ids=["missing", "failed", "anything else"],
)
def test_a_server_that_does_not_start(
    error: Exception, verdict: str, remark: str, tmp_path: Path
) -> None:
    """The result has one line about it, and a file has the rest; nothing is raised."""
    result = Reporter(tmp_path).report(raising(error))
    assert (result.verdict, result.remark) == (verdict, remark.format(tmp_path))
    assert "\n" not in str(result)
    if verdict == NOT_JUDGED:
        assert str(error) in (tmp_path / "broken" / "output.txt").read_text()


def test_after_the_end_nothing_begins(tmp_path: Path) -> None:
    """After Ctrl-C no other case begins."""
    reporter = Reporter(tmp_path)
    reporter.stop()
    assert reporter.report(BACKENDS[0]).verdict == NOT_JUDGED


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("mongodb",), f"there is no report named mongodb: take {', '.join(NAMES)}, or redis,"),
        (("file", "--without", "file"), "nothing is left to run: name other reports, or fewer"),
        (("file", "--at-once", "0"), "`--at-once` must be 1 or more, not 0"),
    ],
)
def test_a_command_line_that_cannot_be_understood(
    names: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    """The error says what was given, and what is allowed."""
    status, _, errors = run(str(tmp_path / "r"), *names)
    assert status == 2
    assert f"error: {text}" in errors
    assert not (tmp_path / "r").exists()
