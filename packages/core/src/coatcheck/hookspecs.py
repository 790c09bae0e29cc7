"""Define the hook by which a package offers stores.

A store package has one entry point for each URL scheme, in the group ``coatcheck.stores``. All of
them lead to the same small module, which imports only this package::

    # coatcheck_sqlite/plugin.py
    from coatcheck import StoreSpec, hookimpl

    @hookimpl
    def coatcheck_stores():
        yield StoreSpec(name="sqlite", schemes=("sqlite",), contract="1.0",
                        summary="one SQLite file", open="coatcheck_sqlite:SQLiteStore.from_url")

    # pyproject.toml
    [project.entry-points."coatcheck.stores"]
    sqlite = "coatcheck_sqlite.plugin"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pluggy

from .errors import PluginError

__all__ = [
    "Opener",
    "StoreSpec",
    "hookimpl",
]


def __dir__() -> list[str]:
    return __all__


PROJECT: Final = "coatcheck"

#: Marks the function ``coatcheck_stores`` of a plugin module.
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
hookspec: Final = pluggy.HookspecMarker(PROJECT)

#: ``"package.module:Class.method"``, or the callable itself. It is called as
#: ``opener(url, clock=clock)`` and returns a store, without doing any I/O.
Opener: TypeAlias = str | Callable[..., Any]

_SCHEME_UNCOMPILED = r"[a-z][a-z0-9+.-]*"
_CONTRACT_UNCOMPILED = r"(\d+)\.(\d+)"
_REFERENCE_UNCOMPILED = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec:
    """Describe one kind of store: its URLs, and how they are opened.

    :ivar name: the short name, for listings.
    :ivar schemes: URL schemes, lower case. Each needs an entry point of the same name.
    :ivar contract: the ``CONTRACT_VERSION`` that the store was written for, as ``"1.0"``.
    :ivar summary: one line for listings.
    :ivar open: opens the sync API, or None if there is none.
    :ivar open_async: opens the async API, or None if there is none.
    :raises PluginError: a field has another form.
    """

    name: str
    schemes: tuple[str, ...]
    contract: str
    summary: str = ""
    open: Opener | None = None
    open_async: Opener | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise PluginError(f"StoreSpec: `name` must be a non-empty string, not {self.name!r}")
        if not isinstance(self.schemes, tuple) or not self.schemes:
            raise self._wrong("schemes", self.schemes, "a non-empty tuple of URL schemes")
        for scheme in self.schemes:
            if not isinstance(scheme, str) or not re.fullmatch(_SCHEME_UNCOMPILED, scheme):
                raise self._wrong("schemes", self.schemes, "lower-case URL schemes (RFC 3986, 3.1)")
        if not isinstance(self.contract, str) or not re.fullmatch(
            _CONTRACT_UNCOMPILED, self.contract
        ):
            raise self._wrong("contract", self.contract, 'MAJOR.MINOR, for example "1.0"')
        if self.open is None and self.open_async is None:
            raise self._wrong("open", None, "given, or `open_async`, or both")
        for field, opener in (("open", self.open), ("open_async", self.open_async)):
            if isinstance(opener, str) and not re.fullmatch(_REFERENCE_UNCOMPILED, opener):
                raise self._wrong(field, opener, "package.module:Class.method or a callable")
            if not (opener is None or isinstance(opener, str) or callable(opener)):
                raise self._wrong(field, opener, "package.module:Class.method or a callable")

    def _wrong(self, field: str, value: object, allowed: str) -> PluginError:
        return PluginError(f"StoreSpec {self.name!r}: `{field}` must be {allowed}, not {value!r}")


class StoreHooks:
    """Specify the hooks that a plugin module can implement."""

    @hookspec
    def coatcheck_stores(self) -> Iterable[StoreSpec]:
        """Return or yield the :class:`StoreSpec` of each store in this package.

        The function runs each time stores are listed or opened. So it must import no client
        library: name the openers as strings.
        """
        raise AssertionError("a specification is not called")
