"""Describe the SQLite store to the conformance kit; only the kit imports this module."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar
from urllib.parse import quote

from coatcheck_conformance import Fault, Harness

from .store import SQLiteStore, parse


class SQLiteHarness(Harness):
    """Open SQLite stores in a file of the kit's own, in a new folder beside the URL's file.

    :param url: a SQLite store's URL. Its file is not used, and need not exist.
    """

    unsupported: ClassVar = {
        "stored": "data are in a BLOB: the layout holds no text",
        "client": "there is no client object",
        "async_client": "there is no client object",
        "address": "there is no server",
        "traffic": "nothing is sent: the process reads the file itself",
        "credentials": "the URL has no place for a password",
    }

    def __init__(self, url: str) -> None:
        super().__init__()
        self._beside = Path(parse(url)[0]).absolute().parent
        self._made: Path | None = None

    def url(self, namespace: str) -> str:
        return f"sqlite-file:///{quote(str(self._file))}?namespace={namespace}"

    def has(self, feature: str) -> bool:
        return feature == "url" or super().has(feature)

    def remove(self, namespace: str) -> None:
        with self._database() as database:
            database.execute(f"DROP TABLE IF EXISTS coatcheck_{namespace}")

    def finish(self) -> None:
        super().finish()
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    def backend(self) -> str:
        """Return the library's version."""
        return f"SQLite {sqlite3.sqlite_version}"

    # Direct access to the file

    def folder(self, namespace: str) -> Path:
        return self._file.parent

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        update = partial(self._update, namespace, key)
        return {
            "data that are text": partial(update, "data", "text"),
            "data that are a number": partial(update, "data", 7),
            "no data": partial(update, "data", b""),
            "an expiry that is text": partial(update, "expires_at", "never"),
            "an expiry without end": partial(update, "expires_at", float("inf")),
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        update = partial(self._update, namespace, key, "owner")
        return {
            "an owner that is a number": partial(update, 7),
            "an owner that is text": partial(update, owner),
            "an owner that is not UTF-8": partial(update, b"\xff"),
            "an owner without a letter": partial(update, b""),
        }

    def foreign(self, namespace: str) -> Callable[[], bool]:
        with self._database() as database:
            database.execute("CREATE TABLE IF NOT EXISTS another AS SELECT 'no session' AS text")

        def is_there() -> bool:
            with self._database() as database:
                return database.execute("SELECT * FROM another").fetchall() == [("no session",)]

        return is_there

    def faults(self, namespace: str) -> list[Fault]:
        return [
            Fault("unavailable", "the file has vanished", self._instead),
            Fault("unavailable", "a folder is in its place", partial(self._instead, Path.mkdir)),
            Fault("garbage", "the file is not SQLite's", partial(self._instead, _garbage)),
            Fault("stall", "another writer does not end", self._locked, reads=False),
        ]

    def _update(self, namespace: str, key: str, column: str, value: object) -> None:
        statement = f"UPDATE coatcheck_{namespace} SET {column} = ? WHERE key = ?"  # noqa: S608
        with self._database() as database:
            database.execute(statement, (value, key.encode()))

    @contextmanager
    def _instead(self, put: Callable[[Path], object] | None = None) -> Iterator[None]:
        """Put something else in the place of the file and of SQLite's files beside it."""
        folder = self._file.parent
        aside, rubbish = Path(mkdtemp(dir=folder)), Path(mkdtemp(dir=folder))
        _move(self._file, aside)
        try:
            if put is not None:
                put(self._file)
            yield
        finally:
            _move(self._file, rubbish)
            _move(aside / self._file.name, folder)
            for each in (aside, rubbish):
                shutil.rmtree(each)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._database() as database:
            database.execute("BEGIN EXCLUSIVE")
            yield
            database.execute("ROLLBACK")

    @property
    def _file(self) -> Path:
        if self._made is None:
            self._made = Path(mkdtemp(prefix="conformance-", dir=self._beside))
        return self._made / "sessions.db"

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that does not belong to the store."""
        if not self._file.exists():
            with closing(SQLiteStore(self._file)) as store:
                store.ping()  # the store makes the file, with its own permissions
        with closing(sqlite3.connect(self._file, isolation_level=None)) as database:
            yield database


def _garbage(file: Path) -> None:
    file.write_bytes(b"<html>502 Bad Gateway</html>" * 999)


def _move(file: Path, folder: Path) -> None:
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        with suppress(FileNotFoundError):
            file.with_name(name).replace(folder / name)
