"""The kit finds the fault of each mutant, and nothing else."""

from __future__ import annotations

import os

import pytest
from mutation import Mutant, all_mutants, problem_with

MUTANTS = all_mutants()
#: By default one of so many of the cases that must pass is tried on each mutant.
SPREAD = int(os.environ.get("COATCHECK_MUTANT_SPREAD", "32"))

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@each_mutant
def test_the_kit_finds_the_fault(mutant: Mutant) -> None:
    """The cases of the clauses that the mutant breaks fail."""
    assert not problem_with(mutant)


@each_mutant
@pytest.mark.parametrize("every", [SPREAD, pytest.param(1, marks=pytest.mark.slow)])
def test_the_kit_finds_nothing_else(mutant: Mutant, every: int) -> None:
    """Other cases pass: a few of them by day, each of them at night."""
    assert not problem_with(mutant, every=every)
