"""Choose the store and the secret of the demo."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from coatcheck.errors import ConfigurationError

#: The folder in the working directory that is used if no store was asked for.
FOLDER: Final = "coatcheck-demo"


class Home(NamedTuple):
    """Hold the store and the secret of a demo.

    :ivar store_url: the store to open.
    :ivar secret: signs the cookies.
    :ivar described: the store in a form that may be shown, because a URL can have a password.
    :ivar keeps_secret: whether the next run has the same secret.
    """

    store_url: str
    secret: str
    described: str
    keeps_secret: bool


def home(store_url: str | None) -> Home:
    """Return the store and the secret of a demo whose sessions last until the next run.

    :param store_url: the store that was asked for. None means the file store in a folder of the
        working directory, or memory if the file store is not installed.
    :raises ConfigurationError: the folder cannot be used.
    """
    return _home(store_url, Path(FOLDER).absolute())


@contextmanager
def temporary_home(store_url: str | None) -> Iterator[Home]:
    """Return the store and the secret of a demo that ends with the block.

    :param store_url: the store that was asked for. None means the file store in a temporary folder,
        or memory if the file store is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="coatcheck-demo-") as folder:
        yield _home(store_url, Path(folder))


def _home(store_url: str | None, folder: Path) -> Home:
    from_environment = os.environ.get("SESSION_SECRET")
    if store_url is None and _has_file_store():
        sessions = folder / "sessions"
        url = f"file://{quote(sessions.as_posix())}"
        try:
            secret = from_environment or _kept_secret(folder)
        except OSError as error:
            raise ConfigurationError(
                f"the folder {folder} cannot be used: {error.strerror}; choose a `--store`"
            ) from error
        return Home(url, secret, f"files in {sessions}", keeps_secret=True)
    url = "memory:" if store_url is None else store_url
    scheme = url.partition(":")[0].lower()
    secret = from_environment or secrets.token_urlsafe(32)
    return Home(url, secret, scheme, keeps_secret=from_environment is not None)


def _has_file_store() -> bool:
    return find_spec("coatcheck_file") is not None


def _kept_secret(folder: Path) -> str:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "secret"
    if not path.exists():
        # Two demos may start at once. The link makes the whole file appear, and only the first one.
        with tempfile.NamedTemporaryFile("w", dir=folder) as new:
            new.write(secrets.token_urlsafe(48))
            new.flush()
            with suppress(FileExistsError):
                os.link(new.name, path)
    for place in (folder, path):
        if sys.platform != "win32" and place.stat().st_uid not in (0, os.geteuid()):
            raise ConfigurationError(
                f"{place} belongs to another user, who could know the secret; start the demo in "
                "another folder, or choose a `--store`"
            )
    return path.read_text(encoding="latin-1").strip()
