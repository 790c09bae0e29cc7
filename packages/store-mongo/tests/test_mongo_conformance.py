"""The whole conformance kit, alone and as a replica set, from the command line as users run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.servers.mongo import URL_VARIABLE, MongoServer, replica_set

pytestmark = pytest.mark.integration("mongo")


@contextlib.contextmanager
def backend(name: str) -> Iterator[str]:
    """Start a backend, and yield its URL."""
    if name == URL_VARIABLE:
        yield os.environ[URL_VARIABLE]
    elif name == "replica-set":
        with replica_set() as members:
            yield members.url
    else:
        with MongoServer() as server:
            yield server.url


def backends() -> list[Any]:
    """Name them. Alone it takes long: the kit waits for a server that is away, again and again."""
    other = [URL_VARIABLE] if os.environ.get(URL_VARIABLE) else []
    return [pytest.param("single", marks=pytest.mark.slow), "replica-set", *other]


@pytest.mark.parametrize("name", backends())
def test_the_store_conforms(name: str, tmp_path: Path) -> None:
    """All clauses that bind it are verified; the reports of a release are made in the same way."""
    reports = os.environ.get("COATCHECK_REPORTS")
    with backend(name) as url:
        if not reports and name == "single":
            url += "?timeoutMS=1000"  # nobody waits as long as by default for servers that are away
        command = (
            sys.executable, "-m", "coatcheck_conformance", url, "--report", f"mongo-{name}",
        )  # fmt: skip
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=reports or tmp_path
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\nconformant: AsyncMongoStore" in ended.stdout
