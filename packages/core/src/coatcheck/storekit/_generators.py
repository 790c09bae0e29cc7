"""Make the sync API and the async API of a store from one description of its operations.

The description has one method for each operation. The method is a generator: it yields *requests*,
is sent the replies, and returns the operation's result. The store defines what a request is, for
example the words of a command or a callable. If the client library raises, the exception is
raised at the ``yield``. ``all`` and ``owned_by`` also yield lists; each list is a page of the
records that they list::

    class MyOperations:
        def touch(self, key, expires_at, owner):
            reply = yield ("EXPIREAT", key, int(expires_at))
            return reply == 1

        ...  # the other methods of StoreOperations

    class MyStore(GeneratorStore):
        backend = "MyServer"

        def __init__(self, client):
            self.set_up(BorrowedClient(client), MyOperations())

        def send_request(self, client, request):
            return client.execute_command(*request)

        def translate_error(self, error):
            return StoreUnavailable("MyServer did not answer")

    class MyAsyncStore(AsyncGeneratorStore):
        backend = "MyServer"

        def __init__(self, client):
            self.set_up(SingleLoopClient(client, "the client"), MyOperations())

        async def send_request(self, client, request):
            return await client.execute_command(*request)

        def translate_error(self, error):
            return StoreUnavailable("MyServer did not answer")

The classes check arguments, refuse calls after ``close``, turn exceptions of the client library
into errors of stores, and let exceptions of signal handlers pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Generator, Iterator
from typing import Any, ClassVar, Protocol, TypeAlias

from .._stores.interruptions import interruption, raise_interruption
from ..errors import ConfigurationError, StoreClosed, StoreError
from ..store import (
    ALWAYS,
    AsyncStore,
    Condition,
    Record,
    Store,
    check_expiry,
    check_key,
    check_owner,
    check_record,
)

#: One operation: a generator that yields requests, is sent replies, and returns the result.
Requests: TypeAlias = Generator[Any, Any, Any]
#: An operation that lists records: what it yields as a list is a page.
Listing: TypeAlias = Generator[Any, Any, None]


class StoreOperations(Protocol):
    """Define the operations of a store, as generators of requests."""

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""

    def set(self, key: str, record: Record, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.set`."""

    def destroy(self, key: str, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.destroy`."""

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        """See :meth:`coatcheck.Store.touch`."""

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""

    def length(self) -> Requests:
        """See :meth:`coatcheck.Store.length`."""

    def clear(self) -> Requests:
        """See :meth:`coatcheck.Store.clear`."""

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`."""

    def ping(self) -> Requests:
        """See :meth:`coatcheck.Store.ping`."""


class ClientProvider(Protocol):
    """Give a sync store its client, as :class:`~coatcheck.storekit.ClientPerProcess` does."""

    def get(self) -> Any:
        """Return the client for this call."""

    def discard(self) -> None:
        """Forget the client after an interruption, if it may be broken."""

    def close(self) -> None:
        """Close the client, unless it is the caller's."""


class AsyncClientProvider(Protocol):
    """Give an async store its client, as :class:`~coatcheck.storekit.ClientPerLoop` does."""

    def get(self) -> Any:
        """Return the client of the running event loop."""

    async def close(self) -> None:
        """Close the clients, unless they are the caller's."""


class BaseGeneratorStore(ABC):
    """Share the parts of :class:`GeneratorStore` and :class:`AsyncGeneratorStore`.

    A store with both APIs can derive one class from this, with its constructors, and mix it into
    its two stores.

    :cvar backend: the name of the backend in errors: ``"Redis"``.
    :cvar client_packages: the top-level packages whose exceptions the client library raises. An
        exception of any other package, except for Python's own, reaches the caller unchanged. If
        this is empty, only exceptions of signal handlers do.
    """

    backend: ClassVar[str]
    client_packages: ClassVar[Collection[str]] = ()
    _closed = False

    def set_up(
        self, client: ClientProvider | AsyncClientProvider, operations: StoreOperations
    ) -> None:
        """Give the store its client and its operations. Each constructor calls this once.

        :param client: a sync store needs a :class:`ClientProvider`, an async store an
            :class:`AsyncClientProvider`.
        :param operations: the operations of the store.
        """
        self._client: Any = client
        self._operations = operations

    @abstractmethod
    def translate_error(self, error: Exception) -> StoreError:
        """Return the error that the store raises for an exception of the client library."""

    def _failure(self, error: Exception) -> StoreError:
        # A client that was closed during the call raises an exception of its own.
        return self._closed_error() if self._closed else self.translate_error(error)

    def _closed_error(self) -> StoreError:
        return StoreClosed(f"this {self.backend} store is closed")


# Requests have no types, so the results of operations are Any here, and the errors are ignored.


class GeneratorStore(BaseGeneratorStore, Store):
    """Run the operations of a sync store.

    Its ``capabilities`` must declare all operations except ``prune``.
    """

    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return self.run_operation(self._operations.get(check_key(key)))  # type: ignore[no-any-return]

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        requests = self._operations.set(check_key(key), check_record(record), only_if)
        return self.run_operation(requests)  # type: ignore[no-any-return]

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        requests = self._operations.destroy(check_key(key), only_if)
        return self.run_operation(requests)  # type: ignore[no-any-return]

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        requests = self._operations.touch(check_key(key), check_expiry(expires_at), owner)
        return self.run_operation(requests)  # type: ignore[no-any-return]

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._operations.all())

    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return self.run_operation(self._operations.length())  # type: ignore[no-any-return]

    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        self.run_operation(self._operations.clear())

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._operations.owned_by(check_owner(owner)))

    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        self.run_operation(self._operations.ping())

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        self._client.close()

    @abstractmethod
    def send_request(self, client: Any, request: Any) -> Any:
        """Send a request with the client of this process, and return the reply."""

    def _listed(self, requests: Listing) -> Iterator[tuple[str, Record]]:
        while (page := self.run_operation(requests)) is not None:
            for item in page:
                if self._closed:
                    raise self._closed_error()
                yield item

    def run_operation(self, requests: Requests | Listing) -> Any:
        """Run an operation; return its result, or the next page of a listing.

        A store calls this for operations of its own, and for ``prune``.

        :raises StoreError: the operation failed, or the store is closed.
        """
        if self._closed:
            raise self._closed_error()
        try:
            client = self._client.get()
            request = requests.send(None)
            while not isinstance(request, list):
                try:
                    reply = self.send_request(client, request)
                except Exception as error:
                    request = requests.throw(error)
                else:
                    request = requests.send(reply)
        except StopIteration as done:
            return done.value
        except (StoreError, ConfigurationError):  # the latter for a client of another event loop
            raise
        except Exception as error:
            if interruption(error, self.client_packages) is not None:
                self._client.discard()
                raise_interruption(error, self.client_packages)
            raise self._failure(error) from error
        except BaseException:  # interrupted: the operation leaves its `with` blocks now
            self._client.discard()
            requests.close()
            raise
        return request


