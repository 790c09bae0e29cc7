"""The command line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from commandline import run_here
from fakedist import FakeDists

from coatcheck import CONTRACT_VERSION
from coatcheck._command_line.commands import main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process."""
    return run_here(main, *arguments)


def test_from_outside() -> None:
    """The module is a command, whose output, errors and exit status are the process's."""
    command = [sys.executable, "-m", "coatcheck"]
    result = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    expected = (0, f"coatcheck {version('coatcheck')}\n", "")
    assert (result.returncode, result.stdout, result.stderr) == expected
    refused = subprocess.run(
        [*command, "create-table", "nonsense"], capture_output=True, text=True, timeout=60
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: a store URL starts with a scheme")
    assert "Traceback" not in refused.stderr


def test_version() -> None:
    """The version is the distribution's."""
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"coatcheck {version('coatcheck')}\n")


def test_help_names_every_command() -> None:
    """The help has a line for each command."""
    result = run("--help")
    assert result.returncode == 0
    commands = re.findall(r"^    ([\w-]+)(?: +\S|$)", result.stdout, re.MULTILINE)
    assert commands == ["demo", "stores", "secret", "create-table", "prune"]


@pytest.mark.parametrize("command", ["stores", "secret", "create-table", "prune"])
def test_help_of_a_command(command: str) -> None:
    """Each command explains itself."""
    result = run(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: python -m coatcheck {command} ")


def test_no_command_shows_the_help() -> None:
    """Without a command there is the help, and the exit status of wrong usage."""
    result = run()
    assert result.returncode == 2
    assert result.stdout == run("--help").stdout


def test_unknown_command() -> None:
    """An unknown command is named, and so are those that exist."""
    result = run("dmeo")
    assert result.returncode == 2
    assert "'dmeo'" in result.stderr
    assert all(command in result.stderr for command in ("demo", "stores", "secret"))


def test_secret_is_long_and_new_each_time() -> None:
    """A secret is 384 random bits in 64 characters that need no quoting in a shell."""
    first, second = run("secret").stdout, run("secret").stdout
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}\n", first)
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}\n", second)
    assert first != second


def test_prune_refuses_what_another_process_cannot_prune() -> None:
    """The sessions of a memory store are those of its process."""
    result = run("prune", "memory:")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: these sessions are in the memory of the application: it removes them\n"
    )


@pytest.mark.parametrize("limit", ["-1", "1.5", "many", ""])
def test_prune_refuses_a_limit_that_is_no_number(limit: str) -> None:
    result = run("prune", "memory:", f"--limit={limit}")
    assert result.returncode == 2
    assert f"must be a number of sessions, not {limit!r}" in result.stderr


@pytest.mark.parametrize("command", ["create-table", "prune"])
def test_a_url_on_the_standard_input(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other users of the machine do not see its password."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(" nothing://user:s3cret@host\n"))
    result = run(command, "-")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no installed store has the scheme 'nothing'" in result.stderr
    assert "s3cret" not in result.stderr


def test_stores_lists_the_built_in_store() -> None:
    """The table has a heading, and a line for the memory store."""
    result = run("stores")
    heading, *rows = [line.split() for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert heading == ["scheme", "name", "distribution", "version", "contract", "status", "reason"]
    expected = ["memory", "memory", "coatcheck", version("coatcheck"), CONTRACT_VERSION, "ok"]
    assert expected in rows


def test_stores_as_json() -> None:
    """The JSON form is a list of objects with the table's columns as members."""
    result = run("stores", "--json")
    assert result.returncode == 0
    [memory] = [row for row in json.loads(result.stdout) if row["scheme"] == "memory"]
    assert memory == {
        "scheme": "memory",
        "name": "memory",
        "distribution": "coatcheck",
        "version": version("coatcheck"),
        "contract": CONTRACT_VERSION,
        "summary": "one process, nothing survives it",
        "status": "ok",
        "reason": "",
    }


def test_stores_shows_a_working_plugin(dists: FakeDists) -> None:
    """An installed store is listed with its distribution, and no client library is imported."""
    dists.install("acme", "1.2", schemes=("acme",), name="Acme", open="missing:x")
    rows = json.loads(run("stores", "--json").stdout)
    [acme] = [row for row in rows if row["scheme"] == "acme"]
    assert (acme["name"], acme["distribution"], acme["version"]) == ("Acme", "acme", "1.2")
    assert (acme["status"], acme["reason"]) == ("ok", "")


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        ("import no_such_client", "No module named 'no_such_client'"),
        ("raise RuntimeError('first line\\nsecond line')", "first line"),
        ("def broken(:", "SyntaxError"),
        (
            "from coatcheck import StoreSpec, hookimpl\n"
            "@hookimpl\n"
            "def coatcheck_stores():\n"
            "    yield StoreSpec(name='bad', schemes=('bad',), contract='9.0', open='m:x')\n",
            "speaks contract 9.0",
        ),
    ],
)
def test_stores_shows_a_broken_plugin_with_the_reason(
    dists: FakeDists, plugin: str, reason: str
) -> None:
    """A broken plugin takes one line, which says why, and does not disturb the others."""
    dists.install("badstore", "1.2", schemes=("bad",), plugin=plugin)
    table = run("stores")
    assert (table.returncode, table.stderr) == (0, "")
    [line] = [line for line in table.stdout.splitlines() if line.startswith("bad ")]
    assert re.match(r"bad +bad +badstore +1\.2 +broken +\S", line)
    assert reason in line
    assert any(line.startswith("memory ") for line in table.stdout.splitlines())

    rows = json.loads(run("stores", "--json").stdout)
    [bad] = [row for row in rows if row["scheme"] == "bad"]
    assert bad["status"] == "broken"
    assert reason in bad["reason"]


LIGHT = (["--help"], ["--version"], ["secret"], ["stores"])
IMPORTED_BY = """
import contextlib, sys
from coatcheck._command_line.commands import main

for arguments in {commands}:
    with contextlib.suppress(SystemExit):
        main(arguments)
    print(*arguments, "imports", *sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""


def test_what_a_command_does_not_need_is_not_imported() -> None:
    """No command of the core imports a web framework, a server, a client or an event loop."""
    heavy = {"anyio", "asyncio", "starlette", "uvicorn", "httpx", "coatcheck_demo"}
    script = IMPORTED_BY.format(commands=LIGHT, heavy=heavy)
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr.splitlines() == [f"{' '.join(words)} imports" for words in LIGHT]
