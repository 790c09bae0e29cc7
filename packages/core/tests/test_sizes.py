"""How large the modules, classes and functions of the core may be."""

from __future__ import annotations

from pathlib import Path

import pytest

import coatcheck
from testing.sizes import too_large

SOURCE = Path(coatcheck.__file__).parent
ROOT = Path(__file__).parents[3]

#: Why these are larger, by module, or by module and name.
REASONS = {
    "request_context RequestContext": "a third is what it has; the rest is a request step by step",
    "store": "a hundred lines are the example in its docstring",
}


def test_what_is_larger_than_usual_has_a_reason() -> None:
    """A module has at most 400 lines, a class 250, a function 40; otherwise REASONS says why.

    A reason goes when its module, class or function has become small.
    """
    assert sorted(too_large(SOURCE)) == sorted(REASONS)


@pytest.mark.parametrize("package", ["demo", "django", "flask"])
def test_other_packages_are_as_small(package: str) -> None:
    assert list(too_large(ROOT / "packages" / package / "src")) == []
