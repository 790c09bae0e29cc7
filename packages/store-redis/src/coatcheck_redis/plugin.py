"""Registers the URL schemes of Redis."""

from __future__ import annotations

from collections.abc import Iterator

from coatcheck import StoreSpec, hookimpl


@hookimpl
def coatcheck_stores() -> Iterator[StoreSpec]:
    """See :mod:`coatcheck.hookspecs`."""
    yield StoreSpec(
        name="redis",
        schemes=(
            "redis",
            "rediss",
            "redis+cluster",
            "rediss+cluster",
            "redis+sentinel",
            "rediss+sentinel",
            "valkey",
            "valkeys",
            "valkey+cluster",
            "valkeys+cluster",
            "valkey+sentinel",
            "valkeys+sentinel",
            "unix",
            "redis+unix",
            "redis+socket",
        ),
        contract="1.0",
        summary="a Redis or Valkey server or cluster, or one that Sentinels name",
        open="coatcheck_redis:RedisStore.from_url",
        open_async="coatcheck_redis:AsyncRedisStore.from_url",
    )
