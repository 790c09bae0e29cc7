"""What stands in the file of one record, and what its modification time says.

::

    offset  bytes
         0      8  magic
         8      4  CRC-32 of everything behind it
        12      8  far expiry, a big-endian double in POSIX seconds; 0 where it is not needed
        20      8  the lengths in bytes: key 2, owner 2 (0 for none), data 4
        28         key and owner in UTF-8, data

**The modification time is the expiry.** So it is read without opening the file, and moved
without writing it. File systems keep nanoseconds, but not all of them keep dates after
2038-01-19: from that instant on the modification time is :data:`FAR` and the expiry stands in
the file, which a touch then has to replace: writing into it would change its modification time
first.
"""

from __future__ import annotations

import math
import struct
from typing import Final
from zlib import crc32

from coatcheck import Record
from coatcheck.storekit import check_key, check_owner

_MAGIC: Final = b"coatfil1"
_HEAD: Final = struct.Struct(">8sI")
_FIELDS: Final = struct.Struct(">dHHI")
#: Bytes before the key: no record is smaller.
HEADER_BYTES: Final = _HEAD.size + _FIELDS.size

#: Nanoseconds.
SECOND: Final = 10**9
#: POSIX seconds: the first instant that a modification time may be unable to hold.
FAR_SECONDS: Final = 2**31 - 1
#: POSIX seconds: the end of the year 9999.
_END: Final = 253_402_300_799.0
#: The modification time, in nanoseconds, that sends the reader to the far expiry.
FAR: Final = FAR_SECONDS * SECOND


class Damaged(Exception):
    """The file holds no record, or not the whole of one, or another one's."""


def encode_key(key: str) -> bytes:
    """Return a key as bytes.

    :raises TypeError: it is no string.
    :raises ValueError: it is no key.
    """
    return check_key(key).encode()


def encode_owner(owner: str) -> bytes:
    """Return an owner as bytes.

    :raises TypeError: it is no string.
    :raises ValueError: it is no owner.
    """
    return check_owner(owner).encode()


def decode_name(name: bytes) -> str:
    """Return the key or owner.

    :raises Damaged: it is no text.
    """
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Damaged("a name in it is no text") from None


def modification_time(expires_at: float) -> int:
    """Return the nanoseconds that stand for an expiry, rounded down, or :data:`FAR`."""
    if expires_at >= FAR_SECONDS:
        return FAR
    seconds = int(expires_at)
    # The difference is exact, and what is read back is the float that was given.
    return seconds * SECOND + int((expires_at - seconds) * SECOND)


def pack(key: bytes, record: Record) -> bytes:
    """Return the content of a record's file."""
    owner = b"" if record.owner is None else encode_owner(record.owner)
    far = record.expires_at if record.expires_at >= FAR_SECONDS else 0.0
    fields = _FIELDS.pack(far, len(key), len(owner), len(record.data))
    body = b"".join((fields, key, owner, record.data))
    return _HEAD.pack(_MAGIC, crc32(body)) + body


def unpack(content: bytes, modified: int) -> tuple[bytes, Record]:
    """Return the key and the record.

    :param modified: the modification time in nanoseconds.
    :raises Damaged: it is not what :func:`pack` made.
    """
    expires_at, key_end, owner_end = _fields(content, len(content), modified)
    _, checksum = _HEAD.unpack_from(content)
    if crc32(memoryview(content)[_HEAD.size :]) != checksum:
        raise Damaged("its checksum is wrong")
    owner = decode_name(content[key_end:owner_end]) or None
    return content[HEADER_BYTES:key_end], Record(content[owner_end:], expires_at, owner)


def unpack_head(head: bytes, size: int, modified: int) -> float:
    """Return the expiry, without looking at the data.

    :param head: the first :data:`HEADER_BYTES` of the file, or more.
    :param size: the size of the file in bytes.
    :param modified: the modification time in nanoseconds.
    :raises Damaged: it does not begin as :func:`pack` does, or has another size than it says.
    """
    return _fields(head, size, modified)[0]


def _fields(head: bytes, size: int, modified: int) -> tuple[float, int, int]:
    """Return the expiry, and where the key and the owner end."""
    if len(head) < HEADER_BYTES or not head.startswith(_MAGIC):
        raise Damaged("it does not begin as a record does")
    far, key, owner, data = _FIELDS.unpack_from(head, _HEAD.size)
    key_end = HEADER_BYTES + key
    owner_end = key_end + owner
    if owner_end + data != size or not key or not data:
        raise Damaged("its size is wrong")
    if modified != FAR:
        return min(modified / SECOND, _END), key_end, owner_end
    if not FAR_SECONDS <= far < math.inf:
        raise Damaged("its expiry is wrong")
    return min(far, _END), key_end, owner_end
