"""The table of docs/conformance.md: one line for each of the conformance kit's reports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .backends import BACKENDS

COLUMNS: Final = ("Report", "Store", "Server", "Binding clauses", "Verdict", "Contract", "Kit")
#: The version of report.json that is supported here.
_SCHEMA: Final = 1

_PLACE: Final = re.compile(
    r"^(?P<begin><!-- reports -->\n)(?P<table>.*?)(?P<end>^<!-- end -->)$", re.MULTILINE | re.DOTALL
)
#: A distribution's suffix of the kernel's version; it differs from machine to machine.
_BUILD: Final = re.compile(r"(?<=\d)-\S+")


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


_HEADER: Final = [_line(COLUMNS), "|---" * len(COLUMNS) + "|"]


class DocumentError(Exception):
    """A document, or a part of it, is wrong; the message says what to do."""


def with_reports(text: str, folder: Path) -> tuple[str, list[str]]:
    """Return a document with the table of the reports in a folder.

    A report that is not in the folder keeps the line that the document has.

    :param folder: has ``NAME/report.json`` for each name.
    :returns: the document, and the names of the reports that are not in the folder.
    :raises DocumentError: there is neither a report nor a line, or the document has no place for
        the table.
    """
    place = _place(text)
    old = {_cells(line)[0]: line for line in place["table"].splitlines()[2:]}
    lines, kept = [*_HEADER], []
    for backend in BACKENDS:
        report = folder / backend.name / "report.json"
        if report.is_file():
            lines.append(_line((backend.name, *_figures(report))))
        elif backend.name in old:
            lines.append(old[backend.name])
            kept.append(backend.name)
        else:
            raise DocumentError(
                f"there is no {report}: run `python -m testing.reports {folder} {backend.name}`"
            )
    table = "".join(f"{line}\n" for line in lines)
    return text[: place.start("table")] + table + text[place.end("table") :], kept


def fault(text: str) -> str:
    """Return what is wrong with the form of the table in a document; the figures may differ.

    :returns: an empty text if the form is right.
    :raises DocumentError: the document has no place for the table.
    """
    lines = _place(text)["table"].splitlines()
    if lines[:2] != _HEADER:
        return f"the table must begin with `{_HEADER[0]}`"
    rows = [_cells(line) for line in lines[2:]]
    names, expected = [cells[0] for cells in rows], [backend.name for backend in BACKENDS]
    if names != expected:
        return f"the lines must be {', '.join(expected)}, in this order, not {', '.join(names)}"
    for cells in rows:
        if len(cells) != len(COLUMNS) or not all(cells):
            return f"the line on {cells[0]} must have {len(COLUMNS)} cells, none of them empty"
    return ""


def _place(text: str) -> re.Match[str]:
    match = _PLACE.search(text)
    if match is None:
        raise DocumentError(
            "docs/conformance.md has no place for the table: it must have a line "
            "`<!-- reports -->` and, after it, a line `<!-- end -->`"
        )
    return match


def _figures(report: Path) -> tuple[str, ...]:
    """Return the cells of a report's line, without its name."""
    document: Mapping[str, Any] = json.loads(report.read_text("utf-8"))
    if document.get("schema") != _SCHEMA:
        raise DocumentError(
            f"{report} has the schema {document.get('schema')!r}, not {_SCHEMA}: "
            "make it again with the kit of this repository"
        )
    store, counts = document["store"], document["counts"]
    return (
        f"{store['distribution']} {store['version']}",
        _BUILD.sub("", document["backend"]) or "none",
        f"{counts['binding_passed']} of {counts['binding']} passed",
        document["verdict"],
        document["contract"],
        document["kit"],
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
