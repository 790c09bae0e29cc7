"""What can come out of a case, a clause and a run."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coatcheck import Capabilities

from .contract import Clause, clauses


class Verdict(enum.Enum):
    """What came out of a case. They are kept apart: nothing but PASSED is a pass."""

    PASSED = "passed"
    #: The store does otherwise than the clause says.
    FAILED = "failed"
    #: The clause is about something that the store, or its harness, declares not to have.
    NOT_SUPPORTED = "not_supported"
    #: It failed, and the store's author has said so, with a reason.
    DEVIATION = "deviation"
    #: Not judged: a clause that it depends on was not fulfilled.
    DEPENDENCY_FAILED = "dependency_failed"
    #: Not judged: the harness or the environment lacks what it takes.
    SKIPPED = "skipped"
    #: Not judged: the harness, or the kit, is wrong.
    HARNESS_ERROR = "harness_error"


#: From the one that decides to the one that decides least, where a clause has several results.
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
    """What came out of one case on one API.

    :ivar case: the id of the case.
    :ivar clause: the id of its clause.
    :ivar api: ``"sync"`` or ``"async"``.
    :ivar text: why it is no pass, in one line; empty for a pass.
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
    """Return the verdict on a clause from those of its cases; SKIPPED if there are none."""
    return min(verdicts, key=_WEIGHT.index, default=Verdict.SKIPPED)


class Conformance(enum.Enum):
    """The verdict on a store."""

    CONFORMANT = "conformant"
    #: Nothing failed, but binding clauses were not verified or are deviations.
    PARTIAL = "partial"
    NOT_CONFORMANT = "not conformant"
    #: Nothing was judged, or not by a harness that works.
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out for one clause.

    :ivar binding: whether the store conforms only if this one passed.
    """

    clause: Clause
    verdict: Verdict
    binding: bool
    results: Sequence[Result]


def outcomes(results: Iterable[Result], capabilities: Capabilities) -> list[Outcome]:
    """Return what came out for each clause of the contract, in its order."""
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
