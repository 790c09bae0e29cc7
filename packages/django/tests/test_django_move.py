"""The move of sessions from Django's table: nobody is logged out, and no logout is undone."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from coatcheck import MemoryStore
from coatcheck_django import SessionStore, alog_out_everywhere, log_out_everywhere, sessions

pytestmark = pytest.mark.anyio

FORMER = "django.contrib.sessions.backends.db"


@pytest.fixture
def store(users: Any) -> Iterator[MemoryStore]:
    """A store for a site that had its sessions in the database before."""
    made = MemoryStore()
    with override_settings(COATCHECK={"STORE": made, "MOVE_FROM": FORMER}):
        yield made
    Session.objects.all().delete()


def former_client(user: Any, kind: type[Any] = Client, **data: Any) -> Any:
    """Return a browser that has logged in before the move."""
    client = kind()
    with override_settings(SESSION_ENGINE=FORMER):
        client.force_login(user)
        session = client.session
        session.update(data)
        session.save()
    return client


def key_of(client: Client) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def test_a_visitor_stays_logged_in(store: MemoryStore, ann: Any) -> None:
    client = former_client(ann, cart=1)
    row = Session.objects.get()
    for _ in range(2):
        assert client.get("/show").json() == {"user": "ann", "cart": 1}
    assert not Session.objects.exists()
    (entry,) = sessions().list(ann.pk)
    assert entry.expires_at == pytest.approx(row.expire_date.timestamp(), abs=0.001)
    assert entry.ref == SessionStore(row.session_key).ref


async def test_a_visitor_of_an_asynchronous_page_stays_logged_in(
    store: MemoryStore, ann: Any
) -> None:
    client = AsyncClient()
    with override_settings(SESSION_ENGINE=FORMER):
        await client.aforce_login(ann)
    assert (await client.get("/ashow")).json() == {"user": "ann"}
    assert not await Session.objects.aexists()
    with override_settings(SESSION_ENGINE=FORMER):
        await AsyncClient().aforce_login(ann)
    assert await alog_out_everywhere(ann) == 2
    assert not await Session.objects.aexists()


def test_a_logout_is_not_undone_by_the_former_table(store: MemoryStore, ann: Any) -> None:
    client, other = former_client(ann), former_client(ann)
    key = key_of(client)
    assert client.get("/show").json() == {"user": "ann"}
    # As after a process that was stopped between the two halves of a move.
    Session.objects.create(session_key=key, session_data="", expire_date=timezone.now())
    client.get("/flush")
    SessionStore(key_of(other)).delete()
    assert not Session.objects.exists()
    for each in (key, key_of(other)):
        assert SessionStore(each).load() == {}
        assert not SessionStore().exists(each)


def test_log_out_everywhere_ends_sessions_that_have_not_moved(
    store: MemoryStore, users: Any, ann: Any
) -> None:
    bob = users.objects.create_user("bob")
    clients = [former_client(ann), former_client(ann), former_client(bob)]
    clients[0].get("/show")
    assert log_out_everywhere(ann) == 2
    assert [each.get("/show").json()["user"] for each in clients] == ["", "", "bob"]


def test_a_session_that_is_cleared_first_is_moved_too(store: MemoryStore, ann: Any) -> None:
    client = former_client(ann, cart=1)
    session = SessionStore(key_of(client))
    session.clear()
    session["new"] = 1
    session.save()
    assert session.session_key == key_of(client)
    assert SessionStore(session.session_key).load() == {"new": 1}
    assert not Session.objects.exists()


@pytest.mark.parametrize("method", ["save", "cycle_key"])
def test_a_session_that_is_not_read_first_keeps_its_data(
    method: str, store: MemoryStore, ann: Any
) -> None:
    session = SessionStore(key_of(former_client(ann, cart=1)))
    assert session.exists(session.session_key)
    getattr(session, method)()
    assert SessionStore(session.session_key).load()["cart"] == 1


async def test_the_same_holds_without_blocking(store: MemoryStore, users: Any) -> None:
    former = DatabaseSession()
    await former.aset("cart", 1)
    await former.asave()
    session = SessionStore(former.session_key)
    assert await session.aexists(former.session_key)
    await session.acycle_key()
    assert await SessionStore(session.session_key).aload() == {"cart": 1}
    cleared = DatabaseSession()
    await cleared.aset("cart", 1)
    await cleared.asave()
    session = SessionStore(cleared.session_key)
    session.clear()
    await session.asave()
    assert await SessionStore(cleared.session_key).aload() == {}
    await session.adelete()
    await former.acreate()
    await SessionStore(former.session_key).adelete()
    assert not await Session.objects.aexists()


def test_expired_and_unreadable_rows_are_no_sessions(store: MemoryStore, users: Any) -> None:
    now = timezone.now()
    data = DatabaseSession().encode({"cart": 1})
    rows = [("expiredlongago", data, -1), ("unreadablerow", "bad", 1)]
    for key, content, days in rows:
        end = now + timedelta(days)
        Session.objects.create(session_key=key, session_data=content, expire_date=end)
        assert SessionStore().exists(key) is (days > 0)
        assert SessionStore(key).load() == {}
    call_command("clearsessions")
    assert [row.session_key for row in Session.objects.all()] == ["unreadablerow"]


def test_an_empty_session_moves(store: MemoryStore, users: Any) -> None:
    former = DatabaseSession()
    former.create()
    session = SessionStore(former.session_key)
    assert session.load() == {}
    assert session.session_key == former.session_key
    assert not Session.objects.exists()


def test_sessions_that_another_secret_signed_stay_until_it_is_known(
    store: MemoryStore, users: Any
) -> None:
    former = DatabaseSession()
    former["cart"] = 1
    former.save()
    told = io.StringIO()
    with override_settings(SECRET_KEY="another secret, which is long enough as well"):
        call_command("move_sessions", stdout=told)
    assert "0 sessions were moved" in told.getvalue()
    assert "1 sessions cannot be read" in told.getvalue()
    assert "from COATCHECK now" not in told.getvalue()
    call_command("move_sessions", stdout=told)
    assert SessionStore(former.session_key).load() == {"cart": 1}


def test_log_out_everywhere_keeps_a_session_that_has_not_moved(
    store: MemoryStore, ann: Any
) -> None:
    client, other = former_client(ann), former_client(ann)
    request = RequestFactory().get("/")
    request.session = SessionStore(key_of(client))
    assert log_out_everywhere(ann, keep=request) == 1
    assert [each.get("/show").json()["user"] for each in (client, other)] == ["ann", ""]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_session_that_has_not_moved_is_revoked(
    is_async: bool, store: MemoryStore, ann: Any
) -> None:
    ref = SessionStore(key_of(former_client(ann))).ref or ""
    client = former_client(ann)
    if is_async:
        assert async_to_sync(sessions().arevoke)(ref)
        assert not async_to_sync(sessions().arevoke)(ref)
    else:
        assert sessions().revoke(ref)
        assert not sessions().revoke(ref)
    assert client.get("/show").json()["user"] == "ann"
    assert not Session.objects.exists()


def test_a_value_that_cannot_be_stored_leaves_its_row(
    store: MemoryStore, users: Any, caplog: pytest.LogCaptureFixture
) -> None:
    former = DatabaseSession()
    former["rate"] = float("nan")
    former.save()
    assert SessionStore(former.session_key).load() == {}
    assert "cannot be moved" in caplog.text
    assert "session['rate']" in caplog.text
    assert Session.objects.count() == 1
    assert not list(store.all())


def test_the_command_moves_all_others(store: MemoryStore, ann: Any) -> None:
    clients = [former_client(ann, cart=number) for number in range(3)]
    # As after a process that was stopped when it had stored a session, and not deleted its row.
    SessionStore(key_of(clients[2])).save(must_create=True)
    Session.objects.create(
        session_key="unreadablerow", session_data="bad", expire_date=timezone.now() + timedelta(1)
    )
    told = io.StringIO()
    call_command("move_sessions", stdout=told)
    assert "3 sessions were moved" in told.getvalue()
    assert "1 sessions cannot be read" in told.getvalue()
    assert "SECRET_KEY" in told.getvalue()
    Session.objects.all().delete()
    told.seek(0)
    call_command("move_sessions", stdout=told)
    assert 'Remove "MOVE_FROM" from COATCHECK now' in told.getvalue()
    with override_settings(COATCHECK={"STORE": store}):
        assert [each.get("/show").json().get("cart") for each in clients] == [0, 1, None]
        with pytest.raises(CommandError, match="write the former SESSION_ENGINE"):
            call_command("move_sessions")


@pytest.mark.parametrize("ended", [False, True])
def test_parallel_requests_wait_for_the_one_that_moves_the_session(
    ended: bool, store: MemoryStore, ann: Any
) -> None:
    """The second finds the row as long as the first one has not committed.

    Then it finds the session, or nothing if that was ended meanwhile.
    """
    key = key_of(former_client(ann, cart=1))
    found: list[Any] = []

    def load() -> None:
        found.append(SessionStore(key).load().get("cart"))
        connection.close()

    with transaction.atomic():
        assert SessionStore(key).load()["cart"] == 1
        store.destroy(SessionStore(key).ref or "")  # the second must not find it before it waits
        waiting = threading.Thread(target=load)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        if not ended:
            session = SessionStore(key)
            session["cart"] = 2
            session._session_key = key
            session.save(must_create=True)
    waiting.join(10)
    assert found == [None if ended else 2]


@pytest.mark.parametrize("key", ["nul\0character", "\N{SNOWMAN}" * 9, "x" * 41])
def test_a_cookie_that_is_no_key_reaches_no_database(
    key: str, store: MemoryStore, users: Any
) -> None:
    with CaptureQueriesContext(connection) as queries:
        session = SessionStore(key)
        session.delete()
        assert not session.exists(key)
        assert session.load() == {}
    assert not queries.captured_queries


@pytest.mark.parametrize(
    "wrong", ["django.contrib.sessions.backends.file", "no.such.module", "json", 42]
)
def test_only_some_engines_can_be_moved_from(wrong: Any) -> None:
    value = {"STORE": "memory:", "MOVE_FROM": wrong}
    with (
        override_settings(COATCHECK=value),
        pytest.raises(ImproperlyConfigured, match="must be the former SESSION_ENGINE"),
    ):
        SessionStore("somekeyofone").load()


def test_an_engine_with_a_cache_has_a_table() -> None:
    engine = "django.contrib.sessions.backends.cached_db"
    assert import_module(engine).SessionStore
    with override_settings(COATCHECK={"STORE": "memory:", "MOVE_FROM": engine}):
        call_command("check")
