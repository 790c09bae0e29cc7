"""What a failure of redis-py is to callers. No message quotes the server's words, keys or data."""

from __future__ import annotations

from typing import Final

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from redis import exceptions

#: Whose exceptions are the client library's.
PACKAGES: Final = ("redis", "hiredis")

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_UNAVAILABLE = (
    OSError,
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.ClusterError,
    exceptions.TryAgainError,
    exceptions.AskError,  # and MovedError
    exceptions.RedisClusterException,
)

#: Redis 6.2 wraps what a command in a script says into an error of its own.
_NO_MEMORY = "OOM command not allowed"
#: What a server says that may serve again later: a script that runs for too long, a disk that is
#: full, replicas that are missing, a primary that is one no more, slots of other servers.
_LATER = ("BUSY ", "MISCONF ", "NOREPLICAS ", "READONLY ", "MOVED ", "CLUSTERDOWN ", "TRYAGAIN ")


def translated(error: Exception, where: str) -> StoreError:
    """Return what a store raises for an exception of the client library.

    :param where: names the server: ``"Redis at 10.0.0.5:6379"``.
    """
    if isinstance(error, exceptions.TimeoutError):
        return StoreTimeout(f"{where} did not answer in time")
    if isinstance(error, exceptions.ConnectionError) and "No connection available" in str(error):
        return used_up(where)  # a BlockingConnectionPool that the caller made
    if isinstance(error, _REFUSED):
        return StoreUnavailable(f"{where} refused the user name or the password")
    if isinstance(error, exceptions.NoPermissionError):
        return StoreError("the Redis user may not do this; docs/redis.md lists what is needed")
    if isinstance(error, exceptions.OutOfMemoryError) or _NO_MEMORY in str(error):
        return StoreError("Redis has no memory left (`maxmemory`): nothing was written")
    if isinstance(error, _UNAVAILABLE) or any(word in str(error) for word in _LATER):
        return StoreUnavailable(f"{where} cannot be reached, or cannot serve now")
    return StoreError("Redis answered with an error")


def used_up(where: str) -> StoreTimeout:
    """Return the error of a pool without a free connection."""
    return StoreTimeout(f"no connection to {where} became free in time: see `max_connections`")
