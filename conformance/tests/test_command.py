"""The kit on the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from commandline import run_here

from coatcheck_conformance._kit import contract, report
from coatcheck_conformance._kit.command import main

SCHEMA = json.loads((files("coatcheck_conformance") / "report.schema.json").read_text())


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give command lines a width, and restore the handler of SIGTERM."""
    monkeypatch.setenv("COLUMNS", "200")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run_kit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the kit in this process."""
    return run_here(main, *arguments)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of modules, with harnesses of faulty stores."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(
        "from coatcheck import MemoryStore\n"
        "from coatcheck_conformance._kit.harnesses import MemoryHarness\n"
        "class Raises(MemoryStore):\n"
        "    def get(self, key):\n"
        "        if key == 'unknown':\n"
        "            raise KeyError('<b>|\\x00')\n"
        "        return super().get(key)\n"
        "class Faulty(MemoryHarness):\n"
        "    def open(self, namespace, clock):\n"
        "        return self._stores.setdefault(namespace, Raises(clock=clock))\n"
        "class Shared(MemoryHarness):\n"
        "    def open(self, namespace, clock):\n"
        "        return super().open('one', clock)\n"
    )
    return tmp_path


@pytest.fixture
def faulty_report(mine: Path) -> Path:
    """Give the folder of a report about a faulty store."""
    harness = ("--harness", "mine:Faulty")
    done = run_kit("memory:", *harness, "--only", "GET", "--report", str(mine / "r"))
    assert done.returncode == 1
    return mine / "r"


def test_from_outside(mine: Path) -> None:
    """The module is a command; its output, errors and exit status are the process's."""
    command = [sys.executable, "-m", "coatcheck_conformance", "memory:", "--harness"]
    environment = {**os.environ, "PYTHONPATH": str(mine)}
    judged, refused = (
        subprocess.run(
            [*command, *arguments],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )
        for arguments in (("mine:Faulty", "--only", "GET"), ("nowhere:Harness",))
    )  # fmt: skip
    assert (judged.returncode, judged.stderr) == (1, "")
    assert "GET-2 failed on the sync API of Raises" in judged.stdout
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_a_store_that_is_wrong(mine: Path) -> None:
    """The exit status is 1, and the failure's text and a table are printed."""
    done = run_kit("memory:", "--harness", "mine:Faulty", "--only", "GET")
    assert done.returncode == 1, done.stderr
    assert "GET-2 failed on the sync API of Raises" in done.stdout
    assert re.search(r"GET-2 +required +failed", done.stdout)
    assert "not conformant" in done.stdout


def test_a_selection_is_never_a_verdict() -> None:
    """Cases that were not selected count as skipped."""
    done = run_kit("memory:", "--only", "GET-1")
    assert done.returncode == 1
    assert "partial: MemoryStore" in done.stdout


def test_a_selection_of_nothing_is_an_error() -> None:
    """A run without cases has no verdict."""
    done = run_kit("memory:", "--only", "DATA-7")
    assert done.returncode == 2
    assert "error: MemoryStore" in done.stdout or "error: MemoryHarness" in done.stdout


def test_a_harness_that_is_wrong(mine: Path) -> None:
    """The store is not judged, and the reason is printed once."""
    done = run_kit("memory:", "--harness", "mine:Shared")
    assert done.returncode == 2
    assert done.stdout.count("share their records") == 1
    assert "failed" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nothing://host",), "`{namespace}`"),
        (("elsewhere://host:6379/0",), "`{namespace}`"),
        (("nothing://host/{namespace}",), "no installed store has the scheme"),
        (("memory:?size=3",), "memory store's URL"),
        ((), "a URL is needed"),
        (("memory:", "--harness", "nowhere:Harness"), "names nothing"),
        (("memory:", "--harness", "json:loads"), "not a subclass of Harness"),
        (("memory:", "--deviations", "missing.toml"), "cannot be read"),
        (("memory:", "--only", "GETS"), "no clause and no group GETS"),
        (("memory:", "--report", "/dev/null/report"), "Not a directory"),
        (("--explain", "GET-99"), "no clause GET-99"),
    ],
)
def test_command_lines_that_cannot_work(arguments: tuple[str, ...], text: str) -> None:
    """The exit status is 2, and the text says why."""
    done = run_kit(*arguments)
    assert done.returncode == 2
    assert text in done.stderr + done.stdout


