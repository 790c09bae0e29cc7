"""A server, by the names of its hosts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Site:
    """A server that browsers visit.

    :ivar scheme: ``"http"`` or ``"https"``.
    :ivar port: where it listens.
    """

    scheme: str
    port: str

    def at(self, host: str, path: str = "/") -> str:
        """Return a URL of a host."""
        return f"{self.scheme}://{host}:{self.port}{path}"


Serve: TypeAlias = Callable[..., AbstractContextManager[Site]]
