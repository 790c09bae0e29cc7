"""The plugin that pytest loads in every project that has the kit.

It has the options, the markers and one test for each case. It imports only pytest, so projects
without a store pay nothing, and coverage measures their code from the start.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .run import Run

pytest.register_assert_rewrite(
    "coatcheck_conformance._kit.pytest_front_end", "coatcheck_conformance._kit.cases"
)

#: The name of the property by which a test reports its verdict.
PROPERTY = "coatcheck"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("coatcheck", "conformance of session stores")
    group.addoption(
        "--require-backend",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="fail without a backend, or where a clause is not verified; the default if CI is set",
    )
    group.addoption(
        "--coatcheck-seed",
        type=int,
        default=0,
        help="the seed of the conformance kit's random choices",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the kit."""
    config.addinivalue_line("markers", "clause(id): the clause of the Store contract it checks")
    config.addinivalue_line("markers", "realtime: it waits for the system's clock")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each case on each API."""
    if "coatcheck_job" in metafunc.fixturenames:
        from .pytest_front_end import jobs

        metafunc.parametrize("coatcheck_job", jobs())


@pytest.fixture(scope="class")
def coatcheck_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Give the run of a class, which remembers the result of each case."""
    from .pytest_front_end import run_for

    run = run_for(request)
    yield run
    run.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases have which verdict, because a skip is no pass."""
    verdicts = Counter(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and getattr(report, "when", "") == "call"
    )
    if verdicts:
        terminalreporter.section("store conformance")
        counted = (f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        terminalreporter.write_line(", ".join(counted))
        terminalreporter.write_line(
            "the verdict, and a report: python -m coatcheck_conformance URL --report DIR"
        )
