"""The names that a package shows to its users."""

from __future__ import annotations

import pkgutil
from types import ModuleType


def check_public_names(package: ModuleType, *modules: str) -> None:
    """Check that a package shows what ``__all__`` lists, and has no other public modules.

    :param modules: the package's public modules.
    """
    assert sorted(package.__all__) == package.__all__
    assert dir(package) == package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
    found = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert {name for name in found if not name.startswith("_")} == set(modules)
