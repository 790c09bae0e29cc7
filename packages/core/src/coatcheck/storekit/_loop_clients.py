"""Give async stores their clients, one for each event loop of each process.

Two event loops must not share a connection (clauses LOOP-3, LOOP-4 and LOOP-5 of the Store
contract). A store asks one of these classes for its client at each call. :class:`ClientPerLoop`
makes clients; :class:`SingleLoopClient` holds a client that the caller made and closes.

docs/decisions/2026-11-30-store-clients.md has the reasons.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError

C = TypeVar("C")


class ClientPerLoop(Generic[C]):
    """Make async clients, one for each event loop of each process.

    A client is closed with its loop.

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
        # The parent uses the same sockets, and the selector of its event loop. Closing one here
        # would take it from the parent. So they are kept, and never touched.
        self._inherited.append(list(self._made.values()))
        self._pid, self._made = os.getpid(), WeakKeyDictionary()

    def _forget_closed(self) -> None:
        for loop, (client, _) in _all(self._made):
            if loop.is_closed():
                self._made.pop(loop, None)
                self._abandon(client)


class SingleLoopClient(Generic[C]):
    """Hold an async client that the caller made and closes, for one event loop.

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
