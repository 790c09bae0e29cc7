"""The jobs of docs/sql.md that remove expired sessions."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from commandline import run_here
from sql_backend import SERVERS, SQLITE, Backend, record

from coatcheck import Record
from coatcheck._command_line.commands import main
from coatcheck_sql import SQLStore
from testing.servers.postgresql import server
from testing.servers.programs import ROOT

TABLE = "removed_by_a_job"
DOCUMENTED = (ROOT / "docs" / "sql.md").read_text()


def fill(url: str, table: str, expired: int) -> str:
    """Store expired sessions and a live one, and return the URL of the table."""
    now, place = time.time(), f"{url}?table={table}"
    with closing(SQLStore.from_url(place, clock=lambda: now - 100)) as past:
        past.ensure_table()
        for number in range(expired):
            past.set(f"expired{number}", Record(b"data", now - 50))
        past.set("live", record())
    return place


@pytest.mark.parametrize("backend", [*SQLITE, *SERVERS], indirect=True)
def test_the_command_prune(backend: Backend) -> None:
    """With each driver; the sync API of the async ones is bridged."""
    url = f"{backend.url_at(backend.server_url)}?table={backend.table}"
    fill(backend.server_url, backend.table, 5)
    for limit, removed in ((["--limit=2"], 2), ([], 3), ([], 0)):
        done = run_here(main, "prune", url, *limit)
        expected = (0, f"expired sessions that were removed: {removed}\n", "")
        assert (done.returncode, done.stdout, done.stderr) == expected
    with closing(backend.store()) as store:
        assert [key for key, _ in store.all()] == ["live"]


def test_the_command_prune_without_a_table(tmp_path: Path) -> None:
    done = run_here(main, "prune", f"sqlite:///{tmp_path}/sessions.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert "create-table" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_cron_job(tmp_path: Path) -> None:
    """Its line reads the URL from a file."""
    (tmp_path / "store-url").write_text(fill(f"sqlite:///{tmp_path}/sessions.db", TABLE, 3) + "\n")
    line = re.search(r"^\*/10 \* \* \* \* (python .*)$", DOCUMENTED, re.MULTILINE)
    assert line is not None, "the page has a line for cron"
    command = line[1].replace("/etc/shop", str(tmp_path)).replace("python", sys.executable, 1)
    done = subprocess.run(
        command.removesuffix(" >/dev/null"),
        shell=True, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "expired sessions that were removed: 3\n"


def test_the_service_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fill(f"sqlite:///{tmp_path}/sessions.db", TABLE, 3)
    started = re.search(r"^ExecStart=\S+/python -m coatcheck (.*)$", DOCUMENTED, re.MULTILINE)
    assert started is not None, "the page has a service"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{url}\n"))
    done = run_here(main, *shlex.split(started[1]))
    assert (done.returncode, done.stdout) == (0, "expired sessions that were removed: 3\n")


@pytest.mark.integration("postgresql")
def test_the_statement_for_pg_cron() -> None:
    """It removes each expired session and no other."""
    statement = DOCUMENTED.split("$$")[1]
    with server() as url:
        place = fill(url, TABLE, 5)
        with psycopg.connect(url, autocommit=True) as database:
            removed = database.execute(statement.replace("coatcheck_sessions", TABLE)).rowcount
        assert removed == 5
        with closing(SQLStore.from_url(place)) as store:
            assert [key for key, _ in store.all()] == ["live"]
            store.clear()
