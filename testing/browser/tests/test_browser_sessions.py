"""Logins, logouts and parallel tabs, as a browser sees them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from browser_site import Serve, Site
from playwright.sync_api import BrowserContext, Page

from testing.browser.chromium import Profile

pytestmark = pytest.mark.integration("chromium")

SHOP = "www.shop.test"


def post(page: Page, path: str) -> None:
    """Post a form of the page's own site."""
    assert page.evaluate(f"fetch('{path}', {{method: 'POST'}}).then(reply => reply.ok)")


def user_of(context: BrowserContext, site: Site) -> str:
    """Return who is logged in, by a page in a new tab."""
    page = context.new_page()
    page.goto(site.at(SHOP, "/count"))
    text = page.inner_text("#user")
    page.close()
    return text


def logged_in(context: BrowserContext, site: Site, remember: str = "") -> Page:
    page = context.new_page()
    page.goto(site.at(SHOP))
    post(page, f"/login?user=ann{remember}")
    return page


def test_a_login_gives_the_browser_a_new_id(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve() as site:
        context = visitor()
        page = context.new_page()
        page.goto(site.at(SHOP, "/count"))
        before = context.cookies()
        post(page, "/login?user=ann")
        after = context.cookies()
        page.goto(site.at(SHOP, "/count"))
        assert page.inner_text("#visits") == "2"
        assert page.inner_text("#user") == "ann"
    assert [len(before), len(after)] == [1, 1]
    assert before[0]["value"] != after[0]["value"]


def test_two_tabs_that_race_keep_both_changes(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve() as site:
        context = visitor()
        logged_in(context, site)
        tabs = [context.new_page() for _ in range(2)]
        for tab in tabs:
            tab.goto(site.at(SHOP))
        for tab, key in zip(tabs, ("first", "second"), strict=True):
            tab.evaluate(
                "key => { window.reply = fetch('/slow/' + key, {method: 'POST'})"
                ".then(reply => reply.json()) }",
                key,
            )
        seen = [tab.evaluate("window.reply") for tab in tabs]
    assert seen[0] | seen[1] == {"user": "ann", "first": "changed", "second": "changed"}
    assert max(seen, key=len) == seen[0] | seen[1]


def test_a_logout_everywhere_is_seen_by_the_other_browser(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    from coatcheck import MemoryStore, SessionOptions, Sessions

    store = MemoryStore()
    options = SessionOptions(secret="a secret for tests, of 32 bytes", store=store, owner="user")
    with serve(store=store) as site:
        laptop, phone = visitor(), visitor()
        for context in (laptop, phone):
            logged_in(context, site)
        assert [user_of(each, site) for each in (laptop, phone)] == ["ann", "ann"]
        assert Sessions(store, options).revoke_all("ann") == 2
        assert [user_of(each, site) for each in (laptop, phone)] == ["None", "None"]


def test_a_slow_request_does_not_undo_a_logout(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve() as site:
        context = visitor()
        page = logged_in(context, site)
        other = context.new_page()
        other.goto(site.at(SHOP))
        page.evaluate("() => { window.reply = fetch('/slow/cart', {method: 'POST'}) }")
        page.wait_for_timeout(150)  # the slow request has read the session
        post(other, "/logout")
        page.evaluate("window.reply.then(reply => reply.status)")
        assert context.cookies() == []
        assert user_of(context, site) == "None"


def test_remember_me_outlives_the_browser_and_a_plain_login_does_not(
    serve: Serve, profile: Profile
) -> None:
    with serve() as site:
        for remember, expected in (("", "None"), ("&remember=3600", "ann")):
            with profile.browser() as context:
                logged_in(context, site, remember)
                assert user_of(context, site) == "ann"
            with profile.browser() as context:
                assert user_of(context, site) == expected


def test_use_moves_the_expiry_and_the_browser_forgets_the_cookie_after_it(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve(touch_interval=0) as site:
        context = visitor()
        logged_in(context, site, "&remember=3")
        (first,) = context.cookies()
        time.sleep(2)
        assert user_of(context, site) == "ann"
        (second,) = context.cookies()
        assert second["value"] == first["value"]
        assert 1.5 < second["expires"] - first["expires"] < 60
        time.sleep(2)  # the first expiry has passed
        assert user_of(context, site) == "ann"
        time.sleep(3.2)
        assert context.cookies() == []
        assert user_of(context, site) == "None"


def test_going_back_after_a_logout_shows_no_page_of_the_last_user(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    """`no-store` keeps the page out of both caches; without it, the browser shows it again."""
    shown = {}
    with serve() as site:
        for cache in ("no-store", "private"):
            page = logged_in(visitor(), site)
            page.goto(site.at(SHOP, f"/account?cache={cache}"))
            assert page.inner_text("#user") == "ann"
            page.goto(site.at(SHOP))
            post(page, "/logout")
            page.go_back(wait_until="commit")  # a page from the cache in memory loads nothing
            shown[cache] = page.inner_text("#user")
    assert shown == {"no-store": "None", "private": "ann"}


def test_a_websocket_ends_after_a_logout(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve() as site:
        context = visitor()
        page = logged_in(context, site)
        page.evaluate(
            "() => new Promise(opened => {"
            " window.socket = new WebSocket(location.origin.replace('http', 'ws') + '/who');"
            " window.socket.onopen = opened; })"
        )
        ask = (
            "() => new Promise(answer => {"
            " window.socket.onmessage = event => answer(event.data);"
            " window.socket.onclose = event => answer(event.code);"
            " window.socket.send('who?'); })"
        )
        assert page.evaluate(ask) == "ann"
        other = context.new_page()
        other.goto(site.at(SHOP))
        post(other, "/logout")
        assert page.evaluate(ask) == 4401
