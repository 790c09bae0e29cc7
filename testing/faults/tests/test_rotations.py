"""No session survives a logout or a revocation by changing its id meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from coatcheck import open_store
from coatcheck_sql import SQLStore
from testing.backends import BACKENDS, Backend
from testing.faults.rotations import SITES, outcome_of

#: One server of each kind.
_STORES = (
    "memory", "file", "redis-valkey", "mongo-single", "postgresql", "mariadb", "sqlite", "dynamodb",
)  # fmt: skip


def each_site() -> Iterator[Any]:
    """Yield each store with each way to serve it; stores in memory serve only one process."""
    for backend in BACKENDS:
        for served in SITES if backend.name in _STORES else ():
            if backend.name != "memory" or served == "in process":
                marks = [pytest.mark.integration(backend.server)] if backend.server else []
                yield pytest.param(backend, served, marks=marks, id=f"{backend.name}-{served}")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["revoke", "logout"])
@pytest.mark.parametrize(("backend", "served"), list(each_site()))
def test_no_session_escapes_by_a_new_id(backend: Backend, served: str, ending: str) -> None:
    """None of 200 sessions whose id changes all the time survives."""
    with backend.start() as url:
        with closing(open_store(url)) as store:
            if isinstance(store, SQLStore):
                store.ensure_table()
        assert asyncio.run(outcome_of(url, served, ending, 200)) == 0
