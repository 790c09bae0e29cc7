"""Finding the master that Sentinels name, for both APIs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, TypeAlias

from redis import exceptions

#: Yields the arguments of a connection to a Sentinel, is sent its reply, and returns an address.
Search: TypeAlias = Generator[dict[str, Any], Any, tuple[str, int]]

#: What a connection to the master asks before it is used.
ROLE: Final = ("ROLE",)


def question(service: str) -> tuple[str, ...]:
    """Return what Sentinels are asked."""
    return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)


def search(sentinels: list[dict[str, Any]]) -> Search:
    """Ask one Sentinel after the other, the one that answered last first.

    :param sentinels: the arguments of connections to them; their order changes.
    :raises redis.RedisError: none knows the master.
    """
    failure: Exception | None = None
    for arguments in list(sentinels):
        try:
            reply = yield arguments
        except (exceptions.RedisError, OSError) as error:
            failure = error
            continue
        if reply:
            sentinels[:] = [arguments, *(each for each in sentinels if each is not arguments)]
            host, port = reply
            return host.decode(), int(port)
    if isinstance(failure, exceptions.TimeoutError):
        raise failure
    raise exceptions.ConnectionError("no Sentinel knows the master") from failure


def check_role(reply: Any) -> None:
    """Return if a server is a master, by its reply to ROLE.

    :raises redis.ConnectionError: it was one, and Sentinels have not heard yet that it is no more.
    """
    if reply[0] != b"master":
        raise exceptions.ConnectionError("the server is no master any more")


def is_demoted(error: exceptions.ResponseError) -> bool:
    """Tell whether a server says that it is no master any more."""
    # Redis 6.2 wraps what a command in a script says into an error of its own.
    return isinstance(error, exceptions.ReadOnlyError) or "READONLY " in str(error)
