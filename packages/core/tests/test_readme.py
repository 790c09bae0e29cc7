"""The examples of the READMEs, as somebody who pastes them would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fastapi
import pytest
from webclient import SECRET, Client

import coatcheck
from coatcheck import SessionOptions, Sessions, open_store

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


def examples(readme: str) -> list[str]:
    """Return the blocks of Python code of a README."""
    text = (ROOT / readme).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def pasted(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example with its store in a folder, and return its application."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    code = code.replace('"file:sessions"', repr(f"file://{folder}"))
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), names)
    return names["app"]


@pytest.mark.parametrize("readme", ["README.md", "packages/core/README.md"])
@pytest.mark.parametrize("number", [0, 1])
async def test_routes_can_be_written_below_an_example(
    readme: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application is still the framework's, and its routes have sessions."""
    app = pasted(examples(readme)[number], tmp_path, monkeypatch)

    if isinstance(app, fastapi.FastAPI):

        @app.get("/visits")
        def page(request: fastapi.Request) -> int:
            request.session["n"] = request.session.get("n", 0) + 1
            return int(request.session["n"])
    else:

        @app.get("/visits")
        def page_of_flask() -> str:
            import flask

            session = coatcheck.session_of(flask.request)
            session["n"] = session.get("n", 0) + 1
            return str(session["n"])

    visitor = Client(app, "https://shop.test")
    assert [(await visitor.get("/visits")).text for _ in range(2)] == ["1", "2"]


async def test_the_examples_of_the_readme_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cart that fills, and a login with a new id."""
    cart, login = (pasted(code, tmp_path, monkeypatch) for code in examples("README.md")[:2])
    visitor = Client(cart, "https://shop.test")
    await visitor.post("/cart/umbrella")
    assert (await visitor.post("/cart/hat")).json() == ["umbrella", "hat"]
    assert (await Client(login, "https://shop.test").post("/login")).text == "welcome"


def test_the_page_of_the_file_store_removes_all_sessions(tmp_path: Path) -> None:
    """While an application has the folder open, which goes on with it."""
    (code,) = (each for each in examples("docs/file.md") if "clear()" in each)
    used = open_store(f"file://{tmp_path}/sessions")
    sessions = Sessions(used, SessionOptions(secret=SECRET, store=used))
    sessions.create({"n": 1})
    exec(code.replace("/var/lib/shop/sessions", f"{tmp_path}/sessions"), {})
    assert used.length() == 0
    sessions.create({"n": 2})
    assert used.length() == 1
    used.close()


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("packages/*/README.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_that_installs_coatcheck_can_be_pasted(path: Path) -> None:
    """Brackets are in quotes, and until the release each page says how to install from a clone."""
    text = path.read_text("utf-8")
    commands = re.findall(r"pip install ([^`#\n]*)", text)
    assert not [each for each in commands if re.search(r"(^| )[\w./-]+\[", each)]
    if re.search(r"^pip install .*coatcheck", text, re.MULTILINE):
        assert re.search(r"ublished yet.*clone.*pip install \./packages/core", text, re.DOTALL)


def test_the_version_is_that_of_the_distribution() -> None:
    """As pip shows it."""
    assert re.fullmatch(r"\d+\.\d+(\.\w+)*", coatcheck.__version__)
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        coatcheck.version  # type: ignore[attr-defined]  # noqa: B018
