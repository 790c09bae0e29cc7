"""The pages of the reference name everything that there is."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

import coatcheck
import coatcheck.errors
from coatcheck._command_line.commands import _parser
from coatcheck.events import EventKind
from testing.public_api import MODULES

PAGES = Path(__file__).parents[3] / "docs" / "reference"


def first_cells(page: str) -> list[str]:
    """Return the first words in code of the rows of a page's tables."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return re.findall(r"^\| `([\w-]+)[^`]*`", text, re.MULTILINE)


def test_all_errors() -> None:
    names = set(coatcheck.errors.__all__) - {"CoatcheckError"}
    assert sorted(first_cells("errors")) == sorted(names)


def test_the_bases_of_errors() -> None:
    text = (PAGES / "errors.md").read_text("utf-8")
    for name, bases in re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE):
        error = getattr(coatcheck.errors, name)
        assert ", ".join(f"`{base.__name__}`" for base in error.__bases__) == bases


def test_all_kinds_of_events() -> None:
    assert first_cells("events") == list(typing.get_args(EventKind))


def test_all_commands() -> None:
    (commands,) = (each.choices for each in _parser("")._actions if each.choices)
    assert sorted(first_cells("command-line")) == sorted(commands)


@pytest.mark.parametrize("kind", [coatcheck.AsyncSession, coatcheck.Sessions])
def test_all_methods_and_attributes(kind: type) -> None:
    own = {name for name in dir(kind) if not name.startswith("_")} - set(dir(dict))
    asynchronous = {name for name in dir(kind) if name[0] == "a" and name[1:] in dir(kind)}
    assert own - asynchronous <= set(first_cells("session"))


def test_everything_on_the_page_of_the_session_exists() -> None:
    for name in first_cells("session"):
        assert hasattr(coatcheck.AsyncSession, name) or hasattr(coatcheck.Sessions, name)


def test_all_public_modules() -> None:
    text = "".join(page.read_text("utf-8") for page in (PAGES / "api").glob("*.md"))
    listed = re.findall(r"^## ([\w.]+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(name for names in MODULES.values() for name in names)
    directives = set(re.findall(r"^\.\. automodule:: ([\w.]+)$", text, re.MULTILINE))
    assert {*directives, "coatcheck"} == set(listed)
