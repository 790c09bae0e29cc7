"""The store."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Final, Self

from coatcheck import Capabilities
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck.storekit import GeneratorStore

from ._clients import borrowed, per_process
from ._failures import PACKAGES, named, translated
from ._items import GRANULARITY, LARGEST
from ._logs import quietly
from ._operations import DynamoDBOperations
from ._url import DEFAULT_PREFIX, SCAN_UNITS, check_prefix, check_table, parse

#: Seconds after which the index of owners shows a write. AWS: "a fraction of a second", normally.
_OWNER_LAG: Final = 10.0


class DynamoDBStore(GeneratorStore):
    """Sessions in a table of DynamoDB.

    The table must exist: see :meth:`ensure_table`. Async applications use the store in worker
    threads, as many as the client has connections. ``all``, ``length`` and ``clear`` read the whole
    table, at ``scan_units`` a second.

    :param client: a client from ``boto3.client("dynamodb")``. The caller keeps it: ``close`` leaves
        it open. Give it time limits and retries, because botocore's own limit is a minute.
    :param table: the table's name.
    :param prefix: the start of each session's id. Other items of the table are left alone.
    :param scan_units: how many read units a listing uses in a second, on average.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client is another object; the name or the prefix is not allowed.
    """

    capabilities: Capabilities = Capabilities(
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
    backend: ClassVar[str] = "DynamoDB"
    client_packages: ClassVar[Collection[str]] = PACKAGES
    _operations: DynamoDBOperations

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
        given = borrowed(client)
        self._where = named(client.meta.endpoint_url, client.meta.region_name)
        names = check_table(table), check_prefix(prefix)
        self.set_up(given, DynamoDBOperations(*names, scan_units, clock))

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ``dynamodb://table?region=eu-central-1&option=value``, without I/O.

        ``docs/dynamodb.md`` lists the options.

        :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
        """
        settings = parse(url)
        store = cls.__new__(cls)
        store._where = named(settings.endpoint_url, settings.region)
        operations = DynamoDBOperations(settings.table, settings.prefix, settings.scan_units, clock)
        store.set_up(per_process(settings), operations)
        return store

    def ensure_table(self) -> bool:
        """Create the table, its index and its removal of expired items, unless they exist.

        This needs permissions that the store does not need otherwise. Calling it twice, or from
        several processes at once, is safe.

        :returns: whether anything was created.
        :raises StoreError: it failed, or the table was not active within ten minutes.
        """
        made: bool = self.run_operation(self._operations.ensure_table())
        return made

    def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.GeneratorStore.send_request`."""
        return quietly(request, client)

    def translate_error(self, error: Exception) -> StoreError:
        """See :meth:`coatcheck.storekit.BaseGeneratorStore.translate_error`."""
        return translated(error, self._where)
