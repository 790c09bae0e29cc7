"""The documents show code that is tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from testing import documents

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "writing-a-store.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "store-sqlite"
SHOWN = re.findall(r"^<!-- include: examples/store-sqlite/(\S+) -->$", TEXT, re.MULTILINE)


def test_the_parts_of_a_package_are_shown() -> None:
    """A reader who follows the page has a package in the end."""
    assert {"pyproject.toml", "src/coatcheck_sqlite/plugin.py", "tests/test_conformance.py"} <= set(
        SHOWN
    )


def test_each_file_has_its_name_above_it() -> None:
    """The reader sees the name of each file that is shown."""
    assert re.findall(r"^`(\S+)`:\n\n<!-- include: ", TEXT, re.MULTILINE) == SHOWN


def test_what_is_shown_is_current() -> None:
    """The files in the documents are those of the repository."""
    assert documents.check() == []


def test_a_failure_reads_as_it_is_shown(tmp_path: Path) -> None:
    """The mistake on the page has exactly the text on the page."""
    shutil.copytree(EXAMPLE / "src", tmp_path / "src")
    path = tmp_path / "src" / "coatcheck_sqlite" / "statements.py"
    source = path.read_text("utf-8")
    start = source.index("_LIVE")
    assert "expires_at >" in source[start:]
    path.write_text(source[:start] + source[start:].replace("expires_at >", "expires_at >=", 1))
    _install(tmp_path / "src")
    url = f"sqlite-file:///{tmp_path}/sessions.db"
    done = subprocess.run(
        [sys.executable, "-m", "coatcheck_conformance", url, "--only", "EXPIRY-1"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    (shown,) = re.findall(r"^```\n(EXPIRY-1 failed.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)
    assert done.returncode == 1
    assert shown in done.stdout


def _install(folder: Path) -> None:
    """Give a folder of sources the entry points that an installer writes."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    name_and_version = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\n{name_and_version}", "utf-8")
    lines: list[str] = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {where}" for name, where in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines), "utf-8")
