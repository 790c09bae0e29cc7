"""Clients of stores: one for each process and, in the async API, one for each event loop.

Two processes must not share a connection, and two event loops must not share an async one (clauses
LIFE-10, LOOP-3, LOOP-4 and LOOP-5 of the Store contract). A store asks one of these classes for its
client at each call. :class:`ClientPerProcess` and :class:`ClientPerLoop` make clients;
:class:`BorrowedClient`, :class:`SingleProcessClient` and :class:`SingleLoopClient` hold a client
that the caller made and closes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError
from ..interruptions import interruption

C = TypeVar("C")


class _Making:
    """The attempts of one process to make its client.

    Each process has its own, because a child may be forked while a thread of its parent holds the
    lock.

    :ivar attempts: how many attempts have ended.
    :ivar failure: the error of the last attempt, or None if it was successful.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.attempts = 0
        self.failure: Exception | None = None


class ClientPerProcess(Generic[C]):
    """Sync clients, one for each process.

    :param make: makes a client. It is called when a process first needs one.
    :param close: closes a client.
    :param fragile: whether an exception of a signal handler may leave a lock of the client taken,
        or a connection in the middle of a reply.
    """

    def __init__(
        self, make: Callable[[], C], close: Callable[[C], object], *, fragile: bool = True
    ) -> None:
        self._make = make
        self._close = close
        self._fragile = fragile
        self._made: dict[int, C] = {}
        self._making: dict[int, _Making] = {}

    def get(self) -> C:
        """Return the client of this process.

        Threads that call at the same time wait for one attempt and share its failure.
        """
        pid = os.getpid()
        client = self._made.get(pid)
        if client is None:
            making = self._making.setdefault(pid, _Making())
            attempts = making.attempts
            with making.lock:
                client = self._made.get(pid)
                if client is None:
                    if making.failure is not None and making.attempts != attempts:
                        raise making.failure  # of an attempt that began or ended meanwhile
                    client = self._made[pid] = self._attempt(making)
        return client

    def _attempt(self, making: _Making) -> C:
        making.failure = None
        try:
            return self._make()
        except Exception as error:
            if interruption(error) is None:  # an interruption concerns this thread alone
                making.failure = error
            raise
        finally:
            making.attempts += 1

    def discard(self) -> None:
        """Forget the client after an interruption, if it is fragile; the next call makes a new one.

        The client is not closed, because other threads may be using it.
        """
        if self._fragile:
            self._made.pop(os.getpid(), None)

    def close(self) -> None:
        """Close the client of this process, if there is one."""
        pid = os.getpid()
        with self._making.setdefault(pid, _Making()).lock:  # one may be in the making
            client = self._made.get(pid)
        if client is not None:
            self._close(client)


class BorrowedClient(Generic[C]):
    """A sync client that the caller made and closes.

    :param client: the caller's client.
    """

    def __init__(self, client: C) -> None:
        self._client = client

    def get(self) -> C:
        """Return the client."""
        return self._client

    def discard(self) -> None:
        """Keep the client, because there is no other."""

    def close(self) -> None:
        """Leave the client open."""


class SingleProcessClient(Generic[C]):
    """A sync client that the caller made and closes, for one process.

    It belongs to the process that uses it first. A process forked afterwards must not use it.

    :param client: the caller's client.
    :param name: names the client in errors: ``"the DynamoDB client"``.
    """

    def __init__(self, client: C, name: str) -> None:
        self._client = client
        self._name = name
        self._pid: int | None = None

    def get(self) -> C:
        """Return the client.

        :raises ConfigurationError: another process used it before this one was forked.
        """
        if self._pid is None:
            self._pid = os.getpid()
        if self._pid != os.getpid():
            raise ConfigurationError(
                f"{self._name} that was passed in was used before this process was forked; "
                "make it afterwards, or open the store by a URL"
            )
        return self._client

    def discard(self) -> None:
        """Keep the client, because there is no other."""

    def close(self) -> None:
        """Leave the client open."""


