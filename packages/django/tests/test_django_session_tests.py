"""Django's own session tests, run on coatcheck's engine.

pip downloads the source distribution of the installed Django, because no wheel has the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import uuid
from importlib.metadata import version
from pathlib import Path

import pytest

from testing.servers.redis import server

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of Django's tests, with those of sessions alone."""
    folder = tmp_path_factory.mktemp("django")
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


def passed(tests: Path, url: str) -> dict[str, int]:
    """Run the tests on a store, and return how many of each kind have passed."""
    done = subprocess.run(
        [sys.executable, "-m", "testing.interop.django_sessions", str(tests), url],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    *counts, word = done.stdout.split()
    assert word == "passed"
    return {kind: int(number) for kind, _, number in (each.partition("=") for each in counts)}


def check(counts: dict[str, int]) -> None:
    """The whole mixin has passed, and the tests of both middlewares."""
    assert counts["EngineTests"] >= 65
    assert counts["SessionMiddlewareTests"] >= 10
    assert counts["OwnMiddlewareTests"] >= 9


def test_djangos_session_tests_pass_in_memory(tests: Path) -> None:
    check(passed(tests, "memory:"))


def test_djangos_session_tests_pass_on_files(tests: Path, tmp_path: Path) -> None:
    check(passed(tests, f"file:{tmp_path}/sessions"))


@pytest.mark.integration("redis")
def test_djangos_session_tests_pass_on_redis(tests: Path) -> None:
    with server() as url:
        joint = "&" if "?" in url else "?"
        check(passed(tests, f"{url}{joint}prefix=test-{uuid.uuid4().hex[:8]}:"))
