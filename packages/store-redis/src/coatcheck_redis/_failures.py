"""Turn failures of redis-py into errors of stores.

No message quotes the server's words, keys or data.
"""

from __future__ import annotations

from typing import Final

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable
from redis import exceptions

#: The packages whose exceptions the client library raises.
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

#: Redis 6.2 wraps the error of a command in a script into another error, so the text is searched.
_NO_MEMORY = "OOM command not allowed"
#: Errors of a server that may serve again later: a script runs for too long, the disk is full,
#: replicas are missing, the server is no primary any more, slots belong to other servers.
_LATER = ("BUSY ", "MISCONF ", "NOREPLICAS ", "READONLY ", "MOVED ", "CLUSTERDOWN ", "TRYAGAIN ")


def translated(error: Exception, where: str) -> StoreError:
    """Return the error that the store raises for an exception of the client library.

    :param where: names the server: ``"Redis at 10.0.0.5:6379"``.
    """
    if isinstance(error, exceptions.TimeoutError):
        return StoreTimeout(f"{where} did not answer in time")
    if isinstance(error, exceptions.ConnectionError) and "No connection available" in str(error):
        return used_up(where)  # the caller's client has a BlockingConnectionPool
    if isinstance(error, _REFUSED):
        return StoreUnavailable(f"{where} refused the user name or the password")
    if isinstance(error, exceptions.NoPermissionError):
        return StoreError(
            "the Redis user lacks a permission; docs/redis.md lists the permissions that it needs"
        )
    if isinstance(error, exceptions.OutOfMemoryError) or _NO_MEMORY in str(error):
        return StoreError("Redis has no memory left (`maxmemory`): nothing was written")
    if isinstance(error, _UNAVAILABLE) or any(word in str(error) for word in _LATER):
        return StoreUnavailable(f"{where} cannot be reached, or cannot serve now")
    return StoreError("Redis answered with an error")


def used_up(where: str) -> StoreTimeout:
    """Return the error of a pool that has no free connection."""
    return StoreTimeout(f"no connection to {where} became free in time: see `max_connections`")
