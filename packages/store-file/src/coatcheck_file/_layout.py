"""The files and folders of a store.

::

    coatcheck-file           what the folder is, and the version of its layout
    records/3f/9c…           the record of the key with the SHA-256 3f9c…, in hexadecimal
    records/3f/9c….new       the same while it is being written
    owners/a1/b2…/3f9c…      an index entry, an empty file: the owner a1b2… has that record
    locks/3f                 a process that writes in records/3f holds this lock

256 folders of records are quick to list, and none becomes large: with a million sessions each has
4,000 files.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[0-9a-f]{62}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SEP: Final = os.sep
#: The names of the shards: the folders of records, and their locks.
SHARDS: Final = tuple(f"{number:02x}" for number in range(256))


def digest(name: bytes) -> str:
    """Return the form in which file names have a key or an owner."""
    return hashlib.sha256(name).hexdigest()


def is_record_name(name: str) -> bool:
    """Tell whether a file of this name can be a record."""
    return _NAME.fullmatch(name) is not None


def is_digest(name: str) -> bool:
    """Tell whether a name is a whole digest."""
    return _DIGEST.fullmatch(name) is not None


class Layout:
    """The paths in a store's folder.

    :param folder: the absolute path of the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = str(folder / "coatcheck-file")
        self.records = str(folder / "records")
        self.owners = str(folder / "owners")
        self.locks = folder / "locks"

    def record(self, key_digest: str) -> str:
        """Return the path of a record."""
        return f"{self.records}{_SEP}{key_digest[:2]}{_SEP}{key_digest[2:]}"

    def shard(self, name: str) -> str:
        """Return the path of a shard, a folder of records."""
        return f"{self.records}{_SEP}{name}"

    def owner(self, owner_digest: str) -> str:
        """Return the path of the folder with an owner's index entries."""
        return f"{self.owners}{_SEP}{owner_digest[:2]}{_SEP}{owner_digest[2:]}"
