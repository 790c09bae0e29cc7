"""Keep sessions and ids out of error reports, debuggers and templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Redacted:
    """Show only the name of an object to error reporters, debuggers and templates."""

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
    """Hold a session's id in a string that templates and debuggers do not show."""

    __slots__ = ()

    def __html__(self) -> str:
        return "[session id]"

    def __repr__(self) -> str:
        return "<session id>"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)
