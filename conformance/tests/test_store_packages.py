"""Each store package shows its public names alone, is typed, and has no large modules."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from testing import public_api
from testing.sizes import too_large

STORES = [name for name in public_api.MODULES if "/store-" in name]
#: Modules that entry points or the command line name, and that nobody imports.
NAMED_ELSEWHERE = {"__main__", "conformance", "plugin"}


@pytest.mark.parametrize("name", [name for store in STORES for name in public_api.MODULES[store]])
def test_a_module_shows_its_public_names(name: str) -> None:
    """`__all__` and `dir()` list the same names, and each one exists."""
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("store", STORES)
def test_all_other_modules_are_private(store: str) -> None:
    """Their names begin with an underscore."""
    package, *modules = public_api.MODULES[store]
    found = {
        module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
    }
    public = {name for name in found - NAMED_ELSEWHERE if not name.startswith("_")}
    assert public == {name.removeprefix(f"{package}.") for name in modules}


@pytest.mark.parametrize("store", STORES)
def test_the_public_api_is_the_one_that_was_agreed_on(store: str) -> None:
    """No signature changes unnoticed. `python -m testing.public_api` writes the file."""
    assert public_api.text_of(store) == public_api.file_of(store).read_text("utf-8")


@pytest.mark.parametrize("store", STORES)
def test_a_package_is_typed_and_has_no_large_modules(store: str) -> None:
    """Each has a `py.typed`, and no module, class or function that is hard to read."""
    folder = Path(importlib.import_module(public_api.MODULES[store][0]).__path__[0])
    assert (folder / "py.typed").is_file()
    assert list(too_large(folder)) == []
