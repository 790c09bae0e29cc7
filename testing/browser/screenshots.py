"""Take the pictures of the demo for the README.

``python -m nox -s browser -- --screenshots`` runs ``python -m testing.browser.screenshots FOLDER``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, sync_playwright

from .chromium import ARGUMENTS, program
from .demo import demo

_DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 860}


def take(folder: Path) -> None:
    """Write the pictures into a folder."""
    with (
        tempfile.TemporaryDirectory() as empty,
        demo(Path(empty)) as url,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program(), args=ARGUMENTS) as browser,
    ):
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport=_DESKTOP)
            _fill(page, url)
            page.click("form[action='/race'] button >> nth=0")
            page.wait_for_selector(".verdict")
            page.screenshot(path=folder / f"race-{scheme}.png")
            page.close()


def _fill(page: Page, url: str) -> None:
    """Log in with a cart."""
    page.goto(url)
    for number in (0, 2):
        page.click(f"text=Add >> nth={number}")
    page.goto(f"{url}/login")
    page.fill("#name", "ann")
    page.click("main button")
    page.wait_for_selector("#user")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
