"""coatcheck's sessions in DynamoDB: ``store="dynamodb://sessions?region=eu-central-1"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._store import DynamoDBStore

__all__ = ["DynamoDBStore"]


def __getattr__(name: str) -> object:
    # The plugin is in this package as well, and listing stores must not import boto3.
    if name in __all__:
        from . import _store

        return getattr(_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
