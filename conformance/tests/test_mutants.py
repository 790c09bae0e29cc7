"""The kit finds the fault of each mutant, and nothing else."""

from __future__ import annotations

import pytest
from mutation import Mutant, all_mutants, problem_with

#: By day one of so many of the cases that must not find anything is tried on each mutant.
SPREAD = 8


@pytest.mark.parametrize("every", [SPREAD, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_the_kit_finds_the_fault_and_nothing_else(mutant: Mutant, every: int) -> None:
    """The cases of the clauses that the mutant breaks fail; of the others a few by day pass."""
    assert not problem_with(mutant, every=every)
