"""The demo on the file store, which is its default where the file store is installed."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import httpx
import pytest
from demoing import demo, served


def test_the_check_restarts_the_server_and_leaves_nothing(tmp_path: Path) -> None:
    """In a temporary folder the demo keeps every promise, across a restart, and tidies up."""
    result = demo("--check", folder=tmp_path, TMPDIR=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    first, *lines, last = result.stdout.splitlines()
    assert re.search(rf"\(store: files in {tmp_path}/coatcheck-demo-\w+/sessions\)$", first)
    assert "ok  a restart of the server logs nobody out, and nobody in" in lines
    assert last == "demo: 17 checks passed"
    assert not list(tmp_path.iterdir())


def log_in(browser: httpx.Client, name: str) -> None:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/").text)
    assert found
    browser.post("/login", data={"token": found[1], "name": name})


def test_a_killed_demo_goes_on_where_it_was(tmp_path: Path) -> None:
    """The folder is named, for the user alone, and holds the secret: who was logged in still is."""
    with served("--port=0", folder=tmp_path) as (_, url):  # the block's end kills it
        browser = httpx.Client(base_url=url, trust_env=False)
        with browser:
            log_in(browser, "ann")
        cookies = dict(browser.cookies)
    folder = tmp_path / "coatcheck-demo"
    assert sorted(path.name for path in folder.iterdir()) == ["secret", "sessions"]
    for path, mode in ((folder, 0o700), (folder / "secret", 0o600), (folder / "sessions", 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    with served("--port=0", folder=tmp_path) as (process, url):
        with httpx.Client(base_url=url, trust_env=False, cookies=cookies) as browser:
            assert 'id="user">ann<' in browser.get("/").text
        process.terminate()
        assert process.stdout is not None
        output = process.stdout.read()
    assert "stop the demo and start it again: nobody is logged out" in output


@pytest.mark.parametrize("arguments", [[], pytest.param(["--port=0"], marks=pytest.mark.slow)])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, arguments: list[str]) -> None:
    """Where something else has the folder's name, the demo says so in one line."""
    (tmp_path / "coatcheck-demo").write_text("a file")
    result = demo(*arguments, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: the folder {tmp_path / 'coatcheck-demo'} cannot be used: ")
    assert line.endswith("; choose a `--store`")
