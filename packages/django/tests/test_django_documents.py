"""The README and docs/django.md name what there is, and all of it."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client, override_settings
from django.utils.module_loading import import_string

import coatcheck_django
from coatcheck import MemoryStore
from coatcheck.logins import record_login
from coatcheck_django._configuration import NAMES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/django.md").read_text("utf-8")
README = (ROOT / "packages/django/README.md").read_text("utf-8")


def settings_of(text: str) -> dict[str, Any]:
    """Return the settings of the first block that has some, without the dots."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    block = next(each for each in blocks if "MIDDLEWARE" in each)
    found: dict[str, Any] = {}
    exec(block, found)
    names = ("INSTALLED_APPS", "MIDDLEWARE")
    return {
        name: [each for each in value if each is not ...] if name in names else value
        for name, value in found.items()
        if name.isupper()
    }


@pytest.mark.parametrize("text", [README, PAGE], ids=["readme", "page"])
def test_the_settings_that_are_shown_are_right(text: str) -> None:
    shown = settings_of(text)
    for middleware in shown["MIDDLEWARE"]:
        assert isinstance(import_string(middleware), type)
    for app in shown["INSTALLED_APPS"]:
        assert import_module(app)
    engine = {name: shown[name] for name in ("SESSION_ENGINE", "COATCHECK", "MIDDLEWARE")}
    with override_settings(**engine):
        assert run_checks(tags=["coatcheck"]) == []


def test_each_setting_has_a_line() -> None:
    table = PAGE.partition("| in `COATCHECK`")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == sorted(NAMES)


def test_each_check_has_a_line() -> None:
    source = Path(import_module("coatcheck_django.apps").__file__ or "").read_text("utf-8")
    named = re.findall(r"^\| `(coatcheck\.\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(set(re.findall(r'"(coatcheck\.[EW]\d+)"', source)))


def test_what_can_be_imported_is_on_the_page(store: MemoryStore) -> None:
    assert all(name in PAGE for name in coatcheck_django.__all__ if name != "SessionStore")
    assert dir(coatcheck_django) == coatcheck_django.__all__


def test_the_page_tells_djangos_session_from_that_of_the_core(store: MemoryStore) -> None:
    """Its table has the methods that Django's session has, and those that it does not have."""
    table = PAGE.partition("## The session\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`?\w.*) \| (.*) \|$", table, re.MULTILINE)[1:]
    session = coatcheck_django.SessionStore()
    for core, django in rows:
        for name in re.findall(r"`session\.(\w+)[.(]", core):
            assert not hasattr(session, name), name
        for name in re.findall(r"`request\.session\.(\w+)", django):
            assert hasattr(session, name), name
    session["cart"] = []
    session.save()
    for modified, stored in ((False, []), (True, ["hat"])):
        again = coatcheck_django.SessionStore(session.session_key)
        again["cart"].append("hat")
        assert again.modified is False  # Django does not save it
        again.modified = modified
        if again.modified:
            again.save()
        assert coatcheck_django.SessionStore(session.session_key)["cart"] == stored
    with pytest.raises(AttributeError):
        record_login(session)  # type: ignore[arg-type]


def test_what_is_said_about_security_with_django(store: MemoryStore, client: Client) -> None:
    """The cookie, its caching and its age are Django's: docs/security.md has a list."""
    response = client.get("/put?a=1")
    cookie = client.cookies["sessionid"]
    assert re.fullmatch("[a-z0-9]{32}", cookie.value)
    assert not cookie["secure"]
    assert response["Vary"] == "Cookie"
    assert "Cache-Control" not in response
    ((_, changed),) = store.all()
    client.get("/show")
    ((_, read),) = store.all()
    assert read.expires_at == changed.expires_at
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        client.get("/show")
    ((_, kept),) = store.all()
    assert kept.expires_at > changed.expires_at


def test_what_the_how_to_pages_say_of_csrf(store: MemoryStore, ann: Any) -> None:
    """Django's token can be in the session, and a form without it is refused."""
    browser = Client(enforce_csrf_checks=True)
    form = {"username": "ann", "password": "a good password"}
    with override_settings(CSRF_USE_SESSIONS=True):
        page = browser.get("/admin/login/")
        assert list(browser.cookies) == ["sessionid"]
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
        assert found is not None
        assert browser.post("/admin/login/", form).status_code == 403
        form["csrfmiddlewaretoken"] = found[1]
        assert browser.post("/admin/login/", form).status_code == 302
    assert browser.get("/show").json() == {"user": "ann"}


def test_what_the_how_to_pages_say_of_remember_me(store: MemoryStore, client: Client) -> None:
    """An expiry of 0 makes the cookie one of the browser's."""
    for expiry, max_age in ((30 * 86400, 30 * 86400), (0, "")):
        client.get("/put?a=1")
        session = client.session
        session.set_expiry(expiry)
        session.save()
        client.get(f"/put?a={expiry}")
        assert client.cookies["sessionid"]["max-age"] == max_age
