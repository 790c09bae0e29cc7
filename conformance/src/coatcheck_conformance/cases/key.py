"""KEY: names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Unchanged

from ..bench import Bench
from ..case import case
from ..clock import DAY

#: Keys of characters that are easily taken for impossible; NUL and line ends are KEY-4's.
_UNUSUAL: Final = (
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
_LENGTHS: Final = tuple(
    character * count for character in ("k", "\u00e9", "\u4f1a", "\U0001f9e5") for count in (1, 256)
)

_CASES: Final = (
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

_COMPOSED: Final = ("caf\u00e9", "cafe\u0301", "cafe")
_EQUIVALENT: Final = (
    ("\u212b", "\u00c5", "A\u030a"),
    ("\u1100\u1161", "\uac00"),
    ("a\u0323\u0307", "a\u0307\u0323", "\u1ea1\u0307"),
)
_COMPATIBLE: Final = (
    ("\ufb01n", "fin"),
    ("\uff4bey", "key"),
    ("x\u00b2", "x2"),
    ("\u2460", "1"),
)

_PATHS: Final = (
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
_CONTROLS: Final = (
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
_SEPARATORS: Final = (
    "a",
    *(f"a{separator}b" for separator in "|,;#@&=+!~'\"`^{}()<>\x1c\x1d\x1e\x1f"),
    "a::b",
    "a%2Fb",
    "a%00",
    "sess:a",
    "session:a",
)

#: What a request's JSON can hold in the place of a key; dictionaries are queries of databases.
_NO_STRINGS: Final[tuple[Any, ...]] = (
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
#: Strings that are no keys by KEY-1.
_NO_KEYS: Final = ("", "k" * 257, "k" * 3000, "\ud800", "key\udfff")

_PATTERNS: Final = (
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
_TARGET: Final = "abc"

_ENDS: Final = ("", " ", "  ", "\t", "\u00a0", "\u3000", "\u2003")


def _expect_apart(bench: Bench, keys: Sequence[str]) -> None:
    """Expect that each key has a record of its own, also when every second one is destroyed."""
    data = {key: b"data %d" % number for number, key in enumerate(keys)}
    for key in keys:
        bench.put(key, data[key])
    for key in keys:
        bench.expect_data(data[key], key)
    for key in keys[::2]:
        bench.expect(bench.store.destroy(key), True)
    for key in keys[::2]:
        bench.expect_absent(key)
    for key in keys[1::2]:
        bench.expect_data(data[key], key)


def _expect_accepted(bench: Bench, keys: Iterable[str]) -> None:
    """Expect that each verb takes each key; only one at a time is there."""
    for key in keys:
        bench.put(key)
        bench.expect_data(b"data", key)
        bench.expect(bench.store.touch(key, bench.clock.now + 2 * DAY), True)
        bench.expect_unchanged(bench.record(life=2 * DAY), key)
        bench.expect(bench.store.set(key, bench.record(b"new"), Unchanged(b"data")), True)
        bench.expect(bench.store.set(key, bench.record(), ABSENT), False)
        bench.expect_data(b"new", key)
        bench.expect(bench.store.destroy(key), True)
        bench.expect(bench.store.set(key, bench.record(), PRESENT), False)
        bench.expect_absent(key)


@case(
    "KEY-1",
    depends_on=("GET-5", "SET-4", "SET-6", "SET-7", "TOUCH-1", "DESTROY-1"),
    hint="the backend limits the bytes of a name: hash longer ones.",
)
def shortest_and_longest(bench: Bench) -> None:
    """Keys of 1 and of 256 characters are accepted, of up to 4 bytes each."""
    _expect_accepted(bench, _LENGTHS)


@case(
    "KEY-1",
    depends_on=("GET-5", "SET-4", "SET-6", "SET-7", "TOUCH-1", "DESTROY-1"),
    hint="keys are encoded as ASCII or Latin-1, or parsed as numbers.",
)
def unusual_characters(bench: Bench) -> None:
    """Keys of control characters, of other scripts and of non-characters are accepted."""
    _expect_accepted(bench, _UNUSUAL)


@case(
    "KEY-1",
    depends_on=(
        "OWNER-13",
        "DESTROY-1",
    ),
    hint="key and owner share a name of limited length.",
)
def longest_with_an_owner(bench: Bench) -> None:
    """A key of 256 characters of 4 bytes is accepted beside such an owner."""
    key, owner = "\U0001f9e5" * 256, "\U0001f464" * 256
    bench.put(key, owner=owner)
    bench.expect_data(b"data", key)


@case("KEY-2", depends_on=("KEY-1",), hint="the file system or the collation folds case.")
def letter_case(bench: Bench) -> None:
    """Keys that differ in case have a record each."""
    _expect_apart(bench, _CASES)


@case("KEY-3", depends_on=("KEY-1", "KEY-2"), hint="the file system or the collation normalises.")
def canonical_forms(bench: Bench) -> None:
    """Keys that are canonically equivalent have a record each."""
    _expect_apart(bench, _COMPOSED)
    for keys in _EQUIVALENT:
        _expect_apart(bench, keys)


@case("KEY-3", depends_on=("KEY-1", "KEY-2"), hint="names are prepared with NFKC.")
def compatible_forms(bench: Bench) -> None:
    """Keys that are equivalent by compatibility have a record each."""
    for keys in _COMPATIBLE:
        _expect_apart(bench, keys)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="the key becomes a path as it is.",
)
def paths(bench: Bench) -> None:
    """Keys that look like paths have a record each."""
    _expect_apart(bench, _PATHS)


@case(
    "KEY-4",
    depends_on=(
        "KEY-6",
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="a name ends at NUL, or at the end of a line.",
)
def control_characters(bench: Bench) -> None:
    """Keys with NUL and line ends have a record each."""
    _expect_apart(bench, _CONTROLS)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="the key is one of several parts that are joined, and taken apart again.",
)
def separators(bench: Bench) -> None:
    """Keys with what commonly separates names have a record each."""
    _expect_apart(bench, _SEPARATORS)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="`..` leads out of the namespace, or a separator into another one.",
)
def ways_out_of_the_namespace(bench: Bench) -> None:
    """Keys that look like ways into another namespace do not lead there."""
    elsewhere = bench.elsewhere()
    record = bench.put("key", b"elsewhere", store=elsewhere)
    name = f"{bench.namespace}a"
    ways = [f"{lead}{name}{join}key" for lead in ("../", "/", "", "..\\") for join in "/:\0\\"]
    ways += [f"{join}a{join}key" for join in "/:"] + [f"a{join}key" for join in "/:"]
    for way in ways:
        bench.expect_absent(way)
        bench.put(way, b"here")
        bench.expect(bench.store.destroy(way), True)
    bench.expect_same(elsewhere.get("key"), record, "elsewhere")


@case(
    "KEY-5",
    depends_on=(
        "GET-5",
        "GET-7",
        "SET-6",
        "DESTROY-2",
        "TOUCH-2",
        "DESTROY-1",
    ),
    hint="the key goes into a pattern: GLOB, LIKE, a regular expression, SCAN.",
)
def patterns_name_nothing_else(bench: Bench) -> None:
    """A pattern that matches another key finds nothing, and does nothing to it."""
    record = bench.put(_TARGET)
    for pattern in _PATTERNS:
        bench.expect_absent(pattern)
        bench.expect(bench.store.touch(pattern, bench.clock.now + 60), False)
        bench.expect(bench.store.set(pattern, bench.record(b"other"), PRESENT), False)
        bench.expect(bench.store.destroy(pattern), False)
    bench.expect_unchanged(record, _TARGET)


@case(
    "KEY-5",
    depends_on=(
        "GET-5",
        "GET-7",
        "SET-6",
        "DESTROY-2",
        "TOUCH-2",
        "DESTROY-1",
    ),
    hint="special characters are replaced, and then are the same.",
)
def patterns_are_names(bench: Bench) -> None:
    """Keys that look like patterns have a record each, beside one that they match."""
    _expect_apart(bench, (_TARGET, *_PATTERNS))


@case("KEY-6", depends_on=("DESTROY-1",), hint="a key is searched for by its beginning.")
def prefixes(bench: Bench) -> None:
    """Keys that are prefixes of one another have a record each."""
    _expect_apart(bench, [("key" * 20)[:length] for length in (1, 2, 3, 4, 6, 9, 31, 32, 60)])


@case(
    "KEY-6",
    depends_on=(
        "KEY-3",
        "DESTROY-1",
    ),
    hint="the backend pads or trims its strings.",
)
def white_space_at_the_ends(bench: Bench) -> None:
    """Keys that differ in white space at either end have a record each."""
    keys = {f"{before}key{after}" for before in _ENDS for after in _ENDS if not before or not after}
    _expect_apart(bench, [*sorted(keys), " ", "  "])


@case(
    "KEY-6",
    depends_on=(
        "KEY-1",
        "DESTROY-1",
    ),
    hint="the column is VARCHAR(255).",
)
def last_character(bench: Bench) -> None:
    """Keys that differ in their 256th character, or have none, have a record each."""
    for character in ("k", "\U0001f9e5"):
        lead = character * 255
        _expect_apart(bench, (f"{lead}a", f"{lead}b", lead, lead[1:]))


@case(
    "KEY-7",
    depends_on=("KEY-1", "KEY-2", "KEY-3", "KEY-4", "KEY-5", "KEY-6", "ENUM-1"),
    hint="the key is made from the name in the backend, which was escaped or cut.",
)
def keys_as_they_were_set(bench: Bench) -> None:
    """After keys of every kind were set, `all` yields just these."""
    keys = {*_LENGTHS, *_UNUSUAL, *_CASES, *_COMPOSED, *_COMPATIBLE[0], *_PATTERNS, " key "}
    keys |= {*_PATHS, *_CONTROLS, *_SEPARATORS, "%41%2e", "k%C3%A9", "a+b", "=3D", "\\u0041"}
    for key in keys:
        bench.put(key)
    bench.expect_keys(bench.store.all(), sorted(keys))


@case(
    "KEY-9",
    depends_on=("SET-3", "GET-5", "DESTROY-1"),
    hint="a key goes into a query or a name unchecked: `coatcheck.check_key` checks it.",
)
def other_things_than_keys(bench: Bench) -> None:
    """Each verb refuses what is no key, and every record is there afterwards."""
    bench.put()
    record = bench.record(b"other")
    for error, junk in (*((TypeError, key) for key in _NO_STRINGS),
                        *((ValueError, key) for key in _NO_KEYS)):  # fmt: skip
        with bench.expect_raises(error):
            bench.store.get(junk)
        for only_if in (ALWAYS, ABSENT, PRESENT):
            with bench.expect_raises(error):
                bench.store.set(junk, record, only_if)
            with bench.expect_raises(error):
                bench.store.destroy(junk, only_if)
        with bench.expect_raises(error):
            bench.store.touch(junk, bench.clock() + DAY)
    bench.expect_data(b"data")


@case("KEY-8", hint="namespace and key are joined without a separator.")
def longer_namespace(bench: Bench) -> None:
    """A key is absent though namespace and key, one after the other, spell those of another."""
    elsewhere = bench.elsewhere("a")
    bench.put("key", b"elsewhere", store=elsewhere)
    bench.expect_absent("akey")
    bench.put("akey", b"here")
    bench.expect_data(b"elsewhere", store=elsewhere)
    bench.expect_data(b"here", "akey")


@case("KEY-8", hint="the namespace is not part of what a verb looks for.")
def same_key_elsewhere(bench: Bench) -> None:
    """What is done to a key in one namespace does nothing to it in another."""
    elsewhere = bench.elsewhere("b")
    bench.put(data=b"here")
    bench.expect_absent(store=elsewhere)
    bench.put(data=b"elsewhere", store=elsewhere)
    bench.expect_data(b"here")
    bench.expect(bench.store.destroy("key"), True)
    bench.expect_data(b"elsewhere", store=elsewhere)
