"""A browser for the tests of a process, and sites that it can visit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser_pages import application
from browser_site import Serve, Site
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright
from serving import uvicorn_server

from testing.browser.chromium import ARGUMENTS, Authority, Profile, program


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="coatcheck-browser-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright, authority: Authority, folder: Path) -> Iterator[Browser]:
    """A browser without a profile that stays; each context of it is a visitor."""
    home = folder / "home"
    authority.trust_in(home)
    with playwright.chromium.launch(
        executable_path=program(),
        env={**os.environ, "HOME": str(home)},
        args=ARGUMENTS,
        ignore_default_args=["--disable-back-forward-cache"],
    ) as started:
        yield started


@pytest.fixture
def profile(playwright: Playwright, authority: Authority, tmp_path: Path) -> Profile:
    """A profile that outlives the browser."""
    authority.trust_in(tmp_path)
    return Profile(playwright, tmp_path)


@pytest.fixture
def visitors() -> Iterator[ExitStack]:
    """The visitors of a test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def visitor(browser: Browser, visitors: ExitStack) -> Callable[[], BrowserContext]:
    """Make visitors, each with cookies of its own."""

    def arrive() -> BrowserContext:
        context = visitors.enter_context(browser.new_context())
        context.set_default_timeout(20_000)
        return context

    return arrive


@pytest.fixture
def serve(authority: Authority, visitors: ExitStack) -> Serve:
    """Serve the application of `browser_pages`, with options of the middleware.

    The visitors leave before a server stops, because they keep connections.
    """

    @contextmanager
    def served(*, https: bool = True, **options: Any) -> Iterator[Site]:
        certificate = {"ssl_keyfile": authority.key, "ssl_certfile": authority.certificate}
        with uvicorn_server(application(**options), **(certificate if https else {})) as url:
            try:
                yield Site("https" if https else "http", url.rpartition(":")[2])
            finally:
                visitors.close()

    return served
