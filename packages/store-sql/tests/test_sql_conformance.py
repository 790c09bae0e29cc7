"""The whole conformance kit, on each database with each driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from sql_backend import database

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on


@contextlib.contextmanager
def database_of(scheme: str) -> Iterator[str]:
    with database(scheme) as url:
        yield f"{scheme}:{url.partition(':')[2]}"


pysqlite = harness_on(lambda: database_of("sqlite"), "timeout=0.5")
aiosqlite = harness_on(lambda: database_of("sqlite+aiosqlite"), "timeout=0.5")
psycopg = harness_on(lambda: database_of("postgresql"), "timeout=2")
asyncpg = harness_on(lambda: database_of("postgresql+asyncpg"), "timeout=2")
mariadb = harness_on(lambda: database_of("mariadb"), "timeout=2")


@pytest.mark.usefixtures("pysqlite")
class TestSQLite(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("aiosqlite")
class TestAIOSQLite(StoreConformance):
    pass


@pytest.mark.integration("postgresql")
@pytest.mark.usefixtures("psycopg")
class TestPsycopg(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.integration("postgresql")
@pytest.mark.usefixtures("asyncpg")
class TestAsyncPG(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.integration("mariadb")
@pytest.mark.usefixtures("mariadb")
class TestMariaDB(StoreConformance):
    """PyMySQL and asyncmy."""
