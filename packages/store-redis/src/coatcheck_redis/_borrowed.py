"""Clients of one server, which the caller made."""

from __future__ import annotations

from typing import Any

from redis import exceptions


class BorrowedServer:
    """redis-py's client of one server, which the caller made."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def execute_command(self, *words: Any) -> Any:
        """See :meth:`coatcheck_redis._pools.Pool.execute_command`."""
        try:
            return self._client.execute_command(*words)
        except exceptions.RedisError:
            raise
        except BaseException:
            # redis-py may have put the connection back into its pool before the reply came.
            if self._client.connection is not None:
                self._client.connection.disconnect()
            self._client.connection_pool.disconnect(inuse_connections=False)
            raise

    def primaries(self) -> list[Any]:
        """See :meth:`coatcheck_redis._pools.Pool.primaries`."""
        return [self._client]


class AsyncBorrowedServer:
    """redis-py's async client of one server, which the caller made."""

    def __init__(self, client: Any) -> None:
        self.execute_command = client.execute_command
        self._client = client

    async def primaries(self) -> list[Any]:
        """See :meth:`coatcheck_redis._pools.Pool.primaries`."""
        return [self._client]
