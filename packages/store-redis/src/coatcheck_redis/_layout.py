"""The keys in Redis.

A record is a string under ``PREFIX`` + key, as in connect-redis. connect-redis has no place for the
exact expiry and the owner. They are in a metadata key beside the record, in the same slot of a
cluster. An owner's index is a sorted set. When a write overwrites another one, the token of the
earlier write stays in a sorted set for half a minute, in case its reply was lost and it is
repeated. Metadata keys and these sets begin with ``coatcheck:``, so programs that list ``PREFIX*``
do not take them for sessions.
"""

from __future__ import annotations

import binascii
import itertools
import re
from functools import lru_cache
from typing import Final

from coatcheck.errors import ConfigurationError

#: connect-redis's default.
DEFAULT_PREFIX: Final = "sess:"

_METADATA: Final = b"coatcheck:metadata:"
_OVERWRITTEN: Final = b"coatcheck:overwritten:"
_OWNER: Final = b"coatcheck:owner:"
_SLOTS: Final = 16384
_PATTERN: Final = re.compile(rb"([*?\[\]\\^-])")


class Layout:
    """The names of a store's keys in Redis.

    :param prefix: the start of each record's key.
    :raises ConfigurationError: it is empty, or records could be mistaken for metadata keys or
        indexes.
    """

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError(
                "`prefix` must be a non-empty string, because a store without one would list and "
                "clear everything in the database"
            )
        try:
            self.prefix = prefix.encode()
        except UnicodeEncodeError:
            raise ConfigurationError("`prefix` must be text without lone surrogates") from None
        for own in (_METADATA, _OVERWRITTEN, _OWNER):
            if own.startswith(self.prefix) or self.prefix.startswith(own):
                raise ConfigurationError(
                    f"`prefix` must not overlap with {own.decode()!r}, which this store uses for "
                    "its own keys"
                )
        #: Matches the records' keys and nothing else, for SCAN.
        self.pattern = _PATTERN.sub(rb"\\\1", self.prefix) + b"*"
        self._owners = b"%s%d:%s" % (_OWNER, len(self.prefix), self.prefix)

    def record(self, key: str) -> bytes:
        """Return the name of a record."""
        return self.prefix + key.encode()

    def key(self, record: bytes) -> str | None:
        """Return the key of a record, or None if the record is not one of this store's."""
        try:
            return record[len(self.prefix) :].decode() or None
        except UnicodeDecodeError:
            return None

    def index(self, owner: bytes) -> bytes:
        """Return the name of an owner's index."""
        return self._owners + owner


def metadata(record: bytes) -> bytes:
    """Return the metadata key of a record, which is in the record's slot."""
    return _beside(_METADATA, record)


def overwritten(record: bytes) -> bytes:
    """Return the name of the set with the tokens of a record's overwritten writes."""
    return _beside(_OVERWRITTEN, record)


def _beside(prefix: bytes, record: bytes) -> bytes:
    if b"}" not in record:
        return b"%s{%s}" % (prefix, record)
    return b"%s{%s}%s" % (prefix, hash_tag(record) or _tag_of_slot(slot(record)), record)


def hash_tag(key: bytes) -> bytes:
    """Return the part of a key that alone decides its slot, or nothing.

    It is the part between the first ``{`` and the next ``}`` (Redis Cluster specification,
    "Hash tags").
    """
    _, _, rest = key.partition(b"{")
    tag, end, _ = rest.partition(b"}")
    return tag if end else b""


def slot(key: bytes) -> int:
    """Return the slot of a key (Redis Cluster specification, "Key distribution model")."""
    return binascii.crc_hqx(hash_tag(key) or key, 0) % _SLOTS


@lru_cache(maxsize=1024)
def _tag_of_slot(number: int) -> bytes:
    """Return a tag of a slot. Each slot has one of about four digits."""
    return next(tag for tag in map(b"%d".__mod__, itertools.count()) if slot(tag) == number)
