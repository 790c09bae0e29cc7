"""OWNER-7, OWNER-10 and OWNER-15: names of owners, in other namespaces too, and invalid ones."""

from __future__ import annotations

from typing import Any, Final

from ..case import case
from ..context import Context
from .owner import owned_by

#: Owners that a person or a program may confuse.
_ALIKE: Final = (
    "ann",
    "Ann",
    "ANN",
    "ann ",
    " ann",
    "ann\n",
    "ann\t",
    "an",
    "anna",
    "ann:1",
    "ann:",
    "ann/1",
    "ann\\1",
    "ann%",
    "ann*",
    "an?",
    "an_",
    "a.n",
    "[a]nn",
    "*",
    "%",
    ".",
    "..",
    "{ann}",
    "ann,bob",
    "$ann",
    "\u00e9",
    "e\u0301",
    "\ufb01",
    "fi",
    "\u00df",
    "ss",
    "1",
    "01",
    "1.0",
    "None",
    "null",
    "a" * 255,
    "a" * 256,
)
#: JSON of a request that is no owner; some databases take a dictionary for a query.
_NO_STRINGS: Final[tuple[Any, ...]] = (None, 0, True, b"ann", ["ann"], {"$ne": None}, {"S": "ann"})
#: Strings that are not valid owners.
_NO_OWNERS: Final = ("", "\ud800", "ann\udfff")


@case(
    "OWNER-7",
    depends_on=("OWNER-1",),
    hint="the owner is used in a pattern, a collation or a composed key as it is.",
)
def owners_that_look_alike(context: Context) -> None:
    """`owned_by` yields for each of many similar owners only that owner's record."""
    for number, owner in enumerate(_ALIKE):
        context.put(f"key{number}", owner=owner)
    for number, owner in enumerate(_ALIKE):
        context.expect_keys(owned_by(context, owner), [f"key{number}"], f"owned by {owner[:20]!r}")


@case(
    "OWNER-10",
    depends_on=("OWNER-1",),
    hint="the index has the owner's name alone, without the namespace.",
)
def other_namespaces(context: Context) -> None:
    """`owned_by` yields only records of the namespace, even if another has the same owner."""
    elsewhere = context.elsewhere()
    context.put("here", owner="ann")
    context.put("there", owner="ann", store=elsewhere)
    context.expect_keys(owned_by(context, "ann"), ["here"])
    context.expect_keys(owned_by(context, "ann", elsewhere), ["there"], "elsewhere")


@case(
    "OWNER-15",
    depends_on=("OWNER-1", "SET-3"),
    hint="an owner goes into a query or a name unchecked: use `coatcheck.storekit.check_owner`.",
)
def other_things_than_owners(context: Context) -> None:
    """`owned_by` and `set` refuse invalid owners, and keep the record."""
    context.put(owner="ann")
    for error, junk in (*((TypeError, owner) for owner in _NO_STRINGS),
                        *((ValueError, owner) for owner in _NO_OWNERS)):  # fmt: skip
        with context.expect_raises(error):
            context.store.owned_by(junk)
        if junk is not None:
            with context.expect_raises(error):
                context.store.set("key", context.record(b"other", owner=junk))
    context.expect_data(b"data")
    context.expect_keys(owned_by(context, "ann"), ["key"])
