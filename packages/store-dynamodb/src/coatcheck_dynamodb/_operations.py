"""The operations of the store: generators that yield requests and are sent the replies.

A request is a function that takes a client of boto3 and returns the service's reply.

docs/decisions/2026-11-30-dynamodb-store.md has the reasons.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from botocore.exceptions import ClientError

from coatcheck import ABSENT, ALWAYS, PRESENT, Condition, Record
from coatcheck.errors import StoreError, StoreTimeout
from coatcheck.storekit import Listing, Requests

from . import _items as items
from ._clients import UNSURE
from ._failures import code_of
from ._items import Expression, Item
from ._table import OWNER_INDEX, ensure
from ._throttling import Backoff, RateLimiter

#: A request of an operation.
Call: TypeAlias = Callable[[Any], Any]

#: How many items a listing has in memory at a time.
_PAGE: Final = 64
#: How many items the service reads, and removes, in one request.
_READ_AT_ONCE: Final = 100
_REMOVED_AT_ONCE: Final = 25

T = TypeVar("T")


class DynamoDBOperations:
    """The operations of the store.

    :param table: the table's name.
    :param prefix: the start of each session's id.
    :param scan_units: how many read units a listing uses in a second, on average.
    :param clock: returns POSIX seconds.
    """

    def __init__(
        self, table: str, prefix: str, scan_units: int, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._prefix = prefix
        self._scan_units = scan_units
        self._clock = clock

    def ensure_table(self) -> Requests:
        """See :meth:`coatcheck_dynamodb.DynamoDBStore.ensure_table`."""
        return (yield lambda client: ensure(client, self._table))

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""
        return self._live((yield from self._item(key)))

    def set(self, key: str, record: Record, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.set`."""
        condition, token = items.condition(only_if, self._clock()), secrets.token_hex(8)
        if only_if is ABSENT:  # so that nothing of an expired session is left
            whole = {**self._id(key), **items.attributes(record, token)}
            reply = yield from self._write("put_item", Item=whole, **condition.arguments())
        else:
            reply = yield from self._update(key, items.writing(record, token, condition))
        if not reply.get("Refused"):
            return True
        if not _is_unsure(reply):
            return False
        # An earlier attempt without an answer may have written it, and so caused the refusal.
        item = yield from self._item(key)
        if items.is_written_by(token, item):
            return True
        if self._live(item) is None:
            return False
        raise StoreTimeout(
            "DynamoDB did not answer in time, and whether this wrote the session is not known: "
            "another write came before or after it"
        ) from reply["Refused"]

    def destroy(self, key: str, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.destroy`."""
        if only_if is ABSENT:  # there is nothing to remove if this holds
            yield from self.ping()
            return False
        if only_if is ALWAYS:
            return (yield from self._remove(key))
        # The session goes on under another key. The tombstone tells a repetition who ended it.
        token, now = secrets.token_hex(8), self._clock()
        tombstone = {**self._id(key), **items.tombstone(token, now)}
        condition = items.condition(only_if, now)
        reply = yield from self._write("put_item", Item=tombstone, **condition.arguments())
        if not reply.get("Refused"):
            return True
        if not _is_unsure(reply):
            return False
        item = yield from self._item(key)
        if item is None:
            raise _unknown_ending(reply)
        return items.is_tombstone_of(token, item)

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        """See :meth:`coatcheck.Store.touch`."""
        condition = items.condition(PRESENT, self._clock())
        reply = yield from self._update(key, items.touching(expires_at, condition))
        if not reply.get("Refused"):
            return True
        if not _is_unsure(reply):
            return False
        # An earlier attempt may have moved the expiry into the past.
        return items.lives_until((yield from self._item(key)), expires_at)

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""
        scan = self._scan(items.live(self._prefix, self._clock()), Limit=_PAGE)
        while (page := (yield from scan.next_page())) is not None:
            yield self._records(page["Items"])

    def length(self) -> Requests:
        """See :meth:`coatcheck.Store.length`."""
        count = 0
        scan = self._scan(items.live(self._prefix, self._clock()), Select="COUNT")
        while (page := (yield from scan.next_page())) is not None:
            count += page["Count"]
        return count

    def clear(self) -> Requests:
        """See :meth:`coatcheck.Store.clear`."""
        ours = Expression().add(
            "FilterExpression", "begins_with(id, :prefix)", {":prefix": {"S": self._prefix}}
        )
        scan = self._scan(ours, ProjectionExpression="id")
        while (page := (yield from scan.next_page())) is not None:
            for keys in _pieces(page["Items"], _REMOVED_AT_ONCE):
                yield from self._remove_all(keys, scan.limiter)

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`."""
        start: dict[str, Any] = {}
        while True:
            page = yield _ask(
                "query",
                TableName=self._table,
                IndexName=OWNER_INDEX,
                KeyConditionExpression="#o = :o",
                ExpressionAttributeNames={"#o": "owner"},
                ExpressionAttributeValues={":o": {"S": owner}},
                **start,
            )
            keys = [{"id": item["id"]} for item in page["Items"] if self._is_ours(item)]
            for some in _pieces(keys, _READ_AT_ONCE):
                yield from self._owned(some, owner)
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def ping(self) -> Requests:
        """See :meth:`coatcheck.Store.ping`. It is a read like others, with the same permissions."""
        yield from self._item("ping")

    def _id(self, key: str) -> dict[str, Any]:
        return {"id": {"S": f"{self._prefix}{key}"}}

    def _is_ours(self, item: Item) -> bool:
        return str(item["id"]["S"]).startswith(self._prefix)

    def _live(self, item: Item | None) -> Record | None:
        record = items.record_of(item)
        return record if record is not None and record.expires_at > self._clock() else None

    def _records(self, found: Iterable[Item]) -> list[tuple[str, Record]]:
        live = ((str(item["id"]["S"])[len(self._prefix) :], self._live(item)) for item in found)
        return [(key, record) for key, record in live if record is not None and key]

    def _item(self, key: str) -> Requests:
        reply = yield _ask(
            "get_item", TableName=self._table, Key=self._id(key), ConsistentRead=True
        )
        item: Item | None = reply.get("Item")
        if item is not None and item.get("id") != self._id(key)["id"]:
            raise StoreError("DynamoDB answered something else than what was asked for")
        return item

    def _owned(self, keys: Sequence[Item], owner: str) -> Listing:
        """List an owner's records by their keys.

        The service may leave keys out, and these are asked for again.
        """
        left = list(keys)
        backoff = Backoff()
        while left:
            backoff.wait(len(left))
            wanted = {self._table: {"Keys": left, "ConsistentRead": True}}
            reply = yield _ask("batch_get_item", RequestItems=wanted)
            # The index of owners lags behind and has no data, so the table decides.
            records = self._records(reply["Responses"].get(self._table, ()))
            yield [item for item in records if item[1].owner == owner]
            left = (reply.get("UnprocessedKeys") or {}).get(self._table, {}).get("Keys", [])

    def _remove(self, key: str) -> Requests:
        """Remove an item, also an expired or malformed one. Return whether it was live."""
        present = Expression().add("ConditionExpression", items.PRESENT_AT_ALL, {})
        reply = yield from self._write(
            "delete_item", Key=self._id(key), ReturnValues="ALL_OLD", **present.arguments()
        )
        removed = reply.get("Attributes")
        if not removed and _is_unsure(reply):
            raise _unknown_ending(reply)
        return self._live(removed) is not None

    def _remove_all(self, keys: Sequence[Item], limiter: RateLimiter) -> Requests:
        left = [{"DeleteRequest": {"Key": key}} for key in keys]
        backoff = Backoff()
        while left:
            backoff.wait(len(left))
            reply = yield _ask(
                "batch_write_item",
                RequestItems={self._table: left},
                ReturnConsumedCapacity="TOTAL",
            )
            left = (reply.get("UnprocessedItems") or {}).get(self._table, [])
            limiter.wait(sum(each["CapacityUnits"] for each in reply["ConsumedCapacity"]))

    def _update(self, key: str, expression: Expression) -> Requests:
        return self._write("update_item", Key=self._id(key), **expression.arguments())

    def _write(self, method: str, **arguments: Any) -> Requests:
        """Write. Return the reply, with the error as ``Refused`` if the condition does not hold."""
        try:
            return (yield _ask(method, TableName=self._table, **arguments))
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return {**error.response, "Refused": error}

    def _scan(self, expression: Expression, **more: Any) -> _Scan:
        arguments = {"TableName": self._table, **expression.arguments(), **more}
        return _Scan(arguments, RateLimiter(self._scan_units))


class _Scan:
    """The pages of the table, no faster than a limiter allows.

    :ivar limiter: limits the capacity that the scan uses.
    """

    def __init__(self, arguments: dict[str, Any], limiter: RateLimiter) -> None:
        self._arguments = arguments
        self._last: Mapping[str, Any] | None = None
        self.limiter = limiter

    def next_page(self) -> Requests:
        """Return the next page, or None after the last one."""
        start: dict[str, Any] = {}
        if self._last is not None:
            if "LastEvaluatedKey" not in self._last:
                return None
            start = {"ExclusiveStartKey": self._last["LastEvaluatedKey"]}
            self.limiter.wait(self._last["ConsumedCapacity"]["CapacityUnits"])
        self._last = yield _ask(
            "scan", ConsistentRead=True, ReturnConsumedCapacity="TOTAL", **self._arguments, **start
        )
        return self._last


def _ask(method: str, **arguments: Any) -> Call:
    """Return the request that calls a method of the client."""
    return lambda client: getattr(client, method)(**arguments)


def _unknown_ending(reply: Mapping[str, Any]) -> StoreTimeout:
    error = StoreTimeout(
        "DynamoDB did not answer in time, and whether this removed the session is not known"
    )
    error.__cause__ = reply.get("Refused")
    return error


def _is_unsure(reply: Mapping[str, Any]) -> bool:
    """Tell whether an earlier attempt than the one with an answer may have been carried out."""
    return bool(reply["ResponseMetadata"].get(UNSURE))


def _pieces(found: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), size):
        yield found[start : start + size]
