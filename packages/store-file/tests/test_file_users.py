"""Folders and files of other users, who could read sessions there, or make some."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from on_disk import DAY, NOW, record_path

from coatcheck import ABSENT, Record
from coatcheck._command_line.commands import main as core_main
from coatcheck.errors import ConfigurationError, StoreError, StoreUnavailable
from coatcheck_demo._home import FOLDER, home
from coatcheck_file import FileStore
from coatcheck_file.__main__ import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such users")

STRANGER: Final = 54_321
RECORD: Final = Record(b"data", NOW + DAY, "ann")

_USE: Final = """
import os, sys
from coatcheck import Record
from coatcheck_file import FileStore

folder, now, user = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if os.geteuid() == 0:  # others stay who they are, and have made the folder themselves
    os.setuid(user)
store = FileStore(folder, durability="process", clock=lambda: now)
record = Record(b"data", now + 86400, "ann")
if store.get("key") == record and store.set("other", record) and store.get("other") == record:
    print("used", end="")
"""

#: Gives something to another user, and returns what an error has to name.
GiveAway: TypeAlias = Callable[[Path], str]


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch, store: FileStore) -> GiveAway:
    """Only root can give something away; for others this process becomes somebody else."""

    def give(path: Path) -> str:
        if os.geteuid() == 0:
            os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
            return f"{path} belongs to the user {STRANGER}"
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
        return f"{store.folder} belongs to the user {user}"

    return give


def operations(store: FileStore) -> list[Callable[[], object]]:
    """Return what everybody does with a store, readers first."""
    return [
        lambda: store.get("key"),
        lambda: list(store.all()),
        lambda: list(store.owned_by("ann")),
        store.length,
        store.ping,
        store.check_layout,
        lambda: list(store.damaged()),
        lambda: store.touch("key", NOW + DAY),
        lambda: store.destroy("key"),
        store.prune,
        lambda: store.set("key", RECORD),
        store.clear,
    ]


@pytest.mark.parametrize("level", [".", "records", "owners", "locks", "coatcheck-file"])
def test_a_folder_of_another_user_is_refused(
    store: FileStore, give_away: GiveAway, level: str
) -> None:
    """A user who owns one of the levels can read the sessions, so each call names the owner."""
    store.set("key", RECORD)
    message = give_away(store.folder / level)
    for number in range(len(operations(store))):
        new = FileStore(store.folder, durability="process", clock=lambda: NOW)
        with pytest.raises(StoreError, match=re.escape(message)) as caught:
            operations(new)[number]()
        assert not isinstance(caught.value, StoreUnavailable), "it is not worth trying again"
        assert "chown" in str(caught.value)


@pytest.mark.parametrize("made", [".", "records", "owners", "locks"])
def test_a_folder_that_another_user_has_prepared_is_refused(
    store: FileStore, give_away: GiveAway, made: str
) -> None:
    """Where somebody has been faster, in `/tmp` for example, no session is written."""
    (store.folder / made).mkdir(parents=True)
    message = give_away(store.folder / made)
    with pytest.raises(StoreError, match=re.escape(message)):
        store.set("key", RECORD)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_link_of_another_user_is_refused(store: FileStore, give_away: GiveAway) -> None:
    """The user who owns the link chooses the folder."""
    target = store.folder.with_name("target")
    target.mkdir()
    store.folder.symlink_to(target)
    message = give_away(store.folder)
    with pytest.raises(StoreError, match=re.escape(message)):
        store.set("key", RECORD)
    assert list(target.iterdir()) == []


def test_a_folder_of_records_of_another_user_is_refused(
    store: FileStore, give_away: GiveAway
) -> None:
    """Also one of the 256 folders below."""
    store.set("key", RECORD)
    message = give_away(record_path(store, "key").parent)
    new = FileStore(store.folder, durability="process", clock=lambda: NOW)
    with pytest.raises(StoreError, match=re.escape(message)):
        new.set("key", RECORD)


def test_a_folder_that_is_exchanged_is_noticed(store: FileStore, give_away: GiveAway) -> None:
    """A store that is in use looks again when it finds nothing."""
    store.set("key", RECORD)
    store.folder.rename(store.folder.with_name("aside"))
    for name in ("records", "owners", "locks"):
        (store.folder / name).mkdir(parents=True)
    (store.folder / "coatcheck-file").touch()
    give_away(store.folder / "records")
    with pytest.raises(StoreError, match="belongs to the user"):
        store.get("key")


def test_a_file_of_another_user_is_no_session(
    store: FileStore, give_away: GiveAway, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that somebody else has put there is none, and a new one takes its place."""
    store.set("key", RECORD)
    give_away(record_path(store, "key"))
    assert store.get("key") is None
    assert list(store.all()) == []
    assert store.touch("key", NOW + 2 * DAY) is False
    assert "it belongs to another user" in caplog.text
    assert store.set("key", RECORD, ABSENT) is True


def test_nothing_is_written_into_a_file_that_is_there(store: FileStore, tmp_path: Path) -> None:
    """A process that has a file open, or a link to it, does not see what replaces the file."""
    store.set("key", RECORD)
    path = record_path(store, "key")
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    os.link(mine, f"{path}.new")
    assert store.set("key", Record(b"new", NOW + DAY)) is True
    assert mine.read_bytes() == b"mine"
    assert store.get("key") == Record(b"new", NOW + DAY)


def test_root_s_folder_is_accepted_by_others() -> None:
    """A folder that root has made and opened to a user is that user's to use."""
    with tempfile.TemporaryDirectory() as folder:  # below a folder that everybody may enter
        store = FileStore(folder, durability="process", clock=lambda: NOW)
        store.set("key", RECORD)
        for path in (store.folder, *store.folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)

        child = [sys.executable, "-c", _USE, folder, str(NOW), str(STRANGER)]
        assert subprocess.run(child, check=True, capture_output=True, text=True).stdout == "used"
        if os.geteuid() == 0:  # what that user has made is not root's
            assert store.get("other") is None


def test_the_command_line_refuses_it_as_well(
    store: FileStore,
    give_away: GiveAway,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commands that look after the folder name its owner."""
    store.set("key", RECORD)
    message = give_away(store.folder)
    with caplog.at_level(logging.NOTSET, "coatcheck"):  # the command changes it for its process
        for command, run in (("check", main), ("prune", core_main)):
            assert run([command, f"file://{store.folder}"]) == 2
            assert f"error: {message}" in capsys.readouterr().err


@pytest.mark.parametrize("level", [".", "secret"])
def test_the_demo_refuses_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, give_away: GiveAway, level: str
) -> None:
    """A user who has the demo's secret can sign its cookies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SESSION_SECRET", raising=False)
    home(None)
    give_away(tmp_path / FOLDER / level)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        home(None)
