"""Read old sessions that are kept on a server, under the id that the cookie has."""

from __future__ import annotations

import re
from typing import Final

from . import OldCookie, OldSessions

#: The ids that the libraries make, all of them random: hexadecimal, UUIDs, base64url.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,200}")


class StoredSessions(OldSessions):
    """Read old sessions whose cookie is the key of the record, without a signature."""

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        return OldCookie(identity=value, key=value) if _ID.fullmatch(value) else None
