"""Verdicts on a case, on a clause and on a store."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coatcheck import Capabilities

from .contract import Clause, clauses


class Verdict(enum.Enum):
    """The verdict on a case. Only PASSED is a pass."""

    PASSED = "passed"
    #: The store breaks the clause.
    FAILED = "failed"
    #: The store, or its harness, declares not to have what the clause is about.
    NOT_SUPPORTED = "not_supported"
    #: It failed, and the store's author has declared that, with a reason.
    DEVIATION = "deviation"
    #: Not judged: a clause that the case depends on was not fulfilled.
    DEPENDENCY_FAILED = "dependency_failed"
    #: Not judged: the harness or the environment lacks something that the case needs.
    SKIPPED = "skipped"
    #: Not judged: the harness, or the kit, is wrong.
    HARNESS_ERROR = "harness_error"


#: Verdicts by weight: the first one among a clause's results decides.
_WEIGHT = (
    Verdict.HARNESS_ERROR,
    Verdict.FAILED,
    Verdict.DEPENDENCY_FAILED,
    Verdict.DEVIATION,
    Verdict.SKIPPED,
    Verdict.PASSED,
    Verdict.NOT_SUPPORTED,
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case on one API.

    :ivar case: the id of the case.
    :ivar clause: the id of its clause.
    :ivar api: ``"sync"`` or ``"async"``.
    :ivar text: one line that says why it is no pass; empty for a pass.
    :ivar details: the whole text of a failure; empty otherwise.
    :ivar seconds: how long it took.
    """

    case: str
    clause: str
    api: str
    verdict: Verdict
    text: str = ""
    details: str = ""
    seconds: float = 0.0


def heaviest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on a clause from the verdicts on its cases, or SKIPPED without cases."""
    return min(verdicts, key=_WEIGHT.index, default=Verdict.SKIPPED)


class Conformance(enum.Enum):
    """The verdict on a store."""

    CONFORMANT = "conformant"
    #: Nothing failed, but binding clauses were not verified or are deviations.
    PARTIAL = "partial"
    NOT_CONFORMANT = "not conformant"
    #: Nothing was judged, or the harness does not work.
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one clause.

    :ivar binding: whether the store conforms only if this clause passed.
    """

    clause: Clause
    verdict: Verdict
    binding: bool
    results: Sequence[Result]


def outcomes(results: Iterable[Result], capabilities: Capabilities) -> list[Outcome]:
    """Return the outcome for each clause of the contract, in the contract's order."""
    by_clause: dict[str, list[Result]] = {id: [] for id in clauses()}
    for result in results:
        by_clause[result.clause].append(result)
    found = []
    for id, own in by_clause.items():
        clause = clauses()[id]
        if not clause.concerns(capabilities):
            verdict = Verdict.NOT_SUPPORTED
        else:
            verdict = heaviest(result.verdict for result in own)
        binding = clause.binds(capabilities) and verdict is not Verdict.NOT_SUPPORTED
        found.append(Outcome(clause, verdict, binding, own))
    return found


def conformance(judged: Sequence[Outcome]) -> Conformance:
    """Return the verdict on a store."""
    binding = [outcome.verdict for outcome in judged if outcome.binding]
    everything = [outcome.verdict for outcome in judged]
    if Verdict.HARNESS_ERROR in everything or Verdict.PASSED not in binding:
        return Conformance.ERROR
    if Verdict.FAILED in binding or Verdict.DEPENDENCY_FAILED in binding:
        return Conformance.NOT_CONFORMANT
    if any(verdict is not Verdict.PASSED for verdict in binding):
        return Conformance.PARTIAL
    return Conformance.CONFORMANT
