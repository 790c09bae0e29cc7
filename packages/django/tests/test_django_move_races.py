"""The move of sessions, next to other requests and after one that was stopped or rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import djangosite
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, override_settings

from coatcheck import MemoryStore
from coatcheck_django import SessionStore
from coatcheck_django._former import FormerSessions

FORMER = "django.contrib.sessions.backends.db"
Call: TypeAlias = Callable[..., Any]


def called(session: SessionStore, name: str, *arguments: Any) -> Any:
    return getattr(session, name)(*arguments)


def awaited(session: SessionStore, name: str, *arguments: Any) -> Any:
    return async_to_sync(getattr(session, f"a{name}"))(*arguments)


WAYS = [called, awaited]


@pytest.fixture
def store(users: Any) -> Iterator[MemoryStore]:
    """A store for a site that had its sessions in the database before."""
    made = MemoryStore()
    with override_settings(COATCHECK={"STORE": made, "MOVE_FROM": FORMER}):
        yield made
    Session.objects.all().delete()


def former_session(**data: Any) -> str:
    """Store a session as Django's engine does, and return its key."""
    former = DatabaseSession()
    former.update(data)
    former.save()
    assert former.session_key is not None
    return former.session_key


def half_moved(**data: Any) -> str:
    """Return the key of a session whose move was stopped after the store had it."""
    key = former_session(**data)
    row = Session.objects.get(pk=key)
    SessionStore(key).load()
    row.save(force_insert=True)
    return key


def moved_before(monkeypatch: pytest.MonkeyPatch, name: str, key: str) -> None:
    """Let another request move a session just before this one looks into the table."""
    look: Callable[..., Any] = getattr(FormerSessions, name)

    def late(self: FormerSessions, *arguments: Any) -> Any:
        monkeypatch.undo()
        assert SessionStore(key).load() == {"cart": 1}
        return look(self, *arguments)

    monkeypatch.setattr(FormerSessions, name, late)


@pytest.mark.parametrize("call", WAYS)
def test_a_session_that_another_request_moves_meanwhile_is_found(
    call: Call, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = former_session(cart=1)
    moved_before(monkeypatch, "move", key)
    session = SessionStore(key)
    assert call(session, "load") == {"cart": 1}
    assert session.session_key == key


@pytest.mark.parametrize("call", WAYS)
def test_a_session_that_another_request_moves_meanwhile_exists(
    call: Call, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = former_session(cart=1)
    moved_before(monkeypatch, "exists", key)
    assert call(SessionStore(), "exists", key)


def test_a_move_that_a_view_has_rolled_back_leaves_no_second_login(
    store: MemoryStore, ann: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ATOMIC_REQUESTS, a view that fails restores the row; the store keeps the session."""
    client = Client(raise_request_exception=False)
    with override_settings(SESSION_ENGINE=FORMER):
        client.force_login(ann)
    old = client.cookies[settings.SESSION_COOKIE_NAME].value
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def fail() -> None:
        djangosite.meanwhile.clear()
        raise RuntimeError("a bug of the view")

    djangosite.meanwhile.append(fail)
    assert client.get("/put").status_code == 500
    assert Session.objects.filter(pk=old).exists()
    assert client.get("/show").json() == {"user": "ann"}
    assert not Session.objects.exists()
    client.get("/flush")
    stolen = Client(headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={old}"})
    assert stolen.get("/show").json() == {"user": ""}


@pytest.mark.parametrize("call", WAYS)
def test_a_row_that_a_move_has_left_ends_when_the_key_changes(
    call: Call, store: MemoryStore
) -> None:
    key = former_session(cart=1)
    row = Session.objects.get(pk=key)
    session = SessionStore(key)
    assert session["cart"] == 1
    row.save(force_insert=True)  # as by the rollback of a parallel request
    call(session, "cycle_key")
    call(session, "flush")
    assert not Session.objects.exists()
    assert SessionStore(key).load() == {}


@pytest.mark.parametrize("call", WAYS)
def test_a_row_that_a_move_has_left_ends_at_the_next_request(
    call: Call, store: MemoryStore
) -> None:
    session = SessionStore(half_moved(cart=1))
    assert call(session, "load") == {"cart": 1}
    assert not Session.objects.exists()
