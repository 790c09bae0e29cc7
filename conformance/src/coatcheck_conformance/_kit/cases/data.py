"""DATA: bytes."""

from __future__ import annotations

import json
from typing import Any, Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Record, Unchanged
from coatcheck.errors import RecordTooLarge, StoreError

from ..case import case
from ..clock import DAY
from ..context import Context

_EVERY_BYTE: Final = bytes(range(256))

_NOT_UTF8: Final = (
    b"\xff\xfe",
    b"\x80",
    b"text \xe9 text",
    b"cut off \xe2\x82",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b"\x1f\x8b\x08 like gzip",
)

_TEXTS: Final = (
    b"\0",
    b"\0text",
    b"text\0",
    b"te\0xt",
    b"\n",
    b"text\n",
    b"a\r\nb",
    b"a\rb\r",
    b"\n\ntext\n\n",
    b"\xef\xbb\xbftext",
    b" text ",
    b"\ttext\t",
    b"\xc2\xa0text\xe3\x80\x80",
    b"\x1a",
    "cafe\u0301".encode(),
    "caf\u00e9".encode(),
    "\u212b \ufb01 \U0001f9e5 \U0010ffff".encode(),
    "\x85\u2028\u2029".encode(),
    b"\\n \\u0041 \\x41 &amp; %41",
    b'{"a": 1,  "a":2}\n',
)

_MEMBERS: Final = {
    "_id": "other",
    "id": "other",
    "key": "other",
    "data": "other",
    "value": "other",
    "session": "other",
    "expires": 1,
    "expires_at": 1,
    "expireAt": 1,
    "ttl": 1,
    "owner": "other",
    "version": 99,
    "deleted": True,
}
_LOOKALIKES: Final = (
    json.dumps(_MEMBERS).encode(),
    json.dumps({"data": _MEMBERS, "expires_at": 1}).encode(),
    b'{"$binary": {"base64": "AAAA", "subType": "00"}}',
    b'{"$oid": "000000000000000000000000", "$set": {}, "$unset": {}}',
    b'{"B": "AAAA"}',
    b'{"S": "text"}',
    b'{"__type__": "bytes", "value": "AAAA"}',
    b'{"py/object": "builtins.object"}',
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b'""',
    b"123",
    b"1e999",
    b"NaN",
    b"None",
    b"nil",
    b"(nil)",
    b"OK",
    b"$-1",
    b"DELETED",
    b"__deleted__",
    b"tombstone",
    b"base64:AAAA",
    b"b64:AAAA",
    b"hex:00ff",
    b"data:;base64,AAAA",
    b"AAAA",
    b"\\x00ff",
    b"b'text'",
    b"coatcheck-file 1",
    b"coatcheck 1",
    b"gzip",
    b"1700000000",
    b"1700000000|other|data",
    b"a:1:{s:4:data;i:1;}",
    b"!!python/object:builtins.object {}",
    b"cbuiltins.object.",
)

_MEBIBYTE: Final = 1 << 20


def _expect_kept(context: Context, data: bytes) -> None:
    """Expect that data come back as they were set."""
    context.put(data=data)
    context.expect_data(data)


@case(
    "DATA-1",
    depends_on=("DATA-2", "DATA-3"),
    hint="data that are not UTF-8 are kept in a code page that lacks some bytes.",
)
def every_byte(context: Context) -> None:
    """Data with each of the 256 byte values come back byte for byte, in either order."""
    _expect_kept(context, _EVERY_BYTE)
    _expect_kept(context, _EVERY_BYTE[::-1])
    for value in range(128, 256):
        _expect_kept(context, bytes((65, value, 65)))


@case("DATA-2", hint="data are decoded as text, with errors replaced or ignored.")
def not_text(context: Context) -> None:
    """Data that are not UTF-8 come back byte for byte."""
    for data in _NOT_UTF8:
        _expect_kept(context, data)


@case("DATA-3", hint="a file is open in text mode, or a driver trims or normalises text.")
def text(context: Context) -> None:
    """UTF-8 data come back byte for byte, also characters that text layers like to change."""
    for data in _TEXTS:
        _expect_kept(context, data)


@case("DATA-4", hint="short data are taken for empty ones, and `0` for false.")
def one_byte(context: Context) -> None:
    """Data of one byte are kept."""
    for data in (b"x", b"0", b"1", b"f", b"{"):
        _expect_kept(context, data)


@case(
    "DATA-5",
    depends_on=("GET-5", "GET-7"),
    hint="how data are decoded depends on their first bytes, and not on a field beside them.",
)
def lookalikes(context: Context) -> None:
    """Data that look like a store's formats, markers and fields are kept, and change nothing."""
    for data in _LOOKALIKES:
        context.expect_unchanged(context.put(data=data, owner="owner"))


