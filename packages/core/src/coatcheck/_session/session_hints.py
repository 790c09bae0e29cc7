"""Say what to write instead of attributes that other libraries' sessions have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Names in other libraries, and what to write here instead.
_FOREIGN: Final = {
    **dict.fromkeys(
        ("flush", "invalidate", "delete", "remove", "end", "logout"), "`session.destroy()`"
    ),
    **dict.fromkeys(("commit", "store"), "`session.save()`"),
    **dict.fromkeys(("cycle_key", "rotate", "renew"), "`session.regenerate(keep_data=True)`"),
    **dict.fromkeys(("permanent", "max_age", "set_expiry"), "`session.cookie.max_age = ...`"),
    **dict.fromkeys(("modified", "changed"), "nothing, because changes are noticed"),
    **dict.fromkeys(("new", "is_empty"), "`session.is_new`"),
    **dict.fromkeys(("sid", "session_key", "session_id"), "`session.id`"),
}


def hint(name: str, known: Iterable[str]) -> str:
    """Return what to write instead of an attribute that does not exist.

    :param known: the attributes that exist.
    """
    if name in _FOREIGN:
        return f"; here it is {_FOREIGN[name]}"
    if name.startswith("_"):
        return ""
    import difflib

    public = [each for each in known if not each.startswith("_")]
    near = difflib.get_close_matches(name, public, n=1, cutoff=0.75)
    return f"; did you mean `session.{near[0]}`?" if near else ""
