"""A skip is never a pass, and a run without cases is an error."""

from __future__ import annotations

import pytest

from coatcheck import Capabilities
from coatcheck_conformance._kit.contract import clauses
from coatcheck_conformance._kit.verdicts import Conformance, Result, Verdict, conformance, outcomes

ALL = Capabilities(enumerable=True, clearable=True, owners=True, multi_process=True, durable=True)


def results(**different: Verdict) -> list[Result]:
    """Return a pass for each clause on each API, with some exceptions on the async one."""
    return [
        Result(
            f"{id}.case",
            id,
            api,
            different.get(id.replace("-", "_"), Verdict.PASSED)
            if api == "async"
            else Verdict.PASSED,
        )
        for id in clauses()
        for api in ("sync", "async")
    ]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.PASSED, Conformance.CONFORMANT),
        (Verdict.FAILED, Conformance.NOT_CONFORMANT),
        (Verdict.DEPENDENCY_FAILED, Conformance.NOT_CONFORMANT),
        (Verdict.DEVIATION, Conformance.PARTIAL),
        (Verdict.SKIPPED, Conformance.PARTIAL),
        (Verdict.HARNESS_ERROR, Conformance.ERROR),
    ],
)
@pytest.mark.parametrize("clause", ["SET_6", "ENUM_1"])
def test_one_clause_decides(clause: str, verdict: Verdict, expected: Conformance) -> None:
    """One binding clause that did not pass on one API decides the verdict."""
    assert conformance(outcomes(results(**{clause: verdict}), ALL)) is expected


def test_recommended_clauses_decide_nothing() -> None:
    """A store that misses a recommendation conforms."""
    judged = outcomes(results(DESTROY_10=Verdict.FAILED, COST_2=Verdict.SKIPPED), ALL)
    assert conformance(judged) is Conformance.CONFORMANT


def test_optional_clauses_bind_stores_that_declare_them() -> None:
    """Clauses of undeclared capabilities are not checked."""
    failed = results(ENUM_1=Verdict.FAILED)
    assert conformance(outcomes(failed, Capabilities())) is Conformance.CONFORMANT
    assert conformance(outcomes(failed, ALL)) is Conformance.NOT_CONFORMANT


def test_what_was_left_out_was_skipped() -> None:
    """A clause without results is no pass."""
    some = [result for result in results() if result.clause != "RACE-1"]
    judged = outcomes(some, ALL)
    assert conformance(judged) is Conformance.PARTIAL
    assert next(one for one in judged if one.clause.id == "RACE-1").verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    "everything", [None, Verdict.SKIPPED, Verdict.NOT_SUPPORTED, Verdict.DEVIATION]
)
def test_nothing_verified_is_an_error(everything: Verdict | None) -> None:
    """A run in which nothing passed is no verdict on the store."""
    found = [] if everything is None else [
        Result(f"{id}.case", id, "sync", everything) for id in clauses()
    ]  # fmt: skip
    assert conformance(outcomes(found, ALL)) is Conformance.ERROR
