"""The file of one record: its bytes and its modification time.

::

    offset  bytes
         0      8  magic
         8      4  CRC-32 of everything after it
        12      8  far expiry, a big-endian double in POSIX seconds; 0 if it is not needed
        20      8  the lengths in bytes: key 2, owner 2 (0 for none), data 4
        28         key and owner in UTF-8, data

**The modification time is the expiry.** So it is read without opening the file, and moved without
writing into it. File systems keep nanoseconds, but not all of them keep dates from 2038-01-19 on.
For these the modification time is :data:`FAR`, and the expiry is in the file. A touch then replaces
the file, because writing into it would change its modification time first.
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
#: POSIX seconds: the first instant that some file systems cannot keep as a modification time.
FAR_SECONDS: Final = 2**31 - 1
#: POSIX seconds: the end of the year 9999.
_END: Final = 253_402_300_799.0
#: Nanoseconds: the modification time of files that have a far expiry.
FAR: Final = FAR_SECONDS * SECOND


class Damaged(Exception):
    """The file has no record, or an incomplete one, or the record of another key."""


def encode_key(key: str) -> bytes:
    """Return a key as bytes.

    :raises TypeError: it is no string.
    :raises ValueError: it cannot be a key.
    """
    return check_key(key).encode()


def encode_owner(owner: str) -> bytes:
    """Return an owner as bytes.

    :raises TypeError: it is no string.
    :raises ValueError: it cannot be an owner.
    """
    return check_owner(owner).encode()


def decode_name(name: bytes) -> str:
    """Return a key or an owner.

    :raises Damaged: the bytes are no text.
    """
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Damaged("a name in it is no text") from None


def modification_time(expires_at: float) -> int:
    """Return an expiry in nanoseconds, rounded down, or :data:`FAR`."""
    if expires_at >= FAR_SECONDS:
        return FAR
    seconds = int(expires_at)
    # The difference is exact, so reading gives the same float again.
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
    :raises Damaged: the content was not made by :func:`pack`.
    """
    expires_at, key_end, owner_end = _fields(content, len(content), modified)
    _, checksum = _HEAD.unpack_from(content)
    if crc32(memoryview(content)[_HEAD.size :]) != checksum:
        raise Damaged("its checksum is wrong")
    owner = decode_name(content[key_end:owner_end]) or None
    return content[HEADER_BYTES:key_end], Record(content[owner_end:], expires_at, owner)


def unpack_head(head: bytes, size: int, modified: int) -> float:
    """Return the expiry without looking at the data.

    :param head: the first :data:`HEADER_BYTES` of the file, or more.
    :param size: the size of the file in bytes.
    :param modified: the modification time in nanoseconds.
    :raises Damaged: the file was not made by :func:`pack`, or its size is wrong.
    """
    return _fields(head, size, modified)[0]


def _fields(head: bytes, size: int, modified: int) -> tuple[float, int, int]:
    """Return the expiry, and the offsets at which the key and the owner end."""
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
