"""The contract in docs/contract.md is well-formed and complete.

Whether a store keeps it is what the conformance kit finds out.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from coatcheck import (
    CONTRACT_VERSION,
    AsyncStore,
    Capabilities,
    Store,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "contract.md"
GROUPS = [
    "GET", "SET", "DESTROY", "TOUCH", "EXPIRY", "KEY", "DATA", "DAMAGE", "RACE", "ENUM", "CLEAR",
    "OWNER", "PRUNE", "CAP", "LIFE", "LOOP", "PARITY", "FAULT", "SECRET", "COST",
]  # fmt: skip
LEVELS = ("required", "recommended", "optional")
CAPABILITIES = frozenset(field.name for field in fields(Capabilities))


@dataclass(frozen=True)
class Clause:
    """One row of the tables."""

    id: str
    level: str
    capability: str
    obligation: str
    reason: str

    @property
    def group(self) -> str:
        return self.id.rpartition("-")[0]


def read_clauses(text: str) -> list[Clause]:
    """Return the rows whose first cell looks like a clause id, in order."""
    rows = re.findall(r"^\| ([A-Z]+-\S+) \|(.*)\|$", text, re.MULTILINE)
    return [Clause(id, *(cell.strip() for cell in cells.split(" | "))) for id, cells in rows]


TEXT = DOCUMENT.read_text("utf-8")
CLAUSES = read_clauses(TEXT)
BY_ID = {clause.id: clause for clause in CLAUSES}
each_clause = pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.id)


# The document


def test_version() -> None:
    """The document's version is the one that the package speaks."""
    assert re.findall(r"^Contract version: \*\*(.+)\*\*$", TEXT, re.MULTILINE) == [CONTRACT_VERSION]


def test_ids_are_unique_and_counted_without_a_gap() -> None:
    """Each group is numbered from 1, in order, and no id occurs twice."""
    expected = []
    for group in dict.fromkeys(clause.group for clause in CLAUSES):
        count = sum(clause.group == group for clause in CLAUSES)
        expected += [f"{group}-{number}" for number in range(1, count + 1)]
    assert [clause.id for clause in CLAUSES] == expected


def test_groups_have_headings() -> None:
    """The groups are a closed list, and each has its heading and its table."""
    headings = re.findall(r"^## ([A-Z]+): ", TEXT, re.MULTILINE)
    assert headings == GROUPS == list(dict.fromkeys(clause.group for clause in CLAUSES))


def test_every_table_row_is_a_clause() -> None:
    """No row of a group's table is missed by the parser."""
    tables = TEXT[TEXT.index("\n## GET: ") :]
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    frames = [row for row in rows if row.startswith(("| id |", "|---"))]
    assert len(rows) - len(frames) == len(CLAUSES)
    assert set(frames) == {
        "| id | level | capability | obligation | reason |",
        "|---|---|---|---|---|",
    }


@each_clause
def test_level_fits_the_capability(clause: Clause) -> None:
    """Required binds all stores or those without a capability, optional those that declare it."""
    name, _, negated = clause.capability.partition("=")
    assert clause.level in LEVELS
    assert name == "-" or name in CAPABILITIES
    assert negated in ("", "False")
    assert not (name == "-" and negated)
    if clause.level != "recommended":
        assert (clause.level == "optional") == (name != "-" and not negated)


@each_clause
def test_one_obligation_and_one_reason(clause: Clause) -> None:
    """An obligation and its reason are one sentence each."""
    for sentence in (clause.obligation, clause.reason):
        assert re.fullmatch(r"[A-Z0-9`\"].*[^.]\.", sentence)
        assert not re.search(r"[.!?]\"? [A-Z`]", sentence)


def test_no_obligation_is_stated_twice() -> None:
    """Obligations differ."""
    assert len({clause.obligation for clause in CLAUSES}) == len(CLAUSES)


def test_clauses_refer_to_clauses() -> None:
    """An id that is mentioned anywhere in the document exists."""
    mentioned = set(re.findall(rf"\b(?:{'|'.join(GROUPS)})-\d+\b", TEXT))
    assert mentioned == set(BY_ID)


@pytest.mark.parametrize("api", [Store, AsyncStore])
def test_every_operation_is_covered(api: type) -> None:
    """Each public operation of both APIs is in the signature block and the subject of a clause."""
    operations = {name for name, _ in inspect.getmembers(api, inspect.isfunction) if name[0] != "_"}
    declared = set(re.findall(r"^    def (\w+)\(self", TEXT, re.MULTILINE))
    subjects = {
        operation
        for clause in CLAUSES
        for operation in re.findall(r"`([a-z_]+)`", clause.obligation)
    }
    assert declared == operations
    assert operations <= subjects


def test_signatures_are_those_of_the_class() -> None:
    """The signatures in the document are the code's."""
    documented = re.findall(r"^    def (\w+)(\(.*\) -> .+): \.\.\.$", TEXT, re.MULTILINE)
    assert documented
    for operation, signature in documented:
        found = inspect.signature(getattr(Store, operation))
        written = str(found).replace("'", "").replace("<Presence.ALWAYS: always>", "ALWAYS")
        assert signature == written


def test_every_capability_is_documented_and_used() -> None:
    """The table of capabilities names each field with its default, and groups that bind to it."""
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| .+ \| ([A-Z, ]+) \|$", TEXT, re.MULTILINE)
    defaults = Capabilities()
    assert [(name, default) for name, default, _ in rows] == [
        (field.name, repr(getattr(defaults, field.name))) for field in fields(Capabilities)
    ]
    for name, _, groups in rows:
        bound = {c.group for c in CLAUSES if c.capability.partition("=")[0] == name}
        assert bound
        assert set(groups.split(", ")) >= bound - {"COST", "KEY"}


@pytest.mark.parametrize(
    "broken",
    ["| GET-1 | required | - | no reason. |", "| GET-1 | required | - | One. | two. | three. |"],
)
def test_a_row_with_another_number_of_cells_is_refused(broken: str) -> None:
    """The parser does not guess at a row that is not of five cells."""
    with pytest.raises(TypeError):
        read_clauses(broken)
