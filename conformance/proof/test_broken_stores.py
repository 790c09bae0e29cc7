"""Each broken store fails the clauses that it is named for, and what depends on them alone."""

from __future__ import annotations

import pytest
from breaking import Broken, all_broken
from prove import prove


@pytest.mark.parametrize("broken", all_broken(), ids=lambda broken: broken.name)
def test_the_kit_finds_what_is_broken(broken: Broken) -> None:
    """The failed clauses are exactly those that the store breaks."""
    assert not prove(broken)
