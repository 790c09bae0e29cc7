"""Registers the URL scheme ``dynamodb``."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import StoreSpec, hookimpl


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`."""
    yield StoreSpec(
        name="dynamodb",
        schemes=("dynamodb",),
        contract="1.0",
        summary="a table of Amazon DynamoDB",
        open="coatcheck_dynamodb:DynamoDBStore.from_url",
    )
