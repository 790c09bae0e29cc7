"""The conformance kit's harness for DynamoDB. Only the kit imports this module."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from coatcheck_conformance import ClientStore, Harness

from ._clients import per_process
from ._items import Item
from ._logs import quietly
from ._store import DynamoDBStore
from ._table import ensure
from ._url import parse


def harness_of(url: str) -> DynamoDBHarness:
    """Return the harness of a URL."""
    return DynamoDBHarness(url)


#: A value of each type that DynamoDB has.
_VALUES: Final[tuple[dict[str, Any], ...]] = (
    {"S": "x"},
    {"N": "0"},
    {"B": b"\xff"},
    {"BOOL": True},
    {"NULL": True},
    {"L": []},
    {"M": {"S": {"S": "x"}}},
    {"SS": ["x"]},
    {"NS": ["1"]},
    {"BS": [b"x"]},
)
_NUMBERS: Final = (
    "9.9E+125",
    "-9.9E+125",
    "253402300800.5",
)


class DynamoDBHarness(Harness):
    """Opens stores with prefixes of their own in the table of a URL.

    It creates the table unless it exists.

    :param url: a DynamoDB store's URL, without the option ``prefix``.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "folder": "there are no files",
        "async_client": "boto3's clients are synchronous",
        "credentials": "the URL has no password",
    }

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._settings = parse(url)
        self._base = f"coatcheck-kit-{uuid.uuid4().hex[:8]}:"
        self._client: Any = per_process(self._settings).get()
        ensure(self._client, self._settings.table)

    def url(self, namespace: str) -> str:
        """See :meth:`coatcheck_conformance.Harness.url`."""
        joint = "&" if "?" in self._url else "?"
        return f"{self._url}{joint}prefix={quote(self._prefix(namespace))}"

    def has(self, feature: str) -> bool:
        """See :meth:`coatcheck_conformance.Harness.has`."""
        return feature == "url" or super().has(feature)

    def address(self) -> tuple[str, int] | None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        parts = urlsplit(self._settings.endpoint_url or "")
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            return None
        return parts.hostname, parts.port

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        super().finish()
        self._client.close()

    def backend(self) -> str:
        """Return the service's name."""
        return "DynamoDB Local" if self._settings.endpoint_url else "Amazon DynamoDB"

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""

        def change(**attributes: dict[str, Any]) -> Callable[[], None]:
            return lambda: self._put({**self._item(namespace, key), **attributes})

        def without(name: str) -> Callable[[], None]:
            def remove() -> None:
                item = self._item(namespace, key)
                self._put({other: value for other, value in item.items() if other != name})

            return remove

        return {
            "no data": without("sess"),
            "a number for the data": change(sess={"N": "1"}),
            "null for the data": change(sess={"NULL": True}),
            "a list of data": change(sess={"L": [{"S": "data"}]}),
            "a map for the data": change(sess={"M": {"data": {"S": "data"}}}),
            "a set of data": change(sess={"SS": ["data"]}),
            "no expiry": without("expires"),
            "text for the expiry": change(expires={"S": "4102444800"}),
            "a set of expiries": change(expires={"NS": ["4102444800"]}),
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""

        def change(**attributes: dict[str, Any]) -> Callable[[], None]:
            return lambda: self._put({**self._item(namespace, key), **attributes})

        def without_owner() -> None:
            item = self._item(namespace, key)
            self._put({name: value for name, value in item.items() if name != "owner"})

        empty = {"id": {"S": self._prefix(namespace)}, "expires": {"N": "4102444800"}}
        return {
            **{f"the type {value}": change(type=value) for value in _VALUES[1:2]},
            **{
                f"the tombstone {value}": change(coatcheck_tombstone=value) for value in _VALUES[:2]
            },
            **{f"an expiry of {number}": change(expires={"N": number}) for number in _NUMBERS},
            "other attributes": change(**{f"other{n}": value for n, value in enumerate(_VALUES)}),
            "no owner": without_owner,
            "an item without a key": lambda: self._put(
                {**empty, "sess": {"S": "x"}, "owner": {"S": owner}}
            ),
        }

    def stored(self, namespace: str, key: str) -> str | bytes | None:
        """See :meth:`coatcheck_conformance.Harness.stored`."""
        value = self._item(namespace, key).get("sess", {})
        found: str | bytes | None = value.get("S", value.get("B"))
        return found

    def foreign(self, namespace: str) -> Callable[[], bool]:
        """See :meth:`coatcheck_conformance.Harness.foreign`."""
        # Its id begins as the namespace's ids do, except for the last character.
        item = {"id": {"S": f"{self._prefix(namespace)[:-1]}-foreign"}, "other": {"S": "yes"}}
        self._put(item)
        return lambda: self._get(item["id"]["S"]) == item

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_client`."""
        client: Any = per_process(self._settings).get()
        name = self._settings.table
        store = DynamoDBStore(client, table=name, prefix=self._prefix(namespace), clock=clock)

        def is_open() -> bool:
            return bool(client.describe_table(TableName=name))

        return ClientStore(store, is_open, client.close)

    def _prefix(self, namespace: str) -> str:
        return f"{self._base}{namespace}:"

    def _item(self, namespace: str, key: str) -> Item:
        return self._get(f"{self._prefix(namespace)}{key}") or {}

    def _get(self, id: str) -> Item | None:
        # The store must not be blamed for what is logged about the kit's own requests.
        reply = quietly(
            lambda client: client.get_item(
                TableName=self._settings.table, Key={"id": {"S": id}}, ConsistentRead=True
            ),
            self._client,
        )
        item: Item | None = reply.get("Item")
        return item

    def _put(self, item: Item) -> None:
        quietly(
            lambda client: client.put_item(TableName=self._settings.table, Item=item),
            self._client,
        )
