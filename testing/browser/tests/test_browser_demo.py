"""The demo and the applications with one login, as visitors with a browser use them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect
from serving import GUNICORN, server_process

from testing.browser.demo import demo

pytestmark = pytest.mark.integration("chromium")

ONE_LOGIN = Path(__file__).parents[3] / "examples" / "one-login"
SECRET = "a secret for tests, of 32 bytes!"
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 900}


def log_in(page: Page, url: str, *, remember: bool = False) -> None:
    page.goto(f"{url}/login")
    page.fill("#name", "ann")
    if remember:
        page.check("#remember")
    page.click("main button")


def cookie_of(context: BrowserContext) -> Any:
    """Return the session cookie; the glass wall has one as well."""
    names = re.compile(r"(__Host-)?(sid|session|sessionid)")
    (cookie,) = (each for each in context.cookies() if names.fullmatch(each["name"]))
    return cookie


FRAMEWORKS = [("--framework", name) for name in ("asgi", "flask", "django")]


@pytest.mark.parametrize("options", [*FRAMEWORKS, ("--https",)], ids=lambda words: words[-1])
def test_a_visit(
    tmp_path: Path,
    browser: Any,
    visitors: ExitStack,
    options: tuple[str, ...],
) -> None:
    """A cart, a login that keeps it, two devices, both races, a logout, and the way back."""
    with demo(tmp_path, *options) as url, visitors:
        laptop, phone = (
            visitors.enter_context(browser.new_context(ignore_https_errors=True)) for _ in range(2)
        )
        page = laptop.new_page()
        page.goto(url)
        page.click("text=Add >> nth=0")
        before = cookie_of(laptop)
        log_in(page, url, remember=url.startswith("https"))
        after = cookie_of(laptop)
        assert before["value"] != after["value"]
        assert (before["expires"], after["httpOnly"]) == (-1, True)
        assert (after["expires"] > 0) is after["secure"] is url.startswith("https")
        page.goto(f"{url}/cart")
        expect(page.locator(".lines > li")).to_have_attribute("data-quantity", "1")
        page.fill("input[type=number]", "3")
        page.click("text=Change")
        expect(page.locator(".lines > li")).to_have_attribute("data-quantity", "3")

        other = phone.new_page()
        log_in(other, url)
        page.goto(f"{url}/devices")
        expect(page.locator(".devices > li")).to_have_count(2)
        page.click("text=Log out everywhere else")
        expect(page.locator(".devices > li")).to_have_count(1)
        other.goto(url)
        expect(other.locator("#user")).to_have_text("stranger")

        for path in ("race", "late-write"):
            page.goto(url)
            page.click(f"form[action='/{path}'] button >> nth=0")
            expect(page.locator(".verdict")).to_have_class(["verdict good", "verdict"])

        page.goto(url)
        expect(page.locator("#user")).to_have_text("ann")
        page.click("text=Log out >> nth=0")
        page.wait_for_url("**/bye")
        page.go_back(wait_until="commit")
        expect(page.locator("#user")).to_have_text("stranger")


PATHS = ("/", "/cart", "/login", "/devices", "/race", "/late-write", "/about")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    tmp_path: Path,
    visitor: Callable[..., BrowserContext],
    scheme: Literal["light", "dark"],
) -> None:
    """On each page, on a phone and on a desktop."""
    axe = Axe()
    with demo(tmp_path) as url:
        context = visitor()
        page = context.new_page()
        page.emulate_media(color_scheme=scheme)
        page.goto(url)
        page.click("text=Add >> nth=0")
        log_in(page, url)
        for path in ("race", "late-write"):
            page.click(f"form[action='/{path}'] button >> nth=0")
        for path in PATHS:
            page.goto(f"{url}{path}")
            for size in (PHONE, DESKTOP):
                page.set_viewport_size(size)
                found = axe.run(page)
                assert found.violations_count == 0, f"{path}: {found.generate_report()}"
                wide = "document.documentElement.scrollWidth > innerWidth"
                assert not page.evaluate(wide), f"{path} is wider than {size['width']} pixels"
        context.close()


def test_one_login_in_three_applications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visitor: Callable[..., BrowserContext]
) -> None:
    """Forms of a Flask, a FastAPI and a Django application, each on a host of its own name."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    monkeypatch.setenv("SESSION_STORE", f"file://{tmp_path}")
    gunicorn = ("gunicorn", *GUNICORN[:-1], str(ONE_LOGIN), "--log-level", "critical")
    uvicorn = ("uvicorn", "--fd", "{fd}", "--app-dir", str(ONE_LOGIN), "--log-level", "critical")
    servers = ((*gunicorn, "shop:app"), (*uvicorn, "api:app"), (*gunicorn, "account:application"))
    with ExitStack() as stack:
        shop, api, account = (
            stack.enter_context(server_process(*words))[0].replace("127.0.0.1", "shop.test")
            for words in servers
        )
        laptop, phone = visitor().new_page(), visitor().new_page()

        def submit(page: Page, url: str) -> None:
            page.set_content(
                f"<form method=post action='{url}'><input name=user value=ann>"
                "<button>send</button></form>"
            )
            page.click("button")
            page.wait_for_load_state()

        def users(page: Page) -> list[str]:
            seen = []
            for url in (shop, api, account):
                page.goto(url)
                seen.append("ann" if "ann" in page.inner_text("body") else "nobody")
            return seen

        for page in (laptop, phone):
            page.goto(shop)
            submit(page, f"{shop}/login")
            assert users(page) == ["ann"] * 3
        laptop.goto(account)
        submit(laptop, f"{account}/log-out-everywhere")
        assert users(laptop) == users(phone) == ["nobody"] * 3
