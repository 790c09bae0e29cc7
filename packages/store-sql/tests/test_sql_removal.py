"""The job of docs/sql.md that removes expired sessions inside the database."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pytest

from coatcheck import Record
from coatcheck_sql import SQLStore
from testing.servers.postgresql import server
from testing.servers.programs import ROOT

TABLE = "removed_by_a_job"


@pytest.mark.integration("postgresql")
def test_the_statement_for_pg_cron() -> None:
    """It removes each expired session and no other."""
    documented = (ROOT / "docs" / "sql.md").read_text().split("$$")[1]
    now = time.time()
    with server() as url:
        past = SQLStore.from_url(f"{url}?table={TABLE}", clock=lambda: now - 100)
        with closing(past):
            past.ensure_table()
            for number in range(5):
                past.set(f"expired{number}", Record(b"data", now - 50))
            past.set("live", Record(b"data", now + 50))
        with psycopg.connect(url, autocommit=True) as database:
            removed = database.execute(documented.replace("coatcheck_sessions", TABLE)).rowcount
        assert removed == 5
        with closing(SQLStore.from_url(f"{url}?table={TABLE}")) as store:
            assert [key for key, _ in store.all()] == ["live"]
            store.clear()
