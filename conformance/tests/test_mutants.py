"""The kit finds the fault of each mutant, and nothing else."""

from __future__ import annotations

import pytest
from mutation import Mutant, all_mutants, problem_with

#: By day each mutant is tried with one of this many cases that must pass.
SPREAD = 16


@pytest.mark.parametrize("every", [SPREAD, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_the_kit_finds_the_fault_and_nothing_else(mutant: Mutant, every: int) -> None:
    """Cases of the broken clauses fail, and a sample of the others passes."""
    assert not problem_with(mutant, every=every)
