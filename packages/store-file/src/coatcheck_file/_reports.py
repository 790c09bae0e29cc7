"""Tell the operator once, in the log, what is wrong with a store's folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

_log = logging.getLogger("coatcheck")

#: How many damaged files one store names at most.
_MOST: Final = 1000


class Reports:
    """Logs each warning once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def damaged(self, path: str, reason: str) -> None:
        """Warn of a file that should be a record and is none.

        Its name cannot be used as a session id.
        """
        self._once(
            path,
            "a file of the file store is damaged and counts as no session: %s: %s; "
            "`python -m coatcheck_file check URL` finds all such files",
            path,
            reason,
        )

    def loose_permissions(self, folder: Path, mode: int) -> None:
        """Warn of a folder that others may enter."""
        self._once(
            "permissions",
            "the file store's folder %s has the permissions %04o, so other users than its owner "
            "may enter it; 0700 is advised",
            folder,
            mode,
        )

    def _once(self, what: str, message: str, *arguments: object) -> None:
        if what not in self._said and len(self._said) < _MOST:
            self._said.add(what)
            _log.warning(message, *arguments)
