"""Databases for the tests of a process."""

from __future__ import annotations

import pytest

from testing.conformance import at_night

#: Their cases wait for a database that is away.
WAITING = ("FAULT", "SECRET")
BY_DAY = ("FAULT-1", "FAULT-2", "FAULT-3", "FAULT-6", "SECRET-1")
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
