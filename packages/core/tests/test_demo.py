"""The demo: what it tells on the command line, and what its pages do."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from demoing import demo, served
from starlette.types import ASGIApp
from webclient import SECRET, set_cookies

import coatcheck.store
from coatcheck import MemoryStore
from coatcheck.demo.application import make_application

PLUGIN = """
from coatcheck import StoreSpec, hookimpl

@hookimpl
def coatcheck_stores():
    yield StoreSpec(name="toy", schemes=("toy",), contract="1.0", open="toystore:open_toy")
"""

FORGETFUL = """
from coatcheck import Capabilities, MemoryStore

class Toy(MemoryStore):
    capabilities = Capabilities(blocking=False)

    def destroy(self, key, only_if=None):
        return True

def open_toy(url, *, clock):
    return Toy(clock=clock)
"""

UNCONDITIONAL = """
from coatcheck import ALWAYS, MemoryStore

class Toy(MemoryStore):
    def set(self, key, record, only_if=ALWAYS):
        return super().set(key, record)

def open_toy(url, *, clock):
    return Toy(clock=clock)
"""

FAILING = """
from coatcheck import MemoryStore
from coatcheck.errors import StoreUnavailable

class Toy(MemoryStore):
    def get(self, key):
        raise StoreUnavailable("the toy broke")

def open_toy(url, *, clock):
    return Toy(clock=clock)
"""

UNREACHABLE = """
from coatcheck import MemoryStore
from coatcheck.errors import StoreUnavailable

class Toy(MemoryStore):
    def ping(self):
        raise StoreUnavailable("nobody\\nanswers")

def open_toy(url, *, clock):
    return Toy(clock=clock)
"""

REFUSING = """
def open_toy(url, *, clock):
    raise LookupError(url)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Install a store with the scheme ``toy``; the test writes ``toystore.py`` beside it."""
    information = tmp_path / "toy-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[coatcheck.stores]\ntoy = toyplugin\n")
    (tmp_path / "toyplugin.py").write_text(PLUGIN)
    return tmp_path


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a refused command prints."""
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line


# The self-check


def test_check_passes() -> None:
    """Over real HTTP, every promise of the demo is kept."""
    result = demo("--check", "--store=memory:")
    first, *checks, last = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert first.startswith("The demo is at http://127.0.0.1:")
    assert all(line.startswith("ok  ") for line in checks)
    assert last == f"demo: {len(checks)} checks passed"
    assert len(checks) == len(set(checks)) == 14


def test_check_offers_only_what_the_store_can(toy: Path) -> None:
    """The documented SQLite store has no owners, so that check is missing; but it lasts."""
    code = (coatcheck.store.__doc__ or "").partition("::\n")[2].partition("\nA plugin module")[0]
    lines = [line.removeprefix("    ") for line in code.splitlines()]
    lines += [
        "def open_toy(url, *, clock):",
        "    return SQLiteStore(url.removeprefix('toy:'), clock=clock)",
    ]
    (toy / "toystore.py").write_text("\n".join(lines))
    result = demo("--check", "--store", f"toy:{toy / 'sessions.db'}", path=toy)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "demo: 14 checks passed"
    assert "everywhere" not in result.stdout
    assert "ok  a restart of the server logs nobody out, and nobody in\n" in result.stdout


@pytest.mark.parametrize(
    ("store", "failing"),
    [
        (
            FORGETFUL,
            [
                "the session id from before the login is dead",
                "the logout expires the cookie, and a copy of it is dead",
            ],
        ),
        (UNCONDITIONAL, ["20 parallel requests lose no change"]),
    ],
    ids=["destroys nothing", "ignores conditions"],
)
def test_check_finds_a_store_that_breaks_its_promises(
    toy: Path, store: str, failing: list[str]
) -> None:
    """Each broken promise has a FAILED line, and the exit status is 1."""
    (toy / "toystore.py").write_text(store)
    result = demo("--check", "--store", "toy:", path=toy)
    *lines, last = result.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED  ")]
    assert result.returncode == 1
    assert [line.removeprefix("FAILED  ").rpartition(": ")[0] for line in failed] == failing
    assert last == f"demo: {len(failed)} of {len(lines) - 1} checks failed"


