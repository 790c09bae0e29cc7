"""Logins of django.contrib.auth: the admin, messages, passwords, and the sessions of a user."""

from __future__ import annotations

import re
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, RequestFactory, override_settings

from coatcheck import MemoryStore
from coatcheck.errors import UnsupportedOperation
from coatcheck_django import (
    SessionStore,
    alog_out_everywhere,
    log_out_everywhere,
    owner_of,
    sessions,
)

pytestmark = pytest.mark.anyio

PASSWORD = "a good password"


def log_in(client: Client) -> None:
    form = {"username": "ann", "password": PASSWORD}
    assert client.post("/admin/login/?next=/admin/", form).status_code == 302


def user_of(client: Client) -> str:
    return str(client.get("/show").json()["user"])


def test_the_login_of_the_admin_changes_the_id_and_keeps_the_data(
    store: MemoryStore, client: Client, ann: Any
) -> None:
    client.get("/put?cart=1")
    before = client.cookies["sessionid"].value
    log_in(client)
    assert client.cookies["sessionid"].value != before
    assert client.get("/show").json() == {"user": "ann", "cart": "1"}
    assert client.get("/admin/").status_code == 200
    assert not SessionStore().exists(before)
    client.post("/admin/logout/")
    assert user_of(client) == ""
    assert sessions().list(ann.pk) == []


def test_messages_are_kept_until_they_are_shown(
    store: MemoryStore, client: Client, ann: Any
) -> None:
    log_in(client)
    form = {"username": "bob", "password1": PASSWORD, "password2": PASSWORD}
    client.post("/admin/auth/user/add/", {**form, "usable_password": "true"})
    assert "was added successfully" in client.get("/admin/").text
    assert "was added successfully" not in client.get("/admin/").text


def test_the_owner_is_the_user_from_login_to_logout(
    store: MemoryStore, client: Client, users: Any, ann: Any
) -> None:
    bob = users.objects.create_user("bob", password=PASSWORD)
    client.get("/put?cart=1")
    assert sessions().list(ann.pk) == []
    client.force_login(ann)
    (entry,) = sessions().list(ann.pk)
    assert (entry.owner, entry.data[SESSION_KEY]) == (str(ann.pk), str(ann.pk))
    client.force_login(bob)
    assert [len(sessions().list(user.pk)) for user in (ann, bob)] == [0, 1]
    client.logout()
    assert sessions().list(bob.pk) == []


def test_a_change_of_the_password_ends_the_other_sessions(
    store: MemoryStore, client: Client, ann: Any
) -> None:
    other = Client()
    log_in(client)
    log_in(other)
    before = client.cookies["sessionid"].value
    form = {
        "old_password": PASSWORD,
        "new_password1": "a better one",
        "new_password2": "a better one",
    }
    assert client.post("/accounts/password_change/", form).status_code == 302
    assert client.cookies["sessionid"].value != before
    assert [user_of(client), user_of(other)] == ["ann", ""]
    (entry,) = sessions().list(ann.pk)
    assert entry.ref == SessionStore(client.cookies["sessionid"].value).ref


def test_a_change_of_the_password_does_not_undo_a_logout(
    store: MemoryStore, client: Client, ann: Any
) -> None:
    """The session was ended, on another device, while the password was being changed."""
    log_in(client)
    request = RequestFactory().get("/")
    request.session, request.user = SessionStore(client.cookies["sessionid"].value), ann
    assert request.session[SESSION_KEY] == str(ann.pk)
    assert log_out_everywhere(ann) == 1
    ann.set_password("a better one")
    update_session_auth_hash(request, ann)
    request.session.save()
    assert SESSION_KEY not in SessionStore(request.session.session_key).load()
    assert sessions().list(ann.pk) == []


