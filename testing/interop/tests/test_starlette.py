"""Starlette's own session tests, run on coatcheck's middleware.

pip downloads the source distribution of the installed Starlette, which has the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: Tests that do not apply. The page for users has them, and says why.
LEFT_OUT = re.findall(
    r"^\| `(test_\w+)` \| ",
    (ROOT / "docs/fastapi.md").read_text("utf-8").partition("<!-- starlette -->")[2],
    re.MULTILINE,
)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return the folder of Starlette's source distribution."""
    release = version("starlette")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-binary", "starlette", f"starlette=={release}"],
        cwd=tmp_path, check=True, timeout=120,
    )  # fmt: skip
    with tarfile.open(tmp_path / f"starlette-{release}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / f"starlette-{release}"


@pytest.mark.slow
def test_starlettes_session_tests_pass(sources: Path) -> None:
    """All of Starlette's session tests pass, except those that do not apply."""
    left_out = [f"--deselect=tests/middleware/test_session.py::{name}" for name in LEFT_OUT]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "testing.interop.starlette_sessions",
         "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", *left_out,
         "tests/middleware/test_session.py"],
        cwd=sources, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}."},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1].partition(" in ")[0])
    summary = {word: int(number) for number, word in counts}
    assert set(summary) <= {"passed", "deselected", "warnings"}, done.stdout
    # Each of Starlette's tests runs on asyncio and on trio.
    assert summary["passed"] >= 20
    assert summary["deselected"] >= len(LEFT_OUT) == 3
