"""Damaged files, and other things in the place of a session's file."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import pytest
from on_disk import DAY, NOW, Clock, digest, record_path, rewrite

from coatcheck import ABSENT, PRESENT, Record, Unchanged
from coatcheck_file import FileStore

Damage = Callable[[Path], None]
T = TypeVar("T")


def changed(change: Callable[[bytes], bytes]) -> Damage:
    """Return what changes the content of a file, and not the time when its session expires."""
    return lambda path: rewrite(path, change)


def instead(make: Callable[[Path], object]) -> Damage:
    """Return what puts something else in the place of a file, with its time."""

    def damage(path: Path) -> None:
        status = path.stat()
        path.rename(path.with_name("aside"))
        make(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

    return damage


def with_an_owner_that_is_no_text(content: bytes) -> bytes:
    """Return a record that is sound but for the owner, whose bytes are no UTF-8."""
    key, owner, data = struct.unpack_from(">HHI", content, 20)
    body = content[12:20] + struct.pack(">HHI", key, 2, data)
    body += content[28 : 28 + key] + b"\xff\xfe" + content[28 + key + owner :]
    return content[:8] + struct.pack(">I", crc32(body)) + body


def put_copy_of_another(path: Path) -> None:
    """Put a copy of the record of the key `other` there."""
    name = digest("other")
    shutil.copy2(path.parents[1] / name[:2] / name[2:], path)


DAMAGES: Final[dict[str, Damage]] = {
    "empty": changed(lambda content: b""),
    "cut in its head": changed(lambda content: content[:20]),
    "cut in its data": changed(lambda content: content[:-1]),
    "longer": changed(lambda content: content + b"\0"),
    "zeros": changed(lambda content: bytes(len(content))),
    "text": changed(lambda content: b"x" * len(content)),
    "a bit of its data": changed(lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    "an owner that is no text": changed(with_an_owner_that_is_no_text),
    "huge": changed(lambda content: content + bytes(1 << 20)),
    "a time of after 2038": lambda path: os.utime(path, (2**31 - 1, 2**31 - 1)),
    "another key's record": put_copy_of_another,
    "symbolic link": instead(lambda path: path.symlink_to("aside")),
    "link to nothing": instead(lambda path: path.symlink_to("nowhere")),
    "socket": instead(lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK)),
    "folder": instead(lambda path: path.mkdir()),
    "full folder": instead(lambda path: (path / "folder").mkdir(parents=True)),
    "pipe": instead(os.mkfifo),
}

#: What no error and no line of the log may show.
KEY, DATA, OWNER = SECRETS = "k3yof", "d4tum", "0wner"
SOUND: Final = Record(b"other data", NOW + DAY, OWNER)
NEW: Final = Record(b"new", NOW + DAY, "bob")


@pytest.fixture(params=DAMAGES.values(), ids=DAMAGES)
def break_it(request: pytest.FixtureRequest, store: FileStore) -> Iterator[Callable[[], Path]]:
    """Leaves something else in the place of a new session beside a sound one, `other`."""
    path = record_path(store, KEY)

    def broken() -> Path:
        store.set("other", SOUND)
        store.set(KEY, Record(DATA.encode(), NOW + DAY, OWNER))
        request.param(path)
        return path

    yield broken
    with suppress(OSError):  # free a reader that waits for the other end of a pipe
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def promptly(call: Callable[[], T]) -> T:
    """Return what a call returns, and fail if it waits forever."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(10)


def test_what_is_damaged_is_no_session(store: FileStore, break_it: Callable[[], Path]) -> None:
    """Every operation takes a damaged record for none, and sees the sound ones beside it."""
    break_it()

    def use() -> None:
        for handle in (store, FileStore(store.folder, durability="process", clock=lambda: NOW)):
            assert handle.get(KEY) is None
            assert dict(handle.all()) == {"other": SOUND}
        for condition in (PRESENT, Unchanged(DATA.encode()), Unchanged(SOUND.data)):
            assert store.set(KEY, NEW, condition) is False
            assert store.destroy(KEY, condition) is False
        assert store.touch(KEY, NOW + 2 * DAY, OWNER) is False
        assert dict(store.owned_by(OWNER)) == {"other": SOUND}
        assert store.get(KEY) is None

    promptly(use)


