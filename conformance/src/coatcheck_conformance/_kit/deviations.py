"""Deviations: clauses that a store does not meet, as data in its author's repository.

::

    [[deviation]]
    clause = "EXPIRY-4"
    reason = "backend-cannot"   # or "not-yet", or "kit-bug"
    why = "the backend counts milliseconds in 32 bits"
    url = "https://example.org/issues/7"
    api = "async"              # only if one API alone deviates
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .contract import clauses
from .failure import HarnessError
from .handle import APIS
from .harness import Harness

#: Why a store deviates: the backend cannot, the author has not yet, or the kit is wrong.
REASONS: Final = ("backend-cannot", "not-yet", "kit-bug")

_REQUIRED: Final = frozenset({"clause", "reason", "why", "url"})


@dataclass(frozen=True, slots=True)
class Deviation:
    """A clause that a store does not meet, as declared by its author."""

    clause: str
    reason: str
    why: str
    url: str
    api: str | None = None

    def concerns(self, clause: str, api: str) -> bool:
        """Tell whether the deviation is about a clause on an API."""
        return clause == self.clause and self.api in (None, api)


def read_deviations(path: Path) -> list[Deviation]:
    """Read a file of deviations.

    :raises HarnessError: the file cannot be read, or has an invalid entry.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path.name} cannot be read: {error}") from error
    if set(content) - {"deviation"}:
        raise HarnessError(f"{path.name} has tables other than `[[deviation]]`")
    return [_deviation(entry, path.name) for entry in content.get("deviation", ())]


def deviations_of(harness: Harness) -> list[Deviation]:
    """Return the deviations that a harness names, from a file beside that of its class.

    :raises HarnessError: as :func:`read_deviations` does.
    """
    if harness.deviations is None:
        return []
    return read_deviations(Path(inspect.getfile(type(harness))).parent / harness.deviations)


def find(deviations: Iterable[Deviation], clause: str, api: str) -> Deviation | None:
    """Return the deviation for a clause on an API, or None."""
    return next((one for one in deviations if one.concerns(clause, api)), None)


def _deviation(entry: Mapping[str, Any], source: str) -> Deviation:
    names = set(entry)
    if not names >= _REQUIRED or names - _REQUIRED - {"api"}:
        raise HarnessError(f"{source}: a deviation has {', '.join(sorted(_REQUIRED))} and `api`")
    if not all(isinstance(value, str) and value.strip() for value in entry.values()):
        raise HarnessError(f"{source}: the values of a deviation must be text")
    if entry["clause"] not in clauses():
        raise HarnessError(f"{source}: the contract has no clause {entry['clause']!r}")
    if entry["reason"] not in REASONS:
        raise HarnessError(
            f"{source}: `reason` must be one of {', '.join(REASONS)}, not {entry['reason']!r}"
        )
    if not entry["url"].startswith(("https://", "http://")):
        raise HarnessError(f"{source}: `url` must be an https:// address, not {entry['url']!r}")
    if entry.get("api", APIS[0]) not in APIS:
        raise HarnessError(
            f"{source}: `api` must be one of {', '.join(APIS)}, not {entry['api']!r}"
        )
    return Deviation(**entry)
