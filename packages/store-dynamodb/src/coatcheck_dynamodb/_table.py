"""Create the table that a store needs."""

from __future__ import annotations

import time
from typing import Any, Final

from botocore.exceptions import ClientError

from coatcheck.errors import StoreError, StoreTimeout

from ._failures import code_of

#: The index that leads from an owner to the ids. Sessions without an owner are not in it.
OWNER_INDEX: Final = "owner-index"
#: The attribute that tells DynamoDB when to remove an item.
_EXPIRES: Final = "expires"
#: Seconds until a new table or index must be ready. The index of a large table takes long.
_ACTIVE_TIMEOUT: Final = 600.0
_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0

_ATTRIBUTES: Final = [
    {"AttributeName": "id", "AttributeType": "S"},
    {"AttributeName": "owner", "AttributeType": "S"},
]
_INDEX: Final[dict[str, Any]] = {
    "IndexName": OWNER_INDEX,
    "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


def ensure(client: Any, table: str) -> bool:
    """Create a table for sessions, its index and its removal of expired items, unless they exist.

    The table has on-demand billing. An existing table is left as it is. This returns when
    everything is active. Several callers at once do no harm.

    :returns: whether anything was created.
    :raises StoreError: the table has other keys; it was not active within ten minutes.
    """
    made = _ensure_table(client, table)
    found = _active(client, table)
    if [each["AttributeName"] for each in found["KeySchema"]] != ["id"]:
        raise StoreError("the DynamoDB table's key is not `id`, so it is not a table for sessions")
    kinds = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
    indexes = {each["IndexName"]: each for each in found.get("GlobalSecondaryIndexes", ())}
    index = indexes.get(OWNER_INDEX, _INDEX)
    if index["KeySchema"] != _INDEX["KeySchema"] or {kinds["id"], kinds.get("owner", "S")} != {"S"}:
        raise StoreError(
            f"the DynamoDB table's index `{OWNER_INDEX}` must have the key `owner`, and `id` and "
            "`owner` must be strings"
        )
    if OWNER_INDEX not in indexes:
        _add_index(client, table, found)
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
        if code_of(error) != "ResourceInUseException":  # another caller was faster
            raise
    return True


def _add_index(client: Any, table: str, found: dict[str, Any]) -> None:
    index: dict[str, Any] = dict(_INDEX)
    billing = found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if billing == "PROVISIONED":  # as connect-dynamodb does; a write may also write to the index
        units = found["ProvisionedThroughput"]
        names = ("ReadCapacityUnits", "WriteCapacityUnits")
        index["ProvisionedThroughput"] = {name: units[name] for name in names}
    try:
        client.update_table(
            TableName=table,
            AttributeDefinitions=_ATTRIBUTES,
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
    except ClientError as error:
        if code_of(error) not in ("ResourceInUseException", "LimitExceededException"):
            raise


def _description(client: Any, table: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return {}  # it was just created, and not each part of the service knows it
    return found


def _active(client: Any, table: str) -> dict[str, Any]:
    """Wait until the table and all its indexes are active, and return the table's description."""
    deadline, pause = time.monotonic() + _ACTIVE_TIMEOUT, _PAUSE
    while True:
        found = _description(client, table)
        parts = [found.get("TableStatus")]
        parts += [index.get("IndexStatus") for index in found.get("GlobalSecondaryIndexes", ())]
        if set(parts) == {"ACTIVE"}:
            return found
        if time.monotonic() > deadline:
            raise StoreTimeout("the DynamoDB table did not become active in ten minutes")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _ensure_removal(client: Any, table: str) -> bool:
    if _removes(client, table):
        return False
    wanted = {"Enabled": True, "AttributeName": _EXPIRES}
    try:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)
    except ClientError as error:
        # Another caller may have been faster.
        if code_of(error) != "ValidationException" or not _removes(client, table):
            raise
    return True


def _removes(client: Any, table: str) -> bool:
    """Tell whether DynamoDB removes expired items.

    :raises StoreError: it looks at another attribute than the one that sessions have.
    """
    found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return False
    if found.get("AttributeName") != _EXPIRES:
        raise StoreError(
            f"the DynamoDB table's time to live must use the attribute `{_EXPIRES}`: change that"
        )
    return True
