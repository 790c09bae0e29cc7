"""The conformance kit's harnesses for Redis. Only the kit imports this module."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

import redis.asyncio
from redis.cluster import RedisCluster

import redis
from coatcheck_conformance import ClientStore, Harness

from ._layout import Layout, metadata, overwritten
from ._store import AsyncRedisStore, RedisStore
from ._url import parse

#: Takes time from a record and its metadata, in one step.
_ADVANCE: Final = """
local left = redis.call('PTTL', KEYS[1])
if left < 0 then return 0 end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, string.format('%.0f', left - tonumber(ARGV[1])))
end
return 1
"""


#: Values that are no metadata of a record.
_NO_METADATA: Final = (
    b"",
    b" ",
    b"!",
    b"garbage",
    b"garbage and more of it",
    b"\xff\xfe\xfd \x80 \x00",
    b"4102444800",
    b"4102444800 token \xff\xfe",
    b"nan token owner",
    b"inf token owner",
    b"-inf token owner",
    b"1e999 token owner",
    b"1e300 token owner",
    b"9" * 400 + b" token owner",
    b"-1 token owner",
    b"0x7fffffffffff token owner",
    b"253402300800 token owner",
    b"1_000_000_000_000 token owner",
    b"4102444800,5 token owner",
    b"4102444800\ttoken\towner",
    b"{}",
    b'{"expires":4102444800}',
)


class RedisHarness(Harness):
    """Opens stores with prefixes of their own in the database of a URL.

    :param url: a Redis store's URL, without the option ``prefix``.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "stored": "all strings in Redis are bytes",
        "folder": "there are no files",
    }

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._base = f"coatcheck-kit-{uuid.uuid4().hex[:8]}:"
        self._redis = _client(url)

    def url(self, namespace: str) -> str:
        """See :meth:`coatcheck_conformance.Harness.url`."""
        joint = "&" if "?" in self._url else "?"
        return f"{self._url}{joint}prefix={quote(self._prefix(namespace))}"

    def has(self, feature: str) -> bool:
        """See :meth:`coatcheck_conformance.Harness.has`."""
        return feature == "url" or super().has(feature)

    def address(self) -> tuple[str, int] | None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        settings = parse(self._url)
        return settings.client["host"], settings.client["port"]

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        super().finish()
        self._redis.close()

    def backend(self) -> str:
        """Return the server's product and version."""
        with _client(self._url) as client:  # the report is written after `finish`
            about: dict[str, Any] = client.info("server")
        if "valkey_version" in about:
            return f"Valkey {about['valkey_version']}"
        return f"Redis {about['redis_version']}"

    def advance(self, namespace: str, seconds: float) -> None:
        """See :meth:`coatcheck_conformance.Harness.advance`."""
        milliseconds = round(seconds * 1000)
        for record in self._records(namespace):
            self._redis.eval(_ADVANCE, 2, record, metadata(record), milliseconds)

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        record, client = self._layout(namespace).record(key), self._redis

        def replace(write: Callable[[bytes, Any], object], content: object) -> None:
            client.delete(record)
            write(record, content)

        return {
            "an empty string": lambda: client.set(record, b"", keepttl=True),
            "a list": lambda: replace(client.rpush, b"item"),
            "a set": lambda: replace(client.sadd, b"member"),
            "a sorted set": lambda: replace(client.zadd, {b"member": 1}),
            "a hash": lambda: replace(lambda name, value: client.hset(name, "data", value), b"x"),
            "a stream": lambda: replace(lambda name, value: client.xadd(name, {"x": value}), b"x"),
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""
        layout, client = self._layout(namespace), self._redis
        record, index = layout.record(key), layout.index(owner.encode())
        beside, earlier = metadata(record), overwritten(record)

        def text(name: bytes, content: bytes) -> Callable[[], None]:
            return lambda: client.set(name, content, keepttl=True)

        def other(name: bytes, write: Callable[..., object], *content: Any) -> Callable[[], None]:
            def replace() -> None:
                client.delete(name)
                write(name, *content)

            return replace

        types: dict[str, tuple[Any, ...]] = {
            "a list": (client.rpush, b"item"),
            "a set": (client.sadd, b"member"),
            "a hash": (client.hset, b"field", b"value"),
            "a stream": (client.xadd, {"field": "value"}),
        }
        return {
            **{f"{name} for the metadata": other(beside, *how) for name, how in types.items()},
            "a sorted set for the metadata": other(beside, client.zadd, {b"member": 1}),
            **{f"metadata {content!r}": text(beside, content) for content in _NO_METADATA},
            "no metadata": lambda: client.delete(beside),
            **{f"{name} for earlier writes": other(earlier, *how) for name, how in types.items()},
            "text for earlier writes": other(earlier, client.set, b"text"),
            "earlier writes of nonsense": lambda: client.zadd(
                earlier, {b"": 1, b"\xff": "inf", b"x" * 999: "-inf"}
            ),
            **{f"{name} for the index": other(index, *how) for name, how in types.items()},
            "text for the index": other(index, client.set, b"text"),
            "an index of nonsense": lambda: client.zadd(
                index, {b"": 1, b"\xff": "inf", b"x" * 999: "-inf", b"nowhere": 1e308}
            ),
        }

    def foreign(self, namespace: str) -> Callable[[], bool]:
        """See :meth:`coatcheck_conformance.Harness.foreign`."""
        # It begins as the namespace's records do, except for the last character.
        key = f"{self._prefix(namespace)[:-1]}-foreign"
        self._redis.set(key, b"not a session", ex=3600)
        return lambda: bool(self._redis.get(key) == b"not a session")

    def with_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_client`."""
        name = uuid.uuid4().hex
        client = _client(self._url, client_name=name)
        store = RedisStore(client, prefix=self._prefix(namespace), clock=clock)
        return ClientStore(store, lambda: self._is_connected(name), client.close)

    async def with_async_client(self, namespace: str, clock: Callable[[], float]) -> ClientStore:
        """See :meth:`coatcheck_conformance.Harness.with_async_client`."""
        name = uuid.uuid4().hex
        client = _async_client(self._url, client_name=name)
        store = AsyncRedisStore(client, prefix=self._prefix(namespace), clock=clock)
        return ClientStore(store, lambda: self._is_connected(name), client.aclose)

    def _prefix(self, namespace: str) -> str:
        return f"{self._base}{namespace}:"

    def _layout(self, namespace: str) -> Layout:
        return Layout(self._prefix(namespace))

    def _records(self, namespace: str) -> list[bytes]:
        pattern = self._layout(namespace).pattern
        return list(self._redis.scan_iter(match=pattern, count=1000))

    def _is_connected(self, name: str) -> bool:
        clients = self._redis.client_list()
        return any(client["name"] == name for client in clients)


def _client(url: str, **more: Any) -> Any:
    return _made(url, redis.Redis, RedisCluster, more)


def _async_client(url: str, **more: Any) -> Any:
    return _made(url, redis.asyncio.Redis, redis.asyncio.RedisCluster, more)


def _made(url: str, server: type[Any], cluster: type[Any], more: dict[str, Any]) -> Any:
    settings = parse(url)
    kind = cluster if settings.cluster else server
    return kind(**settings.client, ssl=settings.tls, **more)


class RedisClusterHarness(RedisHarness):
    """Opens stores with prefixes of their own in the cluster of a URL."""

    unsupported: ClassVar[Mapping[str, str]] = {
        **RedisHarness.unsupported,
        **dict.fromkeys(
            ("address", "unavailable", "stall", "garbage", "traffic", "credentials"),
            "a cluster's servers are reached at the addresses that they announce, past a proxy",
        ),
    }

    def address(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.address`."""
        return
