"""The stores: one for the sync API and one for the async API of PyMongo."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextvars import copy_context
from typing import Any, ClassVar, Self

from coatcheck import Capabilities
from coatcheck.errors import StoreError
from coatcheck.storekit import AsyncGeneratorStore, BaseGeneratorStore, GeneratorStore

from ._clients import API, ASYNC, SYNC, seeds, where
from ._documents import GRANULARITY, LARGEST, Documents
from ._failures import PACKAGES, translated
from ._operations import MongoOperations
from ._url import DEFAULT_COLLECTION, check_collection, check_database, parse


class _BaseMongoStore(BaseGeneratorStore):
    """The constructors and the errors of both stores."""

    capabilities: Capabilities = Capabilities(
        native_expiry=True,
        enumerable=True,
        clearable=True,
        owners=True,
        max_data_bytes=LARGEST,
        multi_process=True,
        durable=True,
        expiry_granularity=GRANULARITY,
    )
    backend: ClassVar[str] = "MongoDB"
    client_packages: ClassVar[Collection[str]] = PACKAGES
    _api: ClassVar[API]

    def __init__(
        self,
        client: Any,
        *,
        database: str,
        collection: str = DEFAULT_COLLECTION,
        stringify: bool = True,
        indexes: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api.check(client)
        self._where = where(seeds(client))
        documents = Documents(stringify=stringify)
        names = check_database(database), check_collection(collection)
        operations = MongoOperations(documents, clock, indexes=indexes)
        self.set_up(self._api.borrow(client, *names, documents), operations)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ``mongodb://user:password@host:port/database?option=value``, without I/O.

        ``docs/mongo.md`` lists the options. Each process has its own client; in the async API, so
        has each event loop.

        :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
        """
        settings = parse(url)
        documents = Documents(stringify=settings.stringify)
        store = cls.__new__(cls)
        store._where = where(settings.hosts)
        operations = MongoOperations(documents, clock, indexes=settings.indexes)
        store.set_up(cls._api.open(settings, documents), operations)
        return store

    def translate_error(self, error: Exception) -> StoreError:
        """See :meth:`coatcheck.storekit.BaseGeneratorStore.translate_error`."""
        return translated(error, self._where)


class MongoStore(_BaseMongoStore, GeneratorStore):
    """Sessions in MongoDB.

    Reads ask the primary for its present data (``readConcern`` "local"), and writes wait for the
    majority (``writeConcern``), unless the client has concerns of its own.

    :param client: a ``pymongo.MongoClient``. The caller keeps it: ``close`` leaves it open.
        Give it ``timeoutMS``, so that no call waits for longer.
    :param database: the database's name.
    :param collection: the collection's name. It holds nothing but sessions: ``clear`` empties it.
    :param stringify: False for sessions that are documents, as with connect-mongo's option of this
        name. The codec must then be one of :mod:`coatcheck_mongo.express`.
    :param indexes: whether the first write creates the indexes.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client is another object, or has ``w=0``; a name is not allowed.
    """

    _api = SYNC

    def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.GeneratorStore.send_request`."""
        # PyMongo keeps the call's deadline in the context. An interruption could leave it there for
        # the next call, so each call has a context of its own.
        return copy_context().run(request, client.collection)


class AsyncMongoStore(_BaseMongoStore, AsyncGeneratorStore):
    """Sessions in MongoDB, for event loops of asyncio.

    :param client: a ``pymongo.AsyncMongoClient``. The caller keeps it: ``close`` leaves it open. It
        belongs to the event loop that runs when the store is made or, if none runs, to the first
        that uses it. Give it ``timeoutMS``, so that no call waits for longer.

    The other parameters are those of :class:`MongoStore`.
    """

    _api = ASYNC

    async def send_request(self, client: Any, request: Any) -> Any:
        """See :meth:`coatcheck.storekit.AsyncGeneratorStore.send_request`."""
        return await request(client.collection)