def test_explain() -> None:
    """A clause is explained, with its cases."""
    done = run_kit("--explain", "get-2")
    assert done.returncode == 0
    assert "GET-2 (required, every store), contract 1.0" in done.stdout
    assert "checked by GET-2.unknown_key" in done.stdout


def test_the_json_report(faulty_report: Path) -> None:
    """The JSON report follows its schema, and has each clause."""
    document = json.loads((faulty_report / "report.json").read_text())
    jsonschema.validate(document, SCHEMA, jsonschema.Draft202012Validator)
    assert document["verdict"] == "not conformant"
    assert document["store"]["class"] == "Raises"
    assert [clause["id"] for clause in document["clauses"]] == list(contract.clauses())
    verdicts = {clause["id"]: clause["verdict"] for clause in document["clauses"]}
    assert (verdicts["GET-1"], verdicts["GET-2"]) == ("passed", "failed")
    assert verdicts["RACE-1"] == "skipped"
    assert "--harness mine:Faulty" in document["command"]


def test_a_report_names_the_distribution_of_the_store(tmp_path: Path) -> None:
    """The report has the name and version of the installed package, editable or not."""
    assert main(["memory:", "--only", "GET-2", "--report", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "report.json").read_text())["store"] == {
        "class": "MemoryStore",
        "distribution": "coatcheck",
        "version": version("coatcheck"),
    }


def test_the_junit_report(faulty_report: Path) -> None:
    """A failure is a failure, with its text; characters that XML does not allow are replaced."""
    suite = ET.parse(faulty_report / "junit.xml").getroot()[0]
    failures = [case for case in suite if case.find("failure") is not None]
    assert {case.get("name") for case in failures} == {"GET-2.unknown_key"}
    assert "GET-2 failed on" in (failures[0].findtext("failure") or "")
    assert int(suite.get("failures", "")) == len(failures) == 2
    assert int(suite.get("tests", "")) == len(suite)


def test_the_html_report(faulty_report: Path) -> None:
    """The HTML report loads nothing, and shows a store's texts as text."""
    page = (faulty_report / "report.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert not re.search(r"(src|href)=[\"'](?!#)", page)
    assert "not conformant" in page


def test_the_markdown_report(faulty_report: Path) -> None:
    """Each clause is one row of one table."""
    text = (faulty_report / "report.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| [A-Z]+-\d+ \|", line)]
    assert len(rows) == len(contract.clauses())
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_the_badge(faulty_report: Path) -> None:
    """The badge is an endpoint of shields.io."""
    badge = json.loads((faulty_report / "badge.json").read_text())
    assert badge == {
        "schemaVersion": 1, "label": "coatcheck", "message": "not conformant", "color": "red",
    }  # fmt: skip


def test_no_credentials_are_in_a_report() -> None:
    """The command line in the report has no password."""
    shown = report.redacted(["redis://user:s3cret@host/0?prefix={namespace}", "--seed", "1"])
    assert "s3cret" not in shown
    assert "redis://***@host" in shown


@pytest.mark.parametrize(
    "after", [0, 0.2, *(pytest.param(after, marks=pytest.mark.slow) for after in (0.01, 0.05, 1))]
)
def test_a_run_that_is_ended_cleans_up(tmp_path: Path, after: float) -> None:
    """SIGTERM at any moment leaves nothing behind in the folder of the file store."""
    process = subprocess.Popen(
        [sys.executable, "-m", "coatcheck_conformance", f"file:{tmp_path}/sessions"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "sessions"
    deadline = time.monotonic() + 60
    while not (folder.exists() and list(folder.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.01)  # there is no other sign that the run has begun
    time.sleep(after)  # the test varies this moment
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 2
    assert not list(folder.iterdir())