class AsyncGeneratorStore(BaseGeneratorStore, AsyncStore):
    """Run the operations of an async store.

    Its ``capabilities`` must declare all operations except ``prune``.
    """

    async def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return await self.run_operation(self._operations.get(check_key(key)))  # type: ignore[no-any-return]

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        requests = self._operations.set(check_key(key), check_record(record), only_if)
        return await self.run_operation(requests)  # type: ignore[no-any-return]

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        requests = self._operations.destroy(check_key(key), only_if)
        return await self.run_operation(requests)  # type: ignore[no-any-return]

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        requests = self._operations.touch(check_key(key), check_expiry(expires_at), owner)
        return await self.run_operation(requests)  # type: ignore[no-any-return]

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._operations.all())

    async def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return await self.run_operation(self._operations.length())  # type: ignore[no-any-return]

    async def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        await self.run_operation(self._operations.clear())

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._operations.owned_by(check_owner(owner)))

    async def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        await self.run_operation(self._operations.ping())

    async def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        await self._client.close()

    @abstractmethod
    async def send_request(self, client: Any, request: Any) -> Any:
        """Send a request with the client of the running event loop, and return the reply."""

    async def _listed(self, requests: Listing) -> AsyncIterator[tuple[str, Record]]:
        while (page := await self.run_operation(requests)) is not None:
            for item in page:
                if self._closed:
                    raise self._closed_error()
                yield item

    async def run_operation(self, requests: Requests | Listing) -> Any:
        """Run an operation; return its result, or the next page of a listing.

        A store calls this for operations of its own, and for ``prune``.

        :raises StoreError: the operation failed, or the store is closed.
        """
        if self._closed:
            raise self._closed_error()
        try:
            client = self._client.get()
            request = requests.send(None)
            while not isinstance(request, list):
                try:
                    reply = await self.send_request(client, request)
                except Exception as error:
                    request = requests.throw(error)
                else:
                    request = requests.send(reply)
        except StopIteration as done:
            return done.value
        except (StoreError, ConfigurationError):  # the latter for a client of another event loop
            raise
        except Exception as error:
            raise_interruption(error, self.client_packages)
            raise self._failure(error) from error
        except BaseException:  # cancelled: the operation leaves its `with` blocks now
            requests.close()
            raise
        return request
