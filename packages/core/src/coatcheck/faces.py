"""Two faces of a store from one description of what its verbs do.

The description has a method for each verb: a generator that yields *steps*, whatever the store
understands by that (a command, a callable), is sent the replies, and returns the verb's result.
``all`` and ``owned_by`` yield lists as well, which are pages of what they list. What the client
library raises is raised where the step was yielded::

    class Verbs:
        def touch(self, key, expires_at, owner):
            reply = yield ("EXPIREAT", key, int(expires_at))
            return reply == 1

    class MyStore(SteppedStore):
        def _reply(self, client, step):
            return client.execute_command(*step)

    class MyAsyncStore(AsyncSteppedStore):
        async def _reply(self, client, step):
            return await client.execute_command(*step)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Generator, Iterator
from typing import Any, ClassVar, Protocol, TypeAlias

from .errors import ConfigurationError, StoreClosed, StoreError
from .interruptions import interruption, raise_interruption
from .store import (
    ALWAYS,
    AsyncStore,
    Condition,
    Record,
    Store,
    check_key,
    check_owner,
    check_record,
)

#: A verb: yields steps, is sent replies, and returns its result.
Steps: TypeAlias = Generator[Any, Any, Any]
#: A verb that lists: the steps that it yields as lists are pages.
Listing: TypeAlias = Generator[Any, Any, None]


class Verbs(Protocol):
    """What a store's verbs do."""

    def get(self, key: str) -> Steps:
        """See :meth:`coatcheck.Store.get`."""

    def set(self, key: str, record: Record, only_if: Condition) -> Steps:
        """See :meth:`coatcheck.Store.set`."""

    def destroy(self, key: str, only_if: Condition) -> Steps:
        """See :meth:`coatcheck.Store.destroy`."""

    def touch(self, key: str, expires_at: float, owner: str | None) -> Steps:
        """See :meth:`coatcheck.Store.touch`."""

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""

    def length(self) -> Steps:
        """See :meth:`coatcheck.Store.length`."""

    def clear(self) -> Steps:
        """See :meth:`coatcheck.Store.clear`."""

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`."""

    def ping(self) -> Steps:
        """See :meth:`coatcheck.Store.ping`."""


class _Face(ABC):
    """What both faces share.

    :cvar backend: what the store is called in errors: ``"Redis"``.
    :cvar client_packages: the top-level packages whose exceptions are the client library's. Others
        that are not Python's own reach the caller as they are. Without any, only exceptions of
        signal handlers do.
    """

    backend: ClassVar[str]
    client_packages: ClassVar[Collection[str]] = ()
    _closed = False

    def _use(self, client: Any, verbs: Verbs) -> None:
        """Take what the store is made of.

        :param client: has the methods ``now`` and ``close``, and in a synchronous store
            ``give_up``; see :mod:`coatcheck.clients`.
        """
        self._client = client
        self._verbs = verbs

    @abstractmethod
    def _translated(self, error: Exception) -> StoreError:
        """Return what the store raises for an exception of the client library."""

    def _failure(self, error: Exception) -> StoreError:
        # A client that was closed meanwhile says so in words of its own.
        return self._shut() if self._closed else self._translated(error)

    def _shut(self) -> StoreError:
        return StoreClosed(f"this {self.backend} store is closed")


# Steps have no types, so that what a verb returns is Any here; hence the ignored errors below.


class SteppedStore(_Face, Store):
    """A synchronous face. Its ``capabilities`` declare all verbs but ``prune``."""

    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return self._run(self._verbs.get(check_key(key)))  # type: ignore[no-any-return]

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        steps = self._verbs.set(check_key(key), check_record(record), only_if)
        return self._run(steps)  # type: ignore[no-any-return]

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        steps = self._verbs.destroy(check_key(key), only_if)
        return self._run(steps)  # type: ignore[no-any-return]

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        steps = self._verbs.touch(check_key(key), expires_at, owner)
        return self._run(steps)  # type: ignore[no-any-return]

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._verbs.all())

    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return self._run(self._verbs.length())  # type: ignore[no-any-return]

    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        self._run(self._verbs.clear())

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._verbs.owned_by(check_owner(owner)))

    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        self._run(self._verbs.ping())

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        self._client.close()

    @abstractmethod
    def _reply(self, client: Any, step: Any) -> Any:
        """Carry out a step with this process's client, and return the reply."""

    def _listed(self, steps: Listing) -> Iterator[tuple[str, Record]]:
        while (page := self._run(steps)) is not None:
            for item in page:
                if self._closed:
                    raise self._shut()
                yield item

    def _run(self, steps: Steps | Listing) -> Any:
        """Have done what a verb asks for; return its result, or the next page of a listing."""
        if self._closed:
            raise self._shut()
        try:
            client = self._client.now()
            step = steps.send(None)
            while not isinstance(step, list):
                try:
                    reply = self._reply(client, step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as done:
            return done.value
        except (StoreError, ConfigurationError):  # the latter for a client of another event loop
            raise
        except Exception as error:
            if interruption(error, self.client_packages) is not None:
                self._client.give_up()
                raise_interruption(error, self.client_packages)
            raise self._failure(error) from error
        except BaseException:  # interrupted: what the verb has entered it leaves here and now
            self._client.give_up()
            steps.close()
            raise
        return step


class AsyncSteppedStore(_Face, AsyncStore):
    """An asynchronous face. Its ``capabilities`` declare all verbs but ``prune``."""

    async def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        return await self._run(self._verbs.get(check_key(key)))  # type: ignore[no-any-return]

    async def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        steps = self._verbs.set(check_key(key), check_record(record), only_if)
        return await self._run(steps)  # type: ignore[no-any-return]

    async def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        steps = self._verbs.destroy(check_key(key), only_if)
        return await self._run(steps)  # type: ignore[no-any-return]

    async def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        steps = self._verbs.touch(check_key(key), expires_at, owner)
        return await self._run(steps)  # type: ignore[no-any-return]

    def all(self) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        return self._listed(self._verbs.all())

    async def length(self) -> int:
        """See :meth:`coatcheck.Store.length`."""
        return await self._run(self._verbs.length())  # type: ignore[no-any-return]

    async def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        await self._run(self._verbs.clear())

    def owned_by(self, owner: str) -> AsyncIterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        return self._listed(self._verbs.owned_by(check_owner(owner)))

    async def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        await self._run(self._verbs.ping())

    async def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        await self._client.close()

    @abstractmethod
    async def _reply(self, client: Any, step: Any) -> Any:
        """Carry out a step with the running event loop's client, and return the reply."""

    async def _listed(self, steps: Listing) -> AsyncIterator[tuple[str, Record]]:
        while (page := await self._run(steps)) is not None:
            for item in page:
                if self._closed:
                    raise self._shut()
                yield item

    async def _run(self, steps: Steps | Listing) -> Any:
        """Have done what a verb asks for; return its result, or the next page of a listing."""
        if self._closed:
            raise self._shut()
        try:
            client = self._client.now()
            step = steps.send(None)
            while not isinstance(step, list):
                try:
                    reply = await self._reply(client, step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as done:
            return done.value
        except (StoreError, ConfigurationError):  # the latter for a client of another event loop
            raise
        except Exception as error:
            raise_interruption(error, self.client_packages)
            raise self._failure(error) from error
        except BaseException:  # cancelled: what the verb has entered it leaves here and now
            steps.close()
            raise
        return step
