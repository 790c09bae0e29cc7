"""URLs, options, what is declared, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from on_disk import record_path, rewrite

from coatcheck import Capabilities, Record, open_store
from coatcheck._command_line.commands import main as core_main
from coatcheck.errors import ConfigurationError
from coatcheck_file import FileStore
from coatcheck_file.__main__ import main


def test_what_is_declared() -> None:
    """Each capability holds: applications and the conformance kit rely on these."""
    assert FileStore.capabilities == Capabilities(
        enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
    )


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/s", "/srv/s"),
        ("file:/srv/s", "/srv/s"),
        ("file://localhost/srv/s?durability=full", "/srv/s"),
        ("file:///srv/s%20s%23%3F%25?durability=process", "/srv/s s#?%"),
        ("file:///srv/%C3%A9", "/srv/\u00e9"),
        ("file:below/s", f"{Path.cwd()}/below/s"),
    ],
)
def test_urls(url: str, folder: str) -> None:
    """A URL names the folder, which is absolute from then on."""
    store = open_store(url)
    assert isinstance(store, FileStore)
    assert str(store.folder) == folder


@pytest.mark.parametrize(
    "url",
    [
        "file:~/s", "file:", "file://", "file:///", "file:////", "file:///..", "file:///a/..",
        "file:?durability=full", "file:///a?durabilty=full", "file:///a?durability=",
        "file:///a?durability", "file:///a?durability=fast", "file:///a?durability=Full",
        "file:///a?Durability=full", "file:///a?durability=full&durability=full",
        "file:///a?durability=full&x=1", "file:///a?durability=full&", "file:///a?&",
        "file:///a?lock_timeout=1", "file:///a?clock=1", "file:///a?folder=b", "file:///a?%ff=1",
        "file:///a?password=hunter2", "file:///a?hunter2", "file:///a?durability=full&token=hunter2",
        "file:///a#", "file:///a#hunter2", "file:///a%00b", "file://hunter2/a",
        "file://hunter2@localhost/a", "file://ann:hunter2@localhost/a", "file://ann:hunter2@[::1/a",
        "file://localhost:80/a",
    ],
)  # fmt: skip
def test_a_url_that_is_not_understood_is_refused(url: str) -> None:
    """A wrong option, value or form is found at the opening, and no secret in it is shown."""
    for opener in (open_store, FileStore.from_url):
        with pytest.raises(ConfigurationError) as caught:
            opener(url)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("folder", "options", "named"),
    [
        ("/", {}, "root"),
        ("a\0b", {}, "`folder`"),
        ("a\ud800b\udfff", {}, "`folder`"),
        ("", {}, "`folder`"),
        ("file:///var/lib/sessions", {}, "from_url"),
        ("sessions", {"durability": "FULL"}, "`durability`"),
        ("sessions", {"lock_timeout": 0}, "`lock_timeout`"),
        ("sessions", {"lock_timeout": "5"}, "`lock_timeout`"),
        ("sessions", {"lock_timeout": float("nan")}, "`lock_timeout`"),
    ],
)
def test_wrong_options(folder: str, options: dict[str, object], named: str) -> None:
    """Each wrong option is refused at construction, by name."""
    with pytest.raises(ConfigurationError, match=named):
        FileStore(folder, **options)  # type: ignore[arg-type]


def test_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """`check` counts what can be read and names what cannot; `prune` removes; both say why not.

    `prune` is the core's.
    """
    caplog.set_level("WARNING", "coatcheck")  # `check` changes it, and this restores it
    store = FileStore(tmp_path / "sessions", durability="process")
    url = f"file://{tmp_path}/sessions"

    def run(command: str, url: str) -> tuple[int, str, str]:
        return ({"check": main, "prune": core_main}[command]([command, url]), *capsys.readouterr())

    nothing = f"error: there is no file store in {store.folder}\n"
    assert run("check", url) == run("prune", url) == (2, "", nothing)
    for key in ("whole", "broken"):
        store.set(key, Record(b"x", time.time() + 60))
    assert run("check", url) == (0, "live sessions: 2; damaged files: 0\n", "")
    path = record_path(store, "broken")
    rewrite(path, lambda content: content[:-1] + b"y")
    damage = f"damaged: {path}: its checksum is wrong\nlive sessions: 1; damaged files: 1\n"
    assert run("check", url) == (1, damage, "")
    os.utime(path, (1, 1))
    assert run("prune", url) == (0, "expired sessions that were removed: 1\n", "")
    assert not path.exists()
    assert run("prune", f"{url}?durable=1")[0] == 2
    assert [record.message for record in caplog.records if "damaged" in record.message] == []


def test_the_command() -> None:
    """`python -m coatcheck_file` runs it, and shows how it is used."""
    command = [sys.executable, "-m", "coatcheck_file", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "usage: python -m coatcheck_file [-h] COMMAND" in shown
