"""Sessions of Django's signed cookies and caches go on, and no logout is undone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import Any

import djangosite
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client, override_settings

from coatcheck import ALWAYS, JSONCodec, MemoryStore, Record
from coatcheck_django import SessionStore, log_out_everywhere, sessions

BACKENDS = "django.contrib.sessions.backends."
#: Calls a method of a session, plain or awaited.
WAYS: list[Callable[..., Any]] = [
    lambda session, name, *arguments: getattr(session, name)(*arguments),
    lambda session, name, *arguments: async_to_sync(getattr(session, f"a{name}"))(*arguments),
]


class Store(MemoryStore):
    """A store that lets something else happen before it stores a session, or reads a note."""

    before_session: Callable[[], object] | None = None
    before_note: Callable[[], object] | None = None

    def set(self, key: str, record: Record, only_if: Any = ALWAYS) -> bool:
        name = "before_note" if ":" in key else "before_session"
        act = getattr(self, name)
        if act is not None:
            setattr(self, name, None)
            act()
        return super().set(key, record, only_if)


@pytest.fixture(params=["signed_cookies", "cache"])
def former(request: pytest.FixtureRequest) -> str:
    return BACKENDS + str(request.param)


@pytest.fixture
def store(former: str, users: Any) -> Iterator[Store]:
    """A store for a site that had its sessions elsewhere before."""
    made = Store()
    with override_settings(COATCHECK={"STORE": made, "MOVE_FROM": former}):
        yield made
    cache.clear()


def former_client(user: Any, kind: type[Any] = Client, **data: Any) -> Any:
    """Return a browser that has logged in before the move."""
    client = kind()
    engine = import_module(settings.COATCHECK["MOVE_FROM"])
    with override_settings(SESSION_ENGINE=engine.__name__):
        client.force_login(user)
        session = engine.SessionStore(key_of(client))
        session.update(data)
        session.save()
        client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def former_key(**data: Any) -> str:
    """Store a session as Django does, and return the value of its cookie."""
    session = import_module(settings.COATCHECK["MOVE_FROM"]).SessionStore()
    session.update(data)
    session.save()
    return str(session.session_key)


def key_of(client: Client) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def browser_with(key: str) -> Client:
    return Client(headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={key}"})


def sessions_in(store: MemoryStore) -> list[str]:
    return [key for key, _ in store.all() if ":" not in key]


def test_a_visitor_stays_logged_in(store: Store, former: str, ann: Any) -> None:
    client = former_client(ann, cart=1)
    old = key_of(client)
    for _ in range(3):
        assert client.get("/show").json() == {"user": "ann", "cart": 1}
    (entry,) = sessions().list(ann.pk)
    new = key_of(client)
    assert entry.ref == SessionStore(new).ref
    assert len(new) == 32
    assert (new == old) is former.endswith("cache")
    assert not (new == old and import_module(former).SessionStore().exists(old))
    (note,) = [JSONCodec().loads(record.data, key) for key, record in store.all() if ":" in key]
    assert (note.data["taken_over"][1] is None) is (new == old), "the browser has a new key"
    # The cookie was sent once, and the session is a usual one.
    assert not client.get("/show").cookies


def test_an_asynchronous_page_finds_it_too(store: Store, ann: Any) -> None:
    client = former_client(ann, AsyncClient, cart=1)

    async def visit() -> Any:
        return [(await client.get("/ashow")).json() for _ in range(2)]

    assert async_to_sync(visit)() == [{"user": "ann", "cart": 1}] * 2
    assert len(sessions_in(store)) == 1


def test_a_logout_is_final(store: Store, ann: Any) -> None:
    client = former_client(ann)
    old = key_of(client)
    client.get("/show")
    client.get("/flush")
    assert browser_with(old).get("/show").json() == {"user": ""}
    assert sessions_in(store) == []


@pytest.mark.parametrize("call", WAYS)
def test_a_logout_is_final_before_the_session_has_moved(
    call: Callable[..., Any], store: Store, users: Any
) -> None:
    old = former_key(cart=1)
    call(SessionStore(old), "delete")
    for _ in range(2):
        assert call(SessionStore(old), "load") == {}
    assert sessions_in(store) == []


@pytest.mark.parametrize("name", ["before_session", "before_note"])
@pytest.mark.parametrize("method", ["delete", "flush"])
def test_a_logout_while_a_parallel_request_moves_the_session_is_final(
    name: str, method: str, store: Store, users: Any
) -> None:
    """It finds no session to end, because the other request has not stored it yet."""
    old = former_key(cart=1)
    setattr(store, name, getattr(SessionStore(old), method))
    assert SessionStore(old).load() == {}
    assert getattr(store, name) is None
    assert SessionStore(old).load() == {}
    assert sessions_in(store) == []


@pytest.mark.parametrize("call", WAYS)
def test_parallel_requests_find_one_session(
    call: Callable[..., Any], store: Store, users: Any
) -> None:
    old, start = former_key(cart=1), threading.Barrier(4)

    def load(number: int) -> tuple[dict[str, Any], str | None]:
        session = SessionStore(old)
        start.wait()
        return call(session, "load"), session.session_key

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(load, range(4)))
    assert [data for data, _ in found] == [{"cart": 1}] * 4
    assert len({key for _, key in found}) == len(sessions_in(store)) == 1


def test_a_request_that_reads_before_another_has_stored_waits(store: Store, users: Any) -> None:
    old, found = former_key(cart=1), []

    def load() -> None:
        found.append(SessionStore(old).load())

    other = threading.Thread(target=load)

    def begin_other() -> None:
        other.start()
        other.join(0.1)
        assert other.is_alive()

    store.before_session = begin_other
    assert SessionStore(old).load() == {"cart": 1}
    other.join(10)
    assert found == [{"cart": 1}]


def test_a_login_leaves_nothing_under_the_old_cookie(store: Store, ann: Any) -> None:
    """Somebody may have planted it."""
    old = former_key(cart=1)
    session = SessionStore(old)
    session.cycle_key()
    session["_auth_user_id"] = str(ann.pk)
    session.save()
    assert session["cart"] == 1
    assert SessionStore(old).load() == {}
    assert len(sessions_in(store)) == 1


@pytest.mark.parametrize("call", WAYS)
def test_a_session_that_is_cleared_first_moves_too(
    call: Callable[..., Any], store: Store, users: Any
) -> None:
    session = SessionStore(former_key(cart=1))
    session.clear()
    session["new"] = 1
    call(session, "save")
    (key,) = sessions_in(store)
    assert key == session.ref
    assert SessionStore(session.session_key).load() == {"new": 1}


def test_a_response_that_is_lost_logs_nobody_out(store: Store, ann: Any) -> None:
    client = former_client(ann, cart=1)
    old = key_of(client)
    client.get("/show")
    assert browser_with(old).get("/show").json() == {"user": "ann", "cart": 1}
    assert len(sessions_in(store)) == 1


def test_a_view_that_fails_takes_nothing_away(store: Store, ann: Any) -> None:
    """It sends no cookie, so the takeover is not finished, and the old cookie goes on working."""
    old = key_of(former_client(ann, cart=1))

    def fail() -> None:
        raise RuntimeError("a bug of the view")

    djangosite.meanwhile.append(fail)
    failed = Client(
        raise_request_exception=False,
        headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={old}"},
    ).get("/put")
    assert (failed.status_code, len(failed.cookies)) == (500, 0)
    assert browser_with(old).get("/show").json() == {"user": "ann", "cart": 1}
    assert len(sessions_in(store)) == 1


def test_an_engine_of_ones_own_moves_as_the_one_that_it_extends(
    store: Store, former: str, users: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine: Any = ModuleType("myengine")
    mine.SessionStore = type("SessionStore", (import_module(former).SessionStore,), {})
    monkeypatch.setitem(sys.modules, "myengine", mine)
    old = former_key(cart=1)
    with override_settings(COATCHECK={"STORE": store, "MOVE_FROM": "myengine"}):
        assert SessionStore(old).load() == {"cart": 1}


def test_a_forged_cookie_begins_nothing(store: Store, former: str, ann: Any) -> None:
    client = former_client(ann)
    with override_settings(SECRET_KEY="another secret, which is long enough as well"):
        is_cache = former.endswith("cache")
        for wrong in (key_of(client) + "x", "x" + key_of(client), "nul\0character"):
            assert browser_with(wrong).get("/show").json() == {"user": ""}
        assert bool(SessionStore(key_of(client)).load()) is is_cache
    assert len(sessions_in(store)) == is_cache


def test_a_former_secret_is_good_as_long_as_it_is_a_fallback(store: Store, ann: Any) -> None:
    before, later = former_key(cart=1), former_key(cart=2)
    assert SessionStore(before).load() == {"cart": 1}
    with override_settings(
        SECRET_KEY="another secret, which is long enough as well",
        SECRET_KEY_FALLBACKS=[settings.SECRET_KEY],
    ):
        assert SessionStore(before).load() == {"cart": 1}
        assert SessionStore(later).load() == {"cart": 2}
    assert len(sessions_in(store)) == 2


def test_a_value_that_cannot_be_stored_begins_no_session(
    store: Store, users: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = former_key(rate=float("nan"))
    assert SessionStore(old).load() == {}
    assert "session['rate']" in caplog.text
    assert not list(store.all())


def test_log_out_everywhere_ends_those_that_have_moved(store: Store, ann: Any) -> None:
    clients = [former_client(ann, cart=number) for number in range(3)]
    for client in clients[:2]:
        client.get("/show")
    assert log_out_everywhere(ann) == 2
    assert [each.get("/show").json()["user"] for each in clients] == ["", "", "ann"]


def test_they_cannot_be_listed(store: Store, former: str, users: Any) -> None:
    with pytest.raises(CommandError, match="each of them moves when it is used"):
        call_command("move_sessions")
    call_command("clearsessions")
    old = former_key(cart=1)
    assert SessionStore().exists(old) is former.endswith("cache")
    assert not SessionStore().exists("nul\0character")


def test_other_engines_cannot_be_moved_from(users: Any) -> None:
    value = {"STORE": "memory:", "MOVE_FROM": f"{BACKENDS}file"}
    with (
        override_settings(COATCHECK=value),
        pytest.raises(ImproperlyConfigured, match=r"one of .*signed_cookies"),
    ):
        SessionStore("somekeyofone").load()
