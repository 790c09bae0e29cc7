"""The package uses only public names of the core, and has types."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import coatcheck_express
from testing import public_api

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
    """Each imported name is in `__all__` of a public module."""
    assert module in public_api.MODULES["packages/core"]
    assert name in importlib.import_module(module).__all__


@pytest.mark.parametrize("name", coatcheck_express.__all__)
def test_public_names_are_importable_and_explained(name: str) -> None:
    assert getattr(coatcheck_express, name).__doc__


def test_the_public_api_is_the_one_that_was_agreed_on() -> None:
    """Each signature is the agreed one. `python -m testing.public_api` writes the file."""
    agreed = public_api.file_of("packages/express").read_text("utf-8")
    assert public_api.text_of("packages/express") == agreed


def test_the_package_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
