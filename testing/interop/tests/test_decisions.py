"""express-session decides as the rows of coatcheck-express's tests say."""

from __future__ import annotations

import json
import subprocess

import pytest

from testing.interop.applications import SCRIPT
from testing.servers.node import install, node
from testing.servers.programs import ROOT

pytestmark = pytest.mark.integration("express")

ROWS = ROOT / "packages" / "express" / "tests" / "express-decisions.json"


def test_the_rows_are_what_express_session_does() -> None:
    install(SCRIPT.parent)
    observed = subprocess.run(
        (node(), SCRIPT.parent / "decisions.js"), capture_output=True, check=True, timeout=120
    )
    assert json.loads(observed.stdout) == json.loads(ROWS.read_text())
