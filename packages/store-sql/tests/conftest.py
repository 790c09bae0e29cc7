"""Databases for the tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sql_backend import Backend, backend_on, database

from coatcheck import Store
from testing.conformance import at_night

#: Their cases wait for a database that is away.
WAITING = ("FAULT", "SECRET")
BY_DAY = ("FAULT-1", "FAULT-2", "FAULT-3", "FAULT-6", "SECRET-1")
#: Drivers that are tested at night: by day there are their sync API, and asyncpg.
BY_NIGHT = ("[postgresql-async]", "[mariadb-async]")
#: Their cases take long: they make many stores, or kill many processes.
LONG = ("OWNER-8", "PARITY-2", "RACE-9")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run at night most cases with a database that is away, and those of the bridged API."""
    at_night(
        items,
        __file__,
        lambda clause, api: (
            (clause.startswith(WAITING) and clause not in BY_DAY)
            or clause in LONG
            or (api == "async" and not clause.startswith("LOOP"))
        ),
    )
    for item in items:
        if item.path.parent == Path(__file__).parent and item.name.endswith(BY_NIGHT):
            item.add_marker(pytest.mark.slow)


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
