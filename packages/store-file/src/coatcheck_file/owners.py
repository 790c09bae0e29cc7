"""Which records an owner has: a folder for each owner, an empty file for each record.

A mark is made before its record and removed after it, so that no live record lacks its mark,
whoever dies in between. A mark without its record is harmless, and removed when it is met. What is
no folder in the place of one has no marks, and gives way to the next.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from .content import encode_owner
from .files import flush_folder, is_no_folder, make_empty, make_folder, remove
from .layout import Layout, digest, is_digest

#: How often an owner's folder may vanish while a mark is put there.
_ATTEMPTS: Final = 100


class Owners:
    """The marks of one store. Marks of a key are made and removed under the key's lock.

    :param layout: where they are.
    :param durable: whether a mark is on the disk before its record is written.
    """

    def __init__(self, layout: Layout, *, durable: bool) -> None:
        self._layout = layout
        self._durable = durable

    def mark(self, owner: str, key_digest: str) -> None:
        """Note that an owner has a record."""
        folder = self.folder_of(owner)
        outer = os.path.dirname(folder)
        for attempt in range(_ATTEMPTS):
            try:
                make_folder(outer)
                make_folder(folder)
                make_empty(os.path.join(folder, key_digest))
                break
            except FileExistsError:
                break  # the name is the mark, whatever has it
            except OSError as error:
                # Somebody removed the last mark, and the folder with it; or there is no folder.
                if attempt + 1 == _ATTEMPTS or not is_no_folder(error):
                    raise
                _give_way(outer)
                _give_way(folder)
        if self._durable:
            # From the inside out, whoever made them: none may be missing on the disk.
            for made in (folder, outer, self._layout.owners):
                flush_folder(made)

    def has_mark(self, owner: str, key_digest: str) -> bool:
        """Tell whether it is noted that an owner has a record."""
        return os.path.lexists(os.path.join(self.folder_of(owner), key_digest))

    def unmark(self, owner: str, key_digest: str) -> None:
        """Note that an owner does not have a record any more."""
        self.remove_mark(self.folder_of(owner), key_digest)

    def remove_mark(self, folder: str, key_digest: str) -> None:
        """Remove a mark, and the owner's folder with the last one."""
        try:
            remove(os.path.join(folder, key_digest))
        except OSError as error:
            if not self.is_no_index(error):
                raise
        self.remove_if_empty(folder)

    def remove_if_empty(self, folder: str) -> None:
        """Remove an owner's folder unless it has marks."""
        with suppress(OSError):
            os.rmdir(folder)

    def folder_of(self, owner: str) -> str:
        """Return the path of an owner's folder."""
        return self._layout.owner(digest(encode_owner(owner)))

    def marks_in(self, folder: str) -> list[str]:
        """Return the digests of the keys that an owner's folder names, stale ones among them."""
        try:
            return [*filter(is_digest, os.listdir(folder))]
        except OSError as error:
            if not self.is_no_index(error):
                raise
            return []

    def is_no_index(self, error: OSError) -> bool:
        """Tell whether a call failed because there is no folder of marks where one may be.

        Where the whole index is none, that is another thing: nobody knows who has what.
        """
        is_lost = not isinstance(error, FileNotFoundError) and not os.path.isdir(
            self._layout.owners
        )
        return is_no_folder(error) and not is_lost


def _give_way(folder: str) -> None:
    """Remove what has the name of a folder and is none."""
    if not os.path.isdir(folder):
        with suppress(OSError):
            os.unlink(folder)