def test_check_survives_a_store_that_fails(toy: Path) -> None:
    """When the store fails at each request, the checks still run to their end and say so."""
    (toy / "toystore.py").write_text(FAILING)
    result = demo("--check", "--store", "toy:", path=toy)
    assert result.returncode == 1
    assert re.fullmatch(r"demo: \d+ of 14 checks failed", result.stdout.splitlines()[-1])


# What it refuses


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["serve", "check"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "a store URL starts with a scheme"),
        ("", "a store URL starts with a scheme"),
        ("unheard-of:", "no installed store has the scheme 'unheard-of'"),
        ("memory://host/1", "a memory store's URL is"),
        ("memory:?max_sessions=none", "`max_sessions` in the URL must be a positive integer"),
        ("memory://[", "memory"),
    ],
)
def test_wrong_store_url(url: str, reason: str, check: list[str]) -> None:
    """A URL that opens no store is one line of error, never a traceback."""
    line = refusal(demo(*check, "--port=0", f"--store={url}"))
    assert line.startswith("error: ")
    assert reason in line


def test_store_that_does_not_answer(toy: Path) -> None:
    """A store is asked before the demo says that it runs; its error is put in one line."""
    (toy / "toystore.py").write_text(UNREACHABLE)
    assert refusal(demo("--port=0", "--store=toy:", path=toy)) == "error: nobody answers"


def test_password_in_the_url_is_not_shown(toy: Path) -> None:
    """Whatever a store's opener raises, the URL does not reach the terminal."""
    (toy / "toystore.py").write_text(REFUSING)
    line = refusal(demo("--port=0", "--store=toy://me:hunter2@[host", path=toy))
    assert line == "error: the store 'toy' does not accept this URL: LookupError"


def test_weak_secret() -> None:
    """A SESSION_SECRET that is too short is refused."""
    assert "`secret`" in refusal(demo("--port=0", "--store=memory:", SESSION_SECRET="short"))


def test_port_that_is_taken() -> None:
    """A taken port is named, with the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(demo(f"--port={port}", "--store=memory:"))
    assert line.startswith(f"error: cannot listen on port {port}: ")
    assert line.endswith("; choose another with `--port`")


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "httpx"])
def test_missing_extra(tmp_path: Path, package: str) -> None:
    """Without one of the demo's packages it says what to install."""
    (tmp_path / f"{package}.py").write_text("raise ImportError('not installed')")
    line = refusal(demo("--check", path=tmp_path))
    assert line == 'the demo needs: pip install "coatcheck[demo]"'


# Serving


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let children be interrupted, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_serving_until_interrupted() -> None:
    """The demo prints its URL and what to try, answers there, and Ctrl-C ends it quietly."""
    with served("--port=0", "--store=memory:") as (process, url):
        assert httpx.get(url, trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert output.endswith("\nstopped\n")


def test_secret_of_the_environment_signs_the_cookies() -> None:
    """With SESSION_SECRET a cookie is valid at the next start, too, if the store still has it."""
    application = make_application(MemoryStore(), SECRET)
    with served("--port=0", "--store=memory:", SESSION_SECRET=SECRET) as (_, url):
        assert "SESSION_SECRET" not in httpx.get(url, trust_env=False).text
        [cookie] = set_cookies(httpx.get(url, trust_env=False))
    assert application.options.name == cookie.partition("=")[0]


# The pages


class Visitor:
    """A browser in front of the demo, in this process."""

    def __init__(self, app: ASGIApp) -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://shop.test"
        )

    async def look(self, path: str = "/") -> httpx.Response:
        return await self.http.get(path)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of the home page."""
        found = re.search(r'name="token" value="([^"]+)"', (await self.look()).text)
        assert found
        return await self.http.post(path, data={"token": found[1], **fields})
