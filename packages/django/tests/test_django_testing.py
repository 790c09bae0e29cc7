"""The tools of `coatcheck.testing` with Django's test clients."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings

from coatcheck import MemoryStore
from coatcheck.errors import ConfigurationError
from coatcheck.testing import alogin, aread_session, login, read_session, storage_state
from coatcheck_django import sessions

pytestmark = pytest.mark.anyio


def test_the_test_client_is_logged_in(store: MemoryStore, client: Client) -> None:
    assert read_session(client) is None
    made = login(client, {"cart": "1"})
    assert client.get("/show").json()["cart"] == "1"
    client.get("/put?cart=2")
    assert read_session(client) == {"cart": "2"}
    entry = sessions().get(made.ref)
    assert entry is not None
    assert entry.data == {"cart": "2"}
    assert sessions().revoke(made.ref) is True
    assert read_session(client) is None


async def test_the_asynchronous_client_is_logged_in(store: MemoryStore) -> None:
    client = AsyncClient()
    assert await aread_session(client) is None
    await alogin(client, {"cart": "1"})
    assert (await client.get("/show")).json()["cart"] == "1"
    assert await aread_session(client) == {"cart": "1"}


def test_a_user_s_login_is_django_s_own(store: MemoryStore, client: Client, ann: Any) -> None:
    client.force_login(ann)
    data = read_session(client)
    assert data is not None
    assert data["_auth_user_id"] == str(ann.pk)


def test_the_cookie_is_the_one_of_the_settings(store: MemoryStore, client: Client) -> None:
    with override_settings(SESSION_COOKIE_NAME="shop", SESSION_COOKIE_SECURE=True):
        made = login(client, {"cart": "1"})
        assert made.cookie_name == "shop"
        [cookie] = storage_state(made, "https://shop.test")["cookies"]
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
        assert read_session(client) == {"cart": "1"}


def test_what_follows_from_the_settings_is_not_said_again(
    store: MemoryStore, client: Client
) -> None:
    with pytest.raises(ConfigurationError, match="follow from the settings"):
        login(client, {}, owner="ann")
    with pytest.raises(TypeError, match="`data` must be a dict"):
        login(client, None)  # type: ignore[arg-type]
    cookies = override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")
    with cookies, pytest.raises(ConfigurationError, match="needs coatcheck-django"):
        login(client, {})
