"""What a request costs, counted by the server."""

from __future__ import annotations

import pytest
from mongo_backend import Backend
from visiting import visits

from coatcheck_mongo import AsyncMongoStore, MongoStore


@pytest.mark.parametrize("kind", [AsyncMongoStore, MongoStore])
def test_the_trips_of_a_request(backend: Backend, kind: type[AsyncMongoStore | MongoStore]) -> None:
    """One to read or begin, two to write; none is added for a touch that is not due."""

    def operations() -> int:
        counters = backend.client.admin.command("serverStatus")["opcounters"]
        return sum(counters[kind] for kind in ("query", "insert", "update", "delete", "getmore"))

    with visits(kind.from_url(backend.url)) as first_visit:
        first_visit("/write")  # the store connects, and creates the indexes
    with visits(kind.from_url(f"{backend.url}&indexes=false")) as visit:
        for path, expected in (("/read", 0), ("/write", 1), ("/read", 1), ("/write", 2)):
            before = operations()
            visit(path)
            assert operations() == before + expected, path
