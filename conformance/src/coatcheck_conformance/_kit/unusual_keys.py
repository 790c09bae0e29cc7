"""Keys that a store may refuse, change or confuse, and values that are not valid keys."""

from __future__ import annotations

from typing import Any, Final

#: Keys of characters that some stores refuse; KEY-4 has NUL and line ends.
UNUSUAL: Final = (
    "0",
    "-1",
    "None",
    "null",
    "\x01\x1b\x7f",
    "\x85\u2028",
    "caf\u00e9",
    "\u05d0\u202e\u0627",
    "\u200b",
    "\u4f1a\u8a71",
    "\ufdd0\uffff",
    "\ue000",
    "\U0001f9e5",
    "\U0010ffff",
)
#: Keys of one and of 256 characters, in 1, 2, 3 and 4 bytes of UTF-8 each.
LENGTHS: Final = tuple(
    character * count for character in ("k", "\u00e9", "\u4f1a", "\U0001f9e5") for count in (1, 256)
)

CASES: Final = (
    "key",
    "Key",
    "KEY",
    "kEY",
    "stra\u00dfe",
    "STRASSE",
    "strasse",
    "\u00e9",
    "\u00c9",
)

COMPOSED: Final = ("caf\u00e9", "cafe\u0301", "cafe")
EQUIVALENT: Final = (
    ("\u212b", "\u00c5", "A\u030a"),
    ("\u1100\u1161", "\uac00"),
    ("a\u0323\u0307", "a\u0307\u0323", "\u1ea1\u0307"),
)
COMPATIBLE: Final = (
    ("\ufb01n", "fin"),
    ("\uff4bey", "key"),
    ("x\u00b2", "x2"),
    ("\u2460", "1"),
)

PATHS: Final = (
    "a",
    "/a",
    "a/",
    "a//",
    "./a",
    "a/.",
    "b/../a",
    "../a",
    "a/b",
    "a\\b",
    "a:b",
    ".",
    "..",
    "/",
    "//",
    "\\",
    ":",
    "C:a",
)
CONTROLS: Final = (
    "a",
    "a\0",
    "a\0b",
    "a\0c",
    "\0",
    "\0a",
    "a\n",
    "a\nb",
    "a\r\nb",
    "a\rb",
    "\n",
    "\r\n",
)
SEPARATORS: Final = (
    "a",
    *(f"a{separator}b" for separator in "|,;#@&=+!~'\"`^{}()<>\x1c\x1d\x1e\x1f"),
    "a::b",
    "a%2Fb",
    "a%00",
    "sess:a",
    "session:a",
)

#: JSON of a request that is no key; some databases take a dictionary for a query.
NO_STRINGS: Final[tuple[Any, ...]] = (
    None,
    0,
    True,
    b"key",
    ["key"],
    {},
    {"$ne": None},
    {"$gt": ""},
    {"$regex": ".*"},
    {"S": "key"},
)
#: Strings that are not valid keys by KEY-1.
NO_KEYS: Final = ("", "k" * 257, "k" * 3000, "\ud800", "key\udfff")

PATTERNS: Final = (
    "*",
    "?",
    "a*",
    "a?c",
    "a[b]c",
    "a[!x]c",
    "[a-z]bc",
    "%",
    "a%",
    "_",
    "a_c",
    "___",
    ".",
    "a.c",
    ".*",
    "...",
    "$",
    "abc$",
    "^abc",
    "$abc",
)
TARGET: Final = "abc"

ENDS: Final = ("", " ", "  ", "\t", "\u00a0", "\u3000", "\u2003")
