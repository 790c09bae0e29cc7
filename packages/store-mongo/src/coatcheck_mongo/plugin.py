"""Registers the URL schemes of MongoDB."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import StoreSpec, hookimpl


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`."""
    yield StoreSpec(
        name="mongo",
        schemes=("mongodb", "mongodb+srv"),
        contract="1.0",
        summary="a MongoDB server, replica set or sharded cluster",
        open="coatcheck_mongo:MongoStore.from_url",
        open_async="coatcheck_mongo:AsyncMongoStore.from_url",
    )
