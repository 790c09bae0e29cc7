"""The clauses of the Store contract, read from the document that comes with the kit.

A wheel holds the document. An editable install reads the one in the repository's docs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, TypeAlias

from coatcheck import Capabilities

Level: TypeAlias = Literal["required", "optional", "recommended"]

_ROW: Final = re.compile(r"^\| ([A-Z]+-[0-9]+) \|(.*)\|$", re.MULTILINE)
_HEADING: Final = re.compile(r"^## ([A-Z]+): (.+)$", re.MULTILINE)
_VERSION: Final = re.compile(r"^Contract version: \*\*(.+)\*\*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Clause:
    """One obligation of the contract.

    :ivar id: the group and a number, whose meaning never changes.
    :ivar level: which stores the clause binds; see the document.
    :ivar capability: ``-``, ``name`` or ``name=False``.
    :ivar obligation: the behaviour that must be seen from outside.
    :ivar reason: the damage if a store behaves differently.
    :ivar anchor: the heading's anchor in the document.
    """

    id: str
    level: Level
    capability: str
    obligation: str
    reason: str
    anchor: str

    @property
    def group(self) -> str:
        """Return the part of the id before the number."""
        return self.id.partition("-")[0]

    def concerns(self, capabilities: Capabilities) -> bool:
        """Tell whether the clause applies to a store with these capabilities."""
        if self.capability == "-":
            return True
        name, _, negated = self.capability.partition("=")
        value = getattr(capabilities, name)
        declared = value is not None if name == "max_data_bytes" else bool(value)
        return declared != bool(negated)

    def binds(self, capabilities: Capabilities) -> bool:
        """Tell whether a store with these capabilities conforms only if it fulfils the clause."""
        return self.level != "recommended" and self.concerns(capabilities)


@cache
def document() -> str:
    """Return the text of the contract.

    :raises FileNotFoundError: the text is neither in the package nor in the repository.
    """
    in_package = files("coatcheck_conformance") / "contract.md"
    if in_package.is_file():
        return in_package.read_text("utf-8")
    # Editable: this module is REPOSITORY/conformance/src/coatcheck_conformance/_kit/contract.py.
    return (Path(__file__).parents[4] / "docs" / "contract.md").read_text("utf-8")


@cache
def version() -> str:
    """Return the version of the contract, as MAJOR.MINOR."""
    (found,) = _VERSION.findall(document())
    return str(found)


@cache
def clauses() -> dict[str, Clause]:
    """Return all clauses by their id, in the order of the document."""
    anchors = {
        group: f"{group}-{title}".lower().replace(" ", "-")
        for group, title in _HEADING.findall(document())
    }
    found = {}
    for id, cells in _ROW.findall(document()):
        level, capability, obligation, reason = (cell.strip() for cell in cells.split(" | "))
        anchor = anchors[id.partition("-")[0]]
        found[id] = Clause(id, level, capability, obligation, reason, anchor)
    return found
