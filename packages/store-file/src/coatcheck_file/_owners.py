"""The index of owners: a folder for each owner, and in it an index entry for each record.

An index entry is an empty file. It is made before its record and removed after it, so a live record
always has its entry, even if a process dies in between. An entry without a record is harmless, and
is removed when it is found. If the name of an owner's folder belongs to something else, the index
counts as empty, and the next write replaces it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from ._content import encode_owner
from ._files import flush_folder, is_no_folder, make_empty, make_folder, remove
from ._layout import Layout, digest, is_digest

#: How often an owner's folder may be removed while an entry is made in it.
_ATTEMPTS: Final = 100


class Owners:
    """The index entries of one store. A key's entries are made and removed under the key's lock.

    :param layout: the paths of the entries.
    :param durable: whether an entry is on the disk before its record is written.
    """

    def __init__(self, layout: Layout, *, durable: bool) -> None:
        self._layout = layout
        self._durable = durable

    def add(self, owner: str, key_digest: str) -> None:
        """Make the index entry of an owner's record."""
        folder = self.folder_of(owner)
        outer = os.path.dirname(folder)
        for attempt in range(_ATTEMPTS):
            try:
                make_folder(outer)
                make_folder(folder)
                make_empty(os.path.join(folder, key_digest))
                break
            except FileExistsError:
                break  # there is an entry already
            except OSError as error:
                # The last entry was removed, and the folder with it; or the name is no folder's.
                if attempt + 1 == _ATTEMPTS or not is_no_folder(error):
                    raise
                _give_way(outer)
                _give_way(folder)
        if self._durable:
            # From the inside out, also folders of other processes: none may be missing on the disk.
            for made in (folder, outer, self._layout.owners):
                flush_folder(made)

    def has(self, owner: str, key_digest: str) -> bool:
        """Tell whether an owner's record has its index entry."""
        return os.path.lexists(os.path.join(self.folder_of(owner), key_digest))

    def remove(self, owner: str, key_digest: str) -> None:
        """Remove the index entry of an owner's record."""
        self.remove_entry(self.folder_of(owner), key_digest)

    def remove_entry(self, folder: str, key_digest: str) -> None:
        """Remove an entry from an owner's folder, and the folder with the last one."""
        try:
            remove(os.path.join(folder, key_digest))
        except OSError as error:
            if not self.is_no_index(error):
                raise
        self.remove_if_empty(folder)

    def remove_if_empty(self, folder: str) -> None:
        """Remove an owner's folder unless it has entries."""
        with suppress(OSError):
            os.rmdir(folder)

    def folder_of(self, owner: str) -> str:
        """Return the path of an owner's folder."""
        return self._layout.owner(digest(encode_owner(owner)))

    def entries_in(self, folder: str) -> list[str]:
        """Return the digests of the keys in an owner's folder. Some may be stale."""
        try:
            return [*filter(is_digest, os.listdir(folder))]
        except OSError as error:
            if not self.is_no_index(error):
                raise
            return []

    def is_no_index(self, error: OSError) -> bool:
        """Tell whether a call failed because an owner has no folder.

        If the folder of the whole index is missing, the answer is False, because then nobody knows
        which records an owner has.
        """
        is_lost = not isinstance(error, FileNotFoundError) and not os.path.isdir(
            self._layout.owners
        )
        return is_no_folder(error) and not is_lost


def _give_way(folder: str) -> None:
    """Remove a file that has the name of a folder."""
    if not os.path.isdir(folder):
        with suppress(OSError):
            os.unlink(folder)
