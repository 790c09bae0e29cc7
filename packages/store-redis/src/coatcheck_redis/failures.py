"""What a failure of redis-py is to callers. No message quotes the server, keys or data."""

from __future__ import annotations

from redis import exceptions

from coatcheck.errors import StoreClosed, StoreError, StoreTimeout, StoreUnavailable

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_UNAVAILABLE = (
    OSError,
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
)


def closed() -> StoreError:
    """Return the error of a store that is used after `close`."""
    return StoreClosed("this Redis store is closed")


def translated(error: Exception) -> StoreError:
    """Return what a store raises for an exception of the client library."""
    if isinstance(error, exceptions.TimeoutError):
        return StoreTimeout("Redis did not answer in time")
    if isinstance(error, exceptions.ConnectionError) and "No connection available" in str(error):
        return used_up()  # a BlockingConnectionPool that the caller made
    if isinstance(error, _REFUSED):
        return StoreUnavailable("Redis refused the user name or the password")
    if isinstance(error, exceptions.NoPermissionError):
        return StoreError("the Redis user may not do this; docs/redis.md lists what is needed")
    if isinstance(error, exceptions.OutOfMemoryError):
        return StoreError("Redis has no memory left (`maxmemory`): nothing was written")
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable("Redis cannot be reached, or cannot serve now")
    return StoreError("Redis answered with an error")


def used_up() -> StoreTimeout:
    """Return the error of a pool without a free connection."""
    return StoreTimeout("no connection to Redis became free in time: see `max_connections`")
