"""Deviations are data, and mistakes in them are errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation import StoreClassHarness

from coatcheck import MemoryStore, Record
from coatcheck_conformance._kit.case import cases_of
from coatcheck_conformance._kit.deviations import Deviation, read_deviations
from coatcheck_conformance._kit.failure import HarnessError
from coatcheck_conformance._kit.harnesses import MemoryHarness
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Verdict

GOOD = """
[[deviation]]
clause = "GET-2"
reason = "not-yet"
why = "we have not come to it"
url = "https://example.org/7"
"""


class Raises(MemoryStore):
    """Breaks GET-2."""

    def get(self, key: str) -> Record | None:
        if key == "unknown":
            raise KeyError
        return super().get(key)


def test_a_failure_that_was_announced_is_a_deviation(tmp_path: Path) -> None:
    """The result has the deviation's reason and address."""
    path = tmp_path / "deviations.toml"
    path.write_text(GOOD)
    run = Run(StoreClassHarness(Raises), deviations=read_deviations(path))
    result = run.result(cases_of("GET-2")[0], "sync")
    assert result.verdict is Verdict.DEVIATION
    assert result.text == "not-yet: we have not come to it (https://example.org/7)"
    assert "KeyError" in result.details


def test_a_deviation_that_passes_fails() -> None:
    """A deviation that is no longer needed makes the run fail."""
    deviation = Deviation("GET-2", "not-yet", "we have not", "https://example.org/7")
    result = Run(MemoryHarness(), deviations=[deviation]).result(cases_of("GET-2")[0], "sync")
    assert result.verdict is Verdict.FAILED
    assert "remove it from the list" in result.text


def test_a_deviation_of_one_api_leaves_the_other() -> None:
    """A deviation of one API does not excuse the other."""
    deviation = Deviation("GET-2", "not-yet", "we have not", "https://example.org/7", "async")
    run = Run(StoreClassHarness(Raises), deviations=[deviation])
    (case,) = cases_of("GET-2")[:1]
    assert run.result(case, "sync").verdict is Verdict.FAILED
    assert run.result(case, "async").verdict is Verdict.DEVIATION


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[deviation", "cannot be read"),
        ("[[deviations]]", "other than"),
        (GOOD.replace("GET-2", "GET-99"), "no clause 'GET-99'"),
        (GOOD.replace("not-yet", "whatever"), "backend-cannot, not-yet, kit-bug"),
        (GOOD.replace("https://example.org/7", "7"), "https://"),
        (GOOD + 'api = "both"', "sync, async"),
        (GOOD + 'more = "x"', "a deviation has"),
        (GOOD.replace('why = "we have not come to it"\n', ""), "a deviation has"),
        (GOOD.replace("we have not come to it", " "), "text"),
        (GOOD.replace('"not-yet"', "7"), "text"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, complaint: str) -> None:
    """A misspelt deviation is an error, and never ignored."""
    path = tmp_path / "deviations.toml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=complaint):
        read_deviations(path)
