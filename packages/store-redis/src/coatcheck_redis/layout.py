"""The keys in Redis.

A record is the string ``PREFIX`` + key, as connect-redis has it. What connect-redis has no place
for (the exact expiry, the owner) is in a metadata key beside it, in the same slot of a cluster. An
owner's index is a sorted set. Where one write follows another, the first one's token stays for
half a minute in a sorted set, for the case that its reply was lost and it is repeated.
Metadata keys and these sets begin with ``coatcheck:``, so programs that list ``PREFIX*`` do not
take them for sessions.
"""

from __future__ import annotations

import binascii
import itertools
import re
from functools import lru_cache
from typing import Final

from coatcheck.errors import ConfigurationError

#: What connect-redis uses.
DEFAULT_PREFIX: Final = "sess:"

_METADATA: Final = b"coatcheck:metadata:"
_OVERWRITTEN: Final = b"coatcheck:overwritten:"
_OWNER: Final = b"coatcheck:owner:"
_SLOTS: Final = 16384
_PATTERN: Final = re.compile(rb"([*?\[\]\\^-])")


class Layout:
    """Where things are.

    :param prefix: what each record's key begins with.
    :raises ConfigurationError: it is empty, or records would be among metadata keys and indexes.
    """

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError(
                "`prefix` must be a non-empty string: a store without one would list and clear "
                "everything in the database"
            )
        try:
            self.prefix = prefix.encode()
        except UnicodeEncodeError:
            raise ConfigurationError("`prefix` must be text without lone surrogates") from None
        for own in (_METADATA, _OVERWRITTEN, _OWNER):
            if own.startswith(self.prefix) or self.prefix.startswith(own):
                raise ConfigurationError(
                    f"`prefix` must not overlap with {own.decode()!r}, where this store keeps "
                    "what belongs to records"
                )
        #: Matches the records' keys and nothing else, for SCAN.
        self.pattern = _PATTERN.sub(rb"\\\1", self.prefix) + b"*"
        self._owners = b"%s%d:%s" % (_OWNER, len(self.prefix), self.prefix)

    def record(self, key: str) -> bytes:
        """Return where the record of a key is."""
        return self.prefix + key.encode()

    def key(self, record: bytes) -> str | None:
        """Return the key of a record, or None where it is none of this store's."""
        try:
            return record[len(self.prefix) :].decode() or None
        except UnicodeDecodeError:
            return None

    def index(self, owner: bytes) -> bytes:
        """Return where the index of an owner is."""
        return self._owners + owner


def metadata(record: bytes) -> bytes:
    """Return the metadata key of a record: each record has its own, in the same slot."""
    return _beside(_METADATA, record)


def overwritten(record: bytes) -> bytes:
    """Return where the writes of a record are that others have followed."""
    return _beside(_OVERWRITTEN, record)


def _beside(prefix: bytes, record: bytes) -> bytes:
    if b"}" not in record:
        return b"%s{%s}" % (prefix, record)
    return b"%s{%s}%s" % (prefix, hash_tag(record) or _tag_of_slot(slot(record)), record)


def hash_tag(key: bytes) -> bytes:
    """Return the part of a key that alone decides about its slot, or nothing.

    Redis Cluster specification, "Hash tags": between the first ``{`` and the next ``}``.
    """
    _, _, rest = key.partition(b"{")
    tag, end, _ = rest.partition(b"}")
    return tag if end else b""


def slot(key: bytes) -> int:
    """Return the slot of a key (Redis Cluster specification, "Key distribution model")."""
    return binascii.crc_hqx(hash_tag(key) or key, 0) % _SLOTS


@lru_cache(maxsize=1024)
def _tag_of_slot(number: int) -> bytes:
    """Return a tag of a slot; there is one of at most four digits or so for each."""
    return next(tag for tag in map(b"%d".__mod__, itertools.count()) if slot(tag) == number)
