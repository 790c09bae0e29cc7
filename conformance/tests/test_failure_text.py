"""The text of a failure is all that a store's author gets to see."""

from __future__ import annotations

import re

import pytest
from hypothesis import settings
from mutants.parity import KeepsATouch
from mutation import StoreClassHarness

from coatcheck import MemoryStore, Record
from coatcheck_conformance import Harness
from coatcheck_conformance._kit import machine
from coatcheck_conformance._kit.case import all_cases, cases_of
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Verdict


class Forgetful(MemoryStore):
    """A store that keeps the first record under a key."""

    def set(self, key: str, record: Record, *only_if: object) -> bool:
        if key == "key" and self._slots.get(key) is not None:
            return True
        return super().set(key, record)


class Raising(MemoryStore):
    """A store that raises an exception of a forbidden class."""

    def get(self, key: str) -> Record | None:
        if key == "unknown":
            raise KeyError("not here")
        return super().get(key)


FORGETFUL = """\
GET-1 failed on the sync API of Forgetful

  `get` of a live record returns a `Record` with the data of the last successful `set`.
  Why: It is what a store is for.

  what was done
    1. store.set('key', Record(b'one', expires_at=start+86400)) -> True
    2. store.get('key') -> Record(b'one', expires_at=start+86400)
    3. store.set('key', Record(b'two', expires_at=start+86400)) -> True
    4. store.get('key') -> Record(b'one', expires_at=start+86400)

  expected   a Record with the data b'two'
  seen       Record(b'one', expires_at=start+86400)

  usual cause  the record is written under another key, or in another form, than it is read.

  case GET-1.data_of_the_last_set; clause (required): docs/contract.md#get-reading
  python -m coatcheck_conformance --explain GET-1"""

RAISING = """\
GET-2 failed on the async API of Raising

  `get` of a key that was never set returns None.
  Why: An unknown id is an everyday event and no error.

  what was done
    1. store.get('unknown') -> raised KeyError("'not here'")

  expected   no exception
  seen       KeyError("'not here'")

  usual cause  a missing key raises the backend's own KeyError.

  case GET-2.unknown_key; clause (required): docs/contract.md#get-reading
  python -m coatcheck_conformance --explain GET-2"""


@pytest.mark.parametrize(
    ("store", "clause", "api", "text"),
    [(Forgetful, "GET-1", "sync", FORGETFUL), (Raising, "GET-2", "async", RAISING)],
)
def test_the_text_of_a_failure(store: type[MemoryStore], clause: str, api: str, text: str) -> None:
    """The text has clause, reason, steps, expected and seen values, usual cause and links."""
    harness: Harness = StoreClassHarness(store)
    result = Run(harness).result(cases_of(clause)[0], api)  # type: ignore[arg-type]
    assert result.verdict is Verdict.FAILED
    assert result.details == text


def test_a_failing_sequence_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the random calls that are needed are shown, with their results."""
    # A busy machine makes it less short in the time that users are willing to wait.
    monkeypatch.setattr(machine, "_SHRINKING", 50.0)
    # Long sequences take long to be made short.
    shorter = settings(machine._SETTINGS, stateful_step_count=30)
    monkeypatch.setattr(machine, "_SETTINGS", shorter)
    case = all_cases()["PARITY-2.any_sequence_of_calls"]
    runs = (Run(StoreClassHarness(KeepsATouch), seed=seed) for seed in range(8, 28))
    results = (run.result(case, "sync") for run in runs)
    result = next(result for result in results if result.verdict is Verdict.FAILED)
    done = result.details.partition("what was done\n")[2].partition("\n\n")[0]
    operations = re.findall(r"\d\. (?:async_)?store\.(\w+)\(", done)
    assert len(operations) <= 8, done
    assert {"set", "touch"} <= set(operations), done
