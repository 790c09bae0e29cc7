"""The SQLite store keeps the Store contract."""

from __future__ import annotations

import tempfile

from coatcheck_sqlite.conformance import SQLiteHarness

from coatcheck_conformance import StoreConformance


class TestSQLiteStore(StoreConformance):
    harness = SQLiteHarness(f"sqlite-file:///{tempfile.gettempdir()}/sessions.db")