class ClientPerLoop(Generic[C]):
    """Async clients, one for each event loop of each process. A client is closed with its loop.

    :param make: makes a client. It is called on the event loop that needs one.
    :param close: closes a client, on its event loop.
    :param abandon: closes the sockets of a client whose event loop is closed or does not run. It
        must not need the loop.
    """

    def __init__(
        self,
        make: Callable[[], C],
        close: Callable[[C], Awaitable[object]],
        abandon: Callable[[C], object],
    ) -> None:
        self._make = make
        self._close = close
        self._abandon = abandon
        self._pid = os.getpid()
        self._made: _ByLoop[C] = WeakKeyDictionary()
        self._inherited: list[object] = []

    def get(self) -> C:
        """Return the client of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._forked()
        made = self._made.get(loop)
        if made is None:
            self._forget_closed()
            client = self._make()
            made = self._made[loop] = (
                client,
                _closed_with_loop(self._made, loop, client, self._close),
            )
        return made[0]

    async def close(self) -> None:
        """Close the clients of all event loops of this process."""
        if self._pid != os.getpid():
            self._forked()
        here = asyncio.get_running_loop()
        for loop, (client, end) in _all(self._made):
            if loop is here:
                await end.aclose()
            elif loop.is_running():
                with suppress(RuntimeError):  # it has been closed this moment
                    asyncio.run_coroutine_threadsafe(end.aclose(), loop)
            else:
                self._made.pop(loop, None)
                self._abandon(client)

    def _forked(self) -> None:
        # Their sockets are the parent's too, and so is the selector of its event loop: whatever
        # closes one here takes it from the parent. So they are kept, and never touched.
        self._inherited.append(list(self._made.values()))
        self._pid, self._made = os.getpid(), WeakKeyDictionary()

    def _forget_closed(self) -> None:
        for loop, (client, _) in _all(self._made):
            if loop.is_closed():
                self._made.pop(loop, None)
                self._abandon(client)


class SingleLoopClient(Generic[C]):
    """An async client that the caller made and closes, for one event loop.

    It belongs to the event loop that runs when this object is made. If none runs then, it belongs
    to the loop that uses it first.

    :param client: the caller's client.
    :param name: names the client in errors: ``"the Redis client"``.
    """

    def __init__(self, client: C, name: str) -> None:
        self._client = client
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # made before there is a loop
            self._loop = asyncio.get_running_loop()

    def get(self) -> C:
        """Return the client.

        :raises ConfigurationError: the running event loop is another one than the client's.
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if loop is not self._loop:
            raise ConfigurationError(
                f"{self._name} that was passed in belongs to another event loop; "
                "open the store by a URL to use it on several"
            )
        return self._client

    async def close(self) -> None:
        """Leave the client open."""


def close_socket(transport: object) -> None:
    """Close the socket of an asyncio transport whose event loop was closed before it."""
    tls = getattr(transport, "_ssl_protocol", None)
    if tls is not None:
        transport = getattr(tls, "_transport", None)
    loop, socket = getattr(transport, "_loop", None), getattr(transport, "_sock", None)
    if loop is not None and loop.is_closed() and socket is not None:
        socket.close()
        setattr(transport, "_sock", None)  # noqa: B010  # no type has the name


_Made: TypeAlias = tuple[C, AsyncGenerator[None, None]]
_ByLoop: TypeAlias = WeakKeyDictionary[asyncio.AbstractEventLoop, _Made[C]]


def _all(made: _ByLoop[C]) -> list[tuple[asyncio.AbstractEventLoop, _Made[C]]]:
    # `keyrefs` is a list at once; other threads add theirs meanwhile.
    loops = [reference() for reference in made.keyrefs()]
    return [
        (loop, found)
        for loop in loops
        if loop is not None and (found := made.get(loop)) is not None
    ]


def _closed_with_loop(
    made: _ByLoop[C],
    loop: asyncio.AbstractEventLoop,
    client: C,
    close: Callable[[C], Awaitable[object]],
) -> AsyncGenerator[None, None]:
    """Return an async generator that closes a client when it ends.

    ``asyncio.run`` and servers end all async generators before they close an event loop. There is
    no other hook for that moment.
    """
    reference = weakref.ref(loop)

    async def lifetime() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            here = reference()
            if here is not None:
                made.pop(here, None)
            await close(client)

    started = lifetime()
    with suppress(StopIteration):  # it yields at once: nothing has to be awaited
        started.__anext__().send(None)
    return started
