"""The package uses only public names of the core, has types, and its documents are right."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import flask
import pytest

import coatcheck_flask
import coatcheck_flask.quart
from coatcheck import MemoryStore
from coatcheck_flask import Coatcheck
from testing import public_api

ROOT = Path(__file__).parents[3]
SOURCE = Path(coatcheck_flask.__file__).parent
IMPORTED = sorted(
    {
        (node.module, alias.name)
        for path in SOURCE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coatcheck")
        for alias in node.names
        if node.level == 0 and node.module is not None
    }
)


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_the_names_of_the_core_are_public(module: str, name: str) -> None:
    """Each imported name is in `__all__` of a public module."""
    assert module in public_api.MODULES["packages/core"]
    assert name in importlib.import_module(module).__all__


@pytest.mark.parametrize("name", sorted({*coatcheck_flask.__all__} - {"session"}))
def test_public_names_are_importable_and_explained(name: str) -> None:
    assert getattr(coatcheck_flask, name).__doc__


def test_the_public_api_is_the_one_that_was_agreed_on() -> None:
    """Each signature is the agreed one. `python -m testing.public_api` writes the file."""
    agreed = public_api.file_of("packages/flask").read_text("utf-8")
    assert public_api.text_of("packages/flask") == agreed


def test_the_package_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()


def application_of(
    document: str, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int = 0
) -> Any:
    """Run a block of Python code of a document, with sessions in a folder."""
    monkeypatch.setenv("SESSION_SECRET", "a secret of thirty-two bytes, more")
    text = (ROOT / document).read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[number]
    code = re.sub(r'"(redis://|file:)[^"]*"', repr(f"file://{folder}/sessions"), code)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, document, "exec"), names)
    names["app"].testing = True
    return names


def test_the_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = application_of("packages/flask/README.md", tmp_path, monkeypatch)
    visitor = names["app"].test_client()
    visitor.post("/cart/umbrella")
    assert visitor.post("/cart/hat").json == ["umbrella", "hat"]
    names["coatcheck"].close()


def test_the_shop_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = application_of("docs/flask.md", tmp_path, monkeypatch)
    visitor, other = (names["app"].test_client() for _ in range(2))
    visitor.post("/cart/umbrella")
    before = visitor.get_cookie("session").value
    visitor.post("/login")
    assert visitor.get_cookie("session").value != before
    assert visitor.get_cookie("session").max_age == 2678400
    other.post("/login")
    assert visitor.post("/logout-everywhere-else").text == "1"
    assert visitor.post("/cart/hat").json == ["umbrella", "hat"]
    visitor.post("/logout")
    assert visitor.get_cookie("session") is None
    names["coatcheck"].close()


def test_the_login_of_the_how_to_page() -> None:
    """It has the routes; the application and the password are the reader's."""
    page = (ROOT / "docs/how-to/log-in.md").read_text("utf-8")
    code = page.partition("## Flask\n")[2].partition("```python\n")[2].partition("```")[0]
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="a secret of thirty-two bytes, more", TESTING=True)
    extension = Coatcheck(app, store=MemoryStore(), owner="user_id")

    def find_user(name: str, password: str) -> int | None:
        return 42 if (name, password) == ("ann", "open sesame") else None

    names = {"app": app, "find_user": find_user, "redirect": flask.redirect,
             "request": flask.request, "session": coatcheck_flask.session}  # fmt: skip
    exec(compile(code, "log-in.md", "exec"), names)
    app.route("/")(lambda: {"user_id": coatcheck_flask.session.get("user_id")})
    visitor = app.test_client()
    assert visitor.post("/login", data={"name": "ann", "password": "x"}).status_code == 401
    visitor.post("/login", data={"name": "ann", "password": "open sesame"})
    assert visitor.get("/").json == {"user_id": 42}
    assert len(extension.sessions.list(42)) == 1
    visitor.post("/logout")
    assert visitor.get("/").json == {"user_id": None}
    assert extension.sessions.list(42) == []


@pytest.mark.anyio
async def test_the_socket_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = application_of("docs/flask.md", tmp_path, monkeypatch, 1)
    visitor = names["app"].test_client()
    await visitor.post("/login")
    async with visitor.websocket("/moves") as socket:
        for number in ("1", "2"):
            await socket.send("e4")
            assert await socket.receive() == number
    assert await names["coatcheck"].sessions.arevoke_all("42") == 1
    await names["coatcheck"].close()


def test_the_page_names_each_setting_of_flask_session() -> None:
    """Those that are understood are in its table, and the others are errors."""
    page = (ROOT / "docs/flask.md").read_text("utf-8")
    for name in ("SESSION_TYPE", "SESSION_REDIS", "SESSION_KEY_PREFIX", "SESSION_ID_LENGTH"):
        assert f"`{name}" in page
