"""The admin's page of sessions."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings

from coatcheck import ALWAYS, Capabilities, Condition, MemoryStore, Store
from coatcheck.errors import StoreUnavailable
from coatcheck_django import SessionStore, sessions

PAGE = "/admin/coatcheck/session/"


@pytest.fixture
def admin(client: Client, store: MemoryStore, ann: Any) -> Client:
    client.force_login(ann)
    return client


def rows(page: str) -> list[str]:
    """Return the texts of the rows of the table."""
    found = re.findall(r"<tr>\s*(<td.*?)</tr>", page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def visitors(users: Any) -> dict[str, Client]:
    made = {}
    for name in ("bob", "bobby", "carol"):
        made[name] = Client()
        made[name].force_login(users.objects.create_user(name))
    made["nobody"] = Client()
    made["nobody"].get("/put?secret=swordfish")
    return made


def test_the_admin_leads_to_the_page(admin: Client) -> None:
    index = admin.get("/admin/").text
    assert f'href="{PAGE}"' in index
    assert "/admin/coatcheck/session/add/" not in index
    assert admin.get("/admin/coatcheck/").status_code == 200


def test_all_sessions_are_listed_without_their_data(admin: Client, users: Any) -> None:
    others = visitors(users)
    page = admin.get(PAGE).text
    assert sorted(row.partition(" ")[0] for row in rows(page)) == sorted(
        ["ann", "bob", "bobby", "carol", "a"]
    )
    (mine,) = (row for row in rows(page) if "(this browser)" in row)
    assert mine.startswith("ann ")
    assert "swordfish" not in page
    assert not any(other.cookies["sessionid"].value in page for other in others.values())


def test_sessions_of_a_user_are_found(admin: Client, users: Any) -> None:
    visitors(users)
    assert [row.partition(" ")[0] for row in rows(admin.get(f"{PAGE}?q=BOB").text)] == [
        "bob",
        "bobby",
    ]
    assert rows(admin.get(f"{PAGE}?q=nobody").text) == ["No sessions."]


def test_chosen_sessions_are_ended_and_noted(admin: Client, users: Any, ann: Any) -> None:
    others = visitors(users)
    refs = [SessionStore(others[name].cookies["sessionid"].value).ref for name in ("bob", "nobody")]
    page = admin.post(f"{PAGE}?q=", {"ref": [*refs, "no ref at all", "0" * 64]}, follow=True).text
    assert "2 sessions were ended." in page
    assert len(rows(page)) == 3
    assert others["bob"].get("/show").json() == {"user": ""}
    assert others["bobby"].get("/show").json() == {"user": "bobby"}
    notes = {(entry.user, entry.object_repr) for entry in LogEntry.objects.all()}
    assert notes == {(ann, "session of bob"), (ann, "session of a visitor")}
    assert "session of bob" in admin.get("/admin/").text
    assert "No session was chosen." in admin.post(PAGE, {}, follow=True).text
    assert "0 sessions were ended." in admin.post(PAGE, {"ref": "0" * 64}, follow=True).text


def test_all_sessions_that_a_search_found_are_ended(admin: Client, users: Any) -> None:
    others = visitors(users)
    page = admin.get(f"{PAGE}?q=bob").text
    listed = re.findall(r'name="listed" value="(\w+)"', page)
    assert len(listed) == 2
    ended = admin.post(f"{PAGE}?q=bob", {"listed": listed, "all": "yes"}, follow=True).text
    assert "2 sessions were ended." in ended
    assert rows(ended) == ["No sessions."]
    # The page does not offer to end the session that it was asked for with.
    page = admin.get(PAGE).text
    assert len(re.findall(r'name="listed"', page)) == len(rows(page)) - 1 == 2
    assert others["carol"].get("/show").json() == {"user": "carol"}


def test_the_page_needs_permissions(store: MemoryStore, users: Any) -> None:
    staff = users.objects.create_user("staff", is_staff=True)
    client = Client()
    client.force_login(staff)
    ref = sessions().list(staff.pk)[0].ref
    assert client.get(PAGE).status_code == 403
    staff.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="coatcheck")
    )
    assert len(rows(client.get(PAGE).text)) == 1
    assert "End the chosen" not in client.get(PAGE).text
    assert client.post(PAGE, {"ref": [ref]}).status_code == 403
    staff.user_permissions.add(
        Permission.objects.get(codename="delete_session", content_type__app_label="coatcheck")
    )
    client.post(PAGE, {"ref": [ref]})
    assert client.get("/show").json() == {"user": ""}
    assert Client().get(PAGE).status_code == 302


def allow(user: Any, *names: str) -> None:
    for name in names:
        label, _, codename = name.partition(".")
        user.user_permissions.add(
            Permission.objects.get(codename=codename, content_type__app_label=label)
        )


@pytest.mark.parametrize("permission", ["auth.view_user", "auth.change_user"])
def test_names_of_users_need_the_permission_to_see_users(
    store: MemoryStore, users: Any, permission: str
) -> None:
    staff = users.objects.create_user("staff", is_staff=True)
    allow(staff, "coatcheck.view_session", "coatcheck.delete_session")
    others, client = visitors(users), Client()
    client.force_login(staff)
    bob = users.objects.get(username="bob")
    page = client.get(PAGE).text
    assert {row.partition(" ")[0] for row in rows(page)} == {
        "a",
        *(str(user.pk) for user in users.objects.all()),
    }
    assert not any(name in " ".join(rows(page)) for name in ("bob", "carol"))
    # A search does not tell who has a session, either.
    assert rows(client.get(f"{PAGE}?q=bob").text) == ["No sessions."]
    (row,) = rows(client.get(f"{PAGE}?q={bob.pk}").text)
    assert row.startswith(f"{bob.pk} ")
    ref = SessionStore(others["bob"].cookies["sessionid"].value).ref
    client.post(PAGE, {"ref": [ref]})
    assert LogEntry.objects.get().object_repr == f"session of {bob.pk}"
    allow(staff, permission)
    assert [row.partition(" ")[0] for row in rows(client.get(f"{PAGE}?q=bob").text)] == ["bobby"]


def test_the_form_is_protected(admin: Client, ann: Any) -> None:
    checked = Client(enforce_csrf_checks=True)
    checked.cookies = admin.cookies
    assert checked.post(PAGE, {"ref": []}).status_code == 403


def test_a_user_who_was_deleted_is_named_by_the_id(admin: Client, users: Any) -> None:
    bob = users.objects.create_user("bob")
    key = str(bob.pk)
    Client().force_login(bob)
    bob.delete()
    assert any(row.startswith(f"{key} ") for row in rows(admin.get(PAGE).text))


@pytest.mark.parametrize("zones", [True, False])
def test_times_are_those_of_the_settings(admin: Client, zones: bool) -> None:
    with override_settings(USE_TZ=zones, TIME_ZONE="Asia/Tokyo"):
        (row,) = rows(admin.get(PAGE).text)
        from django.utils import formats, timezone

        assert formats.date_format(timezone.localtime() if zones else timezone.now()) in row


def test_a_store_that_does_not_list_all_still_finds_users(
    admin: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.capabilities = Capabilities(blocking=False, owners=True)
    assert "Search for a user" in admin.get(PAGE).text
    assert [row.partition(" ")[0] for row in rows(admin.get(f"{PAGE}?q=ann").text)] == ["ann"]
    monkeypatch.setattr(store, "owned_by", partial(Store.owned_by, store))
    assert "cannot be listed" in admin.get(f"{PAGE}?q=ann").text


def test_there_is_no_table_and_nothing_asks_for_it(store: MemoryStore, users: Any) -> None:
    told = io.StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=told)
    assert "No changes detected" in told.getvalue()
    dumped = io.StringIO()
    call_command("dumpdata", "coatcheck", stdout=dumped)
    assert json.loads(dumped.getvalue()) == []
    call_command("dumpdata", "coatcheck", "--all", stdout=io.StringIO())
    call_command("check")


def test_a_session_whose_key_has_changed_since_the_list_is_ended(admin: Client, ann: Any) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    ref = session.ref
    session.cycle_key()
    assert "1 session was ended." in admin.post(PAGE, {"ref": [ref]}, follow=True).text
    assert SessionStore(session.session_key).load() == {}
    assert LogEntry.objects.get().object_repr == "a session whose key has changed"


def test_a_user_with_exactly_this_name_is_found_among_many(admin: Client, users: Any) -> None:
    users.objects.bulk_create(users(username=f"joanna{number}") for number in range(60))
    bob = users.objects.create_user("nna")
    Client().force_login(bob)
    page = admin.get(f"{PAGE}?q=NNA").text
    assert [row.partition(" ")[0] for row in rows(page)] == ["nna"]
    assert "More than 50 users" in page
    assert "More than 50 users" not in admin.get(f"{PAGE}?q=joanna1").text


@pytest.mark.parametrize("name", ["db", "cache", "signed_cookies"])
def test_the_page_says_that_some_sessions_have_not_moved(
    name: str, admin: Client, store: MemoryStore
) -> None:
    assert "are not listed" not in admin.get(PAGE).text
    value = {"STORE": store, "MOVE_FROM": f"django.contrib.sessions.backends.{name}"}
    with override_settings(COATCHECK=value):
        text = admin.get(PAGE).text
    assert text.count("are not listed") == 1
    assert ("move_sessions" in text) is (name == "db")


def test_owners_of_another_rule_are_no_users(store: MemoryStore, users: Any, ann: Any) -> None:
    bob = users.objects.create_user("bob")
    with override_settings(COATCHECK={"STORE": store, "OWNER": "tenant"}):
        admin = Client()
        admin.force_login(ann)
        session = SessionStore()
        session["tenant"] = str(bob.pk)
        session.save()
        assert sorted(row.partition(" ")[0] for row in rows(admin.get(PAGE).text)) == sorted(
            [str(bob.pk), "nobody"]
        )
        (row,) = rows(admin.get(f"{PAGE}?q={bob.pk}").text)
        assert row.startswith(f"{bob.pk} ")
        admin.post(PAGE, {"ref": [session.ref]})
    assert LogEntry.objects.get().object_repr == f"session of {bob.pk}"


def test_an_id_that_no_user_can_have_is_shown_as_it_is(admin: Client) -> None:
    session = SessionStore()
    session["_auth_user_id"] = "9" * 30
    session.save()
    assert any(row.startswith("9" * 30) for row in rows(admin.get(PAGE).text))


@pytest.mark.parametrize("zones", [True, False])
def test_the_last_moment_of_all_is_shown(admin: Client, zones: bool) -> None:
    session = SessionStore()
    session.set_expiry(datetime.max.replace(tzinfo=UTC))
    session.save()
    with override_settings(USE_TZ=zones, TIME_ZONE="Asia/Tokyo"):
        assert "9999" in admin.get(PAGE).text


def test_what_was_ended_before_the_store_failed_is_told_and_noted(
    admin: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    refs = []
    for _ in range(2):
        session = SessionStore()
        session["a"] = 1
        session.save()
        refs.append(session.ref)
    destroy = store.destroy

    def fails_later(key: str, only_if: Condition = ALWAYS) -> bool:
        monkeypatch.setattr(store, "destroy", fails)
        return destroy(key, only_if)

    def fails(key: str, only_if: Condition = ALWAYS) -> bool:
        raise StoreUnavailable("down")

    monkeypatch.setattr(store, "destroy", fails_later)
    page = admin.post(PAGE, {"ref": refs}, follow=True).text
    assert "Not all sessions were ended: down" in page
    assert "1 session was ended." in page
    assert [entry.object_id for entry in LogEntry.objects.all()] == refs[:1]
