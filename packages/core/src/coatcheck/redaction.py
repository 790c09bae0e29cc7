"""What error reporters, debuggers and templates must not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Redacted:
    """What error reporters, debuggers and templates show of something: nothing but its name."""

    __slots__ = ()

    def __sentry_repr__(self) -> str:
        return repr(self)

    def __rich_repr__(self) -> Iterator[Any]:
        return iter(())

    def __repr_args__(self) -> list[Any]:
        return []

    def __pretty__(self, **_: Any) -> Iterator[str]:
        yield repr(self)


class SessionId(Redacted, str):
    """A session's id: a string that templates and debuggers do not show."""

    __slots__ = ()

    def __html__(self) -> str:
        return "[session id]"

    def __repr__(self) -> str:
        return "<session id>"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)
