"""The kit in pytest, in a project of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SIX_LINES = """
from coatcheck_conformance import StoreConformance
from coatcheck_conformance.harnesses import MemoryHarness

class TestMyStore(StoreConformance):
    harness = MemoryHarness()
"""

BROKEN = """
from coatcheck import MemoryStore
from coatcheck_conformance import StoreConformance
from coatcheck_conformance.harnesses import MemoryHarness

class MyStore(MemoryStore):
    def get(self, key):
        if key == "unknown":
            raise KeyError(key)
        return super().get(key)

class MyHarness(MemoryHarness):
    deviations = {deviations!r}

    def open(self, namespace, clock):
        return self._stores.setdefault(namespace, MyStore(clock=clock))

class TestMyStore(StoreConformance):
    harness = MyHarness()
"""

ABSENT = """
from coatcheck import MemoryStore
from coatcheck.errors import StoreUnavailable
from coatcheck_conformance import StoreConformance
from coatcheck_conformance.harnesses import MemoryHarness

class Absent(MemoryStore):
    def get(self, key):
        raise StoreUnavailable("refused")

class MyHarness(MemoryHarness):
    def open(self, namespace, clock):
        return Absent(clock=clock)

class TestMyStore(StoreConformance):
    harness = MyHarness()
"""


def run_pytest(
    folder: Path, content: str, *options: str, ci: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project that has one file of tests."""
    (folder / "test_mine.py").write_text(content)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"CI": ci} if ci else {}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_six_lines_are_enough(tmp_path: Path) -> None:
    """A store that is right passes, on both faces, and the sum says what a skip is."""
    done = run_pytest(tmp_path, SIX_LINES, "-k", "GET or LOOP")
    assert done.returncode == 0, done.stdout
    assert "store conformance" in done.stdout
    assert "passed" in done.stdout


def test_no_plugin_for_coroutines_is_needed(tmp_path: Path) -> None:
    """The kit has its own event loops."""
    done = run_pytest(tmp_path, SIX_LINES, "-p", "no:anyio", "-k", "GET-2 and async")
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.replace("not_supported", "")


@pytest.mark.parametrize("options", [("-n2",), ("-p", "no:randomly")], ids=["xdist", "alone"])
def test_a_broken_store_fails_with_the_whole_text(tmp_path: Path, options: tuple[str]) -> None:
    """The text of the failure is what pytest shows, without a traceback of the kit's own."""
    done = run_pytest(tmp_path, BROKEN.format(deviations=None), "-k", "GET", *options)
    assert done.returncode == 1, done.stdout
    assert "GET-2 failed on the synchronous face of MyStore" in done.stdout
    assert "often it is" in done.stdout
    assert "pytest.fail(" not in done.stdout
    assert "_tell(" not in done.stdout


def test_deviations_are_read_beside_the_harness(tmp_path: Path) -> None:
    """What the author's list has is expected to fail."""
    (tmp_path / "deviations.toml").write_text(
        '[[deviation]]\nclause = "GET-2"\nreason = "not-yet"\nwhy = "no time"\n'
        'url = "https://example.org/7"\n'
    )
    done = run_pytest(tmp_path, BROKEN.format(deviations="deviations.toml"), "-k", "GET-2", "-rx")
    assert done.returncode == 0, done.stdout
    assert "2 xfailed" in done.stdout
    assert "no time" in done.stdout


def test_cases_cannot_be_replaced(tmp_path: Path) -> None:
    """A subclass that overrides a test of the kit is refused, and says what to do instead."""
    content = SIX_LINES + "\n    def test_clause(self):\n        pass\n"
    done = run_pytest(tmp_path, content)
    assert done.returncode == 2
    assert "replaces test_clause of the conformance kit" in done.stdout


@pytest.mark.parametrize(
    ("options", "ci", "status"),
    [((), None, 0), (("--require-backend",), None, 1), ((), "true", 1)],
    ids=["at home", "required", "in CI"],
)
def test_an_absent_backend(
    tmp_path: Path, options: tuple[str], ci: str | None, status: int
) -> None:
    """Without a server the tests are skipped at home, and fail where it counts."""
    done = run_pytest(tmp_path, ABSENT, "-k", "GET-1", "-rs", *options, ci=ci)
    assert done.returncode == status, done.stdout
    assert "the backend is absent" in done.stdout


def test_what_was_not_verified_fails_in_ci(tmp_path: Path) -> None:
    """A facility that was neither given nor declared absent is no pass."""
    content = SIX_LINES.replace(
        "MemoryHarness()", "type('Undecided', (MemoryHarness,), {'absent': {}})()"
    )
    assert run_pytest(tmp_path, content, "-k", "GET-4").returncode == 0
    done = run_pytest(tmp_path, content, "-k", "GET-4", ci="true")
    assert done.returncode == 1
    assert "give it `malformed`" in done.stdout


def test_nothing_run_is_an_error(tmp_path: Path) -> None:
    """A selection that selects nothing does not end well."""
    assert run_pytest(tmp_path, SIX_LINES, "-k", "no_such_case").returncode == 5


def test_a_class_without_a_harness_is_told(tmp_path: Path) -> None:
    """The one thing that is needed is asked for."""
    done = run_pytest(
        tmp_path, SIX_LINES.replace("harness = MemoryHarness()", "pass"), "-k", "GET-1"
    )
    assert done.returncode == 1
    assert "TestMyStore needs `harness = MyHarness()`" in done.stdout


def test_the_plugin_imports_nothing_but_pytest() -> None:
    """A project without a store pays nothing, and measures its coverage from the start."""
    script = (
        "import pytest, sys; before = set(sys.modules)\n"
        "import coatcheck_conformance.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == (
        "['coatcheck_conformance', 'coatcheck_conformance.pytest_plugin']"
    )
