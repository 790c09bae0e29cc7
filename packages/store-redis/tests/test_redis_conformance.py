"""The whole conformance kit on each kind of server, from the command line, as users run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.servers.programs import ServerMissing
from testing.servers.redis import KINDS, URL_VARIABLE, RedisServer, cluster, program

pytestmark = pytest.mark.integration("redis")


@contextlib.contextmanager
def backend(name: str) -> Iterator[str]:
    """Start a backend, and yield its URL."""
    kind, _, form = name.partition(", ")
    if kind == URL_VARIABLE:
        yield os.environ[URL_VARIABLE]
    elif form == "cluster":
        with cluster(executable=program(kind)) as members:
            yield f"redis+cluster://127.0.0.1:{members[0].port}"
    else:
        with RedisServer(executable=program(kind)) as server:
            yield server.url


def backends() -> Iterator[str]:
    """Name them: what nox installs must be there, the system's server may be."""
    for kind in KINDS:
        try:
            program(kind)
        except ServerMissing:
            if kind == "system":
                continue
        yield kind
    yield "valkey, cluster"
    if os.environ.get(URL_VARIABLE):
        yield URL_VARIABLE


@pytest.mark.parametrize("name", list(backends()))
def test_the_store_conforms(name: str, tmp_path: Path) -> None:
    """All clauses that bind it are verified; the reports of a release are made in the same way."""
    reports = os.environ.get("COATCHECK_REPORTS")
    # With the defaults on one kind at least: on the others nobody waits as long for nothing.
    options = "" if reports or name in ("valkey", URL_VARIABLE) else "?socket_timeout=1"
    report = f"redis-{name.removeprefix('redis-')}".replace(", ", "-")
    with backend(name) as url:
        command = (sys.executable, "-m", "coatcheck_conformance", url + options, "--report", report)
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=reports or tmp_path
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\nconformant: AsyncRedisStore" in ended.stdout
