"""The table that a store needs."""

from __future__ import annotations

import time
from typing import Any, Final

from botocore.exceptions import ClientError

from coatcheck.errors import StoreTimeout

from .failures import code_of

#: The index that leads from an owner to the ids. Sessions without an owner are not in it.
OWNER_INDEX: Final = "owner-index"
#: Seconds until a new table, or a new index, has to be ready; a large table's index takes long.
_PATIENCE: Final = 600.0
_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0

_ATTRIBUTES: Final = [
    {"AttributeName": "id", "AttributeType": "S"},
    {"AttributeName": "owner", "AttributeType": "S"},
]
_INDEX: Final = {
    "IndexName": OWNER_INDEX,
    "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


def ensure(client: Any, table: str) -> bool:
    """Make a table for sessions, its index and its removal of expired items, where they are not.

    On-demand billing. What is there already is left as it is. Returns when all of it is active;
    several callers at once do no harm.

    :returns: whether anything was made.
    :raises StoreTimeout: it was not active in ten minutes.
    """
    made = _ensure_table(client, table)
    found = _active(client, table)
    if OWNER_INDEX not in {index["IndexName"] for index in found.get("GlobalSecondaryIndexes", ())}:
        _add_index(client, table)
        made = True
    _active(client, table)
    return _ensure_removal(client, table) or made


def _ensure_table(client: Any, table: str) -> bool:
    try:
        client.describe_table(TableName=table)
        return False
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
    try:
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=_ATTRIBUTES,
            GlobalSecondaryIndexes=[_INDEX],
        )
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":  # another one was faster
            raise
    return True


def _add_index(client: Any, table: str) -> None:
    try:
        client.update_table(
            TableName=table,
            AttributeDefinitions=_ATTRIBUTES,
            GlobalSecondaryIndexUpdates=[{"Create": _INDEX}],
        )
    except ClientError as error:
        if code_of(error) not in ("ResourceInUseException", "LimitExceededException"):
            raise


def _active(client: Any, table: str) -> dict[str, Any]:
    """Wait until the table and all its indexes are active; return their description."""
    deadline, pause = time.monotonic() + _PATIENCE, _PAUSE
    while True:
        found: dict[str, Any] = client.describe_table(TableName=table)["Table"]
        parts = [found.get("TableStatus")]
        parts += [index.get("IndexStatus") for index in found.get("GlobalSecondaryIndexes", ())]
        if set(parts) == {"ACTIVE"}:
            return found
        if time.monotonic() > deadline:
            raise StoreTimeout("the DynamoDB table did not become active in ten minutes")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _ensure_removal(client: Any, table: str) -> bool:
    found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        return False
    wanted = {"Enabled": True, "AttributeName": "expires"}
    try:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)
    except ClientError as error:
        if code_of(error) != "ValidationException":  # another one was faster
            raise
    return True
