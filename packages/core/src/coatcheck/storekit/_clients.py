"""Give sync stores their clients, one for each process.

Two processes must not share a connection (clause LIFE-10 of the Store contract). A store asks one
of these classes for its client at each call. :class:`ClientPerProcess` makes clients;
:class:`BorrowedClient` and :class:`SingleProcessClient` hold a client that the caller made and
closes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .._stores.interruptions import interruption
from ..errors import ConfigurationError

C = TypeVar("C")


class _Making:
    """Count the attempts of one process to make its client.

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
    """Make sync clients, one for each process.

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
        """Forget the client after an interruption, if it is fragile.

        The next call makes a new one. The client is not closed, because other threads may be using
        it.
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
    """Hold a sync client that the caller made and closes.

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
    """Hold a sync client that the caller made and closes, for one process.

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
