"""A site of Django on real servers: WSGI on files, and ASGI on Redis and on files."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from serving import uvicorn_server, waitress_server

from coatcheck_django import log_out_everywhere, sessions
from testing.servers.redis import server

Serve = Callable[[], AbstractContextManager[str]]

SERVERS: dict[str, Serve] = {
    "wsgi": lambda: waitress_server(get_wsgi_application()),
    "asgi": lambda: uvicorn_server(get_asgi_application(), lifespan="off"),
}


@pytest.fixture
def redis() -> Iterator[str]:
    with server() as url:
        joint = "&" if "?" in url else "?"
        yield f"{url}{joint}prefix=test-{uuid.uuid4().hex[:8]}:"


def log_in(browser: httpx.Client) -> None:
    """Log in at the admin, with the token of its form."""
    page = browser.get("/admin/login/")
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found is not None
    form = {"username": "ann", "password": "a good password", "csrfmiddlewaretoken": found[1]}
    assert browser.post("/admin/login/?next=/admin/", data=form).status_code == 302


def visit(url: str, prefix: str, ann: Any) -> None:
    """Log in, change the session in parallel, and log out everywhere."""
    with httpx.Client(base_url=url) as browser, httpx.Client(base_url=url) as other:
        browser.get(f"/{prefix}put?cart=1")
        log_in(browser)
        log_in(other)
        with ThreadPoolExecutor(4) as pool:
            addresses = [f"/{prefix}put?key{number}={number}" for number in range(12)]
            codes = {answer.status_code for answer in pool.map(browser.get, addresses)}
        assert codes == {200}
        shown = browser.get(f"/{prefix}show").json()
        assert shown == {"user": "ann", "cart": "1", **{f"key{n}": str(n) for n in range(12)}}
        assert len(sessions().list(ann.pk)) == 2
        assert log_out_everywhere(ann) == 2
        assert browser.get(f"/{prefix}show").json() == other.get("/show").json() == {"user": ""}


@pytest.mark.parametrize(("kind", "prefix"), [("wsgi", ""), ("asgi", "a")])
def test_a_site_keeps_its_sessions_in_files(
    kind: str, prefix: str, tmp_path: Path, ann: Any
) -> None:
    url = f"file:{tmp_path}/sessions"
    with (
        override_settings(COATCHECK={"STORE": url}, ALLOWED_HOSTS=["*"]),
        SERVERS[kind]() as served,
    ):
        visit(served, prefix, ann)


@pytest.mark.integration("redis")
def test_an_asynchronous_site_keeps_its_sessions_in_redis(redis: str, ann: Any) -> None:
    with (
        override_settings(COATCHECK={"STORE": redis}, ALLOWED_HOSTS=["*"]),
        SERVERS["asgi"]() as served,
    ):
        visit(served, "a", ann)
