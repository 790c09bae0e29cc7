"""The kit finds the fault of each mutant, and nothing else."""

from __future__ import annotations

import pytest
from mutation import Mutant, all_mutants, problem_with

MUTANTS = all_mutants()
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@each_mutant
def test_the_kit_finds_the_fault(mutant: Mutant) -> None:
    """The cases of the clauses that the mutant breaks fail."""
    assert not problem_with(mutant)


@pytest.mark.slow
@each_mutant
def test_the_kit_finds_nothing_else(mutant: Mutant) -> None:
    """All other cases pass."""
    assert not problem_with(mutant, every=1)
