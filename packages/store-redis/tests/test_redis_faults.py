"""The faults of docs/reliability.md, for a shorter time."""

from __future__ import annotations

import asyncio

import pytest

from testing.faults.__main__ import FACES
from testing.faults.redis import FAULTS
from testing.faults.run import Fault, outcome_of

pytestmark = pytest.mark.integration("redis")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_was_acknowledged_is_kept_and_what_was_ended_stays_ended(
    fault: Fault, face: str
) -> None:
    with fault.backend() as server:
        outcome, recovery = asyncio.run(
            outcome_of(fault, server, FACES[face], seconds=6, workers=32, sessions=200)
        )
    assert outcome.acknowledged > 1000
    assert sum(outcome.failed.values()) > 0  # the fault was one
    assert outcome.untyped == []
    assert (outcome.lost, outcome.revived) == (0, 0)
    assert outcome.longest < 10
    assert recovery < 5
