"""Django's own session tests, run on coatcheck's engine.

pip downloads the source distribution of the installed Django, because no wheel has the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import uuid
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from coatcheck_sql import SQLStore
from testing.servers import mariadb, postgresql, redis

ROOT = Path(__file__).parents[3]


def djangos_tests(folder: Path) -> Path:
    """Return the folder of Django's tests, with those of sessions alone."""
    release = version("django")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-binary", "django", f"django=={release}"],
        cwd=folder, check=True, timeout=120,
    )  # fmt: skip
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        wanted = [each for each in archive if "/tests/sessions_tests/" in each.name]
        archive.extractall(folder, wanted, filter="data")
    (found,) = folder.glob("*/tests")
    return found


def passed(tests: Path, *urls: str) -> list[dict[str, int]]:
    """Run the tests on stores, and return for each how many of each kind have passed."""
    done = subprocess.run(
        [sys.executable, "-m", "testing.interop.django_sessions", str(tests), *urls],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.removesuffix(" passed").split() for line in done.stdout.splitlines()]
    return [
        {kind: int(number) for kind, _, number in (each.partition("=") for each in line)}
        for line in lines
    ]


def check(counts: list[dict[str, int]], stores: list[str]) -> None:
    assert len(counts) == len(stores)
    for each in counts:
        assert each["EngineTests"] >= 65
        assert each["SessionMiddlewareTests"] >= 10
        assert each["OwnMiddlewareTests"] >= 9


def with_table(url: str) -> str:
    """Create the table of an SQL store, and return the URL."""
    with closing(SQLStore.from_url(url)) as store:
        store.ensure_table()
    return url


@pytest.mark.integration("redis")
def test_djangos_session_tests_pass_on_each_store(tmp_path: Path) -> None:
    """The whole mixin passes, and the tests of both middlewares."""
    with redis.server() as url:
        joint = "&" if "?" in url else "?"
        stores = [
            "memory:",
            f"file:{tmp_path}/sessions",
            f"{url}{joint}prefix=test-{uuid.uuid4().hex[:8]}:",
            with_table(f"sqlite:///{tmp_path}/sessions.db"),
        ]
        check(passed(djangos_tests(tmp_path), *stores), stores)


@pytest.mark.slow
@pytest.mark.integration("mariadb", "postgresql")
def test_djangos_session_tests_pass_on_database_servers(tmp_path: Path) -> None:
    """The whole mixin passes on them, too."""
    with postgresql.server() as first, mariadb.server() as second:
        table = f"?table=django_{uuid.uuid4().hex[:8]}"
        stores = [with_table(f"{url}{table}") for url in (first, second)]
        check(passed(djangos_tests(tmp_path), *stores), stores)
