"""The two faces of the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from coatcheck import Capabilities
from coatcheck.errors import StoreError
from coatcheck.faces import AsyncSteppedStore, SteppedStore

from .clients import (
    asynchronous,
    check_client,
    given,
    given_asynchronous,
    seeds,
    synchronous,
    where,
)
from .documents import GRANULARITY, LARGEST, Documents
from .failures import PACKAGES, translated
from .url import DEFAULT_COLLECTION, check_collection, check_database, parse
from .verbs import MongoVerbs

_CAPABILITIES: Final = Capabilities(
    native_expiry=True,
    enumerable=True,
    clearable=True,
    owners=True,
    max_data_bytes=LARGEST,
    multi_process=True,
    durable=True,
    expiry_granularity=GRANULARITY,
)


class MongoStore(SteppedStore):
    """Sessions in MongoDB.

    Reads ask the primary for what it has (``readConcern`` "local"), and writes wait for the
    majority (``writeConcern``), unless the client has concerns of its own.

    :param client: a ``pymongo.MongoClient``. It stays the caller's: ``close`` leaves it open.
        Give it ``timeoutMS``, so that no call waits for longer.
    :param database: the database's name.
    :param collection: the collection's name. It is all sessions': ``clear`` empties it.
    :param stringify: False for sessions that are documents, as connect-mongo's option of this name
        makes them; the codec has to be one of :mod:`coatcheck_mongo.express`.
    :param indexes: whether the first write creates the indexes.
    :param clock: returns POSIX seconds.
    :raises ConfigurationError: the client is another one, or has ``w=0``; a name cannot be.
    """

    capabilities = _CAPABILITIES
    backend = "MongoDB"
    client_packages = PACKAGES

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
        check_client(client, asynchronous=False)
        self._where = where(seeds(client))
        documents = Documents(stringify=stringify)
        names = check_database(database), check_collection(collection)
        verbs = MongoVerbs(documents, clock, indexes=indexes)
        self._use(given(client, *names, documents), verbs)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MongoStore:
        """Open ``mongodb://user:password@host:port/database?option=value``.

        Without I/O. ``docs/mongo.md`` lists the options.

        :raises ConfigurationError: the URL cannot be understood, or has an unknown option.
        """
        settings = parse(url)
        documents = Documents(stringify=settings.stringify)
        store = cls.__new__(cls)
        store._where = where(settings.hosts)
        verbs = MongoVerbs(documents, clock, indexes=settings.indexes)
        store._use(synchronous(settings, documents), verbs)
        return store

    def _translated(self, error: Exception) -> StoreError:
        return translated(error, self._where)

    def _reply(self, client: Any, step: Any) -> Any:
        # In a context of its own: PyMongo keeps the call's deadline there, and where the call is
        # interrupted it may stay for the next one.
        return copy_context().run(step, client.collection)


class AsyncMongoStore(AsyncSteppedStore):
    """Sessions in MongoDB, for event loops of asyncio.

    :param client: a ``pymongo.AsyncMongoClient``. It stays the caller's: ``close`` leaves it open.
        It belongs to the event loop that runs at the construction or, if there is none, at the
        first use. Give it ``timeoutMS``, so that no call waits for longer.

    The other parameters are those of :class:`MongoStore`.
    """

    capabilities = _CAPABILITIES
    backend = "MongoDB"
    client_packages = PACKAGES

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
        check_client(client, asynchronous=True)
        self._where = where(seeds(client))
        documents = Documents(stringify=stringify)
        names = check_database(database), check_collection(collection)
        verbs = MongoVerbs(documents, clock, indexes=indexes)
        self._use(given_asynchronous(client, *names, documents), verbs)

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> AsyncMongoStore:
        """See :meth:`MongoStore.from_url`. Each event loop has a client of its own."""
        settings = parse(url)
        documents = Documents(stringify=settings.stringify)
        store = cls.__new__(cls)
        store._where = where(settings.hosts)
        verbs = MongoVerbs(documents, clock, indexes=settings.indexes)
        store._use(asynchronous(settings, documents), verbs)
        return store

    def _translated(self, error: Exception) -> StoreError:
        return translated(error, self._where)

    async def _reply(self, client: Any, step: Any) -> Any:
        return await step(client.collection)
