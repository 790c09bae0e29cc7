"""Each broken store fails the clauses that it is named for, and what depends on them alone."""

from __future__ import annotations

import pytest
from breaking import Broken, all_broken
from prove import prove

each_broken_store = pytest.mark.parametrize("broken", all_broken(), ids=lambda broken: broken.name)


@each_broken_store
def test_the_kit_finds_what_is_broken(broken: Broken) -> None:
    """The failed clauses are those that the store breaks, and none of every other case besides."""
    assert not prove(broken, every=2)


@pytest.mark.slow
@each_broken_store
def test_the_kit_finds_nothing_else(broken: Broken) -> None:
    """The failed clauses are exactly those that the store breaks."""
    assert not prove(broken)
