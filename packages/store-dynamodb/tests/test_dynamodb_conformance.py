"""The whole conformance kit on DynamoDB Local, from the command line as users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing.servers.dynamodb import server

pytestmark = pytest.mark.integration("dynamodb")


def test_the_store_conforms(tmp_path: Path) -> None:
    """All clauses that bind it are verified; the reports of a release are made in the same way."""
    reports = os.environ.get("COATCHECK_REPORTS")
    with server() as url:
        if not reports:
            url += "&timeout=0.5"  # nobody waits as long as by default for a server that is away
        command = (sys.executable, "-m", "coatcheck_conformance", url, "--report", "dynamodb")
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=reports or tmp_path
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\nconformant: DynamoDBStore" in ended.stdout
