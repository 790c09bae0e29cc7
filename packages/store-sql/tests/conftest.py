"""Databases for the tests of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sql_backend import Backend, backend_on, database

from coatcheck import Store
from testing.conformance import at_night

#: The kits that run by day: one without a server, and one with. The second has races, and what
#: SQLite cannot run because it has no server.
EMBEDDED, SERVER = "TestSQLite", "TestPsycopg"
BY_DAY = ("RACE", "FAULT-1", "FAULT-13", "FAULT-14", "SECRET-1")
#: Drivers that are tested at night: by day there are their sync API, and asyncpg.
BY_NIGHT = ("[postgresql-async]", "[mariadb-async]")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave for the night what takes long, and the cases on the async API except for loops."""
    for kit in (EMBEDDED, SERVER):
        at_night([item for item in items if f"::{kit}::" in item.nodeid], __file__, _waits_for(kit))
    for item in items:
        if item.path.parent == Path(__file__).parent and item.name.endswith(BY_NIGHT):
            item.add_marker(pytest.mark.slow)


def _waits_for(kit: str) -> Callable[[str, str], bool]:
    def waits(clause: str, api: str) -> bool:
        if api == "async":
            return kit == SERVER or not clause.startswith("LOOP")
        if kit == EMBEDDED:
            return clause == "RACE-9"  # it kills many processes, which PostgreSQL's run does, too
        return clause.partition("-")[0] not in BY_DAY and clause not in BY_DAY

    return waits


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A table on the database of a driver, which a test names with `parametrize`."""
    scheme, _ = request.param
    with database(scheme) as url, backend_on(url, request.param) as made:
        yield made


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    opened = backend.store()
    yield opened
    opened.close()
