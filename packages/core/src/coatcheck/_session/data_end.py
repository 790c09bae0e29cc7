"""Tell whether the data of a session have ended since a copy of them was made.

Code that writes a copy back at the end of a request must not undo a logout in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .identity import Identity
from .session_dict import SessionDict, core_of


def watch_end(data: Mapping[str, Any]) -> Callable[[], bool]:
    """Return a function that tells whether the data have ended since this call.

    That is so after ``destroy()``, and after ``regenerate()`` of a stored session without its data.

    :param data: a session that is loaded. Of any other mapping, nobody knows.
    """
    if not isinstance(data, SessionDict):
        return lambda: False
    core = core_of(data)
    former = core.identity

    def has_ended() -> bool:
        now = core.identity
        if now is former:
            return False
        # What was written after one end goes on with `regenerate(keep_data=True)`.
        return now.ends_presented or (_begins_anew(now) and not _begins_anew(former))

    return has_ended


def _begins_anew(identity: Identity) -> bool:
    """Tell whether a stored session ends and its data do not go on."""
    return identity.ends_presented or (identity.old is not None and not identity.keeps_data)
