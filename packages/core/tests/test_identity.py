"""The events that lead from one state of a session's identity to the next."""

from __future__ import annotations

import pytest

from coatcheck._records.records import Snapshot
from coatcheck._session.identity import Destroyed, Detached, Gone, Identity, New, Stored
from coatcheck.store import Record
from testing.state_table import EVENTS, next_state

LOADED = Snapshot("old", Record(b"{}", 4e9))
WRITTEN = Snapshot("new", Record(b"{}", 4e9))

#: The next state, by the events in their order; an empty string where the event cannot happen.
TRANSITIONS = {
    "New": ("Stored", "New", "Destroyed", "Gone", "New", "Rotating"),
    "Stored": ("Stored", "Rotating", "Destroyed", "Gone", "Stored", ""),
    "Rotating": ("Stored", "Rotating", "Destroyed", "Gone", "New", "Rotating"),
    "Destroyed": ("Stored", "Rotating", "Destroyed", "Gone", "Destroyed", "Destroyed"),
    "Gone": ("", "Destroyed", "Destroyed", "Gone", "Gone", ""),
    "Detached": ("", "Detached", "Detached", "Gone", "Detached", ""),
}


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        pytest.param(state, event, expected, id=f"{state} {event}")
        for state, row in TRANSITIONS.items()
        for event, expected in zip(EVENTS, row, strict=True)
    ],
)
def test_a_transition(state: str, event: str, expected: str) -> None:
    """Each event leads to the state of the table, or is a defect of ours."""
    assert next_state(state, event) == (expected or None)


def test_a_write_of_unknown_outcome_is_not_forgotten() -> None:
    """Under an id that the session leaves there may be a record that nobody was told of."""
    for leave in (lambda state: state.regenerate(True, False), lambda state: state.destroy(False)):
        state = New("first")
        state.begin_write()
        left = leave(state)
        assert left.id is None
        assert left.orphans == ("first",)


def test_a_write_under_way_learns_of_it_by_itself() -> None:
    """It knows its id, so the identity does not note it as well."""
    state = New("first")
    state.begin_write()
    assert state.regenerate(True, True).orphans == ()


def test_a_session_regenerated_while_it_is_first_stored_ends_that_record() -> None:
    """Which record that is, is known when the write is done."""
    state = New("first").regenerate(True, True)
    assert not state.continues
    state = state.superseded_by(WRITTEN)
    assert state.old is WRITTEN
    assert state.continues


def test_a_regenerated_session_that_was_destroyed_before_continues_nothing() -> None:
    """A record that was written for the destroyed one meanwhile belongs to nobody."""
    for is_writing in (False, True):
        state = Destroyed(LOADED, ()).regenerate(True, is_writing)
        assert state.old is LOADED
        assert not state.continues


def test_a_write_that_is_done_after_its_request_failed_is_no_defect() -> None:
    """A task may save while the application raises and all records have ended that must end."""
    state = Stored("id", LOADED).regenerate(True, True).ended().superseded_by(WRITTEN)
    assert state.old is WRITTEN
    assert not state.continues


def test_data_are_kept_only_as_long_as_each_change_of_the_id_keeps_them() -> None:
    """Once they were dropped, nothing of the old record comes back."""
    for keeps in ([True, False], [False, True], [False, False]):
        state: Identity = Stored("id", LOADED, cookie_was_sent=True)
        for keep in keeps:
            state = state.regenerate(keep, False)
        assert not state.continues
    assert Stored("id", LOADED).regenerate(True, False).regenerate(True, False).continues


def test_what_was_tried_is_not_forgotten_when_the_session_turns_out_gone() -> None:
    """A record under the new id may be there, and ends with the request."""
    state = Stored("id", LOADED).regenerate(True, False)
    state.id = "new"
    state.begin_write()
    assert state.vanished().orphans == ("new",)


def test_a_record_that_nobody_was_told_of_ends_with_a_failed_request() -> None:
    """An announced one stays."""
    assert type(Stored("id", LOADED).ended()) is New
    assert type(Stored("id", LOADED, cookie_was_sent=True).ended()) is Stored


def test_what_the_cookie_opens_ends_after_an_unknown_state() -> None:
    """A session that is gone or could not be loaded may live on under another id."""
    assert Gone("id", (), True).regenerate(False, False).ends_presented
    assert Gone("id", (), True).regenerate(False, False).must_store
    assert Detached().regenerate(False, False).ends_presented
    assert Detached().destroy(False).ends_presented
    assert not Destroyed(LOADED, ()).regenerate(False, False).ends_presented
