"""The tool that writes the generated parts of the documents, and finds outdated ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testing import report_table
from testing.documents import main, with_files
from testing.report_table import DocumentError
from testing.reports import NAMES

PAGE = "Before.\n\n<!-- include: code/a.py -->\n<!-- end -->\n\nAfter.\n"
COMMAND = "run `python -m testing.documents"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a repository with a page that includes a file, a table, and reports of all names."""
    for folder in ("docs", "code"):
        (tmp_path / folder).mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    (tmp_path / "docs" / "conformance.md").write_text("# T\n\n<!-- reports -->\n<!-- end -->\n")
    for name in NAMES:
        report(tmp_path, name, "1.0.0")
    assert main(["--reports", str(tmp_path / "reports")], tmp_path) == 0
    return tmp_path


def report(root: Path, name: str, version: str) -> None:
    """Write the parts of a report that the table needs."""
    folder = root / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": 1,
        "verdict": "conformant",
        "contract": "1.0",
        "kit": "1.0.0",
        "store": {"distribution": f"coatcheck-{name}", "version": version},
        "backend": "Linux 6.1.2-build-7" if name == "file" else "",
        "counts": {"binding": 9, "binding_passed": 8},
    }
    (folder / "report.json").write_text(json.dumps(document))


def test_a_file_is_written_between_the_marks(root: Path) -> None:
    """The rest of the page stays as it is, and writing it again changes nothing."""
    page = (root / "docs" / "page.md").read_text()
    assert page == PAGE.replace("<!-- end", "```python\na = 1\n```\n<!-- end")
    assert with_files(page, Path("page.md"), root) == page


def test_a_file_with_fences_is_one_block(root: Path) -> None:
    """The fences around a file are longer than those in it."""
    (root / "code" / "a.py").write_text("```\n````text\n")
    assert "\n`````python\n```\n````text\n`````\n" in with_files(PAGE, Path("page.md"), root)


def test_a_page_that_is_current(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, and the exit status is 0."""
    capsys.readouterr()
    assert main(["--check"], root) == 0
    assert capsys.readouterr().out == ""


def test_a_page_that_is_not_current(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the page, and the command that updates it."""
    (root / "code" / "a.py").write_text("a = 2\n")
    capsys.readouterr()
    assert main(["--check"], root) == 1
    assert capsys.readouterr().out == f"docs/page.md is not current: {COMMAND}`\n"
    assert main([], root) == 0
    assert main(["--check"], root) == 0


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            PAGE.replace("a.py", "b.py"),
            "page.md: `code/b.py` is not a file of the repository; paths start at its root",
        ),
        (
            PAGE.replace("<!-- end -->", ""),
            "page.md: `<!-- include: code/a.py -->` must be `<!-- include: PATH -->`, and a line "
            "`<!-- end -->` must follow before the next one",
        ),
        (
            f"<!-- include: code/c.py -->\n{PAGE}",
            "page.md: `<!-- include: code/c.py -->` must be",
        ),
        (
            PAGE.replace("a.py", "a.py lines 1-2"),
            "page.md: `<!-- include: code/a.py lines 1-2 -->` must be",
        ),
        (
            PAGE.replace("code/a.py", "docs/conformance.md"),
            "page.md: `docs/conformance.md` has markers of its own: it cannot be included",
        ),
    ],
)
def test_markers_that_cannot_be_understood(
    page: str, text: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the page and the marker, and nothing is written."""
    with pytest.raises(DocumentError) as caught:
        with_files(page, Path("page.md"), root)
    assert str(caught.value).startswith(text)
    (root / "docs" / "page.md").write_text(page)
    assert main(["--check"], root) == main([], root) == 2
    assert "error: docs/page.md: " in capsys.readouterr().err
    assert (root / "docs" / "page.md").read_text() == page


def test_the_table_has_a_line_for_each_report(root: Path) -> None:
    """A line has the figures; what a distribution adds to its kernel's version is not shown."""
    lines = (root / "docs" / "conformance.md").read_text().splitlines()[5:-1]
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in NAMES]
    assert lines[:2] == [
        "| memory | coatcheck-memory 1.0.0 | none | 8 of 9 passed | conformant | 1.0 | 1.0.0 |",
        "| file | coatcheck-file 1.0.0 | Linux 6.1.2 | 8 of 9 passed | conformant | 1.0 | 1.0.0 |",
    ]


def test_a_report_that_is_not_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table keeps its line; without a line the error says how to make the report."""
    before = (root / "docs" / "conformance.md").read_text()
    for name in NAMES:
        report(root, name, "2.0.0")
    missing = root / "reports" / NAMES[-1] / "report.json"
    missing.unlink()
    capsys.readouterr()
    assert main(["--reports", str(root / "reports")], root) == 0
    assert f"{NAMES[-1]} stays as it was: there is no {missing}" in capsys.readouterr().out
    after = (root / "docs" / "conformance.md").read_text()
    assert after.count("2.0.0") == len(NAMES) - 1
    assert after.splitlines()[-2] == before.splitlines()[-2]

    (root / "docs" / "conformance.md").write_text("<!-- reports -->\n<!-- end -->\n")
    assert main(["--reports", str(root / "reports")], root) == 2
    advice = f"run `python -m testing.reports {root / 'reports'} {NAMES[-1]}`"
    assert f"there is no {missing}: {advice}" in capsys.readouterr().err


def test_other_figures_are_current(root: Path) -> None:
    """Only a release makes all reports, so the figures may be older between releases."""
    path = root / "docs" / "conformance.md"
    path.write_text(path.read_text().replace("8 of 9", "1 of 2"))
    assert main(["--check"], root) == 0


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("| Verdict ", "| Result ", "the table must begin with `| Report | Store |"),
        ("| memory |", "| memry |", "the lines must be memory, file,"),
        ("| file |", "| file | more |", "the line on file must have 7 cells, none of them empty"),
        ("| none |", "| |", "the line on memory must have 7 cells, none of them empty"),
    ],
)
def test_a_table_of_another_form(
    old: str, new: str, text: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says what is wrong, and which command updates the table."""
    path = root / "docs" / "conformance.md"
    path.write_text(path.read_text().replace(old, new, 1))
    capsys.readouterr()
    assert main(["--check"], root) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"docs/conformance.md: {text}")
    assert line.endswith(f"{COMMAND} --reports FOLDER`")


def test_a_page_without_a_place_for_the_table() -> None:
    """The error says what is missing."""
    with pytest.raises(DocumentError) as caught:
        report_table.fault("# Conformance\n")
    assert str(caught.value) == (
        "docs/conformance.md has no place for the table: it must have a line `<!-- reports -->` "
        "and, after it, a line `<!-- end -->`"
    )


def test_a_report_of_another_form(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report of another version is an error."""
    written = root / "reports" / "file" / "report.json"
    written.write_text('{"schema": 2}')
    assert main(["--reports", str(root / "reports")], root) == 2
    assert capsys.readouterr().err == (
        f"error: {written} has the schema 2, not 1: make it again with the kit of this repository\n"
    )
