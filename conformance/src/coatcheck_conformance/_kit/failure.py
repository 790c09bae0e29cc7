"""How a case reports a failure, and the text of a failure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from .contract import Clause

#: How many steps a failure text shows: the last ones are the most useful.
_STEPS_SHOWN: Final = 24


class CheckFailed(Exception):
    """Raised if the store breaks the clause.

    :ivar expected: what should have been seen.
    :ivar seen: what was seen.
    """

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = seen


class Skipped(Exception):
    """Raised if the case cannot be run here; the text says what is missing."""


class HarnessError(Exception):
    """Raised if the harness does not do what the kit needs; the text says what to do."""


class RunEnded(BaseException):
    """Raised in the case that is running when somebody ends the run."""


def explain(
    clause: Clause, *, case: str, api: str, store: str, steps: Sequence[str], failed: CheckFailed,
    hint: str,
) -> str:  # fmt: skip
    """Return the text of a failure, which is all that a store's author gets to see."""
    parts = [
        f"{clause.id} failed on the {api} API of {store}",
        "",
        _wrapped(clause.obligation, "  "),
        _wrapped(f"Why: {clause.reason}", "  "),
        "",
        "  what was done",
        *_numbered(steps),
        "",
        _wrapped(failed.expected, "  expected   "),
        _wrapped(failed.seen, "  seen       "),
    ]
    if hint:
        parts += ["", _wrapped(hint, "  usual cause  ")]
    parts += [
        "",
        f"  case {case}; clause ({clause.level}): docs/contract.md#{clause.anchor}",
        f"  python -m coatcheck_conformance --explain {clause.id}",
    ]
    return "\n".join(parts)


def _wrapped(text: str, lead: str) -> str:
    return "\n".join(
        textwrap.wrap(
            text,
            100,
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _numbered(steps: Sequence[str]) -> list[str]:
    if not steps:
        return ["    (no call)"]
    left_out = max(0, len(steps) - _STEPS_SHOWN)
    lines = [f"    ... {left_out} steps before ..."] if left_out else []
    for number, step in enumerate(steps[left_out:], left_out + 1):
        lead = f"    {number}. "
        lines.append(_wrapped(step, lead))
    return lines
