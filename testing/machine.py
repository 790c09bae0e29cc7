"""Find out what this machine can run: interpreters, and programs that tests need.

The noxfile imports this module, so it needs only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MEMORY: Final = "/dev/shm"
_SYSTEM_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/sbin")
#: The folders of Debian, Fedora and macOS.
_APACHE_FOLDERS: Final = (
    "/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2",
)  # fmt: skip
#: The folders of Debian, Fedora and Homebrew; PostgreSQL's servers are not on PATH there.
_POSTGRESQL_FOLDERS: Final = (
    "usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin",
)  # fmt: skip
#: The names of Chromium's program.
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
#: Bytes that some servers may take at the same time.
_ROOM: Final = 4 * 2**30


@dataclass(frozen=True)
class Lack:
    """Something that this machine does not have.

    :ivar reason: a few words.
    :ivar advice: what to install.
    """

    reason: str
    advice: str


def interpreter(version: str) -> str | None:
    """Return the path of a Python of a version like ``3.12``, or None.

    A program on PATH may still not run: pyenv has one for each version that it knows.
    """
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    run = _output(found, "-c", "import sys; print(sys.executable)")
    return run.strip() or None


def lack_of(name: str) -> Lack | None:
    """Return what is missing for the tests that need a server; None if nothing is missing.

    :param name: a name that the pytest marker `integration` accepts.
    """
    return _LACKS[name]()


def system_program(*names: str) -> str | None:
    """Return the path of the first of these programs that is here, also outside PATH."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    found = (shutil.which(name, path=path) for name in names)
    return next(filter(None, found), None)


def apache_modules(name: str) -> str | None:
    """Return the folder of Apache's modules if it has the one of this name, or None."""
    for folder in _APACHE_FOLDERS:
        if Path(folder, f"mod_{name}.so").exists():
            return folder
    return None


def postgresql_folder() -> str | None:
    """Return the folder of the programs of the newest PostgreSQL server, or None."""
    patterns = [f"{folder}/postgres" for folder in _POSTGRESQL_FOLDERS]
    found = [path for pattern in patterns for path in Path("/").glob(pattern)]
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve())  # a link may lead to where the others are
    folders = sorted((str(path.parent) for path in found), key=_numbers)
    return folders[-1] if folders else None


def folder_in_memory() -> str | None:
    """Return a folder in memory that has room for some servers; None if there is none.

    Servers that wait for the disk at each write make tests slow, and find no more errors.
    """
    try:
        has_room = shutil.disk_usage(_MEMORY).free > _ROOM
    except OSError:
        return None
    return _MEMORY if has_room and os.access(_MEMORY, os.W_OK) else None


def _redis() -> Lack | None:
    if sys.platform not in ("linux", "darwin"):
        return Lack(f"no wheel of Valkey for {sys.platform}", "use Linux or macOS")
    return None


def _redis_62() -> Lack | None:
    here = (sys.platform, platform.machine(), sys.version_info < (3, 12))
    if here != ("linux", "x86_64", True):
        return Lack("no wheel of Redis 6.2", "use Python 3.11 on Linux and x86_64")
    return None


def _redis_server() -> Lack | None:
    if shutil.which("valkey-server") or shutil.which("redis-server"):
        return None
    return Lack("no redis-server", "apt-get install redis-server")


def _mongo() -> Lack | None:
    if shutil.which("mongod"):
        return None
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return Lack("no wheel of MongoDB for this machine", "install mongod")
    for library, package in (("libcurl.so.4", "libcurl4"), ("libssl.so.3", "libssl3")):
        try:
            ctypes.CDLL(library)
        except OSError:
            return Lack(f"no {library}", f"apt-get install {package}")
    return None


def _dynamodb() -> Lack | None:
    if not _output("java", "-version"):
        return Lack("no java", "apt-get install default-jre-headless")
    return _npm()


def _npm() -> Lack | None:
    return None if shutil.which("npm") else Lack("no npm", "install Node.js 20 or later with npm")


def _express() -> Lack | None:
    found = re.match(r"v(\d+)", _output("node", "--version"))
    if found is None or int(found[1]) < 20:
        return Lack("no Node.js 20", "install Node.js 20 or later with npm")
    return _npm()


def _postgresql() -> Lack | None:
    if postgresql_folder() is None:
        return Lack("no PostgreSQL server", "apt-get install postgresql")
    return None


def _pgbouncer() -> Lack | None:
    if system_program("pgbouncer") is None:
        return Lack("no pgbouncer", "apt-get install pgbouncer")
    return _postgresql()


def _mariadb() -> Lack | None:
    if system_program("mariadbd") and system_program("mariadb-install-db"):
        return None
    return Lack("no MariaDB server", "apt-get install mariadb-server")


def _nginx() -> Lack | None:
    return None if system_program("nginx") else Lack("no nginx", "apt-get install nginx")


def _apache() -> Lack | None:
    if system_program("apache2", "httpd") and apache_modules("cache_disk"):
        return None
    return Lack("no Apache with mod_cache", "apt-get install apache2-bin")


def _chromium() -> Lack | None:
    if system_program(*CHROMIUM) is None:
        return Lack("no Chromium", "apt-get install chromium")
    if system_program("certutil") is None:
        return Lack("no certutil", "apt-get install libnss3-tools")
    return None


def _numbers(path: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", path)]


def _output(*command: str) -> str:
    """Return the output of a program, or an empty text if it cannot run."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout + run.stderr


_LACKS: Final[dict[str, Callable[[], Lack | None]]] = {
    "apache": _apache,
    "chromium": _chromium,
    "dynamodb": _dynamodb,
    "express": _express,
    "mariadb": _mariadb,
    "mongo": _mongo,
    "nginx": _nginx,
    "pgbouncer": _pgbouncer,
    "postgresql": _postgresql,
    "redis": _redis,
    "redis-6.2": _redis_62,
    "redis-server": _redis_server,
}

#: What the pytest marker `integration` takes.
SERVERS: Final = tuple(_LACKS)
