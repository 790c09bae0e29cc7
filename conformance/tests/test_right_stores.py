"""Stores without a fault pass, with any random choices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from network_store import NetworkHarness
from references import REFERENCES

from coatcheck import Capabilities
from coatcheck_conformance import Harness
from coatcheck_conformance._kit.case import cases_of
from coatcheck_conformance._kit.harnesses import MemoryHarness
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Conformance, Verdict, conformance, outcomes


def shortfalls(run: Run) -> list[str]:
    """Run everything, and return results that are neither passed nor declared."""
    fine = (Verdict.PASSED, Verdict.NOT_SUPPORTED)
    return [
        f"{result.case} ({result.api}) {result.verdict.value}: {result.text}"
        for result in run.all()
        if result.verdict not in fine
    ]


def check_conformant(harness: Harness) -> None:
    """Run the kit, and expect that the store conforms."""
    run = Run(harness)
    try:
        missing = shortfalls(run)
    finally:
        run.finish()
    judged = outcomes(run.results(), run.capabilities or Capabilities())
    assert conformance(judged) is Conformance.CONFORMANT, missing


@pytest.mark.parametrize("make", REFERENCES, ids=lambda make: make.__name__)
def test_reference_stores_conform(make: Callable[[], Harness]) -> None:
    """Stores with other capabilities than ours conform."""
    check_conformant(make())


@pytest.mark.slow
def test_a_store_with_a_server_conforms() -> None:
    """Both native APIs conform, also with the faults of a network."""
    check_conformant(NetworkHarness())


def test_the_memory_store_conforms() -> None:
    """Each binding clause is verified, on both APIs."""
    check_conformant(MemoryHarness())


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))]
)
def test_the_seed_makes_no_difference(seed: int) -> None:
    """A store without a fault passes any random sequence of calls."""
    run = Run(MemoryHarness(), seed=seed)
    for case in cases_of("PARITY-2"):
        for api in case.apis:
            result = run.result(case, api)
            assert result.verdict is Verdict.PASSED, result.details
