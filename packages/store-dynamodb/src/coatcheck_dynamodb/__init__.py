"""coatcheck's sessions in DynamoDB: ``store="dynamodb://sessions?region=eu-central-1"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import DynamoDBStore

__all__ = ["DynamoDBStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package, too, and listing stores must not import boto3.
    if name in __all__:
        from . import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
