"""The demo: what it tells on the command line, and what its pages do."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from commandline import run_here
from demoing import demo, served
from fakedist import FakeDists
from webclient import SECRET, set_cookies

import coatcheck.store
from coatcheck import SessionOptions
from coatcheck._command_line.commands import main
from coatcheck_demo._home import home
from coatcheck_demo._serving import running

FRAMEWORKS = ("asgi", "flask", "django")

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


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this process's secret away, which would change the demo."""
    monkeypatch.delenv("SESSION_SECRET", raising=False)


@pytest.fixture
def toy(dists: FakeDists) -> Path:
    """Install a store with the scheme ``toy``; the test writes ``toystore.py`` beside it."""
    return dists.install("toy", schemes=("toy",), open="toystore:open_toy")


def demo_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m coatcheck demo`` to its end, in this process."""
    return run_here(main, "demo", *arguments, timeout=60)


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a refused command prints."""
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line


# The self-check


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_check_passes(framework: str) -> None:
    """Over real HTTP, every promise of the demo is kept, in each framework."""
    https = ["--https"] if framework == "flask" else []
    result = demo("--check", "--store=memory:", f"--framework={framework}", *https)
    first, *checks, last = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert re.match(rf"The demo is at http{'s' * len(https)}://127\.0\.0\.1:\d+ ", first)
    assert all(line.startswith("ok  ") for line in checks)
    assert last == f"demo: {len(checks)} checks passed"
    assert len(checks) == len(set(checks)) == 16


def test_check_offers_only_what_the_store_can(toy: Path) -> None:
    """The documented SQLite store has no owners, so that check is missing; but it lasts."""
    code = (coatcheck.store.__doc__ or "").partition("::\n")[2].partition("\nA plugin module")[0]
    lines = [line.removeprefix("    ") for line in code.splitlines()]
    lines += [
        "def open_toy(url, *, clock):",
        "    return SQLiteStore(url.removeprefix('toy:'), clock=clock)",
    ]
    (toy / "toystore.py").write_text("\n".join(lines))
    result = demo_here("--check", "--store", f"toy:{toy / 'sessions.db'}")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "demo: 16 checks passed"
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
                "a slow request that writes after the logout does not bring the session back",
            ],
        ),
        (
            UNCONDITIONAL,
            [
                "20 parallel requests lose no change",
                "two tabs that change different things keep both, and the last write loses one",
                "a slow request that writes after the logout does not bring the session back",
            ],
        ),
    ],
    ids=["destroys nothing", "ignores conditions"],
)
def test_check_finds_a_store_that_breaks_its_promises(
    toy: Path, store: str, failing: list[str]
) -> None:
    """Each broken promise has a FAILED line, and the exit status is 1."""
    (toy / "toystore.py").write_text(store)
    result = demo_here("--check", "--store", "toy:")
    *lines, last = result.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED  ")]
    assert result.returncode == 1
    assert [line.removeprefix("FAILED  ").rpartition(": ")[0] for line in failed] == failing
    assert last == f"demo: {len(failed)} of {len(lines) - 1} checks failed"


def test_check_survives_a_store_that_fails(toy: Path) -> None:
    """When the store fails at each request, the checks still run to their end and say so."""
    (toy / "toystore.py").write_text(FAILING)
    result = demo_here("--check", "--store", "toy:")
    assert result.returncode == 1
    assert re.fullmatch(r"demo: \d+ of 16 checks failed", result.stdout.splitlines()[-1])


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
    line = refusal(demo_here(*check, "--port=0", f"--store={url}"))
    assert line.startswith("error: ")
    assert reason in line


def test_store_that_does_not_answer(toy: Path) -> None:
    """A store is asked before the demo says that it runs; its error is put in one line."""
    (toy / "toystore.py").write_text(UNREACHABLE)
    assert refusal(demo_here("--port=0", "--store=toy:")) == "error: nobody answers"


def test_password_in_the_url_is_not_shown(toy: Path) -> None:
    """The URL does not reach the terminal, even if a store's opener raises it."""
    (toy / "toystore.py").write_text(REFUSING)
    line = refusal(demo_here("--port=0", "--store=toy://me:hunter2@[host"))
    assert line == "error: the store 'toy' does not accept this URL: LookupError"


def test_weak_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SESSION_SECRET that is too short is refused."""
    monkeypatch.setenv("SESSION_SECRET", "short")
    assert "`secret`" in refusal(demo_here("--port=0", "--store=memory:"))


def test_port_that_is_taken() -> None:
    """A taken port is named, with the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(demo_here(f"--port={port}", "--store=memory:"))
    assert line.startswith(f"error: cannot listen on port {port}: ")
    assert line.endswith("; choose another with `--port`")


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("uvicorn", "the package 'uvicorn' is missing: pip install \"coatcheck[demo]\""),
        ("coatcheck_flask", 'is not installed; pip install "coatcheck-demo[flask]" installs it'),
    ],
)
def test_missing_package(missing: str, advice: str) -> None:
    """Without a package that it needs, the demo says what to install."""
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from coatcheck._command_line.commands import main\n"
        "sys.exit(main(['demo', '--check', '--store=memory:', '--framework=flask']))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refusal(done).endswith(advice)


def test_the_core_says_how_to_install_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coatcheck_demo", None)
    line = refusal(demo_here("--check"))
    assert line == 'the demo needs: pip install "coatcheck[demo]"'


@pytest.mark.parametrize("port", ["-1", "65536", "http", "", "٣", "8000.0"])
def test_impossible_port(port: str) -> None:
    """A port that does not exist is refused before anything starts."""
    result = demo_here(f"--port={port}")
    assert result.returncode == 2
    assert f"must be a number from 0 to 65535, not {port!r}" in result.stderr


def test_help_needs_no_server() -> None:
    """Only a demo that runs imports a web framework, a server, a client or an event loop."""
    script = (
        "import contextlib, sys; from coatcheck._command_line.commands import main\n"
        "with contextlib.suppress(SystemExit): main(['demo', '--help'])\n"
        "print({'asyncio', 'starlette', 'uvicorn', 'httpx', 'jinja2'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.startswith("usage: python -m coatcheck demo ")
    assert result.stdout.endswith("\nset()\n")


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


def test_secret_of_the_environment_signs_the_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SESSION_SECRET a cookie is valid at the next start, too, if the store still has it."""
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    place = home("memory:")
    with running(place.store_url, place.secret) as started:
        page = httpx.get(started.url, trust_env=False, verify=False)
    assert "SESSION_SECRET" not in page.text
    cookie, _ = set_cookies(page)
    name, _, value = cookie.partition(";")[0].partition("=")
    options = SessionOptions(secret=SECRET)
    assert name == options.name
    assert options.cookie_format.bind(name, options.secrets).unsign(value) is not None
