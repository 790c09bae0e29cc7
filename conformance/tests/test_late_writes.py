"""A request of a killed process may still be carried out later, which is no failure."""

from __future__ import annotations

from network_store import NetStore, NetworkHarness

from coatcheck import Record
from coatcheck_conformance._kit.case import all_cases
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Verdict


class LateWrites(NetStore):
    """The server carries out another write of the dead process after the next `get`."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is not None and found.owner is not None and not found.owner.startswith("late"):
            self.set(key, Record(found.data, found.expires_at + 1, f"late {found.owner}"))
        return found


def test_a_late_write_is_no_failure() -> None:
    """The owner that was read first has no record any more, and the new owner has it."""
    run = Run(NetworkHarness(LateWrites, None))
    result = run.result(all_cases()["OWNER-8.killed_in_the_middle"], "sync")
    run.finish()
    assert result.verdict is Verdict.PASSED, result.text
