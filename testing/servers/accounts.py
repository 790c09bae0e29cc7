"""Users of the system as whom servers run if the tests are root's: databases refuse root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Identity(TypedDict, total=False):
    """The arguments of :class:`subprocess.Popen` that make a program another user's."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """A user without rights.

    :ivar names: possible names; the first that this system knows counts. The last is ``nobody``.
    """

    names: tuple[str, ...] = ("nobody",)

    def give(self, path: Path) -> None:
        """Give a file or folder to this user, if this process may do that."""
        if os.getuid() == 0:
            entry = self._entry()
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def identity(self) -> Identity:
        """Return the arguments for a new process; none if this process is not root's."""
        if os.getuid() != 0:
            return {}
        entry = self._entry()
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _entry(self) -> pwd.struct_passwd:
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        return next(known[name] for name in (*self.names, "nobody") if name in known)
