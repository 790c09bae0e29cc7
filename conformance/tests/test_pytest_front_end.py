"""The kit in pytest, in another project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from coatcheck_conformance._kit.case import all_cases

SIX_LINES = """
from coatcheck_conformance import StoreConformance
from coatcheck_conformance._kit.harnesses import MemoryHarness

class TestMyStore(StoreConformance):
    harness = MemoryHarness()
"""

FAULTY = """
from coatcheck import MemoryStore
from coatcheck_conformance import StoreConformance
from coatcheck_conformance._kit.harnesses import MemoryHarness

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

UNREACHABLE = """
from coatcheck import MemoryStore
from coatcheck.errors import StoreUnavailable
from coatcheck_conformance import StoreConformance
from coatcheck_conformance._kit.harnesses import MemoryHarness

class Unreachable(MemoryStore):
    def get(self, key):
        raise StoreUnavailable("refused")

class MyHarness(MemoryHarness):
    def open(self, namespace, clock):
        return Unreachable(clock=clock)

class TestMyStore(StoreConformance):
    harness = MyHarness()
"""


pytest_plugins = ["pytester"]

#: Returns the exit status and the output.
RunPytest = Callable[..., tuple[int, str]]


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunPytest:
    """Give a function that runs pytest in a project with one file of tests.

    It runs in this process, because an interpreter with all plugins takes two seconds to start.
    """
    all_cases()  # imports of a run are undone after it, and no case may be imported twice

    def run(
        content: str, *options: str, ci: str | None = None, apart: bool = False
    ) -> tuple[int, str]:
        pytester.makepyfile(test_mine=content)
        monkeypatch.delenv("CI", raising=False)
        if ci is not None:
            monkeypatch.setenv("CI", ci)
        run_it = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        done = run_it("-p", "no:cacheprovider", "-W", "error", *options)
        return int(done.ret), done.stdout.str()

    return run


def test_six_lines_are_enough(run_pytest: RunPytest) -> None:
    """A conforming store passes on both APIs, and the summary explains skips."""
    status, output = run_pytest(SIX_LINES, "-k", "GET or LOOP")
    assert status == 0, output
    assert "store conformance" in output
    assert "passed" in output


def test_no_plugin_for_coroutines_is_needed(run_pytest: RunPytest) -> None:
    """The kit has its own event loops."""
    status, output = run_pytest(SIX_LINES, "-p", "no:anyio", "-k", "GET-2 and async")
    assert status == 0, output
    assert "skipped" not in output


@pytest.mark.parametrize("options", [("-n2",), ()], ids=["xdist", "alone"])
def test_a_faulty_store_fails_with_the_whole_text(
    run_pytest: RunPytest, options: tuple[str, ...]
) -> None:
    """pytest shows the text of the failure, without a traceback of the kit."""
    content = FAULTY.format(deviations=None)
    status, output = run_pytest(content, "-k", "GET", *options, apart="-n2" in options)
    assert status == 1, output
    assert "GET-2 failed on the sync API of MyStore" in output
    assert "usual cause" in output
    assert "pytest.fail(" not in output
    assert "_tell(" not in output


def test_deviations_are_read_beside_the_harness(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    """A case in the author's list is expected to fail."""
    (pytester.path / "deviations.toml").write_text(
        '[[deviation]]\nclause = "GET-2"\nreason = "not-yet"\nwhy = "no time"\n'
        'url = "https://example.org/7"\n'
    )
    content = FAULTY.format(deviations="deviations.toml")
    status, output = run_pytest(content, "-k", "GET-2", "-rx")
    assert status == 0, output
    assert "2 xfailed" in output
    assert "no time" in output


def test_cases_cannot_be_replaced(run_pytest: RunPytest) -> None:
    """A subclass that overrides a test of the kit is refused, with advice."""
    content = SIX_LINES + "\n    def test_clause(self):\n        pass\n"
    status, output = run_pytest(content)
    assert status == 2
    assert "replaces test_clause of the conformance kit" in output


@pytest.mark.parametrize(
    ("options", "ci", "expected"),
    [((), None, 0), (("--require-backend",), None, 1), ((), "true", 1)],
    ids=["at home", "required", "in CI"],
)
def test_an_unreachable_backend(
    run_pytest: RunPytest, options: tuple[str], ci: str | None, expected: int
) -> None:
    """Without a server the tests are skipped, and in CI they fail."""
    status, output = run_pytest(UNREACHABLE, "-k", "GET-1", "-rs", *options, ci=ci)
    assert status == expected, output
    assert "the backend is not there" in output


def test_what_was_not_verified_fails_in_ci(run_pytest: RunPytest) -> None:
    """A feature that was neither given nor declared unsupported fails in CI."""
    content = SIX_LINES.replace(
        "MemoryHarness()", "type('Undecided', (MemoryHarness,), {'unsupported': {}})()"
    )
    status, output = run_pytest(content, "-k", "GET-4")
    assert status == 0, output
    status, output = run_pytest(content, "-k", "GET-4", ci="true")
    assert status == 1
    assert "give it `malformed`" in output


def test_nothing_run_is_an_error(run_pytest: RunPytest) -> None:
    """A selection without cases is an error."""
    status, _ = run_pytest(SIX_LINES, "-k", "no_such_case")
    assert status == 5


def test_a_class_without_a_harness_is_told(run_pytest: RunPytest) -> None:
    """The error asks for the harness."""
    content = SIX_LINES.replace("harness = MemoryHarness()", "pass")
    status, output = run_pytest(content, "-k", "GET-1")
    assert status == 1
    assert "TestMyStore needs `harness = MyHarness()`" in output


def test_the_plugin_imports_nothing_but_pytest() -> None:
    """A project without a store pays nothing, and measures its coverage from the start."""
    script = (
        "import pytest, sys; before = set(sys.modules)\n"
        "import coatcheck_conformance._kit.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == (
        "['coatcheck_conformance', 'coatcheck_conformance._kit', "
        "'coatcheck_conformance._kit.pytest_plugin']"
    )
