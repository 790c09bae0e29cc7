"""The whole conformance kit, on each database with each driver."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import pytest

from coatcheck_conformance import StoreConformance
from testing.conformance import harness_on
from testing.machine import folder_in_memory


@contextlib.contextmanager
def file(driver: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="coatcheck-sql-", dir=folder_in_memory()) as folder:
        yield f"{driver}:///{folder}/sessions.db"


pysqlite = harness_on(lambda: file("sqlite"), "timeout=0.5")
aiosqlite = harness_on(lambda: file("sqlite+aiosqlite"), "timeout=0.5")


@pytest.mark.usefixtures("pysqlite")
class TestSQLite(StoreConformance):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("aiosqlite")
class TestAIOSQLite(StoreConformance):
    pass
