"""The cookie's attributes, as a browser understands them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browser_site import Serve
from playwright.sync_api import BrowserContext, Page

from coatcheck import CookieOptions
from testing.browser.chromium import Profile

pytestmark = pytest.mark.integration("chromium")

SHOP, OTHER = "www.shop.test", "other.test"


def visits(page: Page, url: str) -> str:
    page.goto(url)
    return page.inner_text("#visits")


def test_scripts_cannot_read_the_cookie(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve() as site:
        context = visitor()
        page = context.new_page()
        visits(page, site.at(SHOP, "/count"))
        assert len(context.cookies()) == 1
        assert page.evaluate("document.cookie") == ""


def visits_in_frame(page: Page, url: str) -> str:
    page.goto(url)
    frame = page.frame("frame")
    assert frame is not None
    return frame.inner_text("#visits")


@pytest.mark.parametrize("name", ["sid", "__Secure-sid", "__Host-sid", "__Host-Http-sid"])
def test_the_cookie_over_https_stays_there(
    serve: Serve, visitor: Callable[[], BrowserContext], name: str
) -> None:
    """It comes back over https and not over http, and a script cannot plant one with a prefix."""
    with serve(name=name) as site, serve(name=name, https=False) as plain:
        context = visitor()
        page = context.new_page()
        page.goto(site.at(SHOP))
        page.evaluate("name => { document.cookie = name + '=planted; Path=/; Secure' }", name)
        planted = [cookie["name"] for cookie in context.cookies()]
        assert planted == ([] if name == "__Host-Http-sid" else [name])
        context.clear_cookies()
        counts = [visits(page, site.at(SHOP, "/count")) for _ in range(2)]
        assert counts == ["1", "2"]
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == (name, True, True)
        assert [visits(page, plain.at(SHOP, "/count")) for _ in range(2)] == ["1", "1"]
        assert visits(page, site.at(SHOP, "/count")) == "3"


def test_over_http_the_cookie_works_without_secure(
    serve: Serve, visitor: Callable[[], BrowserContext]
) -> None:
    with serve(https=False) as site:
        page = visitor().new_page()
        counts = [visits(page, site.at(SHOP, "/count")) for _ in range(2)]
        assert counts == ["1", "2"]


NONE = {"same_site": "none", "secure": True}
#: By the cookie, what a link, a form and a frame of another site see after one visit. The second
#: number of the frame is that of a browser which blocks cookies of other sites in frames.
FROM_ELSEWHERE: dict[str, tuple[dict[str, Any], tuple[str, str, str, str]]] = {
    "lax": ({"same_site": "lax"}, ("2", "1", "1", "1")),
    "strict": ({"same_site": "strict"}, ("1", "1", "1", "1")),
    "none": (NONE, ("2", "2", "2", "1")),
    # The frame has cookies of its own for each site around it.
    "partitioned": ({**NONE, "partitioned": True}, ("2", "2", "1", "1")),
}


@pytest.mark.parametrize("blocks", [False, True], ids=["allowed", "blocked"])
@pytest.mark.parametrize("kind", FROM_ELSEWHERE)
def test_what_another_site_can_use(serve: Serve, profile: Profile, kind: str, blocks: bool) -> None:
    settings, (link, form, frame, frame_blocked) = FROM_ELSEWHERE[kind]
    profile.block_cookies_of_frames(block=blocks)
    with serve(cookie=CookieOptions(**settings)) as site, profile.browser() as context:
        target = site.at(SHOP, "/count")
        other = site.at(OTHER, f"/embed?target={target}")
        page = context.new_page()

        def seen_by(way: Callable[[], str]) -> str:
            context.clear_cookies()
            assert visits(page, target) == "1"
            return way()

        def click(element: str) -> str:
            page.goto(other.replace("/count", "/"))
            script = "(element, url) => { element.href = element.formAction = url }"
            page.eval_on_selector(element, script, target)
            page.click(element)
            return page.inner_text("#visits")

        assert seen_by(lambda: click("a")) == link
        assert seen_by(lambda: click("button")) == form
        expected = frame_blocked if blocks else frame
        assert seen_by(lambda: visits_in_frame(page, other)) == expected
        if "partitioned" in settings:
            assert visits_in_frame(page, other) == "2"  # the next visit of the frame
            assert visits(page, target) == "2"
