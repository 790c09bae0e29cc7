"""Starlette's own session tests, run on coatcheck's middleware.

pip downloads the source distribution of the installed Starlette, which has the tests.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testing.interop.foreign_tests import ROOT, run_tests, sources_of

#: Tests that do not apply. The page for users has them, and says why.
LEFT_OUT = re.findall(
    r"^\| `(test_\w+)` \| ",
    (ROOT / "docs/fastapi.md").read_text("utf-8").partition("<!-- starlette -->")[2],
    re.MULTILINE,
)
TESTS = "tests/middleware/test_session.py"


@pytest.mark.slow
def test_starlettes_session_tests_pass(tmp_path: Path) -> None:
    """All of Starlette's session tests pass, except those that do not apply."""
    left_out = [f"{TESTS}::{name}" for name in LEFT_OUT]
    summary = run_tests(
        sources_of("starlette", tmp_path), "testing.interop.starlette_sessions", [TESTS], left_out
    )
    assert set(summary) <= {"passed", "deselected", "warnings"}
    # Each of Starlette's tests runs on asyncio and on trio.
    assert summary["passed"] >= 20
    assert summary["deselected"] >= len(LEFT_OUT) == 3
