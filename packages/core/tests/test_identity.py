"""The events that lead from one state of a session's identity to the next."""

from __future__ import annotations

import pytest

from coatcheck._records.records import Snapshot
from coatcheck._session.identity import Destroyed, Detached, Gone, Identity, New, Rotating, Stored
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


def test_former_ids_are_carried_from_state_to_state() -> None:
    """A record under one of them ends with the request, whatever the session has become."""
    orphans = ("first", "second")
    new = New("id", ("first",))
    new.add_orphan("second")
    stored = Stored("id", LOADED, orphans=orphans)
    rotating, destroyed = Rotating(LOADED, True, orphans), Destroyed(LOADED, orphans)
    states: list[Identity] = [
        new,
        new.superseded_by(WRITTEN),
        new.stored_as(WRITTEN),
        *(state.regenerate(False, False) for state in (new, stored, rotating, destroyed)),
        *(state.regenerate(False, True) for state in (new, stored, rotating, destroyed)),
        *(state.destroy(False) for state in (new, stored, rotating, destroyed)),
        *(state.vanished() for state in (stored, rotating)),
        Destroyed(None, orphans).regenerate(False, False),
        Gone("id", orphans, True).regenerate(False, False),
        Detached(orphans).regenerate(False, False),
        Detached(orphans).destroy(False),
    ]
    for state in states:
        assert state.orphans == orphans
    for state in states:
        assert not state.ended().orphans


def test_an_id_under_which_nothing_can_be_is_not_noted() -> None:
    """It was not tried, or its record is known, or the write that is under way notes it."""
    tried = Rotating(LOADED, True, ())
    tried.id = "new"
    tried.begin_write()
    stored = Stored("id", LOADED)
    stored.begin_write()
    unnamed = New()
    unnamed.begin_write()
    for state, is_writing in [
        (New("id"), False),
        (stored, False),
        (unnamed, False),
        (tried, True),
    ]:
        assert state.regenerate(False, is_writing).orphans == ()
        assert state.destroy(is_writing).orphans == ()
    destroyed = Destroyed(None, ())
    destroyed.id = "new"
    destroyed.begin_write()
    assert destroyed.regenerate(False, True).orphans == ()
    assert destroyed.regenerate(False, False).orphans == ("new",)
    assert stored.vanished().orphans == ()


def test_the_record_that_a_session_goes_on_from() -> None:
    """A session that kept nothing goes on from none."""
    assert New("id").latest is None
    assert Stored("id", LOADED).latest is LOADED
    assert Rotating(LOADED, True, ()).latest is LOADED
    assert Rotating(LOADED, False, ()).latest is None
    assert Destroyed(LOADED, ()).latest is None
    rotating = Rotating(LOADED, True, ())
    rotating.reread(WRITTEN)
    assert rotating.latest is WRITTEN


def tried(state: Identity) -> Identity:
    """Return a state in which the outcome of a write is unknown."""
    state.begin_write()
    return state


@pytest.mark.parametrize(
    ("state", "keys"),
    [
        (New("id"), []),
        (New("id", ("first",)), ["key of first"]),
        (tried(New("id")), ["key of id"]),
        (tried(New()), []),
        (Stored("id", LOADED), ["old"]),
        (tried(Stored("id", LOADED)), ["old"]),
        (Stored("id", LOADED, cookie_was_sent=True), []),
        (tried(Stored("id", LOADED, cookie_was_sent=True)), []),
        (Stored("id", LOADED, True, ("first", "second")), ["key of first", "key of second"]),
        (Rotating(LOADED, True, ()), ["old"]),
        (Rotating(None, True, ()), []),
        (Destroyed(LOADED, ("first",)), ["key of first", "old"]),
        (Gone("id", (), False), []),
        (Detached(), []),
    ],
)
def test_records_that_end_with_the_session(state: Identity, keys: list[str]) -> None:
    """Those whose cookie the browser has are not among them."""
    assert state.keys_to_end("key of {}".format) == keys


def test_a_stored_session_keeps_its_id() -> None:
    """The browser does not know it yet; and it is the new record that is known from now on."""
    for before in (New("id"), Rotating(LOADED, True, ()), Destroyed(LOADED, ())):
        before.id = "id"
        state = before.stored_as(WRITTEN)
        assert (state.id, state.snapshot, state.old) == ("id", WRITTEN, None)
        assert not state.cookie_was_sent


def test_an_id_that_was_read_does_not_change_when_a_superseded_write_is_done() -> None:
    """The application may have read the new id before."""
    for begun in (New("id").regenerate(True, True), Destroyed(None, ()).regenerate(True, True)):
        begun.id = "new"
        state = begun.superseded_by(WRITTEN)
        assert (state.id, state.old) == ("new", WRITTEN)


def test_a_session_that_is_gone_or_cannot_be_stored_keeps_its_id() -> None:
    """The application may still log it; and what the browser has does not change."""
    assert Detached(session_id="id").id == "id"
    for cookie_was_sent in (False, True):
        state = Stored("id", LOADED, cookie_was_sent).vanished()
        assert (state.id, state.cookie_was_sent) == ("id", cookie_was_sent)
        assert state.is_gone
        assert state.vanished() is state
    assert Stored("id", LOADED).ended().id == "id"


def test_a_destroyed_session_ends_its_record() -> None:
    """That is the one before the id changed, where it did."""
    assert Stored("id", LOADED).destroy(False).old is LOADED
    assert Rotating(LOADED, True, ()).destroy(False).old is LOADED
    state = New("id").destroy(True)
    assert state.superseded_by(WRITTEN).old is WRITTEN
    assert state.ended().old is None


def test_a_session_must_be_stored_if_somebody_asked_for_that() -> None:
    """To read it again drops that, unless a former record waits for its end."""
    assert not New("id").must_store
    for keeps in (False, True):
        waiting, alone = Rotating(LOADED, keeps, ()), Rotating(None, keeps, ())
        assert waiting.must_store
        assert alone.must_store
        waiting.reset()
        alone.reset()
        assert waiting.must_store
        assert not alone.must_store
        alone.store_even_empty()
        assert alone.must_store
    state = New("id")
    state.store_even_empty()
    assert state.must_store
    state.reset()
    assert not state.must_store
    for begun in (New("id").regenerate(True, False), Destroyed(None, ()).regenerate(True, False)):
        assert begun.must_store
    assert Destroyed(None, ()).regenerate(True, True).must_store
    for never in (Destroyed(LOADED, ()), Stored("id", LOADED), Gone("id", (), True), Detached()):
        assert not never.must_store


def test_a_rotation_that_a_failed_request_ended_may_have_left_a_record() -> None:
    """The session keeps the new id, and a later save stores it under that."""
    state = Rotating(LOADED, True, ())
    state.id = "new"
    ended = state.ended()
    assert type(ended) is New
    assert ended.id == "new"
    assert ended.must_store
