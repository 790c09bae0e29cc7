"""Write the generated parts of the documents, and check that they are current.

Two comments, which a reader of the page does not see, are the place of a file::

    <!-- include: examples/store-sqlite/pyproject.toml -->
    <!-- end -->

``python -m testing.documents`` writes the file between them, as a block of code. Between
``<!-- states -->`` and ``<!-- end -->`` it writes the table of a session's states, and after
``<!-- options: SessionOptions -->`` the options of a class.
``python -m testing.documents --check`` writes nothing and names each document that is not current.
``python -m testing.documents --reports FOLDER`` also writes the table of docs/conformance.md, from
the reports that ``python -m testing.reports FOLDER`` has written.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from . import option_table, report_table, state_table
from .report_table import DocumentError

ROOT: Final = Path(__file__).parents[1]
#: The document that has the table of reports.
TABLE: Final = Path("docs", "conformance.md")

_INCLUDE: Final = re.compile(
    r"^(?P<begin><!-- include: (?P<path>\S+) -->\n)(?:(?!<!-- include:).*\n)*?"
    r"(?P<end><!-- end -->)$",
    re.MULTILINE,
)
_STATES: Final = re.compile(r"^(<!-- states -->\n)(?:.*\n)*?(<!-- end -->)$", re.MULTILINE)
_OPTIONS: Final = re.compile(r"^(<!-- options: (\w+) -->\n)(?:.*\n)*?(<!-- end -->)$", re.MULTILINE)
_BEGIN: Final = re.compile(r"^<!-- include:.*$", re.MULTILINE)
_MARK: Final = re.compile(r"^<!-- (?:include:|end -->)", re.MULTILINE)
_LANGUAGES: Final = {
    ".py": "python", ".toml": "toml", ".yml": "yaml", ".json": "json", ".conf": "nginx",
}  # fmt: skip


def check(root: Path = ROOT) -> list[str]:
    """Return one line for each document that is not current, with the command that writes it.

    The figures in the table of reports are not checked: only a release makes all reports.

    :raises DocumentError: a marker cannot be understood, or names no file.
    """
    lines = [
        f"{path.relative_to(root)} is not current: run `python -m testing.documents`"
        for path, text in _documents(root)
        if with_files(text, path.relative_to(root), root) != text
    ]
    wrong = report_table.fault((root / TABLE).read_text("utf-8"))
    if wrong:
        lines.append(f"{TABLE}: {wrong}: run `python -m testing.documents --reports FOLDER`")
    return lines


def write(root: Path = ROOT) -> list[Path]:
    """Write the files that documents include, and return the documents that have changed.

    :raises DocumentError: a marker cannot be understood, or names no file.
    """
    changed = []
    for path, text in _documents(root):
        current = with_files(text, path.relative_to(root), root)
        if current != text:
            path.write_text(current, "utf-8")
            changed.append(path.relative_to(root))
    return changed


def with_files(text: str, name: Path, root: Path) -> str:
    """Return a document with the present content of its files and of its tables.

    :param text: the document.
    :param name: its name, for errors.
    :param root: the folder in which the paths of the document start.
    :raises DocumentError: a marker cannot be understood, or names no file.
    """
    ended = {match.start() for match in _INCLUDE.finditer(text)}
    for marker in _BEGIN.finditer(text):
        if marker.start() not in ended:
            raise DocumentError(
                f"{name}: `{marker[0]}` must be `<!-- include: PATH -->`, and a line "
                "`<!-- end -->` must follow before the next one"
            )

    def current(match: re.Match[str]) -> str:
        file = root / match["path"]
        if not file.is_file():
            raise DocumentError(
                f"{name}: `{match['path']}` is not a file of the repository; paths start at "
                "its root"
            )
        block = _block(file)
        if _MARK.search(block):
            raise DocumentError(
                f"{name}: `{match['path']}` has markers of its own: it cannot be included"
            )
        return f"{match['begin']}{block}{match['end']}"

    text = _OPTIONS.sub(lambda found: found[1] + option_table.table(found[2]) + found[3], text)
    text = _STATES.sub(lambda match: match[1] + state_table.table() + match[2], text)
    return _INCLUDE.sub(current, text)


def _block(file: Path) -> str:
    """Return a file as a block of code, between fences that are longer than any in it."""
    content = file.read_text("utf-8").rstrip("\n")
    longest = max(map(len, re.findall(r"^`+", content, re.MULTILINE)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{_LANGUAGES.get(file.suffix, '')}\n{content}\n{fence}\n"


def _documents(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted((root / "docs").rglob("*.md")):
        yield path, path.read_text("utf-8")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line.

    :returns: 0 if all is current or was written, 1 if a document is not current, 2 for an error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m testing.documents",
        description="Write the parts of documents that come from elsewhere.",
        epilog="Exit status: 0 all is current or written, 1 not current (--check), 2 an error.",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing; say what is old")
    choice.add_argument("--reports", type=Path, metavar="FOLDER",
                        help=f"write the table of {TABLE} as well, from these reports")  # fmt: skip
    parsed = parser.parse_args(arguments)
    try:
        if parsed.check:
            lines = check(root)
            print("\n".join(lines), end="\n" if lines else "")
            return int(bool(lines))
        if parsed.reports is not None:
            _write_table(parsed.reports, root)
        for path in write(root):
            print(f"{path}: written")
    except DocumentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write_table(folder: Path, root: Path) -> None:
    path = root / TABLE
    text, kept = report_table.with_reports(path.read_text("utf-8"), folder)
    path.write_text(text, "utf-8")
    print(f"{TABLE}: the table is written")
    for name in kept:
        print(f"{TABLE}: {name} stays as it was: there is no {folder / name / 'report.json'}")


if __name__ == "__main__":
    sys.exit(main())
