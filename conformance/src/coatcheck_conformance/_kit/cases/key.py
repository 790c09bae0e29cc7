"""KEY: the names of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coatcheck import ABSENT, ALWAYS, PRESENT, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from ..unusual_keys import (
    CASES,
    COMPATIBLE,
    COMPOSED,
    CONTROLS,
    ENDS,
    EQUIVALENT,
    LENGTHS,
    NO_KEYS,
    NO_STRINGS,
    PATHS,
    PATTERNS,
    SEPARATORS,
    TARGET,
    UNUSUAL,
)


def _expect_apart(context: Context, keys: Sequence[str]) -> None:
    """Expect a record of its own for each key, also when every second one is destroyed."""
    data = {key: b"data %d" % number for number, key in enumerate(keys)}
    for key in keys:
        context.put(key, data[key])
    for key in keys:
        context.expect_data(data[key], key)
    for key in keys[::2]:
        context.expect(context.store.destroy(key), True)
    for key in keys[::2]:
        context.expect_absent(key)
    for key in keys[1::2]:
        context.expect_data(data[key], key)


def _expect_accepted(context: Context, keys: Iterable[str]) -> None:
    """Expect that each operation accepts each key; only one key is used at a time."""
    for key in keys:
        context.put(key)
        context.expect_data(b"data", key)
        context.expect(context.store.touch(key, context.clock.now + 2 * DAY), True)
        context.expect_unchanged(context.record(life=2 * DAY), key)
        context.expect(context.store.set(key, context.record(b"new"), Unchanged(b"data")), True)
        context.expect(context.store.set(key, context.record(), ABSENT), False)
        context.expect_data(b"new", key)
        context.expect(context.store.destroy(key), True)
        context.expect(context.store.set(key, context.record(), PRESENT), False)
        context.expect_absent(key)


@case(
    "KEY-1",
    depends_on=("GET-5", "SET-4", "SET-6", "SET-7", "TOUCH-1", "DESTROY-1"),
    hint="the backend limits the bytes of a name: hash longer ones.",
)
def shortest_and_longest(context: Context) -> None:
    """Keys of 1 and of 256 characters are accepted, with up to 4 bytes a character."""
    _expect_accepted(context, LENGTHS)


@case(
    "KEY-1",
    depends_on=("GET-5", "SET-4", "SET-6", "SET-7", "TOUCH-1", "DESTROY-1"),
    hint="keys are encoded as ASCII or Latin-1, or parsed as numbers.",
)
def unusual_characters(context: Context) -> None:
    """Keys of control characters, other scripts and non-characters are accepted."""
    _expect_accepted(context, UNUSUAL)


@case(
    "KEY-1",
    depends_on=(
        "OWNER-13",
        "DESTROY-1",
    ),
    hint="key and owner share a name of limited length.",
)
def longest_with_an_owner(context: Context) -> None:
    """A key and an owner of 256 characters of 4 bytes each are accepted together."""
    key, owner = "\U0001f9e5" * 256, "\U0001f464" * 256
    context.put(key, owner=owner)
    context.expect_data(b"data", key)


@case("KEY-2", depends_on=("KEY-1",), hint="the file system or the collation folds case.")
def letter_case(context: Context) -> None:
    """Keys that differ in case have different records."""
    _expect_apart(context, CASES)


@case(
    "KEY-3",
    depends_on=("KEY-1", "KEY-2"),
    hint="the file system or the collation normalises names.",
)
def canonical_forms(context: Context) -> None:
    """Keys that are canonically equivalent have different records."""
    _expect_apart(context, COMPOSED)
    for keys in EQUIVALENT:
        _expect_apart(context, keys)


@case("KEY-3", depends_on=("KEY-1", "KEY-2"), hint="names are normalised with NFKC.")
def compatible_forms(context: Context) -> None:
    """Keys that are equivalent by compatibility have different records."""
    for keys in COMPATIBLE:
        _expect_apart(context, keys)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="the key is used as a path.",
)
def paths(context: Context) -> None:
    """Keys that look like paths have different records."""
    _expect_apart(context, PATHS)


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
def control_characters(context: Context) -> None:
    """Keys with NUL and line ends have different records."""
    _expect_apart(context, CONTROLS)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="the key is joined with other parts, and split again.",
)
def separators(context: Context) -> None:
    """Keys that contain common separators have different records."""
    _expect_apart(context, SEPARATORS)


@case(
    "KEY-4",
    depends_on=(
        "GET-5",
        "GET-7",
        "DESTROY-1",
    ),
    hint="`..` leads out of the namespace, or a separator into another one.",
)
def ways_out_of_the_namespace(context: Context) -> None:
    """Keys that look like paths to another namespace do not lead there."""
    elsewhere = context.elsewhere()
    record = context.put("key", b"elsewhere", store=elsewhere)
    name = f"{context.namespace}a"
    ways = [f"{lead}{name}{join}key" for lead in ("../", "/", "", "..\\") for join in "/:\0\\"]
    ways += [f"{join}a{join}key" for join in "/:"] + [f"a{join}key" for join in "/:"]
    for way in ways:
        context.expect_absent(way)
        context.put(way, b"here")
        context.expect(context.store.destroy(way), True)
    context.expect_same(elsewhere.get("key"), record, "elsewhere")


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
    hint="the key is used as a pattern: GLOB, LIKE, a regular expression, SCAN.",
)
def patterns_name_nothing_else(context: Context) -> None:
    """A pattern that matches another key finds nothing, and does nothing to it."""
    record = context.put(TARGET)
    for pattern in PATTERNS:
        context.expect_absent(pattern)
        context.expect(context.store.touch(pattern, context.clock.now + 60), False)
        context.expect(context.store.set(pattern, context.record(b"other"), PRESENT), False)
        context.expect(context.store.destroy(pattern), False)
    context.expect_unchanged(record, TARGET)


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
    hint="special characters are replaced, and two keys become the same.",
)
def patterns_are_names(context: Context) -> None:
    """Keys that look like patterns have different records, beside one that they match."""
    _expect_apart(context, (TARGET, *PATTERNS))


@case("KEY-6", depends_on=("DESTROY-1",), hint="a key is searched for by its beginning.")
def prefixes(context: Context) -> None:
    """Keys that are prefixes of one another have different records."""
    _expect_apart(context, [("key" * 20)[:length] for length in (1, 2, 3, 4, 6, 9, 31, 32, 60)])


@case(
    "KEY-6",
    depends_on=(
        "KEY-3",
        "DESTROY-1",
    ),
    hint="the backend pads or trims its strings.",
)
def white_space_at_the_ends(context: Context) -> None:
    """Keys that differ in white space at either end have different records."""
    keys = {f"{before}key{after}" for before in ENDS for after in ENDS if not before or not after}
    _expect_apart(context, [*sorted(keys), " ", "  "])


@case(
    "KEY-6",
    depends_on=(
        "KEY-1",
        "DESTROY-1",
    ),
    hint="the column is VARCHAR(255).",
)
def last_character(context: Context) -> None:
    """Keys that differ only in their 256th character have different records."""
    for character in ("k", "\U0001f9e5"):
        lead = character * 255
        _expect_apart(context, (f"{lead}a", f"{lead}b", lead, lead[1:]))


@case(
    "KEY-7",
    depends_on=("KEY-1", "KEY-2", "KEY-3", "KEY-4", "KEY-5", "KEY-6", "ENUM-1"),
    hint="the key is restored from its name in the backend, which was escaped or cut.",
)
def keys_as_they_were_set(context: Context) -> None:
    """`all` yields keys of every kind exactly as they were set."""
    keys = {*LENGTHS, *UNUSUAL, *CASES, *COMPOSED, *COMPATIBLE[0], *PATTERNS, " key "}
    keys |= {*PATHS, *CONTROLS, *SEPARATORS, "%41%2e", "k%C3%A9", "a+b", "=3D", "\\u0041"}
    for key in keys:
        context.put(key)
    context.expect_keys(context.store.all(), sorted(keys))


@case(
    "KEY-9",
    depends_on=("SET-3", "GET-5", "DESTROY-1"),
    hint="a key goes into a query or a name unchecked: use `coatcheck.storekit.check_key`.",
)
def other_things_than_keys(context: Context) -> None:
    """Each operation refuses invalid keys, and keeps every record."""
    context.put()
    record = context.record(b"other")
    for error, junk in (*((TypeError, key) for key in NO_STRINGS),
                        *((ValueError, key) for key in NO_KEYS)):  # fmt: skip
        with context.expect_raises(error):
            context.store.get(junk)
        for only_if in (ALWAYS, ABSENT, PRESENT):
            with context.expect_raises(error):
                context.store.set(junk, record, only_if)
            with context.expect_raises(error):
                context.store.destroy(junk, only_if)
        with context.expect_raises(error):
            context.store.touch(junk, context.clock() + DAY)
    context.expect_data(b"data")


@case("KEY-8", hint="namespace and key are joined without a separator.")
def longer_namespace(context: Context) -> None:
    """A key is absent even if namespace and key spell those of another record when joined."""
    elsewhere = context.elsewhere("a")
    context.put("key", b"elsewhere", store=elsewhere)
    context.expect_absent("akey")
    context.put("akey", b"here")
    context.expect_data(b"elsewhere", store=elsewhere)
    context.expect_data(b"here", "akey")


@case("KEY-8", hint="the namespace is not part of the name that an operation looks up.")
def same_key_elsewhere(context: Context) -> None:
    """Operations on a key in one namespace do not change it in another."""
    elsewhere = context.elsewhere("b")
    context.put(data=b"here")
    context.expect_absent(store=elsewhere)
    context.put(data=b"elsewhere", store=elsewhere)
    context.expect_data(b"here")
    context.expect(context.store.destroy("key"), True)
    context.expect_data(b"elsewhere", store=elsewhere)
