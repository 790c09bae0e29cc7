"""Find the master that Sentinels name, for both APIs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from coatcheck.storekit import interruption
from redis import exceptions

from ._failures import PACKAGES

#: The command that a new connection sends to learn whether the server is a master.
ROLE: Final = ("ROLE",)


def address_of(service: str) -> tuple[str, ...]:
    """Return the command that asks a Sentinel for the master of a service."""
    return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)


class MasterSearch:
    """Asks one Sentinel after the other for the master, until one knows it.

    Iterate over it, ask each Sentinel, and pass its reply or failure on::

        for sentinel in search:
            try:
                search.hear(sentinel, ask(sentinel))
            except Exception as error:
                if not search.survives(error):
                    raise
        host, port = search.address()

    :param sentinels: the arguments of connections to the Sentinels. The list is changed, so that
        the next search begins with the Sentinel that answered.
    """

    def __init__(self, sentinels: list[dict[str, Any]]) -> None:
        self._sentinels = sentinels
        self._address: tuple[str, int] | None = None
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sentinel in list(self._sentinels):
            yield sentinel
            if self._address is not None:
                return

    def hear(self, sentinel: dict[str, Any], reply: Any) -> None:
        """Take the reply of a Sentinel, which is empty if it does not know the service."""
        if reply:
            others = [each for each in self._sentinels if each is not sentinel]
            self._sentinels[:] = [sentinel, *others]
            host, port = reply
            self._address = host.decode(), int(port)

    def survives(self, error: Exception) -> bool:
        """Tell whether the search goes on after the failure of a Sentinel."""
        if interruption(error, PACKAGES) is not None:
            return False
        if not isinstance(error, exceptions.RedisError | OSError):
            return False
        self._failure = error
        return True

    def address(self) -> tuple[str, int]:
        """Return the master's host and port.

        :raises redis.RedisError: no Sentinel knows the master.
        """
        if self._address is not None:
            return self._address
        if isinstance(self._failure, exceptions.TimeoutError):
            raise self._failure
        raise exceptions.ConnectionError("no Sentinel knows the master") from self._failure


def check_role(reply: Any) -> None:
    """Check that a server is a master, by its reply to ROLE.

    :raises redis.ConnectionError: it was one, and the Sentinels do not know yet that it is no
        longer.
    """
    if reply[0] != b"master":
        raise exceptions.ConnectionError("the server is no master any more")


def is_demoted(error: exceptions.ResponseError) -> bool:
    """Tell whether a server says that it is no master any more."""
    # Redis 6.2 wraps the error of a command in a script into another error.
    return isinstance(error, exceptions.ReadOnlyError) or "READONLY " in str(error)