@case(
    "DATA-6",
    hint="the column or the item has a limit that the store does not declare.",
)
def one_mebibyte(context: Context) -> None:
    """A text of 1 MiB comes back unchanged."""
    _expect_kept(context, b"0123456789abcdef" * (_MEBIBYTE // 16))


@case(
    "DATA-6",
    depends_on=("DATA-1",),
    hint="the data are converted to a longer form, which reaches the limit.",
)
def one_mebibyte_of_any_bytes(context: Context) -> None:
    """1 MiB of all byte values comes back unchanged."""
    _expect_kept(context, _EVERY_BYTE[::-1] * (_MEBIBYTE // 256))


def _limit(context: Context) -> int:
    limit = context.capabilities.max_data_bytes
    assert limit is not None, "the clause is about stores that declare it"
    return limit


@case(
    "DATA-7",
    depends_on=(
        "KEY-1",
        "OWNER-13",
        "CAP-4",
    ),
    hint="the backend limits key, owner and data together.",
)
def the_largest(context: Context) -> None:
    """Data of exactly the declared size are kept, under any key, with and without an owner."""
    for key in ("k", "\U0001f9e5" * 256):
        for owner in (None, "\U0001f464" * 256):
            data = b"x" * _limit(context)
            context.put(key, data, owner)
            context.expect_data(data, key)


@case(
    "DATA-7",
    depends_on=(
        "DATA-1",
        "KEY-1",
        "OWNER-13",
        "CAP-4",
    ),
    hint="binary data are converted to a longer form.",
)
def the_largest_of_any_bytes(context: Context) -> None:
    """Binary data of exactly the declared size are kept, under a long key."""
    key, owner = "\U0001f9e5" * 256, "\U0001f464" * 256
    data = (_EVERY_BYTE[::-1] * (_limit(context) // 256 + 1))[: _limit(context)]
    context.put(key, data, owner)
    context.expect_data(data, key)


def _expect_refused(context: Context, key: str, only_if: Any) -> None:
    """Expect that one byte more than the limit is refused, and that the error has the sizes."""
    limit = _limit(context)
    with context.expect_raises(RecordTooLarge) as caught:
        context.store.set(key, Record(b"x" * (limit + 1), context.clock.now + DAY), only_if)
    numbers = tuple(getattr(caught[0], name, None) for name in ("size", "limit"))
    context.expect(numbers, (limit + 1, limit), "its `size` and `limit`")


@case("DATA-8", hint="the backend's own error is raised, or another size is counted.")
def one_byte_more(context: Context) -> None:
    """One byte more than the limit raises `RecordTooLarge` with both sizes."""
    context.put()
    for key, only_if in (
        ("key", ALWAYS),
        ("key", PRESENT),
        ("key", Unchanged(b"data")),
        ("unknown", ALWAYS),
        ("unknown", ABSENT),
    ):
        _expect_refused(context, key, only_if)


@case("DATA-8", hint="the condition is checked before the size.")
def one_byte_more_whatever_the_condition(context: Context) -> None:
    """One byte too many raises `RecordTooLarge` even if the condition does not hold."""
    context.put()
    for key, only_if in (
        ("key", ABSENT),
        ("key", Unchanged(b"other")),
        ("unknown", PRESENT),
        ("unknown", Unchanged(b"data")),
    ):
        _expect_refused(context, key, only_if)


@case(
    "DATA-9",
    depends_on=("DATA-8", "GET-5", "GET-7"),
    hint="the size is checked after something was written.",
)
def nothing_is_written(context: Context) -> None:
    """After a write that was too large the old record is unchanged, and an absent key absent."""
    record = context.put(owner="owner")
    large = context.record(b"x" * (_limit(context) + 1), "other", 2 * DAY)
    for key in ("key", "unknown"):
        with context.expect_raises(StoreError):
            context.store.set(key, large)
    context.expect_unchanged(record)
    context.expect_absent("unknown")


@case("DATA-10", needs=("stored",), hint="all data are stored as binary, or text in base 64.")
def text_is_kept_as_text(context: Context) -> None:
    """The backend holds UTF-8 data as text."""
    for text in ('{"name": "value"}', "caf\u00e9 \U0001f9e5", "plain"):
        context.put(data=text.encode())
        context.expect(context.harness.stored(context.namespace, "key"), text, "in the backend")


@case(
    "DATA-10",
    needs=("stored",),
    depends_on=("DATA-2",),
    hint="binary data are stored as text in base 64.",
)
def other_data_are_kept_as_binary(context: Context) -> None:
    """The backend holds other data as binary."""
    for data in _NOT_UTF8:
        context.put(data=data)
        context.expect(context.harness.stored(context.namespace, "key"), data, "in the backend")
