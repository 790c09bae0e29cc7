"""Mark the dict of an unloaded session, so that no code in C takes it for an empty one."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from ..errors import SessionUnavailable


class SessionNotLoaded:
    """The value in a session that is not loaded. Encoders name its type in their errors."""

    __slots__ = ()

    def __repr__(self) -> NoReturn:
        raise SessionUnavailable("the session is not loaded: `session.load()` comes first")

    __str__ = __repr__


_UNLOADED: Final = SessionNotLoaded()
#: No encoder knows the value's type. If it is told how to encode that (`default=`), it still
#: refuses the second key, which has no UTF-8.
PLACEHOLDER: Final[dict[str, Any]] = {
    "a session that is not loaded": _UNLOADED,
    "\ud800": _UNLOADED,
}