def test_log_out_everywhere(store: MemoryStore, client: Client, ann: Any) -> None:
    others = [Client(), Client()]
    for each in (client, *others):
        each.force_login(ann)
    request = RequestFactory().get("/")
    request.session = client.session
    assert log_out_everywhere(ann, keep=request) == 2
    assert [user_of(each) for each in (client, *others)] == ["ann", "", ""]
    assert log_out_everywhere(ann) == 1
    assert user_of(client) == ""


async def test_log_out_everywhere_without_blocking(
    store: MemoryStore, users: Any, ann: Any
) -> None:
    first, second = AsyncClient(), AsyncClient()
    for each in (first, second):
        await each.aforce_login(ann)
    request = RequestFactory().get("/")
    request.session = await first.asession()
    assert await alog_out_everywhere(ann, keep=request) == 1
    shown = [(await each.get("/ashow")).json()["user"] for each in (first, second)]
    assert shown == ["ann", ""]


def test_a_session_of_another_engine_cannot_be_kept(store: MemoryStore, ann: Any) -> None:
    from django.contrib.sessions.backends.signed_cookies import SessionStore as Other

    request = RequestFactory().get("/")
    request.session = Other()
    with pytest.raises(ImproperlyConfigured, match='SESSION_ENGINE must be "coatcheck_django"'):
        log_out_everywhere(ann, keep=request)


def test_a_user_who_is_not_saved_has_no_sessions(users: Any, store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="only a user that is saved"):
        log_out_everywhere(users(username="new"))


class HexKey:
    """A key whose text in sessions is not ``str(user.pk)``."""

    def value_to_string(self, obj: Any) -> str:
        return str(obj.pk.hex)


class UserWithHexKey:
    """What matters of a user whose model has such a key."""

    _meta = SimpleNamespace(pk=HexKey())
    pk = uuid.uuid4()


def test_the_owner_is_the_user_as_django_stores_it(store: MemoryStore) -> None:
    user = UserWithHexKey()
    session = SessionStore()
    session[SESSION_KEY] = user._meta.pk.value_to_string(user)  # as login() does
    session.save()
    assert [entry.ref for entry in sessions().list(owner_of(user))] == [session.ref]
    assert log_out_everywhere(user) == 1


async def test_the_users_cannot_be_logged_out_under_another_rule(
    store: MemoryStore, users: Any
) -> None:
    """The index of owners does not know them, so nothing would be ended."""
    user = UserWithHexKey()
    with override_settings(COATCHECK={"STORE": store, "OWNER": "tenant"}):
        with pytest.raises(ImproperlyConfigured, match="revoke_all"):
            log_out_everywhere(user)
        with pytest.raises(ImproperlyConfigured, match="revoke_all"):
            await alog_out_everywhere(user)


async def test_cookies_of_coatchecks_own_are_refused(store: MemoryStore) -> None:
    for text, method, awaited, argument in (
        ("SessionStore()", sessions().create, sessions().acreate, {}),
        ("SessionStore", sessions().find, sessions().afind, "sessionid=x"),
    ):
        with pytest.raises(UnsupportedOperation, match=re.escape(text)):
            method(argument)  # type: ignore[operator]
        with pytest.raises(UnsupportedOperation, match=re.escape(text)):
            await awaited(argument)  # type: ignore[operator]


def test_a_session_that_a_test_prepares_is_the_clients(store: MemoryStore, client: Client) -> None:
    session = client.session
    session["cart"] = 1
    session.save()
    assert client.get("/show").json() == {"user": "", "cart": 1}
    assert client.session["cart"] == 1


def test_a_remembered_login_lasts_longer(store: MemoryStore, client: Client, ann: Any) -> None:
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        log_in(client)
        assert client.cookies["sessionid"]["max-age"] == ""
        session = client.session
        session.set_expiry(30 * 86400)
        session.save()
        client.get("/put?a=1")
        assert client.cookies["sessionid"]["max-age"] == 30 * 86400
    (entry,) = sessions().list(ann.pk)
    assert entry.expires_at - time.time() > 29 * 86400
