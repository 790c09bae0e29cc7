"""The engine under real requests: what it does beyond Django's own engines."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import djangosite
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.core.management import call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from coatcheck import ALWAYS, Capabilities, Condition, MemoryStore, Record, SessionEvent, Store
from coatcheck.errors import SerializationError
from coatcheck_django import SessionStore
from coatcheck_django.middleware import SessionMiddleware

pytestmark = pytest.mark.anyio

COOKIE = settings.SESSION_COOKIE_NAME
DJANGOS = [
    name.replace("coatcheck_django.middleware", "django.contrib.sessions.middleware")
    for name in settings.MIDDLEWARE
]


def twin(client: Client, kind: type[Any] = Client) -> Any:
    """Return another tab of the same browser."""
    other = kind()
    other.cookies = client.cookies
    return other


def other_tab(client: Client, path: str) -> None:
    """Open an address in another tab while a view is at work."""

    def act() -> None:
        djangosite.meanwhile.clear()
        assert Client(headers={"cookie": f"{COOKIE}={key}"}).get(path).status_code == 200

    key = client.cookies[COOKIE].value
    djangosite.meanwhile.append(act)


def test_only_the_hash_of_an_id_is_in_the_store(store: MemoryStore, client: Client) -> None:
    client.get("/put?a=1")
    key = client.cookies[COOKIE].value
    ((stored, record),) = store.all()
    assert stored == SessionStore(key).ref
    assert key not in stored
    assert key.encode() not in record.data
    assert client.get("/show").json() == {"user": "", "a": "1"}


@pytest.mark.parametrize("address", ["/put", "/aput"])
def test_parallel_requests_are_merged(address: str, store: MemoryStore, client: Client) -> None:
    client.get("/put?a=1")
    other_tab(client, f"{address}?b=2")
    assert client.get(f"{address}?c=3").status_code == 200
    assert client.get("/show").json() == {"user": "", "a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("address", ["/put", "/aput"])
def test_after_a_parallel_logout_the_response_goes_out_and_the_session_stays_ended(
    address: str, store: MemoryStore, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/put?a=1")
    other_tab(client, "/flush")
    with caplog.at_level(logging.WARNING, logger="coatcheck"):
        response = client.get(f"{address}?c=3")
    assert (response.status_code, response.content) == (200, b"done")
    # The browser may have the cookie of a newer login by now.
    assert COOKIE not in response.cookies
    assert response["Vary"] == "Cookie"
    assert not list(store.all())
    assert "ended by another request" in caplog.text
    assert client.get("/show").json() == {"user": ""}


def test_djangos_own_middleware_answers_400_and_the_session_stays_ended(
    store: MemoryStore,
) -> None:
    with override_settings(MIDDLEWARE=DJANGOS):
        client = Client()
        client.get("/put?a=1")
        other_tab(client, "/flush")
        assert client.get("/put?c=3").status_code == 400
    assert not list(store.all())


async def test_an_asynchronous_request_sees_the_same_session(
    store: MemoryStore, client: Client
) -> None:
    asynchronous = twin(client, AsyncClient)
    await asynchronous.get("/aput?a=1")
    assert (await asynchronous.get("/ashow")).json() == {"user": "", "a": "1"}
    assert (await asynchronous.get("/show")).json() == {"user": "", "a": "1"}


def test_a_session_that_is_gone_is_never_stored_again(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    SessionStore(session.session_key).flush()
    for value in (2, 3):
        session["a"] = value
        with pytest.raises(UpdateError):
            session.save()
    session.cycle_key()
    assert (dict(session.items()), session.session_key) == ({}, None)
    # What is left says that there was a rotation.
    assert [key.partition(":")[0] for key, _ in store.all()] == ["successors"]


def test_a_logout_follows_a_key_that_changes(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    former = session.session_key
    session.cycle_key()
    assert session.session_key != former
    SessionStore(former).flush()
    with pytest.raises(UpdateError):
        session.save()


def test_reading_again_changes_nothing_that_is_not_saved(store: MemoryStore) -> None:
    """What others have stored since then is not taken for a change of this object."""
    session = SessionStore()
    session["a"] = 1
    session.save()
    other = SessionStore(session.session_key)
    other["b"] = 2
    other.save()
    assert session.load() == {"a": 1, "b": 2}
    session["c"] = 3
    session.save()
    assert SessionStore(session.session_key).load() == {"a": 1, "b": 2, "c": 3}


def test_keys_have_the_form_of_djangos(store: MemoryStore) -> None:
    session = SessionStore()
    session.save()
    assert re.fullmatch("[a-z0-9]{32}", session.session_key or "")


async def test_a_store_in_memory_is_one_for_plain_and_asynchronous_code() -> None:
    with override_settings(COATCHECK={"STORE": "memory:"}):
        session = SessionStore()
        await session.aset("a", 1)
        await session.asave()
        assert SessionStore(session.session_key).load() == {"a": 1}


def test_a_new_key_keeps_what_parallel_requests_wrote(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    other = SessionStore(session.session_key)
    other["b"] = 2
    other.save()
    session["c"] = 3
    session.cycle_key()
    assert dict(session.items()) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(UpdateError):
        other.save()


def test_clear_replaces_the_data_and_keeps_the_key(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    again = SessionStore(session.session_key)
    again.clear()
    again["b"] = 2
    again.save()
    assert again.session_key == session.session_key
    assert SessionStore(session.session_key).load() == {"b": 2}


def test_an_expired_session_begins_anew_after_clear(store: MemoryStore) -> None:
    session = SessionStore("expiredlongago")
    session.clear()
    session["b"] = 2
    session.save()
    assert session.session_key != "expiredlongago"
    assert SessionStore(session.session_key).load() == {"b": 2}


def test_a_key_that_is_taken_is_an_error(store: MemoryStore) -> None:
    SessionStore("thekeyofone").save(must_create=True)
    with pytest.raises(CreateError):
        SessionStore("thekeyofone").save(must_create=True)


def test_unmodified_sessions_only_move_their_expiry(client: Client) -> None:
    kinds: list[str] = []

    def note(event: SessionEvent) -> None:
        kinds.append(event.kind)

    configured = {"STORE": MemoryStore(), "OBSERVERS": [note]}
    with override_settings(COATCHECK=configured, SESSION_SAVE_EVERY_REQUEST=True):
        client.get("/put?a=1")
        client.get("/show")
    assert kinds == ["created", "loaded", "touched"]


class CountingStore(MemoryStore):
    """A store that notes each operation of a session."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def get(self, key: str) -> Record | None:
        self.calls.append("get")
        return super().get(key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self.calls.append("set")
        return super().set(key, record, only_if)


def test_a_page_asks_the_store_no_more_than_it_has_to(client: Client) -> None:
    store = CountingStore()

    def calls_of(address: str) -> list[str]:
        client.get(address)
        calls, store.calls = store.calls, []
        return calls

    with override_settings(COATCHECK={"STORE": store}):
        assert calls_of("/show") == []
        assert calls_of("/put?a=1") == ["set"]
        assert calls_of("/show") == ["get"]
        assert calls_of("/put?a=2") == ["get", "set"]


def test_values_that_json_lacks_come_back(store: MemoryStore) -> None:
    session = SessionStore()
    session["when"], session["price"] = date(2026, 1, 1), Decimal("1.50")
    session.save()
    assert SessionStore(session.session_key).load() == dict(session.items())


def test_clearsessions_removes_what_has_expired() -> None:
    now = [1_000_000.0]
    store = MemoryStore(clock=lambda: now[0])
    with override_settings(COATCHECK={"STORE": store}):
        session = SessionStore()
        session.save()
        (record,) = store.all()
        now[0] = record[1].expires_at + 1
        call_command("clearsessions")
    assert store.prune() == 0


def test_clearsessions_leaves_it_to_a_store_that_expires_by_itself() -> None:
    store = MemoryStore()
    store.capabilities = Capabilities(blocking=False, native_expiry=True)
    store.prune = partial(Store.prune, store)  # type: ignore[method-assign]
    with override_settings(COATCHECK={"STORE": store}):
        call_command("clearsessions")
        async_to_sync(SessionStore.aclear_expired)()


def test_another_secret_keeps_the_sessions_in_memory() -> None:
    with override_settings(COATCHECK={"STORE": "memory:"}):
        session = SessionStore()
        session["a"] = 1
        session.save()
        with override_settings(SECRET_KEY="another secret, which is long enough as well"):
            assert SessionStore(session.session_key).load() == {"a": 1}
        assert SessionStore(session.session_key).load() == {"a": 1}


def test_a_subclass_decides_by_the_data_how_long_a_session_lasts(store: MemoryStore) -> None:
    class ForStaff(SessionStore):
        def get_session_cookie_age(self) -> int:
            return 60 if self.get("staff") else 3600

    session = ForStaff()
    session["staff"] = True
    session.save()
    ((_, record),) = store.all()
    assert 50 < record.expires_at - time.time() <= 60


def test_a_subclass_decides_how_long_its_sessions_last(store: MemoryStore) -> None:
    class Short(SessionStore):
        def get_session_cookie_age(self) -> int:
            return 60

    Short().save()
    ((_, record),) = store.all()
    assert 50 < record.expires_at - time.time() <= 60


@pytest.mark.parametrize("method", ["flush", "delete", "aflush", "adelete"])
async def test_a_logout_follows_a_key_that_has_changed_before_it_looks(
    method: str, store: MemoryStore
) -> None:
    """A logout looks for the user first, and finds no session under the old key."""
    session = SessionStore()
    session["a"] = 1
    session.save()
    late = SessionStore(session.session_key)
    session.cycle_key()
    assert await late.aget("a") is None
    ended = getattr(late, method)()
    if method.startswith("a"):
        await ended
    assert SessionStore(session.session_key).load() == {}


def test_what_was_read_of_a_session_that_is_ended_is_not_stored_under_a_new_key(
    store: MemoryStore,
) -> None:
    session = SessionStore()
    session["login"] = 1
    session.save()
    late = SessionStore(session.session_key)
    assert late["login"] == 1
    session.flush()
    assert late.load() == {}
    late["cart"] = 1
    late.save()
    assert SessionStore(late.session_key).load() == {"cart": 1}


@pytest.mark.parametrize("is_async", [False, True])
async def test_two_requests_that_change_the_key_both_keep_the_data(
    is_async: bool, store: MemoryStore
) -> None:
    """After a double click on "log in" the browser may keep the cookie of either response."""
    first = SessionStore()
    first["cart"] = 1
    first.save()
    old = first.session_key
    second = SessionStore(old)
    assert second["cart"] == 1
    for session in (first, second):
        if is_async:
            await session.acycle_key()
        else:
            session.cycle_key()
    assert len({old, first.session_key, second.session_key}) == 3
    for session in (first, second):
        assert SessionStore(session.session_key).load() == {"cart": 1}
    SessionStore(old).flush()
    for session in (first, second):
        assert SessionStore(session.session_key).load() == {}


@pytest.mark.parametrize("owner", ["_auth_user_id", "team"])
def test_a_login_whose_key_was_changed_by_another_request_does_not_go_on(owner: str) -> None:
    """A logout at the same moment might not find it, whatever the owner of a session is."""
    with override_settings(COATCHECK={"STORE": MemoryStore(), "OWNER": owner}):
        first = SessionStore()
        first["_auth_user_id"] = "1"
        first.save()
        second = SessionStore(first.session_key)
        assert second["_auth_user_id"] == "1"
        first.cycle_key()
        second.cycle_key()
        assert (dict(second.items()), second.session_key) == ({}, None)
        assert SessionStore(first.session_key).load() == {"_auth_user_id": "1"}


def test_numbers_are_keys_as_with_djangos_serializer(store: MemoryStore) -> None:
    session = SessionStore()
    session[0] = "bar"
    session["cart"] = {5: 1}
    session.save()
    later = SessionStore(session.session_key)
    cart = later["cart"]
    cart[5] = 2
    later["cart"] = cart
    later["more"] = [({None: 1, True: 2, 1.5: 3},)]
    later.save()
    assert SessionStore(session.session_key).load() == {
        "0": "bar",
        "cart": {"5": 2},
        "more": [({"null": 1, "true": 2, "1.5": 3},)],
    }
    assert cart == {"5": 1, 5: 2}


@pytest.mark.parametrize("key", [(1, 2), float("nan")])
def test_other_keys_are_refused(key: object, store: MemoryStore) -> None:
    session = SessionStore()
    session["cart"] = {key: 1}
    with pytest.raises(SerializationError):
        session.save()
    loop: list[Any] = []
    loop.append(loop)
    session["cart"] = loop
    with pytest.raises(SerializationError):
        session.save()


def test_a_page_that_changes_nothing_keeps_the_expiry_that_another_set(
    store: MemoryStore, client: Client
) -> None:
    client.get("/put?a=1")
    key = client.cookies[COOKIE].value

    def shorten() -> None:
        other = SessionStore(key)
        other.set_expiry(60)
        other.save()

    djangosite.meanwhile.append(shorten)
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        client.get("/put")
    ((_, record),) = store.all()
    assert record.expires_at - time.time() < 61


def broken_pages(store: MemoryStore, client: Client) -> Iterator[str]:
    """Yield Django's reports of requests that fail while they use their session."""
    client.get("/put?a=swordfish")
    client.raise_request_exception = False
    with override_settings(DEBUG=True):
        djangosite.meanwhile.append(lambda: store.close())
        for address in ("/put?b=1", "/aput?b=1", "/flush", "/show"):
            response = client.get(address)
            assert response.status_code == 500
            yield response.text


def test_djangos_error_reports_show_neither_id_nor_data(store: MemoryStore, client: Client) -> None:
    reports = list(broken_pages(store, client))
    assert all("StoreClosed" in report for report in reports)
    assert not any("swordfish" in report for report in reports)
    key = client.cookies[COOKIE].value
    for report in reports:
        frames = report.partition('id="traceback"')[2].partition('id="requestinfo"')[0]
        assert "session_lifecycle" in frames
        assert key not in frames


@pytest.mark.parametrize("call", ["save", "create", "cycle_key"])
def test_data_that_cannot_be_stored_are_in_no_error_report(call: str, store: MemoryStore) -> None:
    session = SessionStore()
    session["card"] = "swordfish"
    session.save()
    session["bad"] = object()
    with pytest.raises(SerializationError) as raised:
        getattr(session, call)()
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    ours = [frame for frame in shown.stack if frame.filename != __file__]
    assert any("session_lifecycle" in frame.filename for frame in ours)
    assert not any("swordfish" in str(frame.locals) for frame in ours)


def test_a_session_that_was_flushed_is_a_new_one(store: MemoryStore) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    session.flush()
    session["b"] = 1
    assert session.load() == {}
    session.save()
    assert SessionStore(session.session_key).load() == {"b": 1}


@pytest.mark.parametrize("key", ["endedinanothertab", None])
def test_a_request_that_does_not_use_its_session_begins_none(
    key: str | None, store: MemoryStore
) -> None:
    """Its cookie would replace that of a login that has begun meanwhile."""
    request = RequestFactory().get("/")
    if key is None:
        session = SessionStore()
        session["a"] = 1
        session.save()
        key = session.session_key
    request.COOKIES[COOKIE] = key
    before = [stored for stored, _ in store.all()]
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        response = SessionMiddleware(lambda request: HttpResponse("done"))(request)
    assert (COOKIE in response.cookies) is bool(before)
    assert [stored for stored, _ in store.all()] == before


def test_what_is_saved_by_hand_depends_on_the_cookie(store: MemoryStore) -> None:
    """So a response of an error has Vary: Cookie, too."""
    for method in ("save", "cycle_key"):
        session = SessionStore()
        getattr(session, method)()
        assert session.accessed
