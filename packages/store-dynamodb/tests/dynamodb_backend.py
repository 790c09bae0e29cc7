"""Where a test's sessions are, and what is sent there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backend:
    """Where a test's sessions are.

    :ivar url: of a store with the test's prefix.
    :ivar table: the table's name.
    :ivar prefix: of the ids.
    :ivar client: boto3's own, for what other programs do.
    """

    url: str
    table: str
    prefix: str
    client: Any

    def item(self, key: str) -> dict[str, Any] | None:
        """Return what is in the table."""
        found = self.client.get_item(
            TableName=self.table, Key={"id": {"S": self.prefix + key}}, ConsistentRead=True
        )
        item: dict[str, Any] | None = found.get("Item")
        return item

    def put(self, key: str, **attributes: dict[str, Any]) -> None:
        """Write an item as another program does."""
        item = {"id": {"S": self.prefix + key}, **attributes}
        self.client.put_item(TableName=self.table, Item=item)


def counted(client: Any) -> Counter[str]:
    """Return what counts the requests that a client sends, by operation, attempts and all."""
    counts: Counter[str] = Counter()

    def count(request: Any, **_: object) -> None:
        counts[request.headers["X-Amz-Target"].decode().rpartition(".")[2]] += 1

    client.meta.events.register("before-send.dynamodb", count)
    return counts
