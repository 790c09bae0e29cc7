"""The kit's public names are what authors of harnesses use, and nothing else."""

from __future__ import annotations

import pkgutil

import pytest

import coatcheck_conformance
from testing import public_api

PUBLIC = ["ClientStore", "Clock", "Fault", "Harness", "HarnessError", "StoreConformance"]


def test_the_package_shows_its_public_names() -> None:
    """`__all__` and `dir()` list the same names, and each can be imported."""
    assert coatcheck_conformance.__all__ == PUBLIC
    assert dir(coatcheck_conformance) == PUBLIC
    assert [getattr(coatcheck_conformance, name).__name__ for name in PUBLIC] == PUBLIC


def test_the_public_api_is_the_one_that_was_agreed_on() -> None:
    """No signature changes unnoticed. `python -m testing.public_api` writes the file."""
    agreed = public_api.file_of("conformance").read_text("utf-8")
    assert public_api.text_of("conformance") == agreed


def test_all_other_modules_are_private() -> None:
    """Only the package itself and its command line are public."""
    found = pkgutil.iter_modules(coatcheck_conformance.__path__)
    assert sorted(module.name for module in found) == ["__main__", "_kit"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is refused, as a module does it."""
    with pytest.raises(AttributeError, match="'coatcheck_conformance' has no attribute 'Bank'"):
        coatcheck_conformance.Bank  # noqa: B018
