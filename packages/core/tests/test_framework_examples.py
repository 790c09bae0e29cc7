"""The examples of frameworks, each in a real server: visits, a login and a logout."""

from __future__ import annotations

import logging
import re
import runpy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import (
    GUNICORN,
    aiohttp_server,
    sanic_server,
    server_process,
    uvicorn_server,
    waitress_server,
)
from webclient import SECRET

FOLDER = Path(__file__).parents[3] / "examples" / "frameworks"

#: The pages that show an example, and what it answers.
START = FOLDER.parents[1] / "docs" / "start"

#: How to serve each example.
SERVED: dict[str, Callable[[Any], AbstractContextManager[str]]] = {
    "plain_asgi": uvicorn_server,
    "plain_wsgi": waitress_server,
    "falcon_asgi": uvicorn_server,
    "falcon_wsgi": waitress_server,
    "bottle_wsgi": waitress_server,
    "pyramid_wsgi": waitress_server,
    "aiohttp_app": aiohttp_server,
    "sanic_app": sanic_server,
    "litestar_app": uvicorn_server,
    "fastapi_app": uvicorn_server,
    "starlette_app": uvicorn_server,
    "flask_app": waitress_server,
    "quart_app": uvicorn_server,
}
#: The names of cookies that are not `sid`.
COOKIES = {"django_app": "sessionid", "flask_app": "session", "quart_app": "session"}


@contextmanager
def served(example: str) -> Iterator[str]:
    """Serve an example; Django, whose settings are those of a process, in a process of its own."""
    if example == "django_app":
        options = (*GUNICORN, "--log-level", "critical", "--chdir", str(FOLDER))
        with server_process("gunicorn", *options, f"{example}:app") as (url, _):
            yield url
        return
    app = runpy.run_path(str(FOLDER / f"{example}.py"))["app"]
    with SERVED[example](app) as url:
        yield url


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Litestar's applications set up the logging of the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_each_example_is_served() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {"django_app", *SERVED}


#: How to serve the first example of each page.
PAGES = {
    "aiohttp": aiohttp_server,
    "litestar": uvicorn_server,
    "pyramid": waitress_server,
    "sanic": sanic_server,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_a_page_counts_visits(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    text = (FOLDER.parents[1] / "docs" / f"{page}.md").read_text("utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    file = tmp_path / "application.py"
    file.write_text(re.sub(r'"(redis://|file:)[^"]*"', repr(f"file://{tmp_path}"), code))
    app = runpy.run_path(str(file))["app"]
    with PAGES[page](app) as url, httpx.Client(base_url=url, timeout=60) as browser:
        shown = [re.sub(r"\D", "", browser.get("/").text) for _ in range(2)]
    assert shown == ["1", "2"]


@pytest.mark.parametrize("example", ["django_app", *SERVED])
def test_an_example_counts_visits_logs_in_and_logs_out(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login keeps the data under a new id, and after the logout no old cookie opens anything."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    monkeypatch.setenv("SESSION_STORE", f"file://{tmp_path}")
    name = COOKIES.get(example, "sid")
    with served(example) as url, httpx.Client(base_url=url, timeout=60) as browser:
        stranger = httpx.Client(base_url=url, timeout=60)
        replies = [browser.get("/") for _ in range(2)]
        assert [reply.json() for reply in replies] == [{"visits": 1}, {"visits": 2}]
        anonymous = browser.cookies[name]
        login = browser.post("/login")
        assert login.json() == {"visits": 2, "user": "ann"}
        logged_in = browser.cookies[name]
        assert logged_in != anonymous
        assert browser.get("/").json() == {"visits": 3, "user": "ann"}
        assert browser.post("/logout").json() == {}
        assert name not in browser.cookies
        for cookie in (anonymous, logged_in):
            answer = stranger.get("/", headers={"cookie": f"{name}={cookie}"})
            assert answer.json() == {"visits": 1}
        stranger.close()
    for page in START.glob("*.md"):
        text = page.read_text("utf-8")
        if f"<!-- include: examples/frameworks/{example}.py -->" in text:
            after_one_visit = re.sub("2", "1", login.text.strip())
            assert f"```\n{replies[0].text.strip()}\n{after_one_visit}\n" in text
