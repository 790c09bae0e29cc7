"""docs/writing-a-store.md shows the files of the example as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "writing-a-store.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "store-sqlite"
FILES = dict(re.findall(r"^`([^`\n]+)`:\n+```\w*\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))


def test_the_parts_of_a_package_are_shown() -> None:
    """Whoever follows the page has a package in the end."""
    assert {"pyproject.toml", "src/coatcheck_sqlite/plugin.py", "tests/test_conformance.py"} <= set(
        FILES
    )


@pytest.mark.parametrize("name", FILES)
def test_files_are_shown_as_they_are(name: str) -> None:
    """What is shown is what is tested."""
    assert FILES[name] == (EXAMPLE / name).read_text("utf-8")
