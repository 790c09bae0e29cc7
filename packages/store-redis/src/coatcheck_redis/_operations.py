"""The operations of both stores: generators that yield commands and are sent the replies.

docs/decisions/2026-11-30-redis-store.md has the reasons.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from redis.exceptions import ResponseError

from coatcheck import ABSENT, Condition, Record, Unchanged
from coatcheck.storekit import Listing, Requests

from . import _scripts as scripts
from ._layout import Layout, metadata, overwritten

#: How many records one script reads. Each may have a MiB or more.
PAGE: Final = 32
#: POSIX seconds: the end of the year 9999.
_END: Final = 253_402_300_799.0
#: How many keys one SCAN looks at.
SCANNED: Final = 500


@dataclass(frozen=True, slots=True)
class Primaries:
    """Asks for the clients of all servers that hold keys: several in a cluster, otherwise one."""


@dataclass(frozen=True, slots=True)
class OnNode:
    """A command for one of these servers.

    :ivar node: its client.
    :ivar command: the words.
    """

    node: Any
    command: scripts.Command


class RedisOperations:
    """The operations of both stores.

    :param layout: the names of the keys.
    :param clock: returns POSIX seconds.
    :param cluster: whether the keys are on several servers. Then no command has keys of two slots.
    """

    def __init__(self, layout: Layout, clock: Callable[[], float], *, cluster: bool) -> None:
        self._layout = layout
        self._clock = clock
        self._cluster = cluster

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""
        place = self._layout.record(key)
        beside = metadata(place)
        data, about = yield ("MGET", place, beside)
        if not data:  # there is nothing, or something that is no string
            return None
        now = self._clock()
        try:
            expiry, token, *rest = about.split(b" ", 2) if about else (b"nan", b"")
            expires_at = float(expiry)
            if now < expires_at <= _END:
                owner = rest[0].decode() if rest and token != b"?" else None
                return Record(data, expires_at, owner or None)
        except ValueError:
            pass  # another program wrote the metadata
        # The record has expired, or another program wrote it. The script tells which.
        (reply,) = yield from scripts.GET.run((place, beside), _number(now))
        return reply and _record(reply)

    def set(self, key: str, record: Record, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.set`."""
        place, now = self._layout.record(key), self._clock()
        expiry, entry, token = _number(record.expires_at), key.encode(), _token()
        keys = [place, metadata(place), overwritten(place)]
        text = b"%s %s" % (expiry, token)
        ttl = _milliseconds(record.expires_at - now)
        if record.owner is not None:
            owner = record.owner.encode()
            text = b"%s %s" % (text, owner)
            if ttl > 0:
                keys += yield from self._indexed(owner, entry, expiry, now)
        # For a new session there is usually nothing under the key, so a short script is enough.
        elif (
            only_if is ABSENT
            and ttl > 0
            and (yield from scripts.CREATE.run(keys[:2], record.data, b"%d" % ttl, text))
        ):
            return True
        written = yield from scripts.SET.run(
            keys, _number(now), *_condition(only_if), token, record.data, expiry, b"%d" % ttl,
            text, entry,
        )  # fmt: skip
        return bool(written)

    def destroy(self, key: str, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.destroy`."""
        record = self._layout.record(key)
        now = self._clock()
        removed = yield from scripts.DESTROY.run(
            (record, metadata(record)), _number(now), *_condition(only_if), _token()
        )
        return bool(removed)

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        """See :meth:`coatcheck.Store.touch`."""
        record, entry, expiry = self._layout.record(key), key.encode(), _number(expires_at)
        token, known = _token(), (owner or "").encode()
        while True:
            now = self._clock()
            ttl = _milliseconds(expires_at - now)
            keys = [record, metadata(record)]
            if known and ttl > 0:
                keys += yield from self._indexed(known, entry, expiry, now)
            reply = yield from scripts.TOUCH.run(
                keys, _number(now), expiry, b"%d" % ttl, token, known, entry
            )
            if not isinstance(reply, bytes):
                return bool(reply)
            known = reply  # another request has changed the owner

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""
        yield from self._scanned(self._read)

    def _read(self, places: list[bytes]) -> Listing:
        for page in self._pages(places, PAGE):
            now = _number(self._clock())
            found = yield from scripts.GET.run(_with_metadata(page), now)
            yield self._items(page, found)

    def length(self) -> Requests:
        """See :meth:`coatcheck.Store.length`. The server's clock decides what has expired."""
        count = 0

        def add(places: list[bytes]) -> Listing:
            nonlocal count
            count += len(places)
            yield from ()

        yield from self._scanned(add)
        return count

    def clear(self) -> Requests:
        """See :meth:`coatcheck.Store.clear`. The indexes of owners are left, and expire."""
        yield from self._scanned(self._unlink)

    def _unlink(self, places: list[bytes]) -> Listing:
        for page in self._pages(places, SCANNED):
            yield ("UNLINK", *_with_metadata(page))

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`."""
        whose = owner.encode()
        index = self._layout.index(whose)
        try:
            entries = yield ("ZRANGE", index, 0, -1)
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return  # another program wrote something else there; the next write replaces it
        for page in self._pages(entries, PAGE):
            places = [self._layout.prefix + entry for entry in page]
            keys = _with_metadata(places)
            if not self._cluster:
                keys.insert(0, index)
            now = _number(self._clock())
            found = yield from scripts.OWNED.run(keys, now, whose, *page)
            yield self._items(places, found)

    def ping(self) -> Requests:
        """See :meth:`coatcheck.Store.ping`."""
        for node in (yield Primaries()):
            yield OnNode(node, ("PING",))

    def _indexed(self, owner: bytes, entry: bytes, expiry: bytes, now: float) -> Requests:
        """Prepare the entry of a record in its owner's index.

        In a cluster the index is on another server, so this writes the entry before the record is
        written. Otherwise the record's script writes it.

        :returns: the keys that the record's script needs for that.
        """
        index = self._layout.index(owner)
        if not self._cluster:
            return (index,)
        yield from scripts.ADD.run((index,), _number(now), expiry, entry)
        return ()

    def _scanned(self, visit: Callable[[list[bytes]], Listing]) -> Listing:
        """Visit all records in pages, each record once, although SCAN may name some twice."""
        seen: set[bytes] = set()
        for node in (yield Primaries()):
            cursor = -1
            while cursor:
                start = max(0, cursor)
                cursor, found = yield OnNode(
                    node, ("SCAN", start, "MATCH", self._layout.pattern, "COUNT", SCANNED)
                )
                cursor = int(cursor)
                new = [place for place in dict.fromkeys(found) if place not in seen]
                seen.update(new)
                yield from visit([place for place in new if self._layout.key(place) is not None])

    def _pages(self, places: list[bytes], size: int) -> Iterator[list[bytes]]:
        """Split names of records into pages for one command. In a cluster each page has one."""
        rest = iter(places)
        while page := list(islice(rest, 1 if self._cluster else size)):
            yield page

    def _items(
        self, places: Iterable[bytes], found: Iterable[bytes | None]
    ) -> list[tuple[str, Record]]:
        return [
            (key, _record(reply))
            for place, reply in zip(places, found, strict=True)
            if reply and (key := self._layout.key(place)) is not None
        ]


def _with_metadata(places: Iterable[bytes]) -> list[bytes]:
    return [name for place in places for name in (place, metadata(place))]


def _record(reply: bytes) -> Record:
    """Return the record in a reply, which _lua/reply.lua makes."""
    expiry, size, rest = reply.split(b" ", 2)
    end = int(size)
    try:
        owner = rest[:end].decode() or None
    except UnicodeDecodeError:
        owner = None  # another program wrote the metadata
    return Record(rest[end:], float(expiry), owner)


def _token() -> bytes:
    """Return a random token, which names a call."""
    return secrets.token_hex(8).encode()


def _number(seconds: float) -> bytes:
    return repr(float(seconds)).encode()


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _condition(only_if: Condition) -> tuple[bytes, bytes]:
    if isinstance(only_if, Unchanged):
        return b"unchanged", only_if.data
    return only_if.value.encode(), b""