def test_what_is_damaged_is_replaced(store: FileStore, break_it: Callable[[], Path]) -> None:
    """A session can be written where there is a damaged one, and is as good as any."""
    for write in (lambda: store.set(KEY, NEW), lambda: store.set(KEY, NEW, ABSENT)):
        break_it()
        assert promptly(write) is True
        assert store.get(KEY) == NEW
        assert dict(store.owned_by("bob")) == {KEY: NEW}
        assert store.touch(KEY, NOW + 2 * DAY) is True
        assert store.destroy(KEY) is True
    assert store.get("other") == SOUND


def test_what_is_damaged_is_removed(
    store: FileStore, clock: Clock, break_it: Callable[[], Path]
) -> None:
    """Destroying a damaged record ends no session and removes it, and `clear` removes it, too."""
    path = break_it()
    assert promptly(lambda: store.destroy(KEY)) is False
    assert not os.path.lexists(path)
    assert store.set(KEY, NEW, ABSENT) is True
    break_it()
    for number in range(5):
        store.set(f"old {number}", Record(b"data", NOW + 1))
    clock.now += 1
    assert promptly(store.prune) == 5
    promptly(store.clear)
    assert not os.path.lexists(path)
    assert (store.length(), store.get(KEY), store.get("other")) == (0, None, None)


def test_damage_of_an_expiry_after_2038(store: FileStore, clock: Clock) -> None:
    """The checksum covers the expiry in the file, and a file without one is removed in its time."""
    path = record_path(store, "key")
    store.set("key", Record(b"x", 4e9))
    rewrite(path, lambda content: content[:13] + bytes([content[13] ^ 1]) + content[14:])
    assert store.get("key") is None
    assert [found for found, _ in store.damaged()] == [path]
    rewrite(path, lambda content: b"")
    assert store.prune() == 0
    clock.now = 2.0**31
    store.prune()
    assert not path.exists()


def test_a_damaged_file_may_vanish(store: FileStore) -> None:
    """Files that are removed while `damaged` looks for damage are no damage."""
    store.set("key", Record(b"x", NOW + DAY))
    path = record_path(store, "key")
    for name in ("e" * 62, "f" * 62):
        path.with_name(name).touch()
    damaged = store.damaged()
    next(damaged)
    for found in path.parent.iterdir():
        found.unlink()
    assert list(damaged) == []


def test_a_file_of_terabytes_is_not_read(store: FileStore) -> None:
    """A file is not loaded into memory to find out that it is no session."""
    store.set("key", Record(b"x", NOW + 60))
    path = record_path(store, "key")
    status = path.stat()
    os.truncate(path, 8 * 2**40)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert store.get("key") is None
    assert list(store.all()) == []
    assert store.set("key", Record(b"y", NOW + 60), ABSENT)
    assert store.get("key") == Record(b"y", NOW + 60)


@pytest.mark.parametrize("suffix", ["", ".new"])
def test_a_folder_in_a_record_s_place_is_put_aside(store: FileStore, suffix: str) -> None:
    """Neither the key nor what is in the folder is lost."""
    store.set("key", Record(b"x", NOW + 60))
    path = record_path(store, "key")
    path.unlink()
    (path.parent / (path.name + suffix)).mkdir()
    (path.parent / (path.name + suffix) / "thing").write_text("somebody's")
    assert store.set("key", Record(b"y", NOW + 60))
    assert store.get("key") == Record(b"y", NOW + 60)
    assert [found.read_text() for found in path.parent.rglob("thing")] == ["somebody's"]


def test_damage_is_reported_once(
    store: FileStore, break_it: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A store names a damaged file once in the log, and `damaged` yields the same."""
    path = break_it()

    def use() -> list[tuple[Path, str]]:
        for _ in range(2):
            store.get(KEY)
            list(store.all())
            list(store.owned_by(OWNER))
        return list(store.damaged())

    [(found, reason)] = promptly(use)
    [line] = caplog.records
    assert (found, line.levelname) == (path, "WARNING")
    assert f"{path}: {reason};" in line.getMessage()
    shown = line.getMessage() + reason + repr(store)
    assert [secret for secret in SECRETS if secret in shown] == []
