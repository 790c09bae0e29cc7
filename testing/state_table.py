"""Make the table of a session's states from the classes that are the states.

docs/architecture.md has it, and ``python -m testing.documents`` writes it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from coatcheck._records.records import Snapshot
from coatcheck._session.identity import Destroyed, Detached, Gone, Identity, New, Rotating, Stored
from coatcheck.store import Record

_LOADED: Final = Snapshot("old", Record(b"{}", 4e9))
_WRITTEN: Final = Snapshot("new", Record(b"{}", 4e9))

#: Each state, as a session has it that was loaded from a record, where there can be one.
STATES: Final[Mapping[str, Callable[[], Identity]]] = {
    "New": New,
    "Stored": lambda: Stored("id", _LOADED, cookie_was_sent=True),
    "Rotating": lambda: Rotating(_LOADED, True, ()),
    "Destroyed": lambda: Destroyed(_LOADED, ()),
    "Gone": lambda: Gone("id", (), True),
    "Detached": Detached,
}
EVENTS: Final[Mapping[str, Callable[[Identity], Identity]]] = {
    "written": lambda state: state.stored_as(_WRITTEN),
    "`regenerate()`": lambda state: state.regenerate(False, False),
    "`destroy()`": lambda state: state.destroy(False),
    "record deleted": lambda state: state.vanished(),
    "all ended": lambda state: state.ended(),
    "superseded write done": lambda state: state.superseded_by(_WRITTEN),
}


def next_state(state: str, event: str) -> str | None:
    """Return the name of the state that an event leads to, or None where it cannot happen."""
    try:
        return type(EVENTS[event](STATES[state]())).__name__
    except AssertionError:
        return None


def table() -> str:
    """Return the table in Markdown: a line for each state, a column for each event."""
    lines = ["| state | " + " | ".join(EVENTS) + " |", "|---" * (len(EVENTS) + 1) + "|"]
    for state in STATES:
        row = [next_state(state, event) or "-" for event in EVENTS]
        lines.append(f"| {state} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"
