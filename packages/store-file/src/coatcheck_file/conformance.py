"""The conformance kit's harness for the file store. Only the kit imports this module."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from coatcheck_conformance import Fault, Harness

from ._layout import SHARDS, Layout
from ._locks import Locks
from ._url import parse


class FileHarness(Harness):
    """Opens file stores in folders of their own below the folder of a URL.

    :param url: a file store's URL. Its folder need not exist.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "stored": "a record's file is binary: the layout holds no text",
        "client": "there is no client object",
        "async_client": "there is no client object",
        "address": "there is no server",
        "garbage": "the system answers with a result or an error number, not in a protocol",
        "traffic": "nothing is sent: the process reads the files itself",
        "credentials": "the URL has no password",
    }

    def __init__(self, url: str) -> None:
        super().__init__()
        base, self._options = parse(url)
        self._base = Path(os.path.abspath(base)) / f"conformance-{uuid.uuid4().hex[:8]}"
        self._made = False

    def url(self, namespace: str) -> str:
        """See :meth:`coatcheck_conformance.Harness.url`."""
        options = "&".join(f"{name}={quote(value)}" for name, value in self._options.items())
        path = quote(str(self._base / namespace))
        return f"file://{path}{'?' if options else ''}{options}"

    def has(self, feature: str) -> bool:
        """See :meth:`coatcheck_conformance.Harness.has`."""
        return feature == "url" or super().has(feature)

    def folder(self, namespace: str) -> Path:
        """See :meth:`coatcheck_conformance.Harness.folder`."""
        return self._base / namespace

    def remove(self, namespace: str) -> None:
        """See :meth:`coatcheck_conformance.Harness.remove`."""
        shutil.rmtree(self.folder(namespace), ignore_errors=True)

    def finish(self) -> None:
        """See :meth:`coatcheck_conformance.Harness.finish`."""
        super().finish()
        shutil.rmtree(self._base, ignore_errors=True)

    def backend(self) -> str:
        """Return the name and version of the operating system."""
        system = os.uname()
        return f"{system.sysname} {system.release}"

    def malformed(self, namespace: str, key: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.malformed`."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        path = self.folder(namespace) / "records" / digest[:2] / digest[2:]

        def rewrite(content: bytes) -> None:
            status = path.stat()
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        def as_folder() -> None:
            path.unlink()
            path.mkdir()

        def flip() -> None:
            content = path.read_bytes()
            rewrite(content[:-1] + bytes([content[-1] ^ 1]))

        return {
            "cut off": lambda: rewrite(path.read_bytes()[:-3]),
            "a flipped bit": flip,
            "another format": lambda: rewrite(b"not a record of this store"),
            "a folder": as_folder,
        }

    def garbled(self, namespace: str, key: str, owner: str) -> Mapping[str, Callable[[], None]]:
        """See :meth:`coatcheck_conformance.Harness.garbled`."""
        digests = [hashlib.sha256(name.encode()).hexdigest() for name in (key, owner)]
        outer = self.folder(namespace) / "owners" / digests[1][:2]
        entries = outer / digests[1][2:]
        entry = entries / digests[0]
        record = self.folder(namespace) / "records" / digests[0][:2] / digests[0][2:]

        def instead(path: Path, make: Callable[[Path], object]) -> Callable[[], None]:
            def replace() -> None:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                make(path)

            return replace

        makes: dict[str, Callable[[Path], object]] = {
            "a file": Path.touch,
            "a link to nothing": lambda path: path.symlink_to("nowhere"),
            "a link to itself": lambda path: path.symlink_to(path.name),
            "a pipe": os.mkfifo,
        }
        return {
            "no index entry": entry.unlink,
            "a folder for the index entry": instead(entry, Path.mkdir),
            **{
                f"{what} for {name}": instead(path, make)
                for what, make in makes.items()
                for path, name in (
                    (entry, "the index entry"),
                    (entries, "an owner's index"),
                    (outer, "a folder of indexes"),
                )
            },
            "an index of nonsense": lambda: _fill_with_nonsense(entries, digests[0]),
            "a time before 1970": lambda: os.utime(record, (-(2**40), -(2**40))),
            "a time of far away": lambda: os.utime(record, (2**40, 2**40)),
        }

    def foreign(self, namespace: str) -> Callable[[], bool]:
        """See :meth:`coatcheck_conformance.Harness.foreign`."""
        path = self.folder(namespace) / "foreign"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a session")
        return lambda: path.read_bytes() == b"not a session"

    def faults(self, namespace: str) -> list[Fault]:
        """See :meth:`coatcheck_conformance.Harness.faults`."""
        folder = self.folder(namespace)
        held = "another process does not release the locks"
        return [Fault("stall", held, lambda: _all_locks(folder), reads=False)]


def _fill_with_nonsense(entries: Path, digest: str) -> None:
    """Put files among an owner's index entries whose names are no digests."""
    for name in ("", "x", "\udcff", "0" * 64, "0" * 65, ".new", f"{digest}.new"):
        (entries / f"{name}~").touch()
        (entries / (name or "y")).touch()


@contextmanager
def _all_locks(folder: Path) -> Iterator[None]:
    """Hold the lock of each shard of a file store."""
    layout = Layout(folder)
    layout.locks.mkdir(parents=True, exist_ok=True)
    locks = Locks(layout.locks, timeout=1)
    with ExitStack() as held:
        for shard in SHARDS:
            held.enter_context(locks.held(shard))
        yield
