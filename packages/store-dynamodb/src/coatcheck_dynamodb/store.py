"""The store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from coatcheck import (
    ABSENT,
    ALWAYS,
    PRESENT,
    Capabilities,
    Condition,
    Record,
    Store,
)
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreError,
    StoreTimeout,
)
from coatcheck.storekit import (
    ClientPerProcess,
    SingleProcessClient,
    check_key,
    check_owner,
    check_record,
    interruption,
    raise_interruption,
)

from . import items, logs, table
from .clients import UNSURE, per_process, watched
from .failures import PACKAGES, code_of, named, translated
from .items import GRANULARITY, LARGEST, Expression, Item
from .throttling import Backoff, RateLimiter
from .url import DEFAULT_PREFIX, SCAN_UNITS, check_prefix, check_table, parse

#: Seconds after which the index of owners shows a write. AWS: "a fraction of a second", normally.
_OWNER_LAG: Final = 10.0
#: Items that a listing has in memory at a time.
_PAGE: Final = 64
#: What the service takes in one request.
_READ_AT_ONCE: Final = 100
_REMOVED_AT_ONCE: Final = 25

T = TypeVar("T")


class DynamoDBStore(Store):
    """Sessions in a table of DynamoDB.

    The table has to be there: :meth:`ensure_table`. Asynchronous applications use it in worker
    threads, as many as the client has connections.

    :param client: of ``boto3.client("dynamodb")``. It stays the caller's: ``close`` leaves it open.
        Give it time limits and retries; botocore's own limits are a minute.
    :param table: the table's name.
    :param prefix: what the ids of sessions begin with. Other items of the table are left alone.
    :param scan_units: read units that a listing takes in a second, on the average.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client is another one; the name or the prefix cannot be.
    """

    capabilities = Capabilities(
        native_expiry=True,
        enumerable=True,
        clearable=True,
        owners=True,
        owner_lag=_OWNER_LAG,
        max_data_bytes=LARGEST,
        multi_process=True,
        durable=True,
        expiry_granularity=GRANULARITY,
    )

    def __init__(
        self,
        client: Any,
        *,
        table: str,
        prefix: str = DEFAULT_PREFIX,
        scan_units: int = SCAN_UNITS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not scan_units >= 1:
            raise ConfigurationError("scan_units must be at least 1")
        given = SingleProcessClient(watched(client), "the DynamoDB client")
        self._where = named(client.meta.endpoint_url, client.meta.region_name)
        self._open(given, check_table(table), check_prefix(prefix), scan_units, clock)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> DynamoDBStore:
        """Open ``dynamodb://table?region=eu-central-1&option=value``.

        Without I/O. ``docs/dynamodb.md`` lists the options.

        :raises ConfigurationError: the URL cannot be understood, or has an unknown option.
        """
        settings = parse(url)
        store = cls.__new__(cls)
        store._where = named(settings.endpoint_url, settings.region)
        store._open(
            per_process(settings), settings.table, settings.prefix, settings.scan_units, clock
        )
        return store

    def _open(
        self,
        client: SingleProcessClient[Any] | ClientPerProcess[Any],
        table: str,
        prefix: str,
        scan_units: int,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._table = table
        self._prefix = prefix
        self._scan_units = scan_units
        self._clock = clock
        self._closed = False
        logs.install()

    def ensure_table(self) -> bool:
        """Make the table, its index and its removal of expired items, where they are not.

        Needs permissions that the store itself does without; safe to be called twice, and at once.

        :returns: whether anything was made.
        :raises StoreError: it failed, or was not active in ten minutes.
        """
        return self._call(lambda client: table.ensure(client, self._table))

    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return self._live(self._item(key))

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        check_record(record)
        condition, token = items.condition(only_if, self._clock()), secrets.token_hex(8)
        if only_if is ABSENT:  # nothing of a session that has expired stays
            whole = {**self._id(key), **items.attributes(record, token)}
            reply = self._write("put_item", Item=whole, **condition.arguments())
        else:
            reply = self._update(key, items.writing(record, token, condition))
        if not reply.get("Refused"):
            return True
        if not _is_unsure(reply):
            return False
        # Refused, because an attempt before, of which nothing was heard, has done it?
        item = self._item(key)
        if items.is_written_by(token, item):
            return True
        if self._live(item) is None:
            return False
        raise StoreTimeout(
            "DynamoDB did not answer in time, and whether this wrote the session is not known: "
            "another write has followed, or was first"
        ) from reply["Refused"]

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        check_key(key)
        if only_if is ABSENT:  # it never holds for what is to be removed
            self.ping()
            return False
        if only_if is ALWAYS:
            return self._remove(key)
        # The session goes on under another key. The tombstone tells a repetition who ended it.
        token, now = secrets.token_hex(8), self._clock()
        tombstone = {**self._id(key), **items.tombstone(token, now)}
        condition = items.condition(only_if, now)
        reply = self._write("put_item", Item=tombstone, **condition.arguments())
        if not reply.get("Refused"):
            return True
        if not _is_unsure(reply):
            return False
        item = self._item(key)
        if item is None:
            raise _unknown_ending(reply)
        return items.is_tombstone_of(token, item)

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        condition = items.condition(PRESENT, self._clock())
        reply = self._update(key, items.touching(expires_at, condition))
        if not reply.get("Refused"):
            return True
        # An attempt before may have moved the expiry into the past.
        return _is_unsure(reply) and items.lives_until(self._item(key), expires_at)

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`. The table is read at ``scan_units`` a second."""
        for page in self._scan(items.live(self._prefix, self._clock()), Limit=_PAGE):
            yield from self._records(page["Items"])

    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`. The table is read at ``scan_units`` a second."""
        pages = self._scan(items.live(self._prefix, self._clock()), Select="COUNT")
        return sum(page["Count"] for page in pages)

    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`. It takes ``scan_units`` a second, too."""
        ours = Expression().add(
            "FilterExpression", "begins_with(id, :prefix)", {":prefix": {"S": self._prefix}}
        )
        limiter = RateLimiter(self._scan_units)
        for page in self._scan(ours, limiter, ProjectionExpression="id"):
            for keys in _pieces(page["Items"], _REMOVED_AT_ONCE):
                self._remove_all(keys, limiter)

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        start: dict[str, Any] = {}
        while True:
            page = self._ask(
                "query",
                TableName=self._table,
                IndexName=table.OWNER_INDEX,
                KeyConditionExpression="#o = :o",
                ExpressionAttributeNames={"#o": "owner"},
                ExpressionAttributeValues={":o": {"S": check_owner(owner)}},
                **start,
            )
            keys = [{"id": item["id"]} for item in page["Items"] if self._is_ours(item)]
            for some in _pieces(keys, _READ_AT_ONCE):
                # The index lags behind, and has no data: the table has the last word.
                for key, record in self._records(self._items(some)):
                    if record.owner == owner:
                        yield key, record
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`. It is a read like others, with the same permissions."""
        self._item("ping")

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        self._client.close()

    def _id(self, key: str) -> dict[str, Any]:
        return {"id": {"S": f"{self._prefix}{check_key(key)}"}}

    def _is_ours(self, item: Item) -> bool:
        return str(item["id"]["S"]).startswith(self._prefix)

    def _item(self, key: str) -> Item | None:
        reply = self._ask("get_item", TableName=self._table, Key=self._id(key), ConsistentRead=True)
        item: Item | None = reply.get("Item")
        if item is not None and item.get("id") != self._id(key)["id"]:
            raise StoreError("DynamoDB answered something else than what was asked for")
        return item

    def _items(self, keys: Sequence[Item]) -> Iterator[Item]:
        """Return items by their keys; those that the service leaves out are asked for again."""
        left = list(keys)
        backoff = Backoff()
        while left:
            backoff.wait(len(left))
            wanted = {self._table: {"Keys": left, "ConsistentRead": True}}
            reply = self._ask("batch_get_item", RequestItems=wanted)
            yield from reply["Responses"].get(self._table, ())
            left = (reply.get("UnprocessedKeys") or {}).get(self._table, {}).get("Keys", [])

    def _remove(self, key: str) -> bool:
        """Remove an item, what is expired or malformed, too; tell whether it was live."""
        present = Expression().add("ConditionExpression", items.PRESENT_AT_ALL, {})
        reply = self._write(
            "delete_item", Key=self._id(key), ReturnValues="ALL_OLD", **present.arguments()
        )
        removed = reply.get("Attributes")
        if not removed and _is_unsure(reply):
            raise _unknown_ending(reply)
        return self._live(removed) is not None

    def _remove_all(self, keys: Sequence[Item], limiter: RateLimiter) -> None:
        left = [{"DeleteRequest": {"Key": key}} for key in keys]
        backoff = Backoff()
        while left:
            backoff.wait(len(left))
            reply = self._ask(
                "batch_write_item",
                RequestItems={self._table: left},
                ReturnConsumedCapacity="TOTAL",
            )
            left = (reply.get("UnprocessedItems") or {}).get(self._table, [])
            limiter.wait(sum(each["CapacityUnits"] for each in reply["ConsumedCapacity"]))

    def _live(self, item: Item | None) -> Record | None:
        record = items.record_of(item)
        return record if record is not None and record.expires_at > self._clock() else None

    def _records(self, found: Sequence[Item] | Iterator[Item]) -> Iterator[tuple[str, Record]]:
        for item in found:
            record, key = self._live(item), str(item["id"]["S"])[len(self._prefix) :]
            if record is not None and key:
                yield key, record

    def _scan(
        self, expression: Expression, limiter: RateLimiter | None = None, **more: Any
    ) -> Iterator[dict[str, Any]]:
        """Return the pages of the table, and take no more of its capacity than is allowed."""
        start: dict[str, Any] = {}
        limiter = limiter or RateLimiter(self._scan_units)
        while True:
            page = self._ask(
                "scan",
                TableName=self._table,
                ConsistentRead=True,
                ReturnConsumedCapacity="TOTAL",
                **expression.arguments(),
                **start,
                **more,
            )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
            limiter.wait(page["ConsumedCapacity"]["CapacityUnits"])

    def _update(self, key: str, expression: Expression) -> dict[str, Any]:
        return self._write("update_item", Key=self._id(key), **expression.arguments())

    def _write(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Write; return the reply, with the error as ``Refused`` if the condition does not hold."""

        reply: dict[str, Any] = self._call(
            lambda client: _unless_refused(
                getattr(client, method), TableName=self._table, **arguments
            )
        )
        return reply

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the client, and return the service's reply."""
        reply: dict[str, Any] = self._call(lambda client: getattr(client, method)(**arguments))
        return reply

    def _call(self, call: Callable[[Any], T]) -> T:
        if self._closed:
            raise StoreClosed("this DynamoDB store is closed")
        try:
            return logs.quietly(call, self._client.get)
        except (StoreError, ConfigurationError):
            raise
        except Exception as error:
            if interruption(error, PACKAGES) is not None:
                self._client.discard()
                raise_interruption(error, PACKAGES)
            if self._closed:
                raise StoreClosed("this DynamoDB store is closed") from error
            raise translated(error, self._where) from error
        except BaseException:
            self._client.discard()
            raise


def _unless_refused(method: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    try:
        return method(**arguments)
    except ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise
        return {**error.response, "Refused": error}


def _unknown_ending(reply: Mapping[str, Any]) -> StoreTimeout:
    error = StoreTimeout(
        "DynamoDB did not answer in time, and whether this removed the session is not known"
    )
    error.__cause__ = reply.get("Refused")
    return error


def _is_unsure(reply: Mapping[str, Any]) -> bool:
    """Tell whether an attempt before the one that was answered may have been carried out."""
    return bool(reply["ResponseMetadata"].get(UNSURE))


def _pieces(found: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(found), size):
        yield found[start : start + size]
