"""The package is made of public names of the core, and is itself typed."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import coatcheck_express

SOURCE = Path(coatcheck_express.__file__).parent
IMPORTED = sorted(
    {
        (node.module, alias.name)
        for path in SOURCE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coatcheck")
        for alias in node.names
        if node.level == 0 and node.module is not None
    }
)


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_what_is_taken_from_the_core_is_public(module: str, name: str) -> None:
    """A module that says what is public says it of this name; no name has an underscore."""
    public = getattr(importlib.import_module(module), "__all__", [name])
    assert name in public
    assert not any(part.startswith("_") for part in (*module.split("."), name))


@pytest.mark.parametrize("name", coatcheck_express.__all__)
def test_public_names_are_importable_and_explained(name: str) -> None:
    assert getattr(coatcheck_express, name).__doc__


def test_the_package_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
