"""Applications of three frameworks with one store: one login, and one logout."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import GUNICORN, server_process
from webclient import SECRET

EXAMPLE = Path(__file__).parents[3] / "examples" / "one-login"


def gunicorn(application: str) -> tuple[str, ...]:
    return ("gunicorn", *GUNICORN[:-1], str(EXAMPLE), "--log-level", "critical", application)


def uvicorn(application: str) -> tuple[str, ...]:
    folder = ("--app-dir", str(EXAMPLE))
    return ("uvicorn", "--fd", "{fd}", *folder, "--log-level", "critical", application)


def test_a_visitor_logs_in_once_and_out_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes share a cookie and a store; a logout at one is one at all of them."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    monkeypatch.setenv("SESSION_STORE", f"file://{tmp_path}")
    servers = (gunicorn("shop:app"), uvicorn("api:app"), gunicorn("account:application"))
    with ExitStack() as stack:
        opened = [stack.enter_context(server_process(*words)) for words in servers]
        shop, api, account = (url for url, _ in opened)
        laptop, phone, stranger = (stack.enter_context(httpx.Client(timeout=30)) for _ in range(3))

        def seen(browser: httpx.Client) -> list[Any]:
            """Return what each application knows of a visitor."""
            pages = [browser.get(url).json() for url in (shop, api, account)]
            assert [page.pop("seen_by") for page in pages] == ["Flask", "FastAPI", "Django"]
            return pages

        for browser in (laptop, phone):
            browser.post(f"{shop}/login", data={"user": "ann"})
            assert seen(browser) == [{"user": "ann", "cart": []}] * 3
        stranger.post(f"{shop}/login", data={"user": "bob"})
        laptop.post(f"{api}/cart/umbrella").raise_for_status()
        assert seen(laptop) == [{"user": "ann", "cart": ["umbrella"]}] * 3
        assert seen(phone) == [{"user": "ann", "cart": []}] * 3
        assert phone.post(f"{account}/log-out-everywhere").json() == {"ended": 2}
        assert seen(laptop) == seen(phone) == [{"user": None, "cart": []}] * 3
        assert seen(stranger) == [{"user": "bob", "cart": []}] * 3
