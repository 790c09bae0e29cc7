"""The contract, the cases and the mutants agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation import all_mutants

from coatcheck import CONTRACT_VERSION
from coatcheck_conformance._kit import contract
from coatcheck_conformance._kit.case import all_cases, cases_of

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "contract.md"
CLAUSES = contract.clauses()

#: Required clauses that nothing but the backend's absence of a feature can break.
each_clause = pytest.mark.parametrize("id", CLAUSES)


def test_the_kit_has_the_document_as_it_is() -> None:
    """The kit reads the clauses of docs/contract.md."""
    assert contract.document() == DOCUMENT.read_text("utf-8")


def test_the_sources_have_no_copy_of_the_document() -> None:
    """Only a build puts the document into the package, so a copy cannot grow old."""
    assert not list((ROOT / "conformance" / "src").rglob("contract.md"))


def test_version() -> None:
    """The kit checks the version of the contract that the core supports."""
    assert contract.version() == CONTRACT_VERSION


@each_clause
def test_each_clause_has_a_case(id: str) -> None:
    """Each clause has a check."""
    assert cases_of(id)


def test_each_case_has_a_clause() -> None:
    """Each check belongs to an existing clause, and no check is registered twice."""
    assert {case.clause for case in all_cases().values()} <= set(CLAUSES)
    assert len({case.check for case in all_cases().values()}) == len(all_cases())


@pytest.mark.parametrize("id", [id for id, clause in CLAUSES.items() if clause.level == "required"])
def test_each_required_clause_has_a_mutant(id: str) -> None:
    """Each required clause has a store that breaks it."""
    assert [mutant.name for mutant in all_mutants() if id in mutant.clauses]


def test_mutants_are_many_and_name_what_they_break() -> None:
    """There are at least 40 mutants, with different names and existing clauses."""
    names = [mutant.name for mutant in all_mutants()]
    assert len(names) == len(set(names)) >= 40
    for mutant in all_mutants():
        assert mutant.clauses
        assert mutant.clauses <= set(CLAUSES)


def test_dependencies_have_no_circle() -> None:
    """Each case can be judged before the cases that depend on it."""
    done: set[str] = set()

    def visit(clause: str, path: tuple[str, ...]) -> None:
        assert clause not in path, f"a circle: {' -> '.join((*path, clause))}"
        if clause not in done:
            for case in cases_of(clause):
                for other in case.depends_on if case.prerequisite else ():
                    visit(other, (*path, clause))
            done.add(clause)

    for id in CLAUSES:
        visit(id, ())


def test_one_case_waits_for_the_system_clock() -> None:
    """All other cases move the kit's clock."""
    assert sum(case.realtime for case in all_cases().values()) == 1
