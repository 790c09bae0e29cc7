"""docs/explanation/comparison.md says what other libraries do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.interop.peers import PEERS, AiohttpPeer, ExpressPeer, observed
from testing.servers import redis

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "explanation" / "comparison.md").read_text("utf-8")
IN_PROCESS = [name for name in PEERS if name != "Django"]


def tables() -> dict[str, dict[str, str]]:
    """Return what the page says was observed, for each library."""
    said: dict[str, dict[str, str]] = {}
    ran = PAGE.partition("## What was run")[2].partition("\n## ")[0]
    for table in re.findall(r"(?:^\|.*\n)+", ran, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        for name, *cells in rows:
            said.setdefault(name, {}).update(zip(head[1:], cells, strict=True))
    return said


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_library_does_what_the_page_says(name: str) -> None:
    assert observed(PEERS[name]) == tables()[name]


def test_django_does_what_the_page_says() -> None:
    """Its settings are those of a process, so it has one of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "testing.interop.peers", "Django"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert json.loads(ran.stdout)["Django"] == tables()["Django"]


@pytest.mark.integration("redis")
@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
def test_aiohttp_session_does_what_the_page_says() -> None:
    with redis.server() as url:
        assert observed(lambda: AiohttpPeer(url)) == tables()["aiohttp-session"]


@pytest.mark.integration("express")
def test_express_session_does_what_the_page_says() -> None:
    assert observed(ExpressPeer) == tables()["express-session"]


def test_all_libraries_are_run() -> None:
    assert {*tables()} == {*PEERS, "aiohttp-session", "express-session"}
