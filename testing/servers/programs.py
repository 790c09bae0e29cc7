"""Find the program of a server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: The root of the repository.
ROOT: Final = Path(__file__).parent.parent.parent


class ServerMissing(Exception):
    """The server is not on this machine; the message says what to install."""


def on_path(*names: str) -> list[Path]:
    """Return the programs of these names on PATH, without those of wheels."""
    own = str(Path(sys.prefix, "bin"))
    path = os.pathsep.join(
        folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != own
    )
    found = [shutil.which(name, path=path) for name in names]
    return [Path(path) for path in found if path is not None]


def in_wheel(package: str, pattern: str) -> list[Path]:
    """Return the programs in an installed distribution.

    :param package: its top-level package, which is not imported.
    :param pattern: below the package's folder, as for :meth:`pathlib.Path.glob`.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    return _executable(path for folder in folders for path in sorted(Path(folder).glob(pattern)))


def in_node_modules(pattern: str) -> list[Path]:
    """Return the programs that npm has installed, here or where the tests run."""
    folders = dict.fromkeys((Path.cwd(), ROOT))
    return _executable(
        path for folder in folders for path in sorted((folder / "node_modules").glob(pattern))
    )


def _executable(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and os.access(path, os.X_OK)]
