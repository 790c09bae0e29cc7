"""Shared set-up of all tests: servers, and how many examples are tried at random."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import settings

from testing.machine import SERVERS
from testing.servers.shared import share

_FOR_THE_RUN: Final = pytest.StashKey[contextlib.ExitStack]()

settings.register_profile("default", deadline=None, derandomize=True, max_examples=20)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--without``."""
    parser.addoption(
        "--without",
        action="append",
        default=[],
        choices=SERVERS,
        help="leave out the tests that need this server; may be given several times",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Share servers among the processes of a run."""
    stack = config.stash[_FOR_THE_RUN] = contextlib.ExitStack()
    if not hasattr(config, "workerinput"):  # the workers of xdist use the main process's servers
        stack.enter_context(share())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared servers."""
    config.stash[_FOR_THE_RUN].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that need a server which is not here."""
    missing = set(config.getoption("--without"))
    left_out = [item for item in items if missing & _servers(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not missing & _servers(item)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the kit's cases by their dependencies, with ``--dist loadscope``."""
    if config.getvalue("dist") != "loadscope":
        return None
    from testing.scheduling import KitScheduling

    return KitScheduling(config, log)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail a test that leaves the project's logger silent, before tests of warnings fail for it."""
    yield
    logger = logging.getLogger("coatcheck")
    found, logger.disabled = (logger.disabled, logger.level), False
    logger.setLevel(logging.NOTSET)
    assert found == (False, logging.NOTSET), "this test left the project's logger disabled or quiet"


def _servers(item: pytest.Item) -> set[str]:
    names = {name for mark in item.iter_markers("integration") for name in mark.args}
    if unknown := names.difference(SERVERS):
        raise pytest.UsageError(f"{item.nodeid}: `integration` names {', '.join(unknown)}")
    return names


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio; tests for trio override this fixture."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the property ``summary`` of tests at the end of a run."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(str(value))
